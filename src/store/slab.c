/* slab.c - slots and blocks of one slab. */
#include "store/slab.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/point.h"

#define FREE_SLOTS_LOOKED_AT 8u /* enough to find one in a populated block nearly always */

static uint32_t nr_words(const struct slab *s)
{
    return (slots_in_slab(s->slot_units) + 63) / 64;
}

/* The bitmap, wherever it is. */
static const uint64_t *bitmap_of(const struct slab *s)
{
    return nr_words(s) > 1 ? s->used.words : &s->used.bits;
}

static uint64_t *bitmap_of_mutable(struct slab *s)
{
    return nr_words(s) > 1 ? s->used.words : &s->used.bits;
}

/* What a slot of this size costs: its share of the blocks that a full slab has, in 1/64 units. */
static uint32_t slot_cost(uint32_t slot_units)
{
    const uint32_t block_units = (uint32_t)PAGE_BYTES / STORE_UNIT_BYTES;
    uint32_t nr = slots_in_slab(slot_units);
    uint32_t blocks = (nr * slot_units + block_units - 1) / block_units;
    return blocks * block_units * 64 / nr;
}

uint32_t slot_units_for(size_t bytes)
{
    uint32_t units = (uint32_t)((bytes + STORE_UNIT_BYTES - 1) / STORE_UNIT_BYTES);
    uint32_t even = SLAB_UNITS / (SLAB_UNITS / units);
    if (even <= SLOT_UNITS_EVEN_MAX)
        return even;
    /* The next size that is cheaper than this one is not far; of equals the longest, so that sizes
     * are few. */
    uint32_t best = units;
    for (uint32_t s = units + 1; s <= even; s++)
        if (slot_cost(s) <= slot_cost(best))
            best = s;
    return best;
}

size_t slab_extra_bytes(uint32_t slot_units)
{
    uint32_t words = (slots_in_slab(slot_units) + 63) / 64;
    return words > 1 ? words * sizeof(uint64_t) : 0;
}

int slab_open(struct slab *s, uint32_t slot_units)
{
    assert(s->slot_units == 0 && s->nr_used == 0);
    size_t extra = slab_extra_bytes(slot_units);
    if (extra) {
        uint64_t *words = point_fails(POINT_SLAB_BITMAP) ? NULL : calloc(1, extra);
        if (!words)
            return -ENOMEM;
        s->used.words = words;
    } else {
        s->used.bits = 0;
    }
    s->slot_units = slot_units & 0x3fff;
    s->dead = s->populated;
    return 0;
}

void slab_close(struct slab *s)
{
    assert(s->slot_units && s->nr_used == 0);
    if (slab_extra_bytes(s->slot_units))
        free(s->used.words);
    s->used.bits = 0;
    s->slot_units = 0;
    s->dead = s->populated;
}

block_mask slab_blocks_of(uint32_t slot_units, uint32_t slot)
{
    uint32_t slot_bytes = slot_units * STORE_UNIT_BYTES;
    uint32_t first = slot * slot_bytes / (uint32_t)PAGE_BYTES;
    uint32_t last = ((slot + 1) * slot_bytes - 1) / (uint32_t)PAGE_BYTES;
    return (block_mask)((2u << last) - (1u << first));
}

bool slab_is_used(const struct slab *s, uint32_t slot)
{
    return bitmap_of(s)[slot / 64] >> slot % 64 & 1;
}

void slab_take(struct slab *s, uint32_t slot)
{
    assert(!slab_is_used(s, slot));
    bitmap_of_mutable(s)[slot / 64] |= (uint64_t)1 << slot % 64;
    s->nr_used++;
    s->dead &= (block_mask)~slab_blocks_of(s->slot_units, slot);
}

/* Is a slot in [first, last] used? */
static bool is_any_used(const struct slab *s, uint32_t first, uint32_t last)
{
    const uint64_t *bitmap = bitmap_of(s);
    for (uint32_t word = first / 64; word <= last / 64; word++) {
        uint64_t bits = bitmap[word];
        if (word == first / 64)
            bits &= UINT64_MAX << first % 64;
        if (word == last / 64)
            bits &= UINT64_MAX >> (63 - last % 64);
        if (bits)
            return true;
    }
    return false;
}

static bool is_block_live(const struct slab *s, uint32_t block)
{
    uint32_t slot_bytes = s->slot_units * STORE_UNIT_BYTES;
    uint32_t first = block * (uint32_t)PAGE_BYTES / slot_bytes;
    uint32_t last = ((block + 1) * (uint32_t)PAGE_BYTES - 1) / slot_bytes;
    uint32_t nr_slots = slots_in_slab(s->slot_units);
    if (last >= nr_slots)
        last = nr_slots - 1;
    return first < nr_slots && is_any_used(s, first, last);
}

void slab_release(struct slab *s, uint32_t slot)
{
    assert(slab_is_used(s, slot));
    bitmap_of_mutable(s)[slot / 64] &= ~((uint64_t)1 << slot % 64);
    s->nr_used--;
    for (uint32_t left = slab_blocks_of(s->slot_units, slot); left; left &= left - 1) {
        uint32_t block = (uint32_t)__builtin_ctz(left);
        if (!is_block_live(s, block))
            s->dead |= (block_mask)(1u << block);
    }
}

uint32_t slab_find_free(const struct slab *s)
{
    const uint64_t *bitmap = bitmap_of(s);
    uint32_t nr_slots = slots_in_slab(s->slot_units);
    uint32_t found = UINT32_MAX, looked_at = 0;
    for (uint32_t word = 0; word < nr_words(s); word++) {
        for (uint64_t left = ~bitmap[word]; left; left &= left - 1) {
            uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(left);
            if (slot >= nr_slots)
                break;
            if (found == UINT32_MAX)
                found = slot;
            if (!(slab_blocks_of(s->slot_units, slot) & ~s->populated))
                return slot;
            if (++looked_at == FREE_SLOTS_LOOKED_AT)
                return found;
        }
    }
    assert(found != UINT32_MAX);
    return found;
}

bool slab_is_valid(const struct slab *s)
{
    if (s->dead & ~s->populated)
        return false;
    if (!s->slot_units)
        return s->nr_used == 0 && s->dead == s->populated;
    uint32_t nr_used = 0, nr_slots = slots_in_slab(s->slot_units);
    for (uint32_t word = 0; word < nr_words(s); word++)
        nr_used += (uint32_t)__builtin_popcountll(bitmap_of(s)[word]);
    if (nr_used != s->nr_used || nr_used == 0 || nr_used > nr_slots)
        return false;
    for (uint32_t block = 0; block < SLAB_BLOCKS; block++) {
        bool is_live = is_block_live(s, block), is_populated = s->populated >> block & 1;
        if ((is_live && !is_populated) || (s->dead >> block & 1) != (is_populated && !is_live))
            return false;
    }
    return true;
}
