/* descriptor.c - see descriptor.h. */
#include "client/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

int descriptor_send(int socket, int fd)
{
    char byte = 0;
    struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
    union control control = { .header = { .cmsg_len = CMSG_LEN(sizeof fd),
                                          .cmsg_level = SOL_SOCKET,
                                          .cmsg_type = SCM_RIGHTS } };
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                              .msg_controllen = sizeof control };
    return sendmsg(socket, &message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

int descriptor_receive(int socket, int least)
{
    char byte;
    struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
    union control control;
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                              .msg_controllen = sizeof control };
    if (recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1)
        return errno ? -errno : -EPROTO;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(int)))
        return -EMFILE; /* there was no room for it */
    int fd;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    int high = fcntl(fd, F_DUPFD_CLOEXEC, least);
    if (high < 0)
        return fd;
    close(fd);
    return high;
}

/* The kernel gives each userfaultfd an inode of its own. */
uint64_t descriptor_number(int fd)
{
    struct stat st;
    return fstat(fd, &st) ? 0 : (uint64_t)st.st_ino << 12 ^ st.st_dev;
}
