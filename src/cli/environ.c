/* environ.c - see environ.h. */
#include "cli/environ.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/orphan.h"

#define HELD_STEP_MS 25
#define HELD_STEPS 8 /* seen waiting at the same process's so often in a row */
#define STUCK_MAX 32u
#define LOOKS_MAX 256u /* somebody kills them, or many are held */

enum look { LOOK_FOUND, LOOK_IN_VAIN, LOOK_HELD };

/* At whose a look is left behind for good. More than fit: nobody is looked at any more. */
static struct {
    pid_t pids[STUCK_MAX];
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

static bool is_stuck(pid_t pid)
{
    for (unsigned i = 0; i < stuck.nr; i++)
        if (stuck.pids[i] == pid)
            return true;
    return false;
}

/* Tells where it is. The kernel lists processes by number. */
_Noreturn static void look_from(pid_t first, const char *text, pid_t parent, _Atomic pid_t *ret_at)
{
    bool is = false;
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

/* Until it has ended, or is held. */
static void await_look(pid_t looker, int pidfd, const _Atomic pid_t *at)
{
    pid_t was_at = 0;
    for (int nr = 0; nr < HELD_STEPS && !has_ended_within(pidfd, HELD_STEP_MS);) {
        pid_t is_at = atomic_load(at);
        nr = is_at == was_at && waits(looker) ? nr + 1 : 0;
        was_at = is_at;
    }
}

/* The lock of memory is waited for until one is killed, that of a folder until one has it. */
static enum look end_look(pid_t looker, int pidfd, pid_t at)
{
    int status;
    (void)kill(looker, SIGKILL);
    if (!has_ended_within(pidfd, HELD_STEPS * HELD_STEP_MS)) {
        stuck.pids[stuck.nr++] = at;
        return LOOK_HELD;
    }
    if (waitpid(looker, &status, 0) != looker)
        return LOOK_FOUND;
    return WIFEXITED(status) ? (enum look)WEXITSTATUS(status) : LOOK_HELD;
}

static enum look look(pid_t first, const char *text, _Atomic pid_t *ret_at)
{
    pid_t parent = getpid(), looker = fork();
    if (looker == 0)
        look_from(first, text, parent, ret_at);
    int pidfd = looker < 0 ? -1 : (int)syscall(SYS_pidfd_open, looker, 0);
    if (pidfd < 0) {
        if (looker > 0)
            (void)kill(looker, SIGKILL); /* a zombie until we end */
        return LOOK_FOUND;
    }
    await_look(looker, pidfd, ret_at);
    enum look r = end_look(looker, pidfd, atomic_load(ret_at));
    close(pidfd);
    return r;
}

bool environ_of_any_has(const char *text)
{
    static _Atomic pid_t *at;
    if (!at || at == MAP_FAILED)
        at = mmap(NULL, sizeof *at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    enum look r = at == MAP_FAILED ? LOOK_FOUND : LOOK_HELD;
    unsigned nr = 0;
    for (pid_t first = 1; r == LOOK_HELD; first = atomic_load(at) + 1) {
        if (stuck.nr == STUCK_MAX)
            return false;
        if (++nr > LOOKS_MAX)
            return true;
        atomic_store(at, first);
        r = look(first, text, at);
    }
    return r == LOOK_FOUND;
}
