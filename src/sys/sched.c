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

int sched_cpu_of_thread(pid_t tid)
{
    char path[48], text[1024];
    stat_path(tid, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, sizeof text - 1);
    int r = n < 0 ? -errno : 0;
    close(fd);
    if (r)
        return r;
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
