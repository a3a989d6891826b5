/* pressure.c - see pressure.h. */
#include "sys/pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HIGH_PART 20u

void pressure_open(struct pressure *p, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *p = (struct pressure){ .fd = fd < 0 ? -errno : fd, .is_high = true };
}

void pressure_close(struct pressure *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -EBADF;
}

/* "some avg10=... total=N", in microseconds; the kernel brings it up to date when it is read. */
static bool read_waited_us(int fd, uint64_t *ret_us)
{
    char text[160];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    const char *total = strstr(text, "total=");
    if (!total)
        return false;
    *ret_us = strtoull(total + strlen("total="), NULL, 10);
    return true;
}

bool pressure_is_high(struct pressure *p, uint64_t now_ns)
{
    uint64_t waited_us;
    if (p->fd < 0 || (p->looked_ns && now_ns < p->looked_ns + PRESSURE_LOOK_NS))
        return p->is_high;
    if (!read_waited_us(p->fd, &waited_us))
        return p->is_high = true;
    p->is_high = !p->looked_ns || (waited_us - p->waited_us) * 1000 * HIGH_PART > now_ns - p->looked_ns;
    p->waited_us = waited_us;
    p->looked_ns = now_ns;
    return p->is_high;
}
