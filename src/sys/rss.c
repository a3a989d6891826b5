/* rss.c - see rss.h. */
#include "sys/rss.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/pagesize.h"

int rss_open(void)
{
    return open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
}

uint64_t rss_private_bytes(int fd)
{
    char text[128];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    unsigned long long resident, shared; /* shared: of files and of shmem */
    if (sscanf(text, "%*u %llu %llu", &resident, &shared) != 2 || resident < shared)
        return 0;
    return pages_to_bytes(resident - shared);
}
