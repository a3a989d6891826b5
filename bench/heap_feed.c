/* heap_feed.c - see heap_feed.h. */
#include "heap_feed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/pace.h"

#define LOOK_NS 20000000u /* between two tries */
#define LOOK_MS 200       /* between two looks at the time */

static int open_fifo(const char *path)
{
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC); /* ENXIO: nobody reads it yet */
    return fd < 0 ? -errno : fd;
}

static int open_socket(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int r = -errno;
    close(fd);
    return r;
}

static bool is_too_early(int r)
{
    return r == -ENXIO || r == -ENOENT || r == -ECONNREFUSED || r == -EAGAIN;
}

static int open_feed(struct heap_feed *f, int (*try)(const char *), const char *path,
                     struct child *c, uint64_t until_ns, int *ret_code)
{
    *f = (struct heap_feed){ .until_ns = until_ns };
    while (is_too_early(f->fd = try(path))) {
        switch (child_wait_until(c, pace_now_ns() + LOOK_NS, ret_code)) {
        case CHILD_ENDED: return -ESRCH;
        case CHILD_INTERRUPTED: return -EINTR;
        case CHILD_RUNS: break;
        }
        if (pace_now_ns() > until_ns)
            return -ETIMEDOUT;
    }
    return f->fd < 0 ? f->fd : 0;
}

int heap_feed_open_fifo(struct heap_feed *f, const char *path, struct child *c, uint64_t until_ns,
                        int *ret_code)
{
    return open_feed(f, open_fifo, path, c, until_ns, ret_code);
}

int heap_feed_open_socket(struct heap_feed *f, const char *path, struct child *c, uint64_t until_ns,
                          int *ret_code)
{
    return open_feed(f, open_socket, path, c, until_ns, ret_code);
}

void heap_feed_close(struct heap_feed *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

static int wait_for(const struct heap_feed *f, short events)
{
    struct pollfd p = { .fd = f->fd, .events = events };
    while (poll(&p, 1, LOOK_MS) <= 0) {
        if (children_stop_signal())
            return -EINTR;
        if (pace_now_ns() > f->until_ns)
            return -ETIMEDOUT;
    }
    return 0;
}

int heap_feed_flush(struct heap_feed *f)
{
    for (size_t at = 0; at < f->length;) {
        int r = wait_for(f, POLLOUT);
        if (r)
            return r;
        ssize_t n = write(f->fd, f->buffer + at, f->length - at); /* SIGPIPE is ignored: EPIPE */
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        at += n > 0 ? (size_t)n : 0;
    }
    f->length = 0;
    return 0;
}

int heap_feed_write(struct heap_feed *f, const void *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        if (f->length == sizeof f->buffer) {
            int r = heap_feed_flush(f);
            if (r)
                return r;
        }
        size_t room = sizeof f->buffer - f->length, n = size - at < room ? size - at : room;
        memcpy(f->buffer + f->length, (const char *)bytes + at, n);
        f->length += n;
        at += n;
    }
    return 0;
}

int heap_feed_read(struct heap_feed *f, char *buffer, size_t capacity, size_t *ret_size)
{
    for (;;) {
        int r = wait_for(f, POLLIN);
        if (r)
            return r;
        ssize_t n = read(f->fd, buffer, capacity);
        if (n > 0) {
            *ret_size = (size_t)n;
            return 0;
        }
        if (n == 0)
            return -EPIPE;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
}
