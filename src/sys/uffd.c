/* uffd.c - see uffd.h. */
#include "sys/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mutant.h"
#include "base/pagesize.h"
#include "base/point.h"

static int call(int fd, unsigned long request, void *argument)
{
    return ioctl(fd, request, argument) ? -errno : 0;
}

int uffd_open(int device_fd)
{
    int flags = O_CLOEXEC | O_NONBLOCK;
    if (mutant_is(MUTANT_USER_FAULTS_ONLY))
        flags |= UFFD_USER_MODE_ONLY;
    int fd = point_fails(POINT_UFFD_OPEN) ? -1 : (int)syscall(SYS_userfaultfd, flags);
    if (fd >= 0)
        return fd;
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
        return -errno; /* no matter of rights, and no other door would help */

    int own_device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (own_device >= 0) {
        fd = ioctl(own_device, USERFAULTFD_IOC_NEW, flags);
        close(own_device);
        if (fd >= 0)
            return fd;
    }
    if (device_fd >= 0) {
        fd = ioctl(device_fd, USERFAULTFD_IOC_NEW, flags);
        if (fd >= 0)
            return fd;
    }
    return -EPERM;
}

int uffd_handshake(int fd, uint64_t features, uint64_t *ret_offered)
{
    struct uffdio_api api = { .api = UFFD_API, .features = features };
    int r = point_fails(POINT_UFFD_API) ? -errno : call(fd, UFFDIO_API, &api);
    *ret_offered = api.features;
    return r;
}

int uffd_register(int fd, uint64_t start, uint64_t bytes, enum uffd_mode mode)
{
    struct uffdio_register argument = { .range = { start, bytes },
                                        .mode = UFFDIO_REGISTER_MODE_WP };
    if (mode == UFFD_ARM)
        argument.mode |= UFFDIO_REGISTER_MODE_MISSING;
    if (point_fails(mode == UFFD_ARM ? POINT_UFFD_ARM : POINT_UFFD_WATCH))
        return -errno;
    return call(fd, UFFDIO_REGISTER, &argument);
}

int uffd_unregister(int fd, uint64_t start, uint64_t bytes)
{
    struct uffdio_range range = { start, bytes };
    return point_fails(POINT_UFFD_UNREGISTER) ? -errno : call(fd, UFFDIO_UNREGISTER, &range);
}

int uffd_move(int fd, uint64_t to, uint64_t from, uint64_t bytes, uint64_t *ret_moved)
{
    struct uffdio_move argument = { .dst = to, .src = from, .len = bytes };
    int r = call(fd, UFFDIO_MOVE, &argument);
    *ret_moved = argument.move > 0 ? (uint64_t)argument.move : 0;
    return r;
}

static int copy(int fd, uint64_t to, const void *pages, uint64_t bytes, uint64_t mode, uint64_t *ret_copied)
{
    struct uffdio_copy argument = { .dst = to, .src = (uintptr_t)pages, .len = bytes, .mode = mode };
    int r = call(fd, UFFDIO_COPY, &argument);
    *ret_copied = argument.copy > 0 ? (uint64_t)argument.copy : 0;
    return r;
}

static int zeropage(int fd, uint64_t to, uint64_t mode)
{
    struct uffdio_zeropage argument = { .range = { to, PAGE_BYTES }, .mode = mode };
    return call(fd, UFFDIO_ZEROPAGE, &argument);
}

int uffd_copy(int fd, uint64_t to, const void *page)
{
    uint64_t copied;
    return copy(fd, to, page, PAGE_BYTES, 0, &copied);
}

int uffd_copy_run(int fd, uint64_t to, const void *pages, uint64_t bytes, uint64_t *ret_copied)
{
    return copy(fd, to, pages, bytes, 0, ret_copied);
}

int uffd_zeropage(int fd, uint64_t to)
{
    return zeropage(fd, to, 0);
}

int uffd_copy_quietly(int fd, uint64_t to, const void *page)
{
    uint64_t copied;
    return copy(fd, to, page, PAGE_BYTES, UFFDIO_COPY_MODE_DONTWAKE, &copied);
}

int uffd_copy_run_quietly(int fd, uint64_t to, const void *pages, uint64_t bytes, uint64_t *ret_copied)
{
    return copy(fd, to, pages, bytes, UFFDIO_COPY_MODE_DONTWAKE, ret_copied);
}

int uffd_zeropage_quietly(int fd, uint64_t to)
{
    return zeropage(fd, to, UFFDIO_ZEROPAGE_MODE_DONTWAKE);
}

int uffd_poison(int fd, uint64_t to)
{
    struct uffdio_poison argument = { .range = { to, PAGE_BYTES } };
    return call(fd, UFFDIO_POISON, &argument);
}

int uffd_wake(int fd, uint64_t start, uint64_t bytes)
{
    struct uffdio_range range = { start, bytes };
    return call(fd, UFFDIO_WAKE, &range);
}

int uffd_writeprotect(int fd, uint64_t start, uint64_t bytes, bool is_protected)
{
    struct uffdio_writeprotect argument = {
        .range = { start, bytes },
        .mode = is_protected ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
    };
    return point_fails(POINT_UFFD_PROTECT) ? -errno : call(fd, UFFDIO_WRITEPROTECT, &argument);
}

int uffd_read(int fd, struct uffd_msg *ret_messages, size_t nr)
{
    ssize_t n = read(fd, ret_messages, nr * sizeof *ret_messages);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    return (int)((size_t)n / sizeof *ret_messages);
}
