/* environ.c - see environ.h. */
#include "cli/environ.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "sys/orphan.h"

#define STEP_MS 25
#define HELD_STEPS 8 /* seen waiting at the same process's so often in a row */
#define LOOK_MS_MAX 5000u
#define STUCK_MAX 32u

enum look { LOOK_FOUND, LOOK_IN_VAIN, LOOK_HELD, LOOK_BROKEN /* somebody else has killed it */ };

/* What looks and had to be left behind, and at whose. */
static struct {
    struct { pid_t looker, at; } items[STUCK_MAX];
    unsigned nr;
} stuck;

/* ---- the process that looks */

/* Programs write over their environment to change their title. */
static bool has(const char *pid, const char *text)
{
    char path[64], buffer[65536];
    (void)snprintf(path, sizeof path, "/proc/%.20s/environ", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t nr = 0;
    for (ssize_t n; nr < sizeof buffer && (n = read(fd, buffer + nr, sizeof buffer - nr)) > 0;)
        nr += (size_t)n;
    close(fd);
    return memmem(buffer, nr, text, strlen(text)) != NULL;
}

static bool is_stuck(pid_t at)
{
    for (unsigned i = 0; i < stuck.nr; i++)
        if (stuck.items[i].at == at)
            return true;
    return false;
}

/* Nothing that somebody waits for, should this one stay: neither descriptors nor an environment. */
static void hold_nothing(void)
{
    (void)syscall(SYS_close_range, 0u, ~0u, 0u);
    for (char **e = environ; *e; e++)
        memset(*e, 0, strlen(*e));
}

/* Tells where it is. The kernel lists processes by number. */
_Noreturn static void look_from(pid_t first, const char *text, pid_t parent, _Atomic pid_t *ret_at)
{
    bool is = false;
    hold_nothing();
    DIR *proc = orphan_is_ended_by(SIGKILL, parent) ? opendir("/proc") : NULL;
    if (!proc)
        _exit(LOOK_FOUND);
    for (struct dirent *e; !is && (e = readdir(proc));) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        if (pid < first || is_stuck(pid))
            continue;
        atomic_store(ret_at, pid);
        is = has(e->d_name, text);
    }
    _exit(is ? LOOK_FOUND : LOOK_IN_VAIN);
}

/* ---- who waits for it */

/* For something else than a CPU. */
static bool waits(pid_t pid)
{
    char path[64], text[512];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *at = strrchr(text, ')');
    return at && at[1] && at[2] == 'D';
}

static bool has_ended_within(int pidfd, int ms)
{
    return poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, ms) == 1;
}

/* True: it has ended; else it is held, or the time is up. */
static bool await_look(pid_t looker, int pidfd, const _Atomic pid_t *at, uint64_t until_ms)
{
    pid_t was_at = 0;
    for (int nr = 0; nr < HELD_STEPS && monotonic_ms() < until_ms;) {
        if (has_ended_within(pidfd, STEP_MS))
            return true;
        pid_t is_at = atomic_load(at);
        nr = is_at == was_at && waits(looker) ? nr + 1 : 0;
        was_at = is_at;
    }
    return false;
}

/* The lock of memory is waited for until one is killed, that of a folder until one has it. */
static void end_look(pid_t looker, int pidfd, pid_t at)
{
    (void)kill(looker, SIGKILL);
    if (has_ended_within(pidfd, HELD_STEPS * STEP_MS)) {
        (void)waitpid(looker, NULL, 0);
    } else {
        stuck.items[stuck.nr].looker = looker;
        stuck.items[stuck.nr++].at = at;
    }
}

/* *ret_at: whose it has come to. */
static enum look look(pid_t first, const char *text, uint64_t until_ms, _Atomic pid_t *at, pid_t *ret_at)
{
    atomic_store(at, first);
    pid_t parent = getpid(), looker = fork();
    if (looker == 0)
        look_from(first, text, parent, at);
    int status, pidfd = looker < 0 ? -1 : (int)syscall(SYS_pidfd_open, looker, 0);
    enum look r = LOOK_FOUND;
    if (pidfd < 0) {
        if (looker > 0 && kill(looker, SIGKILL) == 0)
            (void)waitpid(looker, NULL, 0);
        return r;
    }
    bool has_ended = await_look(looker, pidfd, at, until_ms);
    *ret_at = atomic_load(at);
    if (!has_ended) {
        end_look(looker, pidfd, *ret_at);
        r = LOOK_HELD;
    } else if (waitpid(looker, &status, 0) == looker) {
        r = WIFEXITED(status) ? (enum look)WEXITSTATUS(status) : LOOK_BROKEN;
    }
    close(pidfd);
    return r;
}

/* ---- */

static void bury_who_is_free(void)
{
    for (unsigned i = stuck.nr; i-- > 0;)
        if (waitpid(stuck.items[i].looker, NULL, WNOHANG) != 0)
            stuck.items[i] = stuck.items[--stuck.nr];
}

enum environ_answer environ_look_for(const char *text)
{
    static _Atomic pid_t *at;
    if (!at || at == MAP_FAILED)
        at = mmap(NULL, sizeof *at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return ENVIRON_SOME;
    bury_who_is_free();
    bool is_any_held = stuck.nr;
    uint64_t until_ms = monotonic_ms() + LOOK_MS_MAX;
    for (pid_t first = 1, is_at = 1; stuck.nr < STUCK_MAX && monotonic_ms() < until_ms;) {
        switch (look(first, text, until_ms, at, &is_at)) {
        case LOOK_FOUND:
            return ENVIRON_SOME;
        case LOOK_IN_VAIN:
            return is_any_held ? ENVIRON_UNTOLD : ENVIRON_NONE;
        case LOOK_HELD:
            is_any_held = true;
            first = is_at + 1;
            break;
        case LOOK_BROKEN:
            first = is_at;
            break;
        }
    }
    return ENVIRON_UNTOLD;
}
