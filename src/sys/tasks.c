/* tasks.c - see tasks.h. */
#include "sys/tasks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIST_TRIES 4

int tasks_each(int (*on_task)(pid_t tid, void *context), void *context)
{
    int fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    _Alignas(8) char buffer[2048];
    long n = 0;
    int r = 0;
    while (r == 0 && (n = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0)
        for (long at = 0; r == 0 && at < n;) {
            const struct dirent64 *entry = (const struct dirent64 *)(buffer + at);
            at += entry->d_reclen;
            pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
            if (tid > 0)
                r = on_task(tid, context);
        }
    if (n < 0)
        r = -errno;
    close(fd);
    return r;
}

struct list {
    pid_t *tids;
    uint32_t nr, nr_max;
};

static int add_to_list(pid_t tid, void *context)
{
    struct list *l = context;
    if (l->nr == l->nr_max)
        return -E2BIG;
    l->tids[l->nr++] = tid;
    return 0;
}

/* Those listed that still live after their number has been read were all alive then; if they are as many,
 * nobody else was. */
static int list_once(struct list *l)
{
    struct stat st;
    l->nr = 0;
    int r = tasks_each(add_to_list, l);
    if (r)
        return r;
    if (stat("/proc/self/task", &st))
        return -errno;
    if (st.st_nlink != l->nr + 2) /* itself, its parent, and a folder for each */
        return -EAGAIN;
    for (uint32_t i = 0; i < l->nr; i++)
        if (syscall(SYS_tgkill, getpid(), l->tids[i], 0))
            return -EAGAIN;
    return 0;
}

int tasks_list(pid_t *ret_tids, uint32_t nr_max)
{
    struct list l = { .tids = ret_tids, .nr_max = nr_max };
    int r = -EAGAIN;
    for (int i = 0; r == -EAGAIN && i < LIST_TRIES; i++)
        r = list_once(&l);
    return r ? r : (int)l.nr;
}

void task_wait_gone(pid_t tid)
{
    for (int i = 0; i < 10000 && syscall(SYS_tgkill, getpid(), tid, 0) == 0; i++)
        usleep(50);
}

ssize_t task_read(pid_t tid, const char *name, char *ret_text, size_t capacity)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/%s", (int)tid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, ret_text, capacity - 1);
    int error = errno;
    close(fd);
    ret_text[n > 0 ? n : 0] = 0;
    return n < 0 ? -error : n;
}

int task_nr_filters(pid_t tid)
{
    static const char name[] = "\nSeccomp_filters:";
    char text[4096]; /* some 1500 bytes; the name of a thread can't have a line of its own */
    ssize_t n = task_read(tid, "status", text, sizeof text);
    if (n < 0)
        return (int)n;
    const char *at = strstr(text, name);
    if (!at && n == (ssize_t)sizeof text - 1)
        return -E2BIG; /* hundreds of groups stand before it */
    return at ? (int)strtol(at + sizeof name - 1, NULL, 10) : 0;
}
