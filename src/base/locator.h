/* locator.h - where the bytes of one stored page are, in one word. The daemon makes it, the client
 * keeps it in its page table and gives it back to free the place. Pure encode and decode.
 *
 *   bits 0-2   kind      what the bytes are
 *   bits 3-14  size - 1  of the blob in bytes (1..4096)
 *   bits 15-50 offset    in the store, in units of 16 bytes (up to 1 TiB)
 *
 * LOCATOR_FILL32 has no blob: its upper bits are the 32-bit word that fills the page. LOCATOR_ZSTD
 * is one page of a group that shares a blob, which may be longer: its bits 3-12 are the size in
 * units of 16 bytes, less one, and bits 13-14 say which page of the group it is. */
#ifndef BASE_LOCATOR_H
#define BASE_LOCATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t locator;

enum locator_kind {
    LOCATOR_NONE,   /* all bits 0: no place */
    LOCATOR_FILL32, /* the page is one 32-bit word, repeated: no place either */
    LOCATOR_FILL64, /* the page is one 64-bit word, repeated: 8 bytes in the store */
    LOCATOR_LZ4,    /* an LZ4 block */
    LOCATOR_ZSTD,   /* one of up to four pages in a zstd frame */
    LOCATOR_KIND_NR
};

#define LOCATOR_BITS 51
#define STORE_UNIT_BYTES 16u
#define LOCATOR_SIZE_MAX 4096u
#define LOCATOR_GROUP_PAGES 4u
#define LOCATOR_GROUP_BYTES_MAX 16384u
/* The store's file is cut into slabs; those that are to become empty are told by a table in which
 * slab n stands at n % STORE_LEAVING_NR as n + 1, so that one look answers. */
#define STORE_SLAB_BYTES 65536u
#define STORE_LEAVING_NR 256u
#define LOCATOR_STORE_BYTES_MAX ((uint64_t)STORE_UNIT_BYTES << 36)

static inline locator locator_make(enum locator_kind kind, uint64_t offset_bytes, size_t size)
{
    return (locator)kind | (uint64_t)(size - 1) << 3 | (offset_bytes / STORE_UNIT_BYTES) << 15;
}

static inline locator locator_make_fill32(uint32_t word)
{
    return (locator)LOCATOR_FILL32 | (uint64_t)word << 15;
}

static inline enum locator_kind locator_kind_of(locator l)
{
    return (enum locator_kind)(l & 7);
}

/* Page `index` of the group whose blob of `size` bytes (1..16384) is there. */
static inline locator locator_make_group(uint64_t offset_bytes, size_t size, unsigned index)
{
    size_t units = (size + STORE_UNIT_BYTES - 1) / STORE_UNIT_BYTES;
    return (locator)LOCATOR_ZSTD | (uint64_t)(units - 1) << 3 | (uint64_t)(index & 3) << 13 |
           (offset_bytes / STORE_UNIT_BYTES) << 15;
}

/* Of the blob in bytes; of a group's, rounded up to units. */
static inline size_t locator_size(locator l)
{
    if (locator_kind_of(l) == LOCATOR_ZSTD)
        return ((size_t)(l >> 3 & 0x3ff) + 1) * STORE_UNIT_BYTES;
    return (size_t)(l >> 3 & 0xfff) + 1;
}

/* LOCATOR_ZSTD: which page of the group. */
static inline unsigned locator_index(locator l)
{
    return (unsigned)(l >> 13 & 3);
}

/* LOCATOR_ZSTD: the same for all pages of a group. */
static inline locator locator_of_group(locator l)
{
    return l & ~((locator)3 << 13);
}

static inline uint64_t locator_offset(locator l)
{
    return (l >> 15 & (((uint64_t)1 << 36) - 1)) * STORE_UNIT_BYTES;
}

static inline uint32_t locator_fill32(locator l)
{
    return (uint32_t)(l >> 15);
}

/* Of a place that has a blob: which slab it begins in. */
static inline uint32_t locator_slab(locator l)
{
    return (uint32_t)(locator_offset(l) / STORE_SLAB_BYTES);
}

/* Has it a place in the store that must be given back? */
static inline bool locator_has_blob(locator l)
{
    return locator_kind_of(l) == LOCATOR_FILL64 || locator_kind_of(l) == LOCATOR_LZ4 ||
           locator_kind_of(l) == LOCATOR_ZSTD;
}

#endif
