/* Pages come back from a group, each in its place; no blob however wrong makes the decoder write
 * beyond four pages or read beyond the blob. Method: groups of several kinds of pages; mutated, cut
 * and foreign blobs in buffers of their exact size, so that the sanitizer build sees any access
 * beyond. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <zstd.h>

#include "codec/group.h"

static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint64_t random_word(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static struct group_encoder *encoder;
static struct group_decoder decoder;
static unsigned char pages[GROUP_BYTES_MAX], blob[GROUP_BYTES_MAX * 2];

static int set_up(void **state)
{
    (void)state;
    return group_encoder_new(&encoder);
}

static int tear_down(void **state)
{
    (void)state;
    encoder = group_encoder_free(encoder);
    return encoder != NULL;
}

/* Text with numbers in it; the more random words, the harder to compress. */
static void make_pages(unsigned nr, unsigned random_in_16)
{
    for (size_t at = 0; at < pages_to_bytes(nr); at += 8) {
        uint64_t word = 0x2022203a22646922u; /* "id": " */
        if (random_word() % 16 < random_in_16)
            word = random_word() & 0x7f7f7f7f7f7f7f7fu;
        memcpy(pages + at, &word, 8);
    }
}

/* Decodes from and into memory of the exact sizes. */
static int decode_exactly(const void *bytes, size_t size, unsigned char **ret)
{
    unsigned char *copy = malloc(size ? size : 1);
    *ret = malloc(GROUP_BYTES_MAX);
    assert_true(copy && *ret);
    memcpy(copy, bytes, size);
    memset(&decoder, (int)random_word(), sizeof decoder); /* whatever is in it */
    int r = group_decode(&decoder, copy, size, *ret);
    free(copy);
    return r;
}

static void pages_come_back(void **state)
{
    (void)state;
    assert_true(group_can_decode());
    for (unsigned round = 0; round < 400; round++) {
        unsigned nr = 1 + round % 4;
        make_pages(nr, round % 17);
        size_t size = group_encode(encoder, pages, nr, blob, sizeof blob);
        assert_true(size > 0);
        unsigned char *out;
        size_t more = random_word() % 16; /* a place is known in units of 16 bytes: what follows does not matter */
        memset(blob + size, (int)random_word(), more);
        assert_int_equal(decode_exactly(blob, size + more, &out), nr);
        assert_memory_equal(out, pages, pages_to_bytes(nr));
        free(out);
    }
}

/* zstd may give up a little before the bytes do; it never writes beyond them. */
static void what_would_be_too_long_is_refused(void **state)
{
    (void)state;
    make_pages(4, 8);
    size_t size = group_encode(encoder, pages, 4, blob, sizeof blob);
    assert_int_equal(group_encode(encoder, pages, 4, blob, size + 64), size);
    for (size_t capacity = 0; capacity < size + 64; capacity += 1 + capacity / 50) {
        unsigned char *exact = malloc(capacity ? capacity : 1);
        size_t r = group_encode(encoder, pages, 4, exact, capacity);
        assert_true(r == 0 || (r == size && size <= capacity));
        free(exact);
    }
}

static void hostile_blobs_do_no_harm(void **state)
{
    (void)state;
    unsigned nr_decoded = 0;
    for (unsigned round = 0; round < 20000; round++) {
        unsigned nr = 1 + round % 4;
        if (round % 100 == 0)
            make_pages(4, round / 100 % 17);
        size_t size = group_encode(encoder, pages, nr, blob, sizeof blob);
        for (unsigned i = 0; i < 1 + round % 5; i++) {
            size_t at = random_word() % (round % 2 ? size : 24 < size ? 24 : size); /* headers more often */
            blob[at] ^= (unsigned char)(1u << random_word() % 8);
        }
        if (round % 3 == 0)
            size = random_word() % (size + 1);
        unsigned char *out;
        int r = decode_exactly(blob, size, &out);
        assert_true(r == -EILSEQ || (r >= 1 && r <= 4));
        nr_decoded += r > 0;
        free(out);
    }
    assert_true(nr_decoded > 100 && nr_decoded < 15000); /* both happen */
    for (unsigned round = 0; round < 20000; round++) {
        size_t size = random_word() % 400;
        for (size_t at = 0; at < size; at++)
            blob[at] = (unsigned char)random_word();
        static const uint32_t magics[] = {0xfd2fb528u, 0xfd2fb527u, 0xfd2fb525u, 0x184d2a50u};
        if (size >= 4)
            memcpy(blob, &magics[round % 4], 4); /* a frame, frames of old versions, one to be skipped */
        unsigned char *out;
        int r = decode_exactly(blob, size, &out);
        assert_true(r == -EILSEQ || (round % 4 == 0 && r >= 1 && r <= 4));
        free(out);
    }
}

/* Frames that zstd itself would take. */
static void frames_that_are_no_group_are_refused(void **state)
{
    (void)state;
    static unsigned char content[GROUP_BYTES_MAX * 4], frame[GROUP_BYTES_MAX * 5];
    static const size_t sizes[] = {0, 1, 4095, 4097, 8191, GROUP_BYTES_MAX + 1, GROUP_BYTES_MAX + PAGE_BYTES,
                                   sizeof content};
    unsigned char *out;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = ZSTD_compress(frame, sizeof frame, content, sizes[i], 1);
        assert_false(ZSTD_isError(size));
        assert_int_equal(decode_exactly(frame, size, &out), -EILSEQ);
        free(out);
    }
    /* One that does not say how long its content is. */
    ZSTD_CCtx *c = ZSTD_createCCtx();
    (void)ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);
    size_t size = ZSTD_compress2(c, frame, sizeof frame, content, PAGE_BYTES);
    assert_false(ZSTD_isError(size));
    assert_int_equal(decode_exactly(frame, size, &out), -EILSEQ);
    free(out);
    (void)ZSTD_freeCCtx(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_come_back),
        cmocka_unit_test(what_would_be_too_long_is_refused),
        cmocka_unit_test(hostile_blobs_do_no_harm),
        cmocka_unit_test(frames_that_are_no_group_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
