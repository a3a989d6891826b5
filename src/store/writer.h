/* writer.h - compressed pages at rest, the side that writes. Puts strings of bytes into size-classed
 * slabs of one memfd and gives back where they are. Knows nothing of pages, processes or codecs.
 * Memory is bounded: cap_bytes counts populated 4 KiB blocks of the memfd, not payload, so the number
 * in `process-pager status` is what the machine pays.
 *
 * Contract: one thread at a time (the daemon's compress thread). Offsets are multiples of
 * STORE_UNIT_BYTES. Readers map the memfd read-only (store/reader.h). */
#ifndef STORE_WRITER_H
#define STORE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_writer;

struct store_usage {
    uint64_t held_bytes;        /* populated blocks: what the machine pays */
    uint64_t payload_bytes;     /* what was put and not dropped */
    uint64_t nr_blobs;
    uint64_t bookkeeping_bytes; /* our own, beside the memfd */
};

/* A store whose file may become file_bytes long (sparse; what a client maps) and hold at most
 * cap_bytes. -EINVAL: cap below one slab or file_bytes above LOCATOR_STORE_BYTES_MAX. */
int store_writer_new(uint64_t cap_bytes, uint64_t file_bytes, struct store_writer **ret);
struct store_writer *store_writer_free(struct store_writer *st); /* takes NULL, returns NULL */

/* A read-only descriptor of the memfd for a client, close-on-exec; the caller closes it. The file is
 * mode 0 and sealed against shrinking, growing and further seals: nobody can reopen it for writing. */
int store_writer_open_readonly(struct store_writer *st);

/* Copies 1..3072 bytes in. -ENOSPC: over the cap; nothing changed. */
int store_put(struct store_writer *st, const void *bytes, size_t size, uint64_t *ret_offset);
/* Gives back what store_put returned, with the same size. -EINVAL: nothing of that size was there
 * (a lying client); nothing changed. */
int store_drop(struct store_writer *st, uint64_t offset, size_t size);
/* Gives empty blocks back to the system, at most max_blocks now; returns how many. Call when idle:
 * dropping only marks them, so that a place that is soon used again costs no fault. */
size_t store_trim(struct store_writer *st, size_t max_blocks);

void store_usage(const struct store_writer *st, struct store_usage *ret);
bool store_is_valid(const struct store_writer *st); /* O(slabs); debug builds call it often */

#endif
