/* keeper.c - see keeper.h. */
#include "cli/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/ask.h"
#include "cli/environ.h"
#include "cli/summary.h"
#include "sys/orphan.h"
#include "wire/msg.h"

#define START_MS_MAX 10000   /* for the daemon to answer */
#define END_MS_MAX 5000      /* for it to end */
#define LOOK_MS_MIN 10       /* whether the tree is still there, after the command has ended ... */
#define LOOK_MS_MAX 1000     /* ... and ever more rarely */
/* In the middle of an exec a process has no environment, for as long as a page takes to be read from disk. */
#define LOOKS_IN_VAIN 3
/* Who holds the lock of its memory for longer, and has no session, is not waited for. */
#define UNTOLD_MS 5000u

struct place {
    char folder[80], inner[100]; /* inner: "", or a folder whose name nobody can list */
    char socket[108], log[96], csv[96];
};

struct keeper {
    const struct keeper_order *order;
    struct place place;
    int command; /* pidfd */
    pid_t daemon;
    int report; /* to who waits for the daemon; -1: told */
};

/* ---- the folder */

/* What root runs may become another user's, and wants its daemon still. Whoever knows the socket may use it,
 * and only who can read the program's environment does. */
static int open_to_who_knows(struct place *p)
{
    uint64_t number;
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        return -EAGAIN;
    (void)snprintf(p->inner, sizeof p->inner, "%s/%016llx", p->folder, (unsigned long long)number);
    return chmod(p->folder, 0711) || mkdir(p->inner, 0711) ? -errno : 0;
}

static int make_place(struct place *p)
{
    const char *const bases[] = { getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp" };
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        if (!bases[i] || bases[i][0] != '/' ||
            (size_t)snprintf(p->folder, sizeof p->folder, "%s/process-pager-XXXXXX", bases[i]) >=
                sizeof p->folder ||
            !mkdtemp(p->folder))
            continue;
        int r = geteuid() == 0 ? open_to_who_knows(p) : 0;
        (void)snprintf(p->socket, sizeof p->socket, "%s/socket", *p->inner ? p->inner : p->folder);
        if (r) {
            (void)rmdir(p->folder);
            return r;
        }
        (void)snprintf(p->log, sizeof p->log, "%s/log", p->folder);
        (void)snprintf(p->csv, sizeof p->csv, "%s/sessions", p->folder);
        return 0;
    }
    return -errno;
}

static void remove_place(const struct place *p)
{
    (void)unlink(p->socket);
    (void)unlink(p->log);
    (void)unlink(p->csv);
    if (*p->inner)
        (void)rmdir(p->inner);
    (void)rmdir(p->folder);
}

/* ---- the daemon */

/* Beside us where it was built, or where `make install` puts it; else wherever PATH says. */
static void exec_daemon(char *const argv[])
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);
    path[n > 0 ? n : 0] = 0;
    char *slash = strrchr(path, '/');
    if (slash) {
        strcpy(slash, "/process-pagerd");
        execv(path, argv);
        strcpy(slash, "/../sbin/process-pagerd");
        execv(path, argv);
    }
    execvp("process-pagerd", argv);
    fprintf(stderr, "process-pagerd: %s: is it installed?\n", strerror(errno));
}

_Noreturn static void become_daemon(const struct keeper *k, pid_t keeper)
{
    char *argv[2 * KEEPER_OPTIONS_MAX + 8] = { "process-pagerd", "--socket", (char *)k->place.socket };
    unsigned nr = 3;
    if (k->order->has_stats) {
        argv[nr++] = "--csv";
        argv[nr++] = (char *)k->place.csv;
    }
    for (unsigned i = 0; k->order->options[i]; i++)
        argv[nr++] = (char *)k->order->options[i];
    int log = open(k->place.log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    (void)dup2(log, STDERR_FILENO);
    if (orphan_is_ended_by(SIGTERM, keeper))
        exec_daemon(argv);
    _exit(127);
}

/* The last line that the daemon wrote. */
static void last_words(const struct keeper *k, char *ret_text, size_t capacity)
{
    char text[1024];
    int fd = open(k->place.log, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    size_t length = strlen(text);
    while (length && text[length - 1] == '\n')
        text[--length] = 0;
    const char *line = strrchr(text, '\n');
    (void)snprintf(ret_text, capacity, "%s", line ? line + 1 : *text ? text : "process-pagerd ended at once");
}

static bool has_ended(pid_t pid)
{
    return waitpid(pid, NULL, WNOHANG) != 0;
}

/* "" : it answers; else why not. */
static void await_daemon(const struct keeper *k, char *ret_text, size_t capacity)
{
    *ret_text = 0;
    for (int ms = 0; ms < START_MS_MAX; ms += 5) {
        int fd = socket_connect(k->place.socket);
        if (fd >= 0) {
            close(fd);
            return;
        }
        if (has_ended(k->daemon)) {
            last_words(k, ret_text, capacity);
            return;
        }
        usleep(5000);
    }
    (void)snprintf(ret_text, capacity, "process-pagerd does not answer");
}

static void end_daemon(const struct keeper *k)
{
    if (has_ended(k->daemon)) /* its number may be somebody else's by now */
        return;
    (void)kill(k->daemon, SIGTERM);
    for (int ms = 0; ms < END_MS_MAX; ms += 5) {
        if (has_ended(k->daemon))
            return;
        usleep(5000);
    }
    (void)kill(k->daemon, SIGKILL);
    (void)waitpid(k->daemon, NULL, 0);
}

/* ---- is anybody left? */

static bool has_sessions(const struct keeper *k)
{
    struct figures figures;
    if (ask_figures(k->place.socket, &figures))
        return false;
    bool has = figures.nr > 0;
    figures_free(&figures);
    return has;
}

/* Until the command has ended, and who came of it; or the daemon has. */
static void keep(const struct keeper *k)
{
    struct pollfd command = { .fd = k->command, .events = POLLIN };
    while (poll(&command, 1, LOOK_MS_MAX) == 0)
        if (has_ended(k->daemon))
            return;
    int pause_ms = LOOK_MS_MIN;
    uint64_t told_ms = monotonic_ms();
    for (int in_vain = 0; in_vain < LOOKS_IN_VAIN && !has_ended(k->daemon);) {
        enum environ_answer answer = environ_look_for(k->place.socket);
        if (answer != ENVIRON_UNTOLD)
            told_ms = monotonic_ms();
        bool may_be = answer == ENVIRON_UNTOLD && monotonic_ms() < told_ms + UNTOLD_MS;
        bool is_there = answer == ENVIRON_SOME || may_be || has_sessions(k);
        if (is_there == (in_vain > 0))
            pause_ms = LOOK_MS_MIN;
        in_vain = is_there ? 0 : in_vain + 1;
        usleep((useconds_t)pause_ms * 1000);
        pause_ms = pause_ms < LOOK_MS_MAX / 2 ? 2 * pause_ms : LOOK_MS_MAX;
    }
}

/* ---- the keeper's own life */

/* -1: to the last. */
static void close_between(int after, int before)
{
    unsigned from = (unsigned)after + 1, to = before < 0 ? ~0u : (unsigned)before - 1;
    if (from <= to)
        (void)syscall(SYS_close_range, from, to, 0u);
}

/* As far as this user may. The store, which is a file, would be the first to reach one. */
static void lift_limits(void)
{
    const int limits[] = { RLIMIT_FSIZE, RLIMIT_AS, RLIMIT_DATA, RLIMIT_CPU };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
        if (setrlimit(limits[i], &limit) == 0 || getrlimit(limits[i], &limit))
            continue;
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(limits[i], &limit);
    }
}

/* Nothing of the caller's: not its terminal, its pipes, its folder, its signals, its environment, its limits.
 * Standard error stays, if something is to be said at the end. */
static void let_go(struct keeper *k)
{
    int first = k->command < k->report ? k->command : k->report;
    int second = k->command < k->report ? k->report : k->command;
    int error = k->order->has_stats ? STDERR_FILENO : -1;
    for (int fd = 0; fd < first; fd++)
        if (fd != error)
            (void)close(fd);
    close_between(first, second);
    close_between(second, -1);
    for (int fd = 0; fd >= 0 && fd < 3;) {
        fd = open("/dev/null", O_RDWR); /* nothing of ours may become 0, 1 or 2, nor of the daemon's */
        if (fd >= 3)
            close(fd);
    }
    (void)!chdir("/"); /* somebody's mount point should not be held */
    (void)unsetenv("LD_PRELOAD");
    lift_limits();
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit that can't be lifted: the daemon refuses sessions, but lives */
    (void)signal(SIGCHLD, SIG_DFL);
    (void)prctl(PR_SET_NAME, "pp-keeper");
}

_Noreturn static void be_keeper(struct keeper *k)
{
    char text[300];
    let_go(k);
    pid_t keeper = getpid();
    k->daemon = fork();
    if (k->daemon == 0)
        become_daemon(k, keeper);
    await_daemon(k, text, sizeof text);
    if (*k->place.inner)
        (void)chmod(k->place.socket, 0666);
    (void)!write(k->report, text, strlen(text) + 1);
    close(k->report);
    if (*text == 0) {
        keep(k);
        end_daemon(k);
        if (k->order->has_stats)
            summary_print(k->place.csv);
    } else {
        end_daemon(k);
    }
    remove_place(&k->place);
    _exit(0);
}

/* Twice forked it is nobody's child that the command could wait for. */
static int start_keeper(struct keeper *k)
{
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid > 0) {
        int status = 0;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EAGAIN;
    }
    (void)setsid();
    pid = fork();
    if (pid == 0)
        be_keeper(k);
    _exit(pid < 0);
}

int keeper_start(const struct keeper_order *order, char *ret_socket, size_t socket_capacity, char *ret_error,
                 size_t capacity)
{
    struct keeper k = { .order = order };
    int r = make_place(&k.place);
    if (r) {
        (void)snprintf(ret_error, capacity, "no place for a daemon's socket (%s): set TMPDIR", strerror(-r));
        return r;
    }
    int fds[2] = { -1, -1 };
    k.command = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (k.command < 0 || pipe2(fds, O_CLOEXEC)) {
        r = -errno;
    } else {
        k.report = fds[1];
        r = start_keeper(&k);
        close(fds[1]);
    }
    char text[300] = "";
    ssize_t n = r ? 0 : read(fds[0], text, sizeof text - 1);
    if (fds[0] >= 0)
        close(fds[0]);
    if (k.command >= 0)
        close(k.command);
    if (r == 0 && n == 1) {
        (void)snprintf(ret_socket, socket_capacity, "%s", k.place.socket);
        return 0;
    }
    if (r)
        remove_place(&k.place);
    (void)snprintf(ret_error, capacity, "cannot start a daemon of its own: %s",
                   r ? strerror(-r) : *text ? text : "its keeper has ended");
    return r ? r : -ECONNREFUSED;
}
