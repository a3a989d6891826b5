/* passing.c - see passing.h. */
#include "sys/passing.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int passing_send(int socket, const void *bytes, size_t size, int fd, int flags)
{
    struct iovec part = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = size };
    _Alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(sizeof fd)] = { 0 };
    struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };
    if (fd >= 0) {
        m.msg_control = control;
        m.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof fd),
                               .cmsg_level = SOL_SOCKET,
                               .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    return sendmsg(socket, &m, flags | MSG_NOSIGNAL) == (ssize_t)size ? 0 : -errno;
}

int passing_receive(int socket, void *ret_bytes, size_t size, int *ret_fd, int flags)
{
    struct iovec part = { .iov_base = ret_bytes, .iov_len = size };
    _Alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(sizeof *ret_fd)];
    struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                        .msg_controllen = CMSG_LEN(sizeof *ret_fd) }; /* no room for a second */
    *ret_fd = -1;
    ssize_t n = recvmsg(socket, &m, flags | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(c), sizeof *ret_fd);
    if (n == (ssize_t)size && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return 0;
    if (n == (ssize_t)size && !(m.msg_flags & MSG_TRUNC) && *ret_fd < 0)
        return -EMFILE;
    if (*ret_fd >= 0)
        (void)close(*ret_fd);
    *ret_fd = -1;
    return n == 0 ? -ECONNRESET : -EPROTO;
}
