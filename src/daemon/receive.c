/* receive.c - see receive.h. */
#include "daemon/receive.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/point.h"
#include "daemon/impatience.h"
#include "sys/uffd.h"

/* What /proc says that it is, or "". */
static void read_link(int fd, char *buffer, size_t capacity)
{
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, buffer, capacity - 1);
    buffer[n > 0 ? n : 0] = 0;
}

/* Is it a /proc/PID/pagemap? Anything else would make our scans fail or do something else. The name
 * alone can be had by whoever mounts something at his own /proc. */
static bool is_pagemap(int fd)
{
    static const char head[] = "/proc/", tail[] = "/pagemap";
    char path[128];
    read_link(fd, path, sizeof path);
    size_t n = strlen(path);
    if (n < sizeof head + sizeof tail - 2 || memcmp(path, head, sizeof head - 1) ||
        memcmp(path + n - (sizeof tail - 1), tail, sizeof tail - 1))
        return false;
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

static bool is_userfaultfd(int fd)
{
    char path[64];
    read_link(fd, path, sizeof path);
    return !strcmp(path, "anon_inode:[userfaultfd]");
}

static void do_handshake(struct msg_uffd_api *m, const struct msg_fds *fds)
{
    uint64_t offered = m->features;
    m->error = -EBADF;
    if (fds->nr == 1 && is_userfaultfd(fds->fd[0])) {
        offered = 0;
        m->error = uffd_handshake(fds->fd[0], m->features, &offered);
    }
    m->features = offered;
}

static void use_fds(struct msg *m, struct msg_fds *fds, struct msg_fds *ret_fds)
{
    if (m->header.type == MSG_HELLO && fds->nr == 1 && is_pagemap(fds->fd[0])) {
        *ret_fds = *fds;
        fds->nr = 0;
    } else if (m->header.type == MSG_UFFD_API) {
        point_kills(POINT_FORK_HELPER_GOT);
        do_handshake(&m->payload.uffd_api, fds);
        point_kills(POINT_FORK_HELPER_DID);
    }
}

int receive(int socket, struct msg *ret_msg, struct msg_fds *ret_fds)
{
    struct msg_fds fds = { .nr = 0 };
    ret_fds->nr = 0;
    impatience_begin();
    int r = msg_recv(socket, ret_msg, &fds);
    if (r == 0)
        use_fds(ret_msg, &fds, ret_fds);
    msg_fds_close(&fds);
    impatience_end();
    return r;
}
