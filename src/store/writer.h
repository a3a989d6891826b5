/* writer.h - compressed pages at rest, the side that writes. Puts strings of bytes into
 * size-classed slabs of one memfd and gives back where they are. Knows nothing of pages, processes
 * or codecs. Memory is bounded: cap_bytes counts populated 4 KiB blocks of the memfd, not payload,
 * so the number in `process-pager status` is what the machine pays.
 *
 * A group is a blob that several pages share: it is kept until each of its members has been
 * dropped.
 *
 * Compaction: a slab is *leaving* when what is left of it would fit into others of its kind.
 * Nothing new is put there; who holds its places puts their bytes elsewhere, and the empty slab goes
 * back to the system.
 *
 * Contract: one thread at a time (the daemon's compress thread). Offsets are multiples of
 * STORE_UNIT_BYTES. Readers map the memfd read-only (store/reader.h). */
#ifndef STORE_WRITER_H
#define STORE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/locator.h"

struct store_writer;

struct store_usage {
    uint64_t held_bytes;        /* populated blocks: what the machine pays */
    uint64_t payload_bytes;     /* what was put and not dropped */
    uint64_t nr_blobs;          /* groups, too */
    uint64_t bookkeeping_bytes; /* our own, beside the memfd */
    uint64_t slot_bytes;        /* of the slots that blobs lie in: payload and what is lost around it */
    uint64_t nr_groups, nr_group_pages, group_payload_bytes, group_slot_bytes; /* of all these, groups */
};

/* What several stores may hold together. */
struct store_budget {
    uint64_t cap_bytes;          /* set before the first store is in it */
    _Atomic uint64_t held_bytes; /* any thread; only the one that puts decides by it */
};

/* A store whose file may become file_bytes long (sparse; what a client maps) and hold at most
 * cap_bytes. -EINVAL: cap below one slab or file_bytes above LOCATOR_STORE_BYTES_MAX. */
int store_writer_new(uint64_t cap_bytes, uint64_t file_bytes, struct store_writer **ret);
struct store_writer *store_writer_free(struct store_writer *st); /* takes NULL, returns NULL */
/* From now on it is in that budget, too; before the first put. */
void store_set_budget(struct store_writer *st, struct store_budget *budget);

/* A read-only descriptor of the memfd for a client, close-on-exec; the caller closes it. The file is
 * mode 0 and sealed against shrinking, growing and further seals: nobody can reopen it for writing. */
int store_writer_open_readonly(struct store_writer *st);

/* Copies 1..3072 bytes in. -ENOSPC: over the cap; nothing changed. A 64th of the cap is kept for
 * what replaces something: groups and moves give room back only after they have taken some. */
int store_put(struct store_writer *st, const void *bytes, size_t size, uint64_t *ret_offset);
/* The same in place of something that will be dropped. */
int store_put_instead(struct store_writer *st, const void *bytes, size_t size, uint64_t *ret_offset);
/* The same for a group, 1..12288 bytes; members: a bit for each of 1..4. */
int store_put_group(struct store_writer *st, const void *bytes, size_t size, unsigned members,
                    uint64_t *ret_offset);
/* Gives back what store_put returned, with the same size. -EINVAL: nothing of that size was there
 * (a lying client); nothing changed. */
int store_drop(struct store_writer *st, uint64_t offset, size_t size);
/* Gives back one member of a group; size: rounded up to units, as a locator has it. -EINVAL: no
 * such group, or no such member any more. */
int store_drop_member(struct store_writer *st, uint64_t offset, size_t size, unsigned index);

/* The bytes of a blob of exactly that size; NULL: nothing of that size is there. Until it is
 * dropped. */
const void *store_look(const struct store_writer *st, uint64_t offset, size_t size);
/* The same for a group, by its size in units, with its own size and the members it still has. */
const void *store_look_group(const struct store_writer *st, uint64_t offset, size_t size, size_t *ret_size,
                             unsigned *ret_members);

/* Chooses anew which slabs are leaving: the emptiest of each size, where more than a 16th of the
 * slots of that size is free and the others have room for what is left. ret_slabs: see
 * base/locator.h. Returns how many. Looks at a few thousand slabs at most. */
size_t store_choose_leaving(struct store_writer *st, uint32_t ret_slabs[STORE_LEAVING_NR]);
/* How many of those chosen last are not empty yet. */
size_t store_nr_leaving(const struct store_writer *st);

/* Gives empty blocks back to the system, at most max_blocks now; returns how many. Call when idle:
 * dropping only marks them, so that a place that is soon used again costs no fault. */
size_t store_trim(struct store_writer *st, size_t max_blocks);

void store_usage(const struct store_writer *st, struct store_usage *ret);
bool store_is_valid(const struct store_writer *st); /* O(slabs); debug builds call it often */

#endif
