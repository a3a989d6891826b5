/* locator.h - where the bytes of one stored page are, in one word. The daemon makes it, the client
 * keeps it in its page table and gives it back to free the place. Pure encode and decode.
 *
 *   bits 0-2   kind      what the bytes are
 *   bits 3-14  size - 1  of the blob in bytes (1..4096)
 *   bits 15-50 offset    in the store, in units of 16 bytes (up to 1 TiB)
 *
 * LOCATOR_FILL32 has no blob: its upper bits are the 32-bit word that fills the page. */
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
    LOCATOR_KIND_NR
};

#define LOCATOR_BITS 51
#define STORE_UNIT_BYTES 16u
#define LOCATOR_SIZE_MAX 4096u
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

static inline size_t locator_size(locator l)
{
    return (size_t)(l >> 3 & 0xfff) + 1;
}

static inline uint64_t locator_offset(locator l)
{
    return (l >> 15 & (((uint64_t)1 << 36) - 1)) * STORE_UNIT_BYTES;
}

static inline uint32_t locator_fill32(locator l)
{
    return (uint32_t)(l >> 15);
}

/* Has it a place in the store that must be given back? */
static inline bool locator_has_blob(locator l)
{
    return locator_kind_of(l) == LOCATOR_FILL64 || locator_kind_of(l) == LOCATOR_LZ4;
}

#endif
