/* fork_channel.c - the two ends of a fork's socket; see forks.h. Both are the same program, so what comes is
 * believed; a word that can't be is as good as none. */
#include <errno.h>
#include <sys/socket.h>

#include "base/point.h"
#include "client/forks.h"
#include "sys/passing.h"

bool fork_may_pass(int error)
{
    return error == -EAGAIN || error == -EINTR || error == -ENOBUFS || error == -ENOMEM ||
           error == -ETOOMANYREFS;
}

int fork_send(int socket, const struct fork_message *m, int fd)
{
    return point_fails(POINT_FORK_SEND) ? -errno : passing_send(socket, m, sizeof *m, fd, MSG_DONTWAIT);
}

int fork_receive(int socket, struct fork_message *ret_m, int *ret_fd)
{
    *ret_fd = -1;
    int r = point_fails(POINT_FORK_RECEIVE) ? -errno
                                            : passing_receive(socket, ret_m, sizeof *ret_m, ret_fd, MSG_DONTWAIT);
    return fork_may_pass(r) ? -EAGAIN : r; /* it is still there */
}
