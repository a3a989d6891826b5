/* ask.c - see ask.h. */
#include "cli/ask.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli/cli.h"

#define ANSWER_MS 5000
#define STATUS_BYTES_MAX (64u << 20)

int ask_connect(const char *path, char ret_place[ASK_PLACE_BYTES])
{
    int r = -ENOENT;
    for (unsigned i = 0;; i++) {
        const char *at = socket_path_candidate(i, path, ret_place, ASK_PLACE_BYTES);
        if (!at)
            return r;
        int fd = socket_connect(at);
        if (fd >= 0)
            return fd; /* what can be connected to fits, so it is in ret_place */
        if (r == -ENOENT || fd == -EACCES || fd == -EPERM)
            r = fd;
    }
}

/* Sends and waits for an answer of this type. 0: the caller has the descriptors. */
static int ask(const char *path, enum msg_type type, const void *payload, enum msg_type answer_type,
               int patience_ms, struct msg *ret_answer, struct msg_fds *ret_fds)
{
    char place[ASK_PLACE_BYTES];
    int socket = ask_connect(path, place);
    if (socket < 0)
        return socket;
    struct pollfd readable = { .fd = socket, .events = POLLIN };
    int r = msg_send(socket, type, payload, NULL);
    if (r == 0)
        r = poll(&readable, 1, patience_ms) == 1 ? msg_recv(socket, ret_answer, ret_fds) : -ETIMEDOUT;
    close(socket);
    if (r == 0 && ret_answer->header.type != answer_type) {
        msg_fds_close(ret_fds);
        return -EPROTO;
    }
    return r == -ECONNRESET ? -EPROTO : r;
}

int ask_status(const char *path, char **ret_json)
{
    struct msg_empty empty = { 0 };
    struct msg m;
    struct msg_fds fds = { .nr = 0 };
    int r = ask(path, MSG_STATUS_GET, &empty, MSG_STATUS, ANSWER_MS, &m, &fds);
    if (r)
        return r;
    size_t bytes = m.payload.status.bytes;
    char *text = fds.nr == 1 && bytes < STATUS_BYTES_MAX ? calloc(1, bytes + 1) : NULL;
    if (text && pread(fds.fd[0], text, bytes, 0) != (ssize_t)bytes) {
        free(text);
        text = NULL;
    }
    msg_fds_close(&fds);
    if (!text)
        return -EPROTO;
    *ret_json = text;
    return 0;
}

int ask_figures(const char *path, struct figures *ret)
{
    char *json;
    int r = ask_status(path, &json);
    if (r)
        return r;
    r = figures_read(json, ret) ? 0 : -EPROTO;
    free(json);
    return r;
}

int ask_order(const char *path, const struct msg_order *order, struct msg_order_done *ret_done)
{
    struct msg m;
    struct msg_fds fds = { .nr = 0 };
    int r = ask(path, MSG_ORDER, order, MSG_ORDER_DONE, -1, &m, &fds);
    if (r)
        return r;
    msg_fds_close(&fds);
    *ret_done = m.payload.order_done;
    return 0;
}

int ask_complain(int error)
{
    switch (error) {
    case -EACCES:
    case -EPERM:
        return cli_complain(EX_NOPERM, "no right to the daemon's socket: join the group process-pager");
    case -EPROTO:
    case -ETIMEDOUT:
        return cli_complain(EX_UNAVAILABLE, "the daemon does not answer as it should: is it stopped, or of "
                                            "another version?");
    default:
        return cli_complain(EX_UNAVAILABLE, "no daemon answers: start process-pagerd, or name its socket "
                                            "with --socket");
    }
}
