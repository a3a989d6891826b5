/* slab.h - one slab of the store: 64 KiB cut into slots of one size. Which slots are used, which of
 * its sixteen 4 KiB blocks hold memory, and which of those hold nothing that is live. Arithmetic
 * and bits only: no memory of the store is touched here, no list, no system call.
 *
 * Sizes: up to 195 units (of STORE_UNIT_BYTES), what the blob of one page may need, of all slot
 * sizes that fit equally often into a slab only the largest is used, so that what is lost at a
 * slab's end is below one unit a slot. There are 107 of them; a blob of 1450-1600 B loses 1.2 % on
 * average, never more than 3 %. Of the longer ones, for groups of pages, few fit into a slab, so
 * that rule would lose 5 to 11 %. But what a slab does not use at its end costs nothing in whole
 * blocks: the size is taken that makes the blocks of all slots cheapest for each of them (2.6 to
 * 3.2 % lost). The last bytes of a slot are the writer's. */
#ifndef STORE_SLAB_H
#define STORE_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/locator.h"
#include "base/pagesize.h"

#define SLAB_BYTES STORE_SLAB_BYTES
#define SLAB_UNITS (SLAB_BYTES / STORE_UNIT_BYTES)
#define SLAB_BLOCKS (SLAB_BYTES / (uint32_t)PAGE_BYTES)
#define STORE_BLOB_MAX 3072u
#define SLOT_UNITS_EVEN_MAX 195u /* the slot of the largest blob of one page */
#define STORE_GROUP_MAX (LOCATOR_GROUP_PAGES * STORE_BLOB_MAX) /* its pages' own blobs took no more */
#define STORE_GROUP_TRAILER 4u
#define SLOT_UNITS_MAX 819u /* the slot of the largest group: five in a slab */

typedef uint16_t block_mask; /* a bit for each block of a slab */
_Static_assert(SLAB_BLOCKS == 16, "block_mask");

struct slab {
    union {
        uint64_t bits;   /* up to 64 slots */
        uint64_t *words; /* more than 64 */
    } used;
    uint32_t next, previous; /* the writer's list that it is in; by number */
    uint32_t next_trim;      /* the writer's queue of slabs with dead blocks */
    uint16_t nr_used;
    block_mask populated; /* blocks that hold memory */
    block_mask dead;      /* of them, those that no live blob overlaps */
    uint16_t slot_units : 14; /* 0: not cut */
    uint16_t is_in_trim : 1;
    uint16_t is_leaving : 1; /* being emptied: nothing new is put into it */
};
_Static_assert(sizeof(struct slab) == 32, "0.75 bytes for each blob of 1500");

/* Units of the slot for so many bytes (1 .. STORE_GROUP_MAX and the writer's), which may be longer. */
uint32_t slot_units_for(size_t bytes);

static inline uint32_t slots_in_slab(uint32_t slot_units)
{
    return SLAB_UNITS / slot_units;
}

/* Cuts an empty slab. -ENOMEM: small slots need a bitmap of their own. */
int slab_open(struct slab *s, uint32_t slot_units);
/* Takes the cut back from a slab without blobs. */
void slab_close(struct slab *s);
/* Bytes allocated for a slab of such slots beside struct slab. */
size_t slab_extra_bytes(uint32_t slot_units);

bool slab_is_used(const struct slab *s, uint32_t slot);
void slab_take(struct slab *s, uint32_t slot);
/* Marks blocks that nothing live overlaps any more as dead. */
void slab_release(struct slab *s, uint32_t slot);
/* A free slot of a slab that is not full, if possible one that needs no new block. Looks at a few. */
uint32_t slab_find_free(const struct slab *s);
/* The blocks that a slot overlaps, side by side: one or two; of a group up to five. */
block_mask slab_blocks_of(uint32_t slot_units, uint32_t slot);
bool slab_is_valid(const struct slab *s);

#endif
