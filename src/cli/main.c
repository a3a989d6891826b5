/* main.c - process-pager: asks a daemon what it is doing. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/options.h"
#include "wire/msg.h"

struct settings {
    const char *socket_path;
    bool is_json, wants_help, wants_version;
};

static void make_table(struct settings *s, struct option_spec ret_table[5])
{
    const struct option_spec table[5] = {
        { "socket", 0, OPTION_TEXT, &s->socket_path, 0, 0, "PATH", "where the daemon listens" },
        { "json", 0, OPTION_FLAG, &s->is_json, 0, 0, NULL, "status as JSON" },
        { "help", 'h', OPTION_FLAG, &s->wants_help, 0, 0, NULL, "this text" },
        { "version", 'V', OPTION_FLAG, &s->wants_version, 0, 0, NULL, "the version" },
        { NULL, 0, OPTION_FLAG, NULL, 0, 0, NULL, NULL },
    };
    memcpy(ret_table, table, sizeof table);
}

static int complain(const char *text, int code)
{
    fprintf(stderr, "process-pager: %s\n", text);
    return code;
}

static void print_help(const struct option_spec *table)
{
    printf("usage: process-pager status [options]\n\nSays what the daemon keeps, for whom.\n\n");
    options_print_help(table);
    printf("\nExit codes: 64 usage, 69 no daemon, 71 system call, 77 no right.\n");
}

static int connect_somewhere(const char *path)
{
    char place[108];
    int r = -ENOENT;
    for (unsigned i = 0;; i++) {
        const char *at = socket_path_candidate(i, path, place, sizeof place);
        if (!at)
            return r;
        int fd = socket_connect(at);
        if (fd >= 0)
            return fd;
        if (r == -ENOENT || fd == -EACCES)
            r = fd;
    }
}

/* The daemon's JSON, to be freed; NULL and *ret_error. */
static char *ask_status(int socket, int *ret_error)
{
    struct msg_empty empty = { 0 };
    struct msg m;
    struct msg_fds fds = { .nr = 0 };
    int r = msg_send(socket, MSG_STATUS_GET, &empty, NULL);
    struct pollfd readable = { .fd = socket, .events = POLLIN };
    if (r == 0)
        r = poll(&readable, 1, 5000) == 1 ? msg_recv(socket, &m, &fds) : -ETIMEDOUT;
    char *text = NULL;
    if (r == 0 && m.header.type == MSG_STATUS && fds.nr == 1 && m.payload.status.bytes < (64u << 20)) {
        size_t bytes = m.payload.status.bytes;
        text = calloc(1, bytes + 1);
        if (text && pread(fds.fd[0], text, bytes, 0) != (ssize_t)bytes) {
            free(text);
            text = NULL;
        }
    }
    msg_fds_close(&fds);
    *ret_error = r ? r : -EPROTO;
    return text;
}

static double number(const cJSON *o, const char *name)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsNumber(n) ? n->valuedouble : 0;
}

static void print_table(const char *json)
{
    cJSON *root = cJSON_Parse(json);
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "sessions");
    printf("daemon pid %.0f, heat %s, %s, %d session(s)\n", number(root, "pid"),
           cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "heat")),
           cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "budget")),
           cJSON_GetArraySize(list));
    printf("%8s %-16s %10s %10s %10s %10s %9s %12s %8s %10s\n", "PID", "NAME", "WATCHED", "OUT", "HELD",
           "RATIO", "FAULTS", "FAULT p99", "SLOWDOWN", "PROMOTED");
    const cJSON *s;
    cJSON_ArrayForEach(s, list)
    {
        double out = (number(s, "pages_stored") + number(s, "pages_zero") + number(s, "pages_staged") +
                      number(s, "pages_paged_out")) / 256;
        double held = number(s, "store_held_bytes") / (1 << 20);
        printf("%8.0f %-16s %6.0f MiB %6.0f MiB %6.1f MiB %9.2fx %9.0f %9.1f us %7.3f%% %6.1f%%/min\n", number(s, "pid"),
               cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(s, "name")),
               number(s, "pages_watched") / 256, out, held, held > 0 ? out / held : 0,
               number(s, "faults_missing"), number(s, "fault_missing_ns_p99") / 1000,
               number(s, "slowdown_ppm") / 1e4, number(s, "promotion_ppm_per_min") / 1e4);
    }
    cJSON_Delete(root);
}

static int status(const struct settings *s)
{
    int socket = connect_somewhere(s->socket_path);
    if (socket == -EACCES)
        return complain("no right to the daemon's socket: join the group process-pager", EX_NOPERM);
    if (socket < 0)
        return complain("no daemon answers: start process-pagerd, or name its socket with --socket",
                        EX_UNAVAILABLE);
    int error;
    char *json = ask_status(socket, &error);
    close(socket);
    if (!json)
        return complain("the daemon does not answer as it should: is it stopped, or of another "
                        "version?", EX_UNAVAILABLE);
    if (s->is_json)
        printf("%s\n", json);
    else
        print_table(json);
    free(json);
    return fflush(stdout) ? EX_OSERR : 0;
}

int main(int argc, char **argv)
{
    struct settings settings = { 0 };
    struct option_spec table[5];
    char error[300];
    make_table(&settings, table);
    int first = options_parse(table, argc, argv, error, sizeof error);
    if (first < 0)
        return complain(error, EX_USAGE);
    if (settings.wants_help) {
        print_help(table);
        return 0;
    }
    if (settings.wants_version) {
        printf("process-pager %s\n", PP_VERSION);
        return 0;
    }
    if (first != argc - 1 || strcmp(argv[first], "status"))
        return complain("say what to do: process-pager status (see --help)", EX_USAGE);
    return status(&settings);
}
