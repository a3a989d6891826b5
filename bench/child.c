/* child.c - start, wait, end. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/pace.h"

static volatile sig_atomic_t stop_signal;

static void on_stop_signal(int number)
{
    stop_signal = number;
}

void children_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_stop_signal}; /* no SA_RESTART: poll must return */
    (void)sigaction(SIGINT, &action, NULL);                   /* these three cannot fail */
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
}

int children_stop_signal(void)
{
    return stop_signal;
}

static void redirect(const char *path, int to)
{
    if (!path)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || dup2(fd, to) < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        _exit(127);
    }
}

static _Noreturn void become(const struct child_spec *spec, pid_t parent)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    (void)sigaction(SIGINT, &standard, NULL);
    (void)sigaction(SIGTERM, &standard, NULL);
    (void)sigaction(SIGHUP, &standard, NULL);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* if we are killed outright ... */
    if (getppid() != parent)                /* ... or were just now */
        _exit(127);
    redirect(spec->stdout_path, STDOUT_FILENO);
    redirect(spec->stderr_path, STDERR_FILENO);
    if (spec->folder && chdir(spec->folder) != 0) {
        fprintf(stderr, "%s: %s\n", spec->folder, strerror(errno));
        _exit(127);
    }
    execvp(spec->argv[0], spec->argv);
    fprintf(stderr, "%s: %s\n", spec->argv[0], strerror(errno));
    _exit(127);
}

int child_start(const struct child_spec *spec, struct child *ret_child)
{
    fflush(NULL); /* what we have buffered must not be written twice */
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        become(spec, parent);
    (void)setpgid(pid, pid); /* also here, so that it holds when we return; too late is no harm */
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        int r = -errno;
        struct child c = {.pid = pid, .pidfd = -1, .end_signal = SIGKILL};
        (void)child_end(&c, 0);
        return r;
    }
    *ret_child = (struct child){.pid = pid, .pidfd = pidfd, .end_signal = spec->end_signal};
    return 0;
}

static int reap(struct child *c)
{
    int status = 0;
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (c->pidfd >= 0)
        close(c->pidfd);
    *c = (struct child){.pidfd = -1};
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool has_ended(const struct child *c, uint64_t time_ns)
{
    uint64_t now_ns = pace_now_ns();
    int timeout_ms = time_ns > now_ns ? (int)((time_ns - now_ns + 999999) / 1000000) : 0;
    struct pollfd p = {.fd = c->pidfd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 1;
}

enum child_state child_wait_until(struct child *c, uint64_t time_ns, int *ret_code)
{
    do {
        if (has_ended(c, time_ns)) {
            *ret_code = reap(c);
            return CHILD_ENDED;
        }
        if (stop_signal != 0)
            return CHILD_INTERRUPTED;
    } while (pace_now_ns() < time_ns);
    return CHILD_RUNS;
}

int child_end(struct child *c, uint64_t patience_ns)
{
    if (c->pid == 0)
        return 0;
    pid_t group = c->pid;
    (void)kill(-group, c->end_signal); /* gone already: fine */
    uint64_t until_ns = pace_now_ns() + patience_ns;
    bool is_over = false;
    while (c->pidfd >= 0 && !is_over && pace_now_ns() < until_ns)
        is_over = has_ended(c, until_ns);
    /* Also when the head of the group has ended: GNU time is one, and can be interrupted before it
     * has learnt to stay for its child. Not yet reaped, it keeps the group's number ours. */
    (void)kill(-group, SIGKILL);
    return reap(c);
}
