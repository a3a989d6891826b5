/* heap_held.h - what one way of keeping pages holds for them, and the ways there are. Each takes
 * all pages of a heap in, reads every one back and compares it. */
#ifndef BENCH_HEAP_HELD_H
#define BENCH_HEAP_HELD_H

#include <stddef.h>
#include <stdint.h>

#include "heap_pages.h"

struct heap_held {
    uint64_t held_bytes;    /* all that is paid while the pages are out, but for table_bytes */
    uint64_t payload_bytes; /* of them, the compressed pages, without what is lost around them */
    uint64_t refused_bytes; /* of them, pages that stay as they are: not worth it */
    uint64_t table_bytes;   /* where each page is: a client's page table, zram's table */
    uint64_t nr_same;       /* one word, repeated */
    uint64_t nr_refused;
    uint64_t nr_blobs;
    uint64_t nr_untabled; /* no room in the table for their address: could not have been taken */
    uint64_t nr_wrong;    /* did not come back as it was */
};

/* Into codec/ and store/ as the daemon does it, back as the client does it. held: blocks of the
 * memfd, the store's bookkeeping, and 4096 for each page that is not worth it. table: the client's
 * page table for these addresses. 0, -ENOMEM, -ENOSPC, -EINTR: we were asked to stop. */
int heap_store_hold(const struct heap_pages *h, struct heap_held *ret, char *ret_reason,
                    size_t capacity);

/* The same, and then all of it into the second tier: what is held once it has stayed out for long.
 * Neighbours are the pages of the heap, not of a process: four in a row within 2 MiB. */
int heap_squeezed_hold(const struct heap_pages *h, struct heap_held *ret, char *ret_reason,
                       size_t capacity);

/* Into a zram device of our own (lz4) as a block device, page by page as swap does it. held:
 * mem_used_total. table: 16 bytes a page (struct zram_table_entry) and a handle of 8 bytes for each
 * page that is not same-filled; by Linux' drivers/block/zram and mm/zsmalloc.c, not counted by
 * mem_used_total. -EOPNOTSUPP and a reason: no root, or no zram here. */
int heap_zram_hold(const struct heap_pages *h, struct heap_held *ret, char *ret_reason,
                   size_t capacity);

#endif
