/* limits.c - see limits.h. */
#include "sys/limits.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

bool limits_address_space(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur != RLIM_INFINITY)
        return true;
    char mode = '2';
    int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, &mode, 1) != 1)
            mode = '2';
        close(fd);
    }
    return mode == '2';
}
