/* heap_feed.h - bytes into a program that we have started, and its answers: over a FIFO or a UNIX
 * stream socket. No call waits longer than a time or beyond a signal that asks us to stop. One
 * thread. */
#ifndef BENCH_HEAP_FEED_H
#define BENCH_HEAP_FEED_H

#include <stddef.h>
#include <stdint.h>

#include "child.h"

struct heap_feed {
    int fd;
    uint64_t until_ns; /* of CLOCK_MONOTONIC: the end of patience */
    size_t length;
    char buffer[65536];
};

/* Waits until the child reads from the FIFO, or listens at the socket. -ESRCH: it has ended, and
 * its code is in ret_code. -ETIMEDOUT, -EINTR: we were asked to stop. */
int heap_feed_open_fifo(struct heap_feed *f, const char *path, struct child *c, uint64_t until_ns,
                        int *ret_code);
int heap_feed_open_socket(struct heap_feed *f, const char *path, struct child *c, uint64_t until_ns,
                          int *ret_code);
void heap_feed_close(struct heap_feed *f);

int heap_feed_write(struct heap_feed *f, const void *bytes, size_t size);
int heap_feed_flush(struct heap_feed *f);
/* Whatever has come, at least one byte. */
int heap_feed_read(struct heap_feed *f, char *buffer, size_t capacity, size_t *ret_size);

#endif
