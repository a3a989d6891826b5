/* heap_zram.c - the same pages through the kernel's zram, counted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "heap_held.h"
#include "zram.h"

#define CHUNK_BYTES ((size_t)1 << 20) /* a request; zram takes it apart into pages */
#define TABLE_ENTRY_BYTES 16u
#define HANDLE_BYTES 8u

static size_t chunk_at(const struct heap_pages *h, size_t at)
{
    size_t left = pages_to_bytes(h->nr) - at;
    return left < CHUNK_BYTES ? left : CHUNK_BYTES;
}

static int write_all(int fd, const struct heap_pages *h)
{
    for (size_t at = 0, n; (n = chunk_at(h, at)) > 0; at += n) {
        if (children_stop_signal())
            return -EINTR;
        ssize_t done = pwrite(fd, h->bytes + at, n, (off_t)at);
        if (done != (ssize_t)n)
            return done < 0 ? -errno : -EIO;
    }
    return 0;
}

static int compare_all(int fd, const struct heap_pages *h, uint64_t *nr_wrong)
{
    void *buffer = aligned_alloc(PAGE_BYTES, CHUNK_BYTES);
    int r = buffer ? 0 : -ENOMEM;
    for (size_t at = 0, n; r == 0 && (n = chunk_at(h, at)) > 0; at += n) {
        ssize_t done = children_stop_signal() ? 0 : pread(fd, buffer, n, (off_t)at);
        if (done != (ssize_t)n) {
            r = children_stop_signal() ? -EINTR : done < 0 ? -errno : -EIO;
            break;
        }
        for (size_t i = 0; i < n; i += PAGE_BYTES)
            *nr_wrong += memcmp((unsigned char *)buffer + i, h->bytes + at + i, PAGE_BYTES) != 0;
    }
    free(buffer);
    return r;
}

static int count(const struct zram *z, const struct heap_pages *h, struct heap_held *held)
{
    struct zram_usage u;
    int r = zram_usage(z, &u);
    if (r)
        return r;
    held->held_bytes = u.used_bytes;
    held->nr_same = u.nr_same;
    held->nr_refused = u.nr_huge;
    held->refused_bytes = pages_to_bytes(u.nr_huge);
    held->payload_bytes = u.compressed_bytes - held->refused_bytes;
    held->nr_blobs = h->nr - u.nr_same - u.nr_huge;
    held->table_bytes = h->nr * TABLE_ENTRY_BYTES + (h->nr - u.nr_same) * HANDLE_BYTES;
    return 0;
}

int heap_zram_hold(const struct heap_pages *h, struct heap_held *ret, char *ret_reason,
                   size_t capacity)
{
    struct heap_held held = { .nr_wrong = 0 };
    struct zram z;
    if (zram_begin_disk(&z, pages_to_bytes(h->nr), ret_reason, capacity))
        return -EOPNOTSUPP;
    /* O_DIRECT: the pages go to the device itself, not to a cache before it. */
    int fd = zram_open(&z, O_RDWR | O_DIRECT);
    int r = fd < 0 ? fd : write_all(fd, h);
    if (r == 0)
        r = compare_all(fd, h, &held.nr_wrong);
    if (r == 0)
        r = count(&z, h, &held);
    if (fd >= 0)
        close(fd);
    zram_end(&z);
    if (r)
        snprintf(ret_reason, capacity, "zram: %s", strerror(-r));
    else
        *ret = held;
    return r;
}
