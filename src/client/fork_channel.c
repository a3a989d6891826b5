/* fork_channel.c - the two ends of a fork's socket; see forks.h. Both are the same program, so what comes is
 * believed; a word that can't be is as good as none. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/point.h"
#include "client/forks.h"

bool fork_may_pass(int error)
{
    return error == -EAGAIN || error == -EINTR || error == -ENOBUFS || error == -ENOMEM ||
           error == -ETOOMANYREFS;
}

int fork_send(int socket, const struct fork_message *m, int fd)
{
    struct iovec bytes = { .iov_base = (void *)(uintptr_t)m, .iov_len = sizeof *m };
    union {
        struct cmsghdr header;
        unsigned char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1 };
    if (fd >= 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = sizeof control.space;
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        *c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof fd),
                               .cmsg_level = SOL_SOCKET,
                               .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    if (point_fails(POINT_FORK_SEND))
        return -errno;
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof *m ? 0 : -errno;
}

int fork_receive(int socket, struct fork_message *ret_m, int *ret_fd)
{
    struct iovec bytes = { .iov_base = ret_m, .iov_len = sizeof *ret_m };
    union {
        struct cmsghdr header;
        unsigned char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = { .msg_iov = &bytes,
                              .msg_iovlen = 1,
                              .msg_control = &control,
                              .msg_controllen = CMSG_LEN(sizeof(int)) }; /* no room for a second */
    *ret_fd = -1;
    ssize_t n = point_fails(POINT_FORK_RECEIVE) ? -1
                                                : recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return fork_may_pass(-errno) ? -EAGAIN : -errno; /* it is still there */
    const struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(c), sizeof *ret_fd);
    if (n == (ssize_t)sizeof *ret_m && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return 0;
    if (*ret_fd >= 0)
        close(*ret_fd);
    *ret_fd = -1;
    return n == 0 ? -ECONNRESET : -EPROTO;
}
