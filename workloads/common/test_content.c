/* test_content.c - the pages that all checking rests on. Shown: a page follows from (seed, page,
 * version) alone; going on by content_bump() arrives at the same bytes as writing the version anew;
 * each earlier version and each other page is told apart, also by one changed byte anywhere; what
 * heap pages compress to stays within the limits that the figures are stated for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <lz4.h>
#include <zstd.h>

#include "content.h"

#define RATIO_PAGES 4096u

static const enum content_kind kinds[] = {CONTENT_SEED, CONTENT_HEAP, CONTENT_TEXT, CONTENT_RANDOM};
#define NR_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void the_same_arguments_give_the_same_bytes(void **state)
{
    (void)state;
    for (size_t k = 0; k < NR_KINDS; k++) {
        struct content one = {.kind = kinds[k], .seed = 7}, other = {.kind = kinds[k], .seed = 8};
        unsigned char a[CONTENT_PAGE_BYTES], b[CONTENT_PAGE_BYTES];
        memset(b, 0xee, sizeof(b));
        content_fill(&one, 42, 3, a);
        content_fill(&one, 42, 3, b);
        assert_memory_equal(a, b, sizeof(a));
        content_fill(&other, 42, 3, b);
        assert_memory_not_equal(a, b, sizeof(a));
        content_fill(&one, 43, 3, b);
        assert_memory_not_equal(a, b, sizeof(a));
    }
}

static void lines_are_those_of_the_page(void **state)
{
    (void)state;
    for (size_t k = 0; k < NR_KINDS; k++) {
        struct content c = {.kind = kinds[k], .seed = 7};
        unsigned char page[CONTENT_PAGE_BYTES], line_bytes[CONTENT_LINE_BYTES];
        content_fill(&c, 9, 70, page);
        for (unsigned line = 0; line < CONTENT_LINES; line++) {
            content_line(&c, 9, line, 70, line_bytes);
            assert_memory_equal(page + (size_t)line * CONTENT_LINE_BYTES, line_bytes,
                                CONTENT_LINE_BYTES);
        }
    }
}

/* 200 versions: each salted line of a page is rewritten several times. */
static void bumping_arrives_where_filling_does(void **state)
{
    (void)state;
    for (size_t k = 0; k < NR_KINDS; k++) {
        struct content c = {.kind = kinds[k], .seed = 7};
        unsigned char bumped[CONTENT_PAGE_BYTES], filled[CONTENT_PAGE_BYTES];
        content_fill(&c, 5, 1, bumped);
        for (uint32_t version = 1; version <= 200; version++) {
            content_bump(&c, 5, version, bumped);
            content_fill(&c, 5, version + 1, filled);
            assert_memory_equal(bumped, filled, sizeof(filled));
        }
    }
}

static void each_earlier_version_is_noticed(void **state)
{
    (void)state;
    for (size_t k = 0; k < NR_KINDS; k++) {
        struct content c = {.kind = kinds[k], .seed = 7};
        unsigned char page[CONTENT_PAGE_BYTES];
        for (uint32_t version = 1; version < 140; version++) {
            unsigned line;
            content_fill(&c, 5, version, page);
            assert_true(content_stamp_is(&c, 5, version, page));
            assert_true(content_page_is(&c, 5, version, page, &line));
            for (uint32_t back = 1; back <= 3; back++) {
                assert_false(content_stamp_is(&c, 5, version + back, page));
                assert_false(content_page_is(&c, 5, version + back, page, &line));
                assert_int_equal(line, 0);
            }
            assert_false(content_stamp_is(&c, 6, version, page));
        }
    }
}

/* Half of a page from the version before, the stamp and the lines before it from this one. */
static void a_torn_page_is_noticed(void **state)
{
    (void)state;
    struct content c = {.kind = CONTENT_HEAP, .seed = 7};
    for (uint32_t version = 2; version < 70; version++) {
        unsigned char page[CONTENT_PAGE_BYTES], before[CONTENT_PAGE_BYTES];
        unsigned line;
        content_fill(&c, 5, version, page);
        content_fill(&c, 5, version - 1, before);
        memcpy(page + CONTENT_LINE_BYTES, before + CONTENT_LINE_BYTES,
               sizeof(page) - CONTENT_LINE_BYTES);
        assert_false(content_page_is(&c, 5, version, page, &line));
        assert_true(content_stamp_is(&c, 5, version, page));
    }
}

static void one_wrong_byte_is_found_in_its_line(void **state)
{
    (void)state;
    for (size_t k = 0; k < NR_KINDS; k++) {
        struct content c = {.kind = kinds[k], .seed = 7};
        unsigned char page[CONTENT_PAGE_BYTES];
        content_fill(&c, 5, 33, page);
        for (unsigned at = 0; at < CONTENT_PAGE_BYTES; at += 7) {
            unsigned line = 0;
            page[at] ^= 0x10;
            assert_false(content_page_is(&c, 5, 33, page, &line));
            assert_int_equal(line, at / CONTENT_LINE_BYTES);
            page[at] ^= 0x10;
        }
    }
}

static void never_written_is_zeros(void **state)
{
    (void)state;
    struct content c = {.kind = CONTENT_HEAP, .seed = 7};
    unsigned char page[CONTENT_PAGE_BYTES] = {0};
    unsigned line;
    assert_true(content_stamp_is(&c, 5, 0, page));
    assert_true(content_page_is(&c, 5, 0, page, &line));
    assert_false(content_stamp_is(&c, 5, 1, page));
    content_fill(&c, 5, 1, page);
    assert_false(content_stamp_is(&c, 5, 0, page));
}

/* By the first 16 bytes of page i and of all pages behind it that could equal it: the stamps say
 * the page's number, so equality of stamps is equality of numbers. */
static void no_two_pages_are_equal(void **state)
{
    (void)state;
    for (size_t k = 0; k < NR_KINDS; k++) {
        struct content c = {.kind = kinds[k], .seed = 7};
        unsigned char page[CONTENT_PAGE_BYTES], next[CONTENT_PAGE_BYTES];
        for (uint64_t i = 0; i < 1000; i++) {
            uint64_t id;
            content_fill(&c, i, 1, page);
            content_fill(&c, i + 1, 1, next);
            memcpy(&id, page, sizeof(id));
            assert_int_equal(id, i);
            assert_memory_not_equal(page, next, 16);
        }
    }
}

/* The mean over pages of many versions: raw bytes to compressed bytes. */
static void measure(enum content_kind kind, double *ret_lz4, double *ret_zstd)
{
    struct content c = {.kind = kind, .seed = 20260225};
    size_t raw = 0, lz4 = 0, zstd = 0;
    char page[CONTENT_PAGE_BYTES], out[2 * CONTENT_PAGE_BYTES];
    for (uint32_t i = 0; i < RATIO_PAGES; i++) {
        content_fill(&c, i, 1 + i % 200, page);
        raw += sizeof(page);
        lz4 += (size_t)LZ4_compress_default(page, out, sizeof(page), sizeof(out));
        zstd += ZSTD_compress(out, sizeof(out), page, sizeof(page), -1);
    }
    *ret_lz4 = (double)raw / (double)lz4;
    *ret_zstd = (double)raw / (double)zstd;
    print_message("%s: LZ4 %.2f, zstd -1 %.2f\n", content_kind_name(kind), *ret_lz4, *ret_zstd);
}

static void heap_pages_compress_like_a_heap(void **state)
{
    (void)state;
    double lz4, zstd;
    measure(CONTENT_HEAP, &lz4, &zstd);
    assert_true(lz4 >= 2.6 && lz4 <= 2.8);
    assert_true(zstd <= 3.2);
    measure(CONTENT_SEED, &lz4, &zstd);
    assert_true(lz4 > 50);
    measure(CONTENT_TEXT, &lz4, &zstd);
    assert_true(lz4 > 1.5 && lz4 < 3);
    measure(CONTENT_RANDOM, &lz4, &zstd);
    assert_true(lz4 <= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_arguments_give_the_same_bytes),
        cmocka_unit_test(lines_are_those_of_the_page),
        cmocka_unit_test(bumping_arrives_where_filling_does),
        cmocka_unit_test(each_earlier_version_is_noticed),
        cmocka_unit_test(a_torn_page_is_noticed),
        cmocka_unit_test(one_wrong_byte_is_found_in_its_line),
        cmocka_unit_test(never_written_is_zeros),
        cmocka_unit_test(no_two_pages_are_equal),
        cmocka_unit_test(heap_pages_compress_like_a_heap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
