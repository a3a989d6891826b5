/* What goes in comes out, what does not shrink is refused, and no blob however wrong writes outside
 * the page. Method: pages of several kinds; 10^5 mutated blobs in buffers of their exact size, so
 * that the sanitizer build sees any access beyond; a page that another thread scribbles over. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "codec/codec.h"

static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint64_t random_word(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Objects with pointers, small numbers, zeros and short strings: shrinks to about 0.36. */
static void make_heap_like(unsigned char *page)
{
    static const char *const words[] = {"id", "name\": ", "null, ", "https://", "GET /", "true", "0.5 ",
                                        "value"};
    for (size_t at = 0; at < PAGE_BYTES; at += 128) {
        uint64_t object[16] = {0};
        object[0] = 0x00007f3a00000000u | (random_word() & 0xffffff) << 4;
        object[1] = 0x00007f3a00000000u | (random_word() & 0xfff) << 4;
        object[2] = random_word() & 15;
        object[5] = at & 128 ? random_word() : 0;
        size_t used = 0;
        char *text = (char *)&object[8];
        while (used < 48) {
            const char *word = words[random_word() & 7];
            used += (size_t)snprintf(text + used, 56 - used, "%s", word);
        }
        memcpy(page + at, object, sizeof(object));
    }
}

static void make_text(unsigned char *page)
{
    size_t used = 0;
    while (used < PAGE_BYTES) {
        char line[40];
        int n = snprintf(line, sizeof(line), "line %u of a log, ok\n", (unsigned)(random_word() % 5000));
        size_t left = PAGE_BYTES - used, take = (size_t)n < left ? (size_t)n : left;
        memcpy(page + used, line, take);
        used += take;
    }
}

static void make_random(unsigned char *page)
{
    for (size_t at = 0; at < PAGE_BYTES; at += 8) {
        uint64_t word = random_word();
        memcpy(page + at, &word, 8);
    }
}

static _Alignas(64) unsigned char page[PAGE_BYTES];
static struct codec_encoder *encoder;

static int make_encoder(void **state)
{
    (void)state;
    return codec_encoder_new(&encoder);
}

static int free_encoder(void **state)
{
    (void)state;
    encoder = codec_encoder_free(encoder);
    return encoder != NULL;
}

/* Decodes from and into memory of the exact sizes. */
static int decode_exactly(enum locator_kind kind, const void *blob, size_t size, unsigned char **ret)
{
    unsigned char *copy = malloc(size ? size : 1);
    *ret = malloc(PAGE_BYTES);
    assert_true(copy && *ret);
    memcpy(copy, blob, size);
    int r = codec_decode(kind, copy, size, *ret);
    free(copy);
    return r;
}

static size_t round_trip(void)
{
    struct codec_encoded e;
    assert_int_equal(codec_encode(encoder, page, &e), CODEC_BLOB);
    assert_int_equal(e.kind, LOCATOR_LZ4);
    assert_in_range(e.size, 1, CODEC_WORTH_BYTES);
    unsigned char *out;
    assert_int_equal(decode_exactly(e.kind, e.bytes, e.size, &out), 0);
    assert_memory_equal(out, page, PAGE_BYTES);
    free(out);
    return e.size;
}

static void heap_like_and_text_pages_come_back(void **state)
{
    (void)state;
    size_t heap_bytes = 0, text_bytes = 0;
    for (int i = 0; i < 500; i++) {
        make_heap_like(page);
        heap_bytes += round_trip();
        make_text(page);
        text_bytes += round_trip();
    }
    assert_in_range(heap_bytes / 500, 800, 2200);
    assert_in_range(text_bytes / 500, 300, 2200);
    print_message("mean bytes: heap-like %zu, text %zu\n", heap_bytes / 500, text_bytes / 500);
}

static void random_pages_are_not_worth_it(void **state)
{
    (void)state;
    struct codec_encoded e;
    for (int i = 0; i < 200; i++) {
        make_random(page);
        assert_int_equal(codec_encode(encoder, page, &e), CODEC_NOT_WORTH_IT);
        make_heap_like(page); /* the encoder is as good as new after a refusal */
        (void)round_trip();
    }
}

static void three_quarters_is_the_border(void **state)
{
    (void)state;
    struct codec_encoded e;
    int nr_taken = 0, nr_refused = 0;
    /* Random bytes, then zeros: the more random the longer. */
    for (size_t nr_random = 2800; nr_random <= PAGE_BYTES; nr_random += 8) {
        make_random(page);
        memset(page + nr_random, 0, PAGE_BYTES - nr_random);
        if (codec_encode(encoder, page, &e) == CODEC_BLOB) {
            assert_in_range(e.size, 1, 3072);
            assert_true(nr_random < 3072);
            nr_taken++;
        } else {
            assert_true(nr_random > 3000);
            nr_refused++;
        }
    }
    assert_true(nr_taken > 20 && nr_refused > 100);
}

static void same_filled_pages_are_a_word(void **state)
{
    (void)state;
    static const uint64_t words[] = {0, UINT64_MAX, 0xabcdef01abcdef01u, 0x0000000100000000u, 1,
                                     0x0102030405060708u};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        for (size_t at = 0; at < PAGE_BYTES; at += 8)
            memcpy(page + at, &words[i], 8);
        struct codec_encoded e;
        unsigned char *out;
        enum codec_result r = codec_encode(encoder, page, &e);
        if (i < 3) {
            assert_int_equal(r, CODEC_FILL32);
            assert_int_equal(e.kind, LOCATOR_FILL32);
            assert_int_equal(e.fill, (uint32_t)words[i]);
            assert_int_equal(e.size, 0);
            out = malloc(PAGE_BYTES);
            codec_fill32(e.fill, out);
        } else {
            assert_int_equal(r, CODEC_BLOB);
            assert_int_equal(e.kind, LOCATOR_FILL64);
            assert_int_equal(e.size, 8);
            assert_int_equal(decode_exactly(e.kind, e.bytes, e.size, &out), 0);
        }
        assert_memory_equal(out, page, PAGE_BYTES);
        free(out);
    }
}

static void one_other_bit_anywhere_is_not_same_filled(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < PAGE_BYTES * 8; bit += 37) {
        memset(page, 0x5a, PAGE_BYTES);
        page[bit / 8] ^= (unsigned char)(1u << bit % 8);
        (void)round_trip();
    }
}

static void sizes_and_kinds_are_checked(void **state)
{
    (void)state;
    unsigned char *out;
    unsigned char blob[PAGE_BYTES + 1] = {0};
    for (size_t size = 0; size < 20; size++) {
        assert_int_equal(decode_exactly(LOCATOR_FILL64, blob, size, &out), size == 8 ? 0 : -EILSEQ);
        free(out);
    }
    static const enum locator_kind no_blobs[] = {LOCATOR_NONE, LOCATOR_FILL32, LOCATOR_KIND_NR, 7};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(decode_exactly(no_blobs[i], blob, 8, &out), -EILSEQ);
        free(out);
    }
    assert_int_equal(decode_exactly(LOCATOR_LZ4, blob, 0, &out), -EILSEQ);
    free(out);
    assert_int_equal(decode_exactly(LOCATOR_LZ4, blob, PAGE_BYTES + 1, &out), -EILSEQ);
    free(out);

    /* A right block cut or lengthened by any number of bytes is not a page. */
    make_heap_like(page);
    struct codec_encoded e;
    assert_int_equal(codec_encode(encoder, page, &e), CODEC_BLOB);
    memcpy(blob, e.bytes, e.size);
    for (size_t size = 0; size < e.size + 40; size++) {
        if (size == e.size)
            continue;
        assert_int_equal(decode_exactly(LOCATOR_LZ4, blob, size, &out), -EILSEQ);
        free(out);
    }
}

static void mutated_blobs_do_no_harm(void **state)
{
    (void)state;
    unsigned char blob[PAGE_BYTES];
    struct codec_encoded e;
    size_t size = 0, nr_whole = 0, nr_refused = 0;
    for (int i = 0; i < 100000; i++) {
        if (i % 100 == 0) {
            make_heap_like(page);
            assert_int_equal(codec_encode(encoder, page, &e), CODEC_BLOB);
            size = e.size;
        }
        memcpy(blob, e.bytes, e.size);
        for (uint64_t n = 1 + random_word() % 8; n; n--)
            blob[random_word() % size] = (unsigned char)random_word();
        size_t used = random_word() % 4 ? size : 1 + random_word() % size;
        unsigned char *out;
        int r = decode_exactly(LOCATOR_LZ4, blob, used, &out);
        assert_true(r == 0 || r == -EILSEQ);
        nr_whole += r == 0;
        nr_refused += r != 0;
        free(out);
    }
    assert_true(nr_whole > 1000 && nr_refused > 1000); /* both sides were tried */
}

static _Atomic bool is_over;

static void *scribble(void *arg)
{
    unsigned char *shared = arg;
    uint64_t s = 77;
    while (!is_over) {
        s = s * 6364136223846793005u + 1442695040888963407u;
        __atomic_store_n((uint64_t *)(void *)(shared + (s >> 32 & 0xff8)), s & 0xff00ff0000ff00ffu,
                         __ATOMIC_RELAXED);
    }
    return NULL;
}

static void a_page_that_changes_meanwhile_does_no_harm(void **state)
{
    (void)state;
    make_heap_like(page);
    pthread_t thread;
    is_over = false;
    assert_int_equal(pthread_create(&thread, NULL, scribble, page), 0);
    for (int i = 0; i < 20000; i++) {
        struct codec_encoded e;
        if (i % 64 == 0)
            make_heap_like(page);
        if (codec_encode(encoder, page, &e) != CODEC_BLOB)
            continue;
        /* Some page it was: what was compressed is a whole block. */
        unsigned char *out;
        assert_int_equal(decode_exactly(e.kind, e.bytes, e.size, &out), 0);
        free(out);
    }
    is_over = true;
    pthread_join(thread, NULL);
}

static void the_checksum_tells_pages_apart(void **state)
{
    (void)state;
    make_heap_like(page);
    uint32_t before = page_checksum(page);
    assert_int_equal(page_checksum(page), before);
    for (size_t bit = 0; bit < PAGE_BYTES * 8; bit++) {
        page[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_int_not_equal(page_checksum(page), before);
        page[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    memset(page, 0, PAGE_BYTES);
    assert_int_equal(page_checksum(page), 0x48c689bau); /* what libxxhash says of 4096 zeros */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heap_like_and_text_pages_come_back),
        cmocka_unit_test(random_pages_are_not_worth_it),
        cmocka_unit_test(three_quarters_is_the_border),
        cmocka_unit_test(same_filled_pages_are_a_word),
        cmocka_unit_test(one_other_bit_anywhere_is_not_same_filled),
        cmocka_unit_test(sizes_and_kinds_are_checked),
        cmocka_unit_test(mutated_blobs_do_no_harm),
        cmocka_unit_test(a_page_that_changes_meanwhile_does_no_harm),
        cmocka_unit_test(the_checksum_tells_pages_apart),
    };
    return cmocka_run_group_tests(tests, make_encoder, free_encoder);
}
