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
#include "codec/group.h"
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

/* ---- groups: their own store, because pages of it must not be found among the others by chance */

#define NR_GROUPS 60

struct groups {
    struct store_writer *st;
    struct store_map map;
    int fd;
    struct page pages[NR_GROUPS * 4];
};

/* Groups of 1 to 4 pages, one after the other. */
static struct groups *groups_new(void)
{
    struct groups *g = aligned_alloc(64, sizeof(*g));
    struct group_encoder *encoder;
    assert_non_null(g);
    assert_int_equal(store_writer_new(FILE_BYTES, FILE_BYTES, &g->st), 0);
    assert_int_equal(group_encoder_new(&encoder), 0);
    g->fd = store_writer_open_readonly(g->st);
    g->map.nr_bytes = FILE_BYTES;
    g->map.bytes = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, g->fd, 0);
    for (unsigned i = 0; i < NR_GROUPS; i++) {
        static unsigned char bytes[GROUP_BYTES_MAX], blob[LOCATOR_GROUP_BYTES_MAX];
        unsigned nr = 1 + i % 4;
        for (unsigned k = 0; k < 4; k++) {
            struct page *p = &g->pages[i * 4 + k];
            make_page(p->bytes, 2);
            p->checksum = page_checksum(p->bytes);
            memcpy(bytes + pages_to_bytes(k), p->bytes, PAGE_BYTES);
            p->place = 0;
        }
        uint64_t offset;
        size_t size = group_encode(encoder, bytes, nr, blob, sizeof(blob));
        assert_true(size > 0);
        assert_int_equal(store_put_group(g->st, blob, size, (1u << nr) - 1, &offset), 0);
        for (unsigned k = 0; k < nr; k++)
            g->pages[i * 4 + k].place = locator_make_group(offset, size, k);
    }
    group_encoder_free(encoder);
    return g;
}

static void groups_free(struct groups *g)
{
    munmap((void *)g->map.bytes, FILE_BYTES);
    close(g->fd);
    store_writer_free(g->st);
    free(g);
}

static void each_page_of_a_group_comes_back(void **state)
{
    (void)state;
    struct groups *g = groups_new();
    unsigned char out[PAGE_BYTES];
    for (int round = 0; round < 3; round++)
        for (unsigned at = 0; at < NR_GROUPS * 4; at++) {
            unsigned i = round == 0 ? at : (unsigned)(random_word() % (NR_GROUPS * 4));
            struct page *p = &g->pages[i];
            if (!p->place)
                continue;
            assert_int_equal(store_read(&g->map, p->place, p->checksum, &scratch, out), 0);
            assert_memory_equal(out, p->bytes, PAGE_BYTES);
            struct page *other = &g->pages[i ^ 1];
            if (other->place) /* another page of the same group is not this one */
                assert_int_equal(store_read(&g->map, other->place, p->checksum, &scratch, out), -EILSEQ);
        }
    /* A page that its group does not have; one with the checksum of another that is there. */
    struct page *single = &g->pages[0];
    for (unsigned index = 1; index < 4; index++) {
        locator place = single->place | (locator)index << 13;
        assert_int_equal(store_read(&g->map, place, single->checksum, &scratch, out), -EILSEQ);
    }
    groups_free(g);
}

static void a_group_that_rots_is_noticed(void **state)
{
    (void)state;
    struct groups *g = groups_new();
    unsigned char out[PAGE_BYTES];
    struct store_map rotten = {.bytes = malloc(FILE_BYTES), .nr_bytes = FILE_BYTES};
    assert_non_null(rotten.bytes);
    unsigned char *bytes = (unsigned char *)rotten.bytes;
    memcpy(bytes, g->map.bytes, FILE_BYTES);
    for (unsigned i = 0; i < NR_GROUPS * 4; i++) {
        struct page *p = &g->pages[i];
        for (int flip = 0; p->place && flip < 40; flip++) {
            uint64_t bit = random_word() % (locator_size(p->place) * 8);
            unsigned char *at = bytes + locator_offset(p->place) + bit / 8;
            *at ^= (unsigned char)(1u << bit % 8);
            store_scratch_forget(&scratch);
            int r = store_read(&rotten, p->place, p->checksum, &scratch, out);
            if (r == 0) /* behind the frame, or another page of it */
                assert_memory_equal(out, p->bytes, PAGE_BYTES);
            else
                assert_int_equal(r, -EILSEQ);
            *at ^= (unsigned char)(1u << bit % 8);
        }
    }
    free(bytes);
    groups_free(g);
}

/* What stays in the scratch never hides what the store has: it is asked again when it does not fit,
 * and forgotten when somebody says so. */
static void the_group_that_stays_is_no_trap(void **state)
{
    (void)state;
    struct groups *g = groups_new();
    unsigned char out[PAGE_BYTES];
    struct page *p = &g->pages[3 * 4 + 1]; /* of a group of four */

    /* The place is used again, for a group that is not longer. */
    struct page *q = NULL;
    for (unsigned i = 7; i < NR_GROUPS; i += 4)
        if (locator_size(g->pages[i * 4].place) <= locator_size(p->place))
            q = &g->pages[i * 4 + 1];
    assert_non_null(q);
    struct store_map used_again = {.bytes = malloc(FILE_BYTES), .nr_bytes = FILE_BYTES};
    memcpy((void *)used_again.bytes, g->map.bytes, FILE_BYTES);
    assert_int_equal(store_read(&used_again, p->place, p->checksum, &scratch, out), 0);
    memcpy((void *)(used_again.bytes + locator_offset(p->place)), g->map.bytes + locator_offset(q->place),
           locator_size(q->place));
    assert_int_equal(store_read(&used_again, p->place, q->checksum, &scratch, out), -EILSEQ); /* what stayed */
    assert_int_equal(store_read(&used_again, p->place, q->checksum, &scratch, out), 0);
    assert_memory_equal(out, q->bytes, PAGE_BYTES);
    store_scratch_forget(&scratch);
    free((void *)used_again.bytes);

    /* Another map at the same address. */
    assert_int_equal(store_read(&g->map, q->place, q->checksum, &scratch, out), 0);
    store_scratch_forget(&scratch);
    struct store_map none = g->map;
    g->map.bytes = NULL;
    assert_int_equal(store_read(&g->map, q->place, q->checksum, &scratch, out), -EILSEQ);
    g->map = none;
    groups_free(g);
}

static void groups_outside_the_map_are_refused(void **state)
{
    (void)state;
    struct groups *g = groups_new();
    unsigned char out[PAGE_BYTES];
    struct page *p = &g->pages[3 * 4];
    uint64_t end = locator_offset(p->place) + locator_size(p->place);
    unsigned char *bytes = malloc(end);
    memcpy(bytes, g->map.bytes, end);
    struct store_map exact = {bytes, end};
    store_scratch_forget(&scratch);
    assert_int_equal(store_read(&exact, p->place, p->checksum, &scratch, out), 0);
    store_scratch_forget(&scratch);
    exact.nr_bytes--;
    assert_int_equal(store_read(&exact, p->place, p->checksum, &scratch, out), -EILSEQ);
    const uint64_t top = LOCATOR_STORE_BYTES_MAX - STORE_UNIT_BYTES;
    const uint64_t offsets[] = {FILE_BYTES - 16, FILE_BYTES, FILE_BYTES + 16, top};
    for (size_t i = 0; i < 4; i++)
        for (size_t size = 17; size <= LOCATOR_GROUP_BYTES_MAX; size += 101)
            assert_int_equal(store_read(&g->map, locator_make_group(offsets[i], size, i & 3), p->checksum,
                                        &scratch, out), -EILSEQ);
    free(bytes);
    groups_free(g);
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
        cmocka_unit_test(each_page_of_a_group_comes_back),
        cmocka_unit_test(a_group_that_rots_is_noticed),
        cmocka_unit_test(the_group_that_stays_is_no_trap),
        cmocka_unit_test(groups_outside_the_map_are_refused),
        cmocka_unit_test(random_locators_do_no_harm),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
