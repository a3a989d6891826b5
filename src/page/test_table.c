/* The page table finds what was put in, says no when its reserve is used up, and costs 12.6 bytes a
 * page at most, also where the address space is used in small pieces far apart. Leaves that say nothing
 * any more are used again, and no others. Method: 512 MiB of pages, in one piece and in many, with the
 * kernel asked how much memory really stands behind the reserve. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "page/table.h"

#define NR_PAGES ((size_t)512 << (20 - PAGE_SHIFT))
#define BYTES_PER_PAGE_X10_MAX 126u
#define FIRST ((page_number)0x7f1234567)

struct reserve {
    unsigned char *memory;
    size_t bytes;
};

static struct reserve reserve_for(size_t nr_pages)
{
    struct reserve r = { .bytes = page_round_up(page_table_bytes(nr_pages)) };
    r.memory = mmap(NULL, r.bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(r.memory, MAP_FAILED);
    (void)madvise(r.memory, r.bytes, MADV_NOHUGEPAGE); /* so that each touch is counted by itself */
    return r;
}

static size_t bytes_in_memory(const struct reserve *r)
{
    static unsigned char is_there[1 << 16];
    size_t nr = bytes_to_pages(r->bytes), nr_there = 0;
    for (size_t i = 0; i < nr; i += sizeof is_there) {
        size_t n = nr - i < sizeof is_there ? nr - i : sizeof is_there;
        assert_int_equal(mincore(r->memory + pages_to_bytes(i), pages_to_bytes(n), is_there), 0);
        for (size_t j = 0; j < n; j++)
            nr_there += is_there[j] & 1;
    }
    return pages_to_bytes(nr_there);
}

static void put(struct page_table *t, page_number page)
{
    struct page_leaf *leaf = page_table_grow(t, page);
    assert_non_null(leaf);
    assert_int_equal(leaf->first, page / LEAF_PAGES * LEAF_PAGES);
    leaf_page(leaf, page)->state = PAGE_STORED;
    leaf_page(leaf, page)->where = page & 0xffffffff;
    leaf->checksums[page % LEAF_PAGES] = (uint32_t)~page;
    leaf->nr_out = 1; /* it says something */
}

static void check(const struct page_table *t, page_number page)
{
    struct page_leaf *leaf = page_table_find(t, page);
    assert_non_null(leaf);
    assert_int_equal(leaf_page(leaf, page)->state, PAGE_STORED);
    assert_int_equal(leaf_page(leaf, page)->where, page & 0xffffffff);
    assert_int_equal(leaf->checksums[page % LEAF_PAGES], (uint32_t)~page);
}

static void pages_in_512_mib_cost_12_6_bytes_each_at_most(void **state)
{
    (void)state;
    struct reserve r = reserve_for(NR_PAGES);
    static struct page_table t;
    page_table_init(&t, r.memory, r.bytes);
    assert_int_equal(bytes_in_memory(&r), 0); /* nothing before the first page leaves */
    for (size_t i = 0; i < NR_PAGES; i++)
        put(&t, FIRST / LEAF_PAGES * LEAF_PAGES + i);
    for (size_t i = 0; i < NR_PAGES; i++)
        check(&t, FIRST / LEAF_PAGES * LEAF_PAGES + i);
    size_t used = page_table_used_bytes(&t), there = bytes_in_memory(&r);
    print_message("512 MiB: %zu bytes by its own account, %zu in memory: %.3f and %.3f a page\n",
                  used, there, (double)used / NR_PAGES, (double)there / NR_PAGES);
    assert_true(used * 10 <= NR_PAGES * BYTES_PER_PAGE_X10_MAX);
    assert_true(there * 10 <= NR_PAGES * BYTES_PER_PAGE_X10_MAX);
    munmap(r.memory, r.bytes);
}

static void what_was_never_put_in_is_not_found(void **state)
{
    (void)state;
    struct reserve r = reserve_for(LEAF_PAGES);
    static struct page_table t;
    page_table_init(&t, r.memory, r.bytes);
    put(&t, FIRST);
    page_number leaf_first = FIRST / LEAF_PAGES * LEAF_PAGES;
    assert_null(page_table_find(&t, leaf_first - 1));
    assert_null(page_table_find(&t, leaf_first + LEAF_PAGES));
    assert_null(page_table_find(&t, FIRST ^ (page_number)1 << 30));
    assert_null(page_table_find(&t, 0));
    assert_null(page_table_find(&t, UINT64_MAX));
    assert_int_equal(leaf_page(page_table_find(&t, FIRST), FIRST + 1)->state, PAGE_RESIDENT);
    assert_null(page_table_grow(&t, (page_number)1 << 35)); /* beyond user memory */
    put(&t, ((page_number)1 << 35) - 1);
    check(&t, ((page_number)1 << 35) - 1);
    put(&t, 0);
    check(&t, 0);
    check(&t, FIRST);
    munmap(r.memory, r.bytes);
}

static void growth_is_refused_at_the_end_of_the_reserve(void **state)
{
    (void)state;
    struct reserve r = reserve_for(4 * LEAF_PAGES);
    static struct page_table t;
    page_table_init(&t, r.memory, r.bytes);
    unsigned nr = 0;
    while (page_table_grow(&t, FIRST + (page_number)nr * LEAF_PAGES))
        put(&t, FIRST + (page_number)nr++ * LEAF_PAGES);
    assert_true(nr >= 4);
    assert_int_equal(nr, t.nr_leaves_max);
    assert_true((unsigned char *)(t.leaves + t.nr_leaves) <= r.memory + r.bytes);
    assert_null(page_table_grow(&t, FIRST + (page_number)nr * LEAF_PAGES)); /* again */
    for (unsigned i = 0; i < nr; i++) {
        check(&t, FIRST + (page_number)i * LEAF_PAGES);
        assert_non_null(page_table_grow(&t, FIRST + (page_number)i * LEAF_PAGES)); /* it is there */
    }
    munmap(r.memory, r.bytes);
}

/* As V8 does it: 2048 pieces of 256 KiB, each in 16 GiB of its own. They cost what one piece does. */
static void pieces_all_over_the_address_space_cost_no_more(void **state)
{
    (void)state;
    struct reserve r = reserve_for(NR_PAGES);
    static struct page_table t;
    page_table_init(&t, r.memory, r.bytes);
    for (int turn = 0; turn < 2; turn++)
        for (page_number piece = 0; piece < 2048; piece++)
            for (page_number i = 0; i < 64; i++)
                if (turn)
                    check(&t, piece << 22 | piece % 7 << 6 | i);
                else
                    put(&t, piece << 22 | piece % 7 << 6 | i);
    size_t used = page_table_used_bytes(&t), there = bytes_in_memory(&r);
    print_message("2048 pieces: %zu bytes by its own account, %zu in memory: %.3f and %.3f a page\n",
                  used, there, (double)used / NR_PAGES, (double)there / NR_PAGES);
    assert_true(used * 10 <= NR_PAGES * BYTES_PER_PAGE_X10_MAX);
    assert_true(there * 10 <= NR_PAGES * BYTES_PER_PAGE_X10_MAX);
    assert_null(page_table_find(&t, (page_number)3 << 22 | 9 << 6));
    munmap(r.memory, r.bytes);
}

/* Mappings that come and go at ever new addresses, a few of them out at a time. */
static void idle_leaves_are_used_again(void **state)
{
    (void)state;
    struct reserve r = reserve_for(NR_PAGES);
    static struct page_table t;
    page_table_init(&t, r.memory, r.bytes);
    for (unsigned i = 0; i < 100000; i++) {
        struct page_leaf *leaf = page_table_grow(&t, FIRST + (page_number)i * LEAF_PAGES);
        assert_non_null(leaf);
        for (unsigned j = 0; j < LEAF_PAGES; j++)
            assert_int_equal(leaf->pages[j].state, PAGE_RESIDENT);
        leaf_page(leaf, FIRST)->state = PAGE_STORED;
        leaf->nr_out = 1;
        if (i >= 100) {
            struct page_leaf *old = page_table_find(&t, FIRST + (page_number)(i - 100) * LEAF_PAGES);
            assert_non_null(old);
            assert_int_equal(leaf_page(old, FIRST)->state, PAGE_STORED);
            old->nr_out = 0;
            leaf_page(old, FIRST)->state = PAGE_RESIDENT;
        }
    }
    print_message("100000 leaves, 100 at a time: %u made\n", t.nr_leaves);
    assert_true(t.nr_leaves < 1000);
    assert_false(t.has_forgotten_bars);
    munmap(r.memory, r.bytes);
}

static void leaves_that_still_say_something_are_kept(void **state)
{
    (void)state;
    struct reserve r = reserve_for(4 * LEAF_PAGES);
    static struct page_table t;
    page_table_init(&t, r.memory, r.bytes);
    struct page_leaf *out = page_table_grow(&t, FIRST);
    out->nr_out = 1;
    struct page_leaf *paged_out = page_table_grow(&t, FIRST + LEAF_PAGES);
    paged_out->nr_paged_out = 1;
    struct page_leaf *barred = page_table_grow(&t, FIRST + 2 * LEAF_PAGES);
    barred->nr_barred = LEAF_PAGES;
    barred->bar_epoch = 5;
    leaf_page(barred, FIRST)->is_barred = 1;
    t.bars_over = 4;
    for (page_number i = 3; i < 10000; i++) { /* none of these is ever out: they take turns */
        assert_non_null(page_table_grow(&t, FIRST + i * LEAF_PAGES));
        assert_ptr_equal(page_table_find(&t, FIRST), out);
        assert_ptr_equal(page_table_find(&t, FIRST + LEAF_PAGES), paged_out);
        assert_ptr_equal(page_table_find(&t, FIRST + 2 * LEAF_PAGES), barred);
    }
    assert_false(t.has_forgotten_bars);
    t.bars_over = 5;
    for (page_number i = 10000; i < 20000; i++)
        assert_non_null(page_table_grow(&t, FIRST + i * LEAF_PAGES));
    assert_null(page_table_find(&t, FIRST + 2 * LEAF_PAGES));
    assert_true(t.has_forgotten_bars); /* that there were discards is remembered for all */
    assert_ptr_equal(page_table_find(&t, FIRST), out);
    for (uint32_t i = 0; i < t.nr_leaves; i++)
        for (unsigned j = 0; j < LEAF_PAGES; j++)
            assert_false(t.leaves[i].pages[j].is_barred);
    munmap(r.memory, r.bytes);
}

/* With one idle leaf among many the bounded look misses it; who can't do without finds it. */
static void the_last_idle_leaf_is_found_by_who_must_have_one(void **state)
{
    (void)state;
    struct reserve r = reserve_for(NR_PAGES);
    static struct page_table t;
    page_table_init(&t, r.memory, r.bytes);
    page_number next = FIRST;
    for (struct page_leaf *leaf; (leaf = page_table_grow(&t, next)); next += LEAF_PAGES)
        leaf->nr_out = 1;
    assert_int_equal(t.nr_leaves, t.nr_leaves_max);
    assert_null(page_table_must_grow(&t, next));
    page_table_find(&t, FIRST + 1000 * LEAF_PAGES)->nr_out = 0;
    t.hand = 1001;
    assert_null(page_table_grow(&t, next));
    assert_non_null(page_table_must_grow(&t, next));
    assert_null(page_table_find(&t, FIRST + 1000 * LEAF_PAGES));
    munmap(r.memory, r.bytes);
}

static unsigned walked(const struct page_table *t, page_number first, page_number end)
{
    unsigned nr = 0;
    struct leaf_walk w = leaf_walk_begin(t, first, end);
    for (const struct page_leaf *leaf; (leaf = leaf_walk_next(t, &w)); nr++)
        assert_true(leaf->first < end && leaf->first + LEAF_PAGES > first);
    return nr;
}

static void a_walk_finds_each_leaf_of_the_interval_once(void **state)
{
    (void)state;
    struct reserve r = reserve_for(NR_PAGES);
    static struct page_table t;
    page_table_init(&t, r.memory, r.bytes);
    assert_int_equal(walked(&t, 0, (page_number)1 << 35), 0);
    page_number first = FIRST / LEAF_PAGES * LEAF_PAGES;
    for (page_number i = 0; i < 100; i++)
        put(&t, first + 3 * i * LEAF_PAGES);
    for (uint32_t i = 0; i < t.nr_leaves; i++)
        t.leaves[i].nr_out = 1;
    assert_int_equal(t.nr_leaves, 100);
    assert_int_equal(walked(&t, 0, (page_number)1 << 35), 100); /* through all there are */
    assert_int_equal(walked(&t, first, first + 300 * LEAF_PAGES), 100);
    assert_int_equal(walked(&t, first, first + 30 * LEAF_PAGES), 10); /* by place */
    assert_int_equal(walked(&t, first + 63, first + 3 * LEAF_PAGES), 1);
    assert_int_equal(walked(&t, first + 63, first + 3 * LEAF_PAGES + 1), 2);
    assert_int_equal(walked(&t, first + 64, first + 3 * LEAF_PAGES), 0);
    assert_int_equal(walked(&t, 0, first), 0);
    assert_int_equal(walked(&t, 0, first + 1), 1);
    munmap(r.memory, r.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_in_512_mib_cost_12_6_bytes_each_at_most),
        cmocka_unit_test(what_was_never_put_in_is_not_found),
        cmocka_unit_test(growth_is_refused_at_the_end_of_the_reserve),
        cmocka_unit_test(pieces_all_over_the_address_space_cost_no_more),
        cmocka_unit_test(idle_leaves_are_used_again),
        cmocka_unit_test(leaves_that_still_say_something_are_kept),
        cmocka_unit_test(the_last_idle_leaf_is_found_by_who_must_have_one),
        cmocka_unit_test(a_walk_finds_each_leaf_of_the_interval_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
