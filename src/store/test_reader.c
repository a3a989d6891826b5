/* store_read gives back the page that left, or -EILSEQ, and reads nothing outside the map. Method:
 * pages through the codec and the writer, read through the client's map; then every way in which the
 * store may be wrong, on a private copy of exact size, so that the sanitizer build sees a step too
 * far. PP_MUTANT=BELIEVE_STORE must make this fail. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "codec/codec.h"
#include "store/reader.h"
#include "store/writer.h"

#define FILE_BYTES ((uint64_t)1 << 22)
#define NR_PAGES 500

static uint64_t seed = 88172645463325252u;

static uint64_t random_word(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

struct page {
    _Alignas(64) unsigned char bytes[PAGE_BYTES];
    locator place;
    uint32_t checksum;
};

struct fixture {
    struct store_writer *st;
    struct store_map map;
    int fd;
    struct page pages[NR_PAGES];
};

static void make_page(unsigned char *bytes, int nr)
{
    uint64_t word = random_word();
    for (size_t at = 0; at < PAGE_BYTES; at += 8) {
        if (nr % 10 == 0) /* one half, twice */
            word = (word & UINT32_MAX) | word << 32;
        else if (nr % 10 > 1 && at % 32 == 0) /* 1: one word */
            word = random_word() & 0xffffff;
        memcpy(bytes + at, &word, 8);
    }
}

static int set_up(void **state)
{
    struct fixture *f = aligned_alloc(64, sizeof(*f));
    struct codec_encoder *encoder;
    if (!f || store_writer_new(FILE_BYTES, FILE_BYTES, &f->st) || codec_encoder_new(&encoder))
        return -1;
    f->fd = store_writer_open_readonly(f->st);
    f->map.nr_bytes = FILE_BYTES;
    f->map.bytes = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, f->fd, 0);
    for (int i = 0; i < NR_PAGES; i++) {
        struct page *p = &f->pages[i];
        make_page(p->bytes, i);
        p->checksum = page_checksum(p->bytes);
        struct codec_encoded e;
        enum codec_result r = codec_encode(encoder, p->bytes, &e);
        uint64_t offset = 0;
        if (r == CODEC_NOT_WORTH_IT || (r == CODEC_BLOB && store_put(f->st, e.bytes, e.size, &offset)))
            return -1;
        p->place = r == CODEC_FILL32 ? locator_make_fill32(e.fill)
                                     : locator_make(e.kind, offset, e.size);
    }
    codec_encoder_free(encoder);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    munmap((void *)f->map.bytes, FILE_BYTES);
    close(f->fd);
    store_writer_free(f->st);
    free(f);
    return 0;
}

static struct store_scratch scratch;

static void every_kind_comes_back(void **state)
{
    struct fixture *f = *state;
    int nr_of_kind[LOCATOR_KIND_NR] = {0};
    unsigned char out[PAGE_BYTES];
    for (int i = 0; i < NR_PAGES; i++) {
        struct page *p = &f->pages[i];
        nr_of_kind[locator_kind_of(p->place)]++;
        assert_int_equal(store_read(&f->map, p->place, p->checksum, &scratch, out), 0);
        assert_memory_equal(out, p->bytes, PAGE_BYTES);
    }
    assert_int_equal(nr_of_kind[LOCATOR_FILL32], NR_PAGES / 10);
    assert_int_equal(nr_of_kind[LOCATOR_FILL64], NR_PAGES / 10);
    assert_int_equal(nr_of_kind[LOCATOR_LZ4], NR_PAGES * 8 / 10);
}

static void other_bytes_than_those_that_left_are_noticed(void **state)
{
    struct fixture *f = *state;
    unsigned char out[PAGE_BYTES];
    for (int i = 0; i < NR_PAGES; i++) {
        struct page *p = &f->pages[i], *other = &f->pages[(i + 10) % NR_PAGES];
        assert_int_equal(store_read(&f->map, p->place, p->checksum ^ 1u << i % 32, &scratch, out),
                         -EILSEQ);
        /* A whole page of the same kind, but not this one. */
        assert_int_equal(store_read(&f->map, other->place, p->checksum, &scratch, out), -EILSEQ);
    }
}

static void a_store_that_rots_is_noticed(void **state)
{
    struct fixture *f = *state;
    unsigned char out[PAGE_BYTES];
    struct store_map rotten = {.bytes = malloc(FILE_BYTES), .nr_bytes = FILE_BYTES};
    assert_non_null(rotten.bytes);
    unsigned char *bytes = (unsigned char *)rotten.bytes;
    memcpy(bytes, f->map.bytes, FILE_BYTES);
    for (int i = 0; i < NR_PAGES; i++) {
        struct page *p = &f->pages[i];
        if (!locator_has_blob(p->place))
            continue;
        for (int flip = 0; flip < 40; flip++) {
            uint64_t bit = random_word() % (locator_size(p->place) * 8);
            unsigned char *at = bytes + locator_offset(p->place) + bit / 8;
            *at ^= (unsigned char)(1u << bit % 8);
            int r = store_read(&rotten, p->place, p->checksum, &scratch, out);
            /* Some bits of an LZ4 block say the same in two ways: then the page is right. */
            if (r == 0)
                assert_memory_equal(out, p->bytes, PAGE_BYTES);
            else
                assert_int_equal(r, -EILSEQ);
            *at ^= (unsigned char)(1u << bit % 8);
        }
        assert_int_equal(store_read(&rotten, p->place, p->checksum, &scratch, out), 0);
    }
    free(bytes);
}

static void places_outside_the_map_are_refused(void **state)
{
    struct fixture *f = *state;
    unsigned char out[PAGE_BYTES];
    struct page *p = &f->pages[5];
    assert_int_equal(locator_kind_of(p->place), LOCATOR_LZ4);
    const uint64_t top = LOCATOR_STORE_BYTES_MAX - STORE_UNIT_BYTES;
    const uint64_t offsets[] = {FILE_BYTES - 16, FILE_BYTES, FILE_BYTES + 16, top};
    for (size_t i = 0; i < 4; i++)
        for (size_t size = 17; size <= LOCATOR_SIZE_MAX; size += 13)
            assert_int_equal(store_read(&f->map, locator_make(LOCATOR_LZ4, offsets[i], size),
                                        p->checksum, &scratch, out), -EILSEQ);

    /* A map that ends with the blob's last byte, in memory of exactly that size. */
    uint64_t end = locator_offset(p->place) + locator_size(p->place);
    unsigned char *bytes = malloc(end);
    memcpy(bytes, f->map.bytes, end);
    struct store_map exact = {bytes, end};
    assert_int_equal(store_read(&exact, p->place, p->checksum, &scratch, out), 0);
    exact.nr_bytes--;
    assert_int_equal(store_read(&exact, p->place, p->checksum, &scratch, out), -EILSEQ);
    free(bytes);

    const struct store_map none = {NULL, FILE_BYTES};
    assert_int_equal(store_read(&none, p->place, p->checksum, &scratch, out), -EILSEQ);
    /* Same-filled pages need no store at all. */
    p = &f->pages[0];
    assert_int_equal(store_read(&none, p->place, p->checksum, &scratch, out), 0);
}

static void random_locators_do_no_harm(void **state)
{
    struct fixture *f = *state;
    unsigned char out[PAGE_BYTES];
    for (int i = 0; i < 200000; i++) {
        struct page *p = &f->pages[(size_t)i % NR_PAGES];
        locator place = random_word();
        if (i & 1) /* near the real ones */
            place = p->place ^ (locator)1 << random_word() % LOCATOR_BITS;
        int r = store_read(&f->map, place, p->checksum, &scratch, out);
        if (r == 0)
            assert_memory_equal(out, p->bytes, PAGE_BYTES);
        else
            assert_int_equal(r, -EILSEQ);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_comes_back),
        cmocka_unit_test(other_bytes_than_those_that_left_are_noticed),
        cmocka_unit_test(a_store_that_rots_is_noticed),
        cmocka_unit_test(places_outside_the_map_are_refused),
        cmocka_unit_test(random_locators_do_no_harm),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
