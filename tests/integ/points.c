/* points.c - see points.h. */
#include "points.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_BYTES_MAX 65536

struct point_daemon *point_daemon_new(const char *const options[])
{
    struct point_daemon *d = test_shared(sizeof *d);
    for (unsigned i = 0; options[i]; i++)
        (void)snprintf(d->options[i], sizeof d->options[i], "%s", options[i]);
    return d;
}

/* In the helper, which becomes the daemon. */
static int become_daemon(void *argument)
{
    const struct point_daemon *d = argument;
    const char *program = getenv("PP_POINT_DAEMON");
    char *argv[16] = { (char *)program, (char *)"--socket", (char *)d->socket_path };
    unsigned nr = 3;
    for (unsigned i = 0; d->options[i][0]; i++)
        argv[nr++] = (char *)d->options[i];
    int log = open(d->log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        return 126;
    (void)unsetenv("PP_MUTANT");
    (void)unsetenv("JOURNAL_STREAM");
    if (d->variable[0])
        (void)setenv(d->variable, d->value, 1);
    execv(program, argv);
    return 127;
}

static void start(struct point_daemon *d)
{
    const char *program = getenv("PP_POINT_DAEMON");
    if (!program || access(program, X_OK))
        test_skip("no process-pagerd-points to test with: set PP_POINT_DAEMON to its path");
    if (!d->socket_path[0]) {
        (void)snprintf(d->socket_path, sizeof d->socket_path, "%s", test_path("points.sock"));
        (void)snprintf(d->log_path, sizeof d->log_path, "%s", test_path("points.log"));
    }
    (void)unlink(d->socket_path); /* what a killed one has left says nothing of the next */
    (void)unlink(d->log_path);
    d->pid = helper_start(become_daemon, d);
}

void point_daemon_fails(struct point_daemon *d, enum point p, unsigned at_pass, bool is_for_good)
{
    strcpy(d->variable, "PP_FAULT");
    (void)snprintf(d->value, sizeof d->value, "%s:%u%s", point_name(p), at_pass, is_for_good ? "+" : "");
    start(d);
}

void point_daemon_dies(struct point_daemon *d, enum point p, unsigned at_pass)
{
    strcpy(d->variable, "PP_KILL");
    (void)snprintf(d->value, sizeof d->value, "%s:%u", point_name(p), at_pass);
    start(d);
}

void point_daemon_whole(struct point_daemon *d)
{
    d->variable[0] = 0;
    start(d);
}

void point_daemon_wait_for_socket(struct point_daemon *d)
{
    WAIT_LONG_UNTIL(access(d->socket_path, F_OK) == 0);
}

static const char *read_log(const struct point_daemon *d)
{
    static char text[LOG_BYTES_MAX];
    int fd = open(d->log_path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    return text;
}

bool point_daemon_has_said(const struct point_daemon *d, const char *text)
{
    return strstr(read_log(d), text) != NULL;
}

void point_daemon_show_log(const struct point_daemon *d)
{
    fprintf(stderr, "---- log of the daemon with %s=%s\n%s----\n", d->variable, d->value, read_log(d));
}

bool point_daemon_has_ended(struct point_daemon *d, int *ret_status)
{
    return helper_has_ended(d->pid, ret_status);
}
