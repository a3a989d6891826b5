/* threads.c - see threads.h. */
#include "preload/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/tasks.h"

int threads_list(struct threads *ret)
{
    pid_t self = (pid_t)syscall(SYS_gettid);
    ret->nr = ret->nr_blocks = 0;
    int nr = tasks_list(ret->tids, CONTROL_BLOCKS_MAX);
    if (nr < 0)
        return nr;
    ret->nr = (uint32_t)nr;
    for (int i = 0; i < nr; i++) {
        struct robust_list_head *head = NULL;
        size_t bytes;
        if (syscall(SYS_get_robust_list, ret->tids[i], &head, &bytes) || !head)
            continue;
        ret->blocks[ret->nr_blocks++] = (struct control_block){ .page = page_of((uintptr_t)head),
                                                                .is_of_main = ret->tids[i] == getpid(),
                                                                .is_of_caller = ret->tids[i] == self };
    }
    return 0;
}

/* "12 (name) Z ... 0": a first thread that has gone stays as a zombie for the others' sake. */
int threads_first_status(void)
{
    enum { FIELDS_FROM_STATE = 52 - 3 };
    char text[1024];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *at = strrchr(text, ')');
    if (!at || at[1] != ' ' || at[2] != 'Z')
        return -1;
    at += 2;
    for (int i = 0; i < FIELDS_FROM_STATE && at; i++)
        at = strchr(at + 1, ' ');
    return at ? (int)strtol(at, NULL, 10) : 0;
}

bool threads_are_orphans(const struct threads *t, uint32_t nr_own)
{
    return t->nr <= nr_own + 1 && threads_first_status() >= 0;
}
