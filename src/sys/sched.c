/* sched.c - see sched.h. */
#include "sys/sched.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* Initial-exec: the first use of other thread-local memory in a dlopened library may call malloc, which
 * the agent must not. */
#define OWN_THREAD __thread __attribute__((tls_model("initial-exec")))

static OWN_THREAD cpu_set_t allowed; /* the agent's own thread only */
static OWN_THREAD bool has_allowed;

void sched_remember(void)
{
    has_allowed = sched_getaffinity(0, sizeof allowed, &allowed) == 0;
}

int sched_go_to_cpu(int cpu)
{
    if (!has_allowed)
        return -EINVAL;
    if (cpu < 0)
        return sched_setaffinity(0, sizeof allowed, &allowed) ? -errno : 0;
    if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &allowed))
        return -EINVAL;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return sched_setaffinity(0, sizeof one, &one) ? -errno : 0;
}

/* "/proc/self/task/<tid>/stat" without stdio. */
static void stat_path(pid_t tid, char *ret_path)
{
    static const char head[] = "/proc/self/task/", tail[] = "/stat";
    char digits[16];
    size_t nr = 0;
    for (unsigned left = (unsigned)tid; left || !nr; left /= 10)
        digits[nr++] = (char)('0' + left % 10);
    memcpy(ret_path, head, sizeof head - 1);
    char *at = ret_path + sizeof head - 1;
    while (nr)
        *at++ = digits[--nr];
    memcpy(at, tail, sizeof tail);
}

/* Opening costs twice what reading does, so the last thread's file stays open. It names that thread for
 * good: when the thread has gone, reading says ESRCH, whoever has its number then. */
static OWN_THREAD pid_t stat_tid;
static OWN_THREAD int stat_fd = -1;

static int open_stat(pid_t tid)
{
    char path[48];
    if (stat_fd >= 0)
        close(stat_fd);
    stat_path(tid, path);
    stat_tid = tid;
    stat_fd = open(path, O_RDONLY | O_CLOEXEC);
    return stat_fd < 0 ? -errno : 0;
}

static ssize_t read_stat(pid_t tid, char *ret_text, size_t capacity)
{
    ssize_t n = -1;
    if (stat_fd >= 0 && tid == stat_tid)
        n = pread(stat_fd, ret_text, capacity, 0);
    if (n > 0)
        return n;
    int r = open_stat(tid);
    if (r == 0)
        n = pread(stat_fd, ret_text, capacity, 0);
    return r ? r : n < 0 ? -errno : n;
}

int sched_cpu_of_thread(pid_t tid)
{
    char text[1024];
    ssize_t n = read_stat(tid, text, sizeof text - 1);
    if (n < 0)
        return (int)n;
    text[n] = 0;

    const char *t = strrchr(text, ')'); /* the name may hold blanks and brackets */
    if (!t)
        return -EINVAL;
    for (int field = 2; *t; t++)
        if (*t == ' ' && ++field == 39) {
            int cpu = 0;
            for (t++; *t >= '0' && *t <= '9'; t++)
                cpu = cpu * 10 + (*t - '0');
            return cpu;
        }
    return -EINVAL;
}
