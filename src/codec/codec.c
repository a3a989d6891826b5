/* codec.c - same-filled check, then LZ4.
 *
 * Which LZ4 call: measured with liblz4 1.9.4 on 8192 heap-like pages (2.77x, mean 1479 B), output
 * limited to 3072 B, medians of 9 passes in ns a page, one thread of a 2-core VM:
 *
 *                                            heap-like   random   nearly zero
 *   LZ4_compress_fast_extState                    4195      816           583
 *   LZ4_resetStream_fast + fast_continue          4556     1017           453
 *   ..._extState_fastReset (static library)       4193      804           613
 *   extState on a private copy of the page        4350      914           627
 *
 * fastReset clears the table all the same for inputs of 4 KiB and more, so there is nothing to link
 * statically for. The private copy is what we take: the page belongs to a process that may write it
 * while we read, and liblz4 does not promise to survive that. */
#include "codec/codec.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <lz4.h>
#ifdef PP_WITHOUT_LIBXXHASH /* libprocess-pager-preload: one library less to load in every process */
#define XXH_INLINE_ALL
#include <xxhash.h>
#else
#include <xxhash.h>
#include <xxh_x86dispatch.h> /* XXH3 with what this CPU has: AVX2 takes 80 ns a page, SSE2 200 */
#endif

#include "base/point.h"

struct codec_encoder {
    LZ4_stream_t state;
    unsigned char page[PAGE_BYTES];         /* what is compressed: nobody else writes it */
    unsigned char blob[CODEC_WORTH_BYTES];  /* the limit lets LZ4 stop early on what won't shrink */
};

int codec_encoder_new(struct codec_encoder **ret)
{
    struct codec_encoder *e = point_fails(POINT_ENCODER) ? NULL
                                                         : aligned_alloc(64, (sizeof(*e) + 63) & ~(size_t)63);
    if (!e)
        return -ENOMEM;
    *ret = e;
    return 0;
}

struct codec_encoder *codec_encoder_free(struct codec_encoder *e)
{
    free(e);
    return NULL;
}

/* Is the page one word, repeated? A line at a time: most pages differ in the first one, and 64
 * comparisons without a branch between them cost ~100 ns for those that do not. */
static bool is_same_filled(const void *page, uint64_t *ret_word)
{
    const uint64_t *words = page;
    const uint64_t first = words[0];
    for (size_t at = 0; at < PAGE_BYTES / sizeof(uint64_t); at += 8) {
        uint64_t difference = 0;
        for (size_t i = 0; i < 8; i++)
            difference |= words[at + i] ^ first;
        if (difference)
            return false;
    }
    *ret_word = first;
    return true;
}

enum codec_result codec_encode(struct codec_encoder *e, const void *page, struct codec_encoded *ret)
{
    uint64_t word;
    if (is_same_filled(page, &word)) {
        if ((uint32_t)word == (uint32_t)(word >> 32)) {
            *ret = (struct codec_encoded){.kind = LOCATOR_FILL32, .fill = (uint32_t)word};
            return CODEC_FILL32;
        }
        memcpy(e->blob, &word, sizeof(word));
        *ret = (struct codec_encoded){
            .kind = LOCATOR_FILL64, .size = sizeof(word), .bytes = e->blob};
        return CODEC_BLOB;
    }

    memcpy(e->page, page, PAGE_BYTES);
    int size = LZ4_compress_fast_extState(&e->state, (const char *)e->page, (char *)e->blob,
                                          (int)PAGE_BYTES, (int)sizeof(e->blob), 1);
    if (size <= 0)
        return CODEC_NOT_WORTH_IT;
    *ret = (struct codec_encoded){.kind = LOCATOR_LZ4, .size = (size_t)size, .bytes = e->blob};
    return CODEC_BLOB;
}

static void fill64(uint64_t word, unsigned char *page)
{
    for (size_t at = 0; at < PAGE_BYTES; at += sizeof(word))
        memcpy(page + at, &word, sizeof(word));
}

int codec_decode(enum locator_kind kind, const void *blob, size_t size, void *ret_page)
{
    switch (kind) {
    case LOCATOR_LZ4:
        if (size > LOCATOR_SIZE_MAX ||
            LZ4_decompress_safe(blob, ret_page, (int)size, (int)PAGE_BYTES) != (int)PAGE_BYTES)
            return -EILSEQ;
        return 0;
    case LOCATOR_FILL64: {
        uint64_t word;
        if (size != sizeof(word))
            return -EILSEQ;
        memcpy(&word, blob, sizeof(word));
        fill64(word, ret_page);
        return 0;
    }
    case LOCATOR_NONE:
    case LOCATOR_FILL32:
    case LOCATOR_ZSTD: /* codec/group.h */
    case LOCATOR_KIND_NR:
        break;
    }
    return -EILSEQ;
}

void codec_fill32(uint32_t word, void *ret_page)
{
    fill64((uint64_t)word << 32 | word, ret_page);
}

uint32_t page_checksum(const void *page)
{
    return (uint32_t)XXH3_64bits(page, PAGE_BYTES);
}
