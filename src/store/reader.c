/* reader.c - bounds, copy, decode, compare: in this order.
 *
 * Budget for a heap-like page: copy of ~1500 B 0.1 µs, LZ4 ~1 µs, checksum 0.2 µs. For the first
 * page of a group 13-17 µs in place of the 1, for the next ones of it a copy of 4 KiB. */
#include "store/reader.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"
#include "codec/codec.h"

#define CACHE_LINE_BYTES 64u

static bool is_inside(const struct store_map *map, uint64_t offset, size_t size)
{
    return map->bytes && offset <= map->nr_bytes && size <= map->nr_bytes - offset;
}

/* What the caller has in its own table says the word; nothing is read from the store. */
static int read_fill32(locator place, void *page)
{
    codec_fill32(locator_fill32(place), page);
    return 0;
}

/* From here on only the copy: the compiler may not read the shared bytes again. */
static bool copy_blob(const struct store_map *map, locator place, struct store_scratch *scratch)
{
    uint64_t offset = locator_offset(place);
    size_t size = locator_size(place);
    if (!is_inside(map, offset, size) && !mutant_is(MUTANT_STORE_READ_OUTSIDE))
        return false;
    memcpy(scratch->blob, map->bytes + offset, size);
    __asm__ volatile("" ::: "memory");
    return true;
}

static int read_blob(const struct store_map *map, locator place, struct store_scratch *scratch,
                     void *page)
{
    if (!copy_blob(map, place, scratch))
        return -EILSEQ;
    return codec_decode(locator_kind_of(place), scratch->blob, locator_size(place), page);
}

static int unpack_group(const struct store_map *map, locator place, struct store_scratch *scratch)
{
    store_scratch_forget(scratch);
    if (!copy_blob(map, place, scratch))
        return -EILSEQ;
    int nr = group_decode(&scratch->decoder, scratch->blob, locator_size(place), scratch->group);
    if (nr < 0)
        return nr;
    scratch->group_store = map->bytes;
    scratch->group_place = locator_of_group(place);
    scratch->nr_group_pages = nr;
    return 0;
}

static int read_member(const struct store_map *map, locator place, struct store_scratch *scratch,
                       void *page)
{
    bool is_here = map->bytes && scratch->group_store == map->bytes &&
                   scratch->group_place == locator_of_group(place);
    int r = is_here ? 0 : unpack_group(map, place, scratch);
    if (r < 0)
        return r;
    if ((int)locator_index(place) >= scratch->nr_group_pages)
        return -EILSEQ;
    memcpy(page, scratch->group + pages_to_bytes(locator_index(place)), PAGE_BYTES);
    return 0;
}

int store_read(const struct store_map *map, locator place, uint32_t checksum,
               struct store_scratch *scratch, void *ret_page)
{
    int r;
    if (locator_kind_of(place) == LOCATOR_FILL32)
        r = read_fill32(place, ret_page);
    else if (locator_kind_of(place) == LOCATOR_ZSTD)
        r = read_member(map, place, scratch, ret_page);
    else if (locator_has_blob(place))
        r = read_blob(map, place, scratch, ret_page);
    else
        r = -EILSEQ;
    if (r == 0 && page_checksum(ret_page) != checksum && !mutant_is(MUTANT_BELIEVE_STORE))
        r = -EILSEQ;
    if (point_fails(POINT_STORE_READ))
        r = -errno;
    if (r < 0)
        store_scratch_forget(scratch); /* what is read again is read from the store */
    return r;
}

void store_prefetch(const struct store_map *map, locator place)
{
    uint64_t offset = locator_offset(place);
    size_t size = locator_size(place);
    if (!locator_has_blob(place) || locator_kind_of(place) == LOCATOR_ZSTD || !is_inside(map, offset, size))
        return; /* of a group its neighbours have it, mostly */
    for (size_t i = 0; i < size; i += CACHE_LINE_BYTES)
        __builtin_prefetch(map->bytes + offset + i);
}

void store_touch(const struct store_map *map, locator place)
{
    uint64_t offset = locator_offset(place);
    size_t size = locator_size(place);
    if (!locator_has_blob(place) || !size || !is_inside(map, offset, size))
        return;
    (void)*(const volatile unsigned char *)(map->bytes + offset);
    (void)*(const volatile unsigned char *)(map->bytes + offset + size - 1);
}
