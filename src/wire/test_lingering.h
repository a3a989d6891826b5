/* test_lingering.h - for tests: a descriptor whose last close waits, for ten minutes or until its peer has read all
 * of it: a TCP connection with SO_LINGER and more unsent than its peer has room for. */
#ifndef WIRE_TEST_LINGERING_H
#define WIRE_TEST_LINGERING_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* Both are the caller's. -1: no TCP here. */
static inline int test_lingering(int *ret_peer)
{
    static const char junk[1 << 16];
    const struct linger linger = { .l_onoff = 1, .l_linger = 600 };
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof here;
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&here, size) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&here, &size) || connect(fd, (struct sockaddr *)&here, size) ||
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger)) {
        close(listener);
        close(fd);
        return -1;
    }
    *ret_peer = accept(listener, NULL, NULL);
    close(listener);
    while (send(fd, junk, sizeof junk, MSG_DONTWAIT) > 0)
        ;
    return fd;
}

#endif
