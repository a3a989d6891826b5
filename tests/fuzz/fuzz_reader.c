/* fuzz_reader - a store that holds anything, and a place that says anything, cost an error and nothing
 * else: store_read gives back bytes of the checksum that was asked for, or -EILSEQ, and reads nothing
 * outside the map; the decoders keep to the sizes they are told. Method: input, map, blob and page each
 * in memory of their exact size, where ASan sees a step too far.
 *
 *   input: byte 0    bit 0: the place as 64 raw bits, else a plausible one; bit 1: with a right checksum
 *          8 bytes   the place; then the store's bytes */
#include <errno.h>
#include <stdlib.h>

#include "codec/codec.h"
#include "fuzz.h"
#include "store/reader.h"

/* Kind, offset and size as they might be: mostly within the map, sometimes at or over its end. */
static locator plausible(uint64_t bits, size_t nr_bytes)
{
    enum locator_kind kind = (enum locator_kind)(bits & 7);
    uint64_t offset = (bits >> 3 & 0xffff) % (nr_bytes + 2 * STORE_UNIT_BYTES);
    size_t size = 1 + (bits >> 19 & 0xffff) % LOCATOR_SIZE_MAX;
    if (bits >> 35 & 1) /* to the last byte */
        size = offset < nr_bytes && nr_bytes - offset <= LOCATOR_SIZE_MAX ? nr_bytes - offset : 1;
    if (kind == LOCATOR_ZSTD)
        return locator_make_group(offset, 1 + (bits >> 19 & 0xffff) % LOCATOR_GROUP_BYTES_MAX,
                                  (unsigned)(bits >> 37 & 3));
    if (kind == LOCATOR_FILL64 && bits >> 36 & 1)
        size = sizeof(uint64_t);
    return kind == LOCATOR_FILL32 ? locator_make_fill32((uint32_t)(bits >> 3))
                                  : locator_make(kind, offset, size);
}

static struct group_decoder decoder;

static void decode_as_group(locator place, const uint8_t *blob, size_t size, uint8_t *page)
{
    uint8_t *pages = malloc(GROUP_BYTES_MAX);
    CHECK(pages);
    int nr = group_decode(&decoder, blob, size, pages);
    CHECK(nr == -EILSEQ || (nr >= 1 && nr <= (int)GROUP_PAGES_MAX));
    if (locator_kind_of(place) == LOCATOR_ZSTD && nr > (int)locator_index(place))
        memcpy(page, pages + pages_to_bytes(locator_index(place)), PAGE_BYTES);
    free(pages);
}

/* Each decoder, on a blob of its exact size. What it makes of it, or a page of 0xa5. */
static void decode_exactly(locator place, const struct store_map *map, uint8_t *page)
{
    uint64_t offset = locator_offset(place);
    size_t size = locator_size(place);
    memset(page, 0xa5, PAGE_BYTES);
    if (locator_kind_of(place) == LOCATOR_FILL32)
        codec_fill32(locator_fill32(place), page);
    if (offset > map->nr_bytes || size > map->nr_bytes - offset)
        return;
    uint8_t *blob = malloc(size), *spare = malloc(PAGE_BYTES);
    CHECK(blob && spare);
    memcpy(blob, map->bytes + offset, size);
    decode_as_group(place, blob, size, page);
    for (unsigned kind = 0; kind <= 8; kind++) {
        memset(spare, 0xa5, PAGE_BYTES);
        int r = codec_decode((enum locator_kind)kind, blob, size, spare);
        CHECK(r == 0 || r == -EILSEQ);
        if (r == 0 && kind == (unsigned)locator_kind_of(place))
            memcpy(page, spare, PAGE_BYTES);
    }
    CHECK(codec_decode(LOCATOR_LZ4, blob, LOCATOR_SIZE_MAX + 1, spare) == -EILSEQ);
    free(blob);
    free(spare);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, data + size };
    uint8_t how = input_u8(&in);
    uint64_t bits = input_u64(&in);
    size_t nr_bytes = (size_t)(in.end - in.at);
    uint8_t *bytes = malloc(nr_bytes ? nr_bytes : 1), *decoded = malloc(PAGE_BYTES),
            *page = malloc(PAGE_BYTES);
    static struct store_scratch scratch;
    store_scratch_forget(&scratch);
    CHECK(bytes && decoded && page);
    input_bytes(&in, bytes, nr_bytes);
    struct store_map map = { .bytes = how & 4 ? NULL : bytes, .nr_bytes = how & 4 ? 0 : nr_bytes };

    locator place = how & 1 ? bits : plausible(bits, nr_bytes);
    decode_exactly(place, &map, decoded);
    store_prefetch(&map, place);
    uint32_t checksum = page_checksum(decoded) ^ (how & 2 ? 0 : 0x1001);
    int r = store_read(&map, place, checksum, &scratch, page);
    CHECK(r == 0 || r == -EILSEQ);
    if (r == 0) {
        CHECK(page_checksum(page) == checksum);
        CHECK(how & 2);
        CHECK(memcmp(page, decoded, PAGE_BYTES) == 0);
    }
    int again = store_read(&map, place, checksum, &scratch, page); /* of the group that stayed */
    CHECK(again == r);
    store_touch(&map, place);

    free(bytes);
    free(decoded);
    free(page);
    return 0;
}
