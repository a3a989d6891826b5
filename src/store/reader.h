/* reader.h - compressed pages at rest, the side that reads: locator -> 4096 bytes, checked. The
 * memory read belongs to another process that may write it at any moment: a blob is copied out once
 * into the caller's scratch, bounds first, and only the copy is decoded.
 *
 * Contract: any thread, each with its own scratch; allocates nothing, no system call. */
#ifndef STORE_READER_H
#define STORE_READER_H

#include <stddef.h>
#include <stdint.h>

#include "base/locator.h"
#include "base/pagesize.h"
#include "codec/group.h"

struct store_map {
    /* The whole store, mapped read-only; NULL: not mapped. Never with MAP_POPULATE, and never read
     * elsewhere than at a live place: reading a hole of a memfd's map gives it memory. */
    const unsigned char *bytes;
    uint64_t nr_bytes;
};

/* Where a blob is copied to and a group unpacked. The last group stays: its pages are neighbours,
 * and the next touch may well want one of them. All zeros at first. */
struct store_scratch {
    const unsigned char *group_store; /* the map's bytes that group is from; NULL: nothing is in it */
    locator group_place;               /* locator_of_group() */
    int nr_group_pages;
    _Alignas(64) unsigned char blob[LOCATOR_GROUP_BYTES_MAX];
    _Alignas(64) unsigned char group[LOCATOR_GROUP_BYTES_MAX];
    struct group_decoder decoder;
};

/* Forgets the last group. To be called before a place is believed that may be the same as that of
 * an earlier group (a place is used again after all its pages were given up), and when a map
 * becomes another one. */
static inline void store_scratch_forget(struct store_scratch *scratch)
{
    scratch->group_store = NULL;
}

/* Decodes the page at `place` into ret_page (PAGE_BYTES) and compares it with the checksum that was
 * computed when the page left. -EILSEQ: out of bounds, undecodable, or not those bytes (if it was
 * one of the group that stayed, that is forgotten: ask again). */
int store_read(const struct store_map *map, locator place, uint32_t checksum,
               struct store_scratch *scratch, void *ret_page);

/* Asks for a place's bytes, before they are read; reads nothing, so it need not be live any more. */
void store_prefetch(const struct store_map *map, locator place);

/* Reads a byte at both ends of a live place, so that the map has its pages before they are wanted: the
 * kernel maps 16 at a time, and a touch that meets an unmapped one waits for that, too. */
void store_touch(const struct store_map *map, locator place);

#endif
