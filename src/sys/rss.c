/* rss.c - see rss.h. */
#include "sys/rss.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/pagesize.h"

uint64_t rss_private_bytes(pid_t pid)
{
    char path[32], text[128];
    (void)snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    unsigned long long resident, shared; /* shared: of files and of shmem */
    if (sscanf(text, "%*u %llu %llu", &resident, &shared) != 2 || resident < shared)
        return 0;
    return pages_to_bytes(resident - shared);
}
