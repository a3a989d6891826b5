/* status.c - see status.h. */
#include "sys/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The number behind "\nNAME:"; false: there is none. */
static bool find(const char *text, const char *name, uint64_t *ret_value)
{
    const char *at = strstr(text, name);
    if (!at)
        return false;
    char *end;
    *ret_value = strtoull(at + strlen(name), &end, 10);
    return end != at + strlen(name);
}

int process_status_open(pid_t pid)
{
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -ESRCH : fd;
}

int process_status_read(int fd, struct process_status *ret)
{
    char text[65536]; /* 1.5 KiB as a rule; before what is looked for stands a list of groups: 5,000 fit */
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return -ESRCH;
    text[n] = 0;
    uint64_t anon_kib, file_kib, nr_threads;
    if (!find(text, "\nRssAnon:", &anon_kib) || !find(text, "\nRssFile:", &file_kib) ||
        !find(text, "\nThreads:", &nr_threads))
        return -EPROTO;
    *ret = (struct process_status){ .nr_threads = nr_threads,
                                    .resident_bytes = (anon_kib + file_kib) * 1024,
                                    .private_bytes = anon_kib * 1024 };
    return 0;
}
