/* pressure.c - see pressure.h. */
#include "sys/pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

int pressure_open(void)
{
    char some[4];
    int fd = open("/proc/pressure/cpu", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (pread(fd, some, sizeof some, 0) == sizeof some)
        return fd;
    close(fd); /* with psi=0 it opens, and can't be read */
    return -EOPNOTSUPP;
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=12345", the last in us, and a line "full". */
uint64_t pressure_waited_ns(int fd)
{
    char text[128];
    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    const char *total = strstr(text, "total=");
    return total ? strtoull(total + strlen("total="), NULL, 10) * NS_PER_US : 0;
}
