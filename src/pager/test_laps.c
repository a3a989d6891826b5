/* A lap over what is stored ends, whatever the daemon does: it asks for what it may, and stops when all asks
 * are taken or all leaves have been looked at. Method: some leaves of stored pages, a daemon that takes what
 * it is asked and never answers, and a bound on the pieces that say there is more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "pager/pager.h"

#define FIRST ((page_number)LEAF_PAGES * 1000)
#define LEAVES_NR 6u /* five have more groups than can be asked for at a time */
#define PIECES_MAX 100u /* of a leaf, with four passes */
#define LEAVING_SLAB 1u

static struct pager pager;
static struct page_leaf *leaf; /* the first */
static unsigned nr_asked_pages;
static _Atomic uint32_t leaving[STORE_LEAVING_NR];
static bool is_told; /* of slabs: the next laps are */

static bool on_squeeze(void *context, const struct squeeze_entry *entry)
{
    (void)context;
    nr_asked_pages += entry->nr;
    return true;
}

static int begin(void **state)
{
    (void)state;
    static struct stats_block stats;
    static locator give_up[LEAVES_NR * LEAF_PAGES];
    size_t bytes = page_table_bytes(LEAVES_NR * LEAF_PAGES);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -1;
    pager = (struct pager){ .stats = &stats, .give_up = give_up, .on_squeeze = on_squeeze, .leaving = leaving };
    page_table_init(&pager.table, memory, bytes);
    leaf = page_table_grow(&pager.table, FIRST);
    leaving[LEAVING_SLAB] = LEAVING_SLAB + 1;
    nr_asked_pages = 0;
    is_told = false;
    return leaf ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    return munmap(pager.table.leaves, page_table_bytes(LEAVES_NR * LEAF_PAGES));
}

static void store_in(struct page_leaf *l, unsigned at, uint32_t slab)
{
    struct page *p = &l->pages[at];
    pager_count(&pager, l, p, -1);
    (void)page_on_installed(p);
    page_on_moved(p, 0);
    assert_true(page_on_stored(p, 0, 0, locator_make(LOCATOR_LZ4, (uint64_t)slab * STORE_SLAB_BYTES + at * 112, 2048)));
    pager_count(&pager, l, p, +1);
}

static void store(unsigned at, uint32_t slab)
{
    store_in(leaf, at, slab);
}

static void grow_old(struct page *p)
{
    for (unsigned i = 0; i < PAGE_AGE_MAX; i++)
        (void)page_on_lap(p);
}

static void run_lap(void)
{
    unsigned nr_pieces = 0;
    pager_begin_lap(&pager, true, is_told);
    while (pager_lap(&pager))
        assert_true(++nr_pieces < PIECES_MAX);
}

/* Pages that were asked for, have been back and are stored again: nobody asks for them before the earlier
 * answer is there. A group that has begun before them is asked for all the same. */
static void test_awaited_behind_a_group(void **state)
{
    (void)state;
    for (unsigned i = 8; i < 40; i++)
        store(i, LEAVING_SLAB);
    run_lap();
    assert_int_equal(nr_asked_pages, 32);
    for (unsigned i = 8; i < 40; i++)
        store(i, LEAVING_SLAB);
    store(0, 0);
    grow_old(&leaf->pages[0]);
    store(50, LEAVING_SLAB);
    run_lap();
    assert_true(leaf->pages[0].is_squeezing);
    assert_true(leaf->pages[50].is_squeezing);
    assert_int_equal(nr_asked_pages, 34);
    run_lap();
    assert_int_equal(nr_asked_pages, 34);
}

/* The daemon has put what it was asked for at these places. */
static void answer_all(uint64_t offset)
{
    for (uint32_t cookie = 0; cookie < SQUEEZES_NR; cookie++) {
        struct squeezed_entry e = { .cookie = cookie, .result = SQUEEZED_AT };
        for (unsigned i = 0; i < pager.asked[cookie].nr; i++)
            e.places[i] = locator_make_group(offset + cookie * 4096, 4000, i);
        if (pager.asked[cookie].nr)
            assert_int_equal(pager_on_squeezed(&pager, &e), 0);
    }
}

static void store_four_of_age(unsigned age)
{
    pager.stores[0].nr_bytes = 1 << 30;
    for (unsigned i = 0; i < 4; i++) {
        store(i, LEAVING_SLAB);
        for (unsigned k = 0; k < age; k++)
            (void)page_on_lap(&leaf->pages[i]);
    }
}

static void asked_for_a_group(unsigned cookie)
{
    assert_int_equal(pager.asked[cookie].kind, SQUEEZE_GROUP);
    assert_int_equal(pager.asked[cookie].nr, 4);
}

/* What is moved out of a slab is no younger for it: it joins its neighbours when it would have. */
static void test_what_is_moved_ages_on(void **state)
{
    (void)state;
    store_four_of_age(4);
    run_lap();
    assert_int_equal(nr_asked_pages, 4);
    for (uint32_t cookie = 0; cookie < 4; cookie++) {
        struct squeezed_entry e = { .cookie = cookie, .result = SQUEEZED_AT };
        assert_int_equal(pager.asked[cookie].kind, SQUEEZE_MOVE);
        e.places[0] = locator_make(LOCATOR_LZ4, 5 * STORE_SLAB_BYTES + cookie * 112, 2048);
        assert_int_equal(pager_on_squeezed(&pager, &e), 0);
        (void)page_on_lap(&leaf->pages[cookie]);
    }
    run_lap();
    assert_int_equal(nr_asked_pages, 8);
    asked_for_a_group(0);
}

/* What is old enough for a group is not moved first: that takes it out of its slab as well. */
static void test_a_group_goes_before_a_move(void **state)
{
    (void)state;
    store_four_of_age(5);
    run_lap();
    assert_int_equal(nr_asked_pages, 4);
    asked_for_a_group(0);
}

/* And where no group can be made, or nothing is to be put into groups, it is moved after all: else its slab
 * would never be empty. */
static void test_what_cant_be_grouped_is_moved(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        const struct squeezed_entry no = { .result = how == 0 ? SQUEEZED_DENSE : SQUEEZED_NOT_NOW };
        store_four_of_age(5);
        nr_asked_pages = 0;
        if (how < 2) {
            run_lap();
            asked_for_a_group(0);
            assert_int_equal(pager_on_squeezed(&pager, &no), 0);
        }
        pager_begin_lap(&pager, how < 2, true);
        while (pager_lap(&pager))
            ;
        for (uint32_t cookie = 0; cookie < 4; cookie++) {
            struct squeezed_entry e = { .cookie = cookie, .result = SQUEEZED_NOT_NOW };
            assert_int_equal(pager.asked[cookie].kind, SQUEEZE_MOVE);
            unsigned age = leaf->pages[cookie].age;
            assert_int_equal(pager_on_squeezed(&pager, &e), 0);
            assert_int_equal(leaf->pages[cookie].age, age);
        }
    }
}

/* A group is asked for once, wherever in the leaf its pages are: until half of it is gone. */
static void test_groups_stay(void **state)
{
    (void)state;
    static const unsigned at[] = { 1, 2, 3, 4, 10, 25, 40, 63 };
    pager.stores[0].nr_bytes = 1 << 30;
    for (unsigned i = 0; i < 8; i++) {
        store(at[i], 0);
        grow_old(&leaf->pages[at[i]]);
    }
    run_lap();
    assert_int_equal(nr_asked_pages, 8);
    answer_all(1 << 20);
    for (unsigned i = 0; i < 8; i++)
        grow_old(&leaf->pages[at[i]]);
    run_lap();
    assert_int_equal(nr_asked_pages, 8);
    for (unsigned i = 5; i < 7; i++) {
        pager_count(&pager, leaf, &leaf->pages[at[i]], -1);
        (void)page_on_installed(&leaf->pages[at[i]]);
    }
    run_lap();
    assert_int_equal(nr_asked_pages, 8 + 2);
}

/* Where nothing can be gained laps do not look, until a page changes, or slabs are to become empty. */
static void test_settled(void **state)
{
    (void)state;
    pager.stores[0].nr_bytes = 1 << 30;
    for (unsigned i = 0; i < 8; i++)
        store(i, 0);
    run_lap();
    assert_false(leaf->is_settled); /* they grow old */
    for (unsigned i = 0; i < 8; i++)
        grow_old(&leaf->pages[i]);
    run_lap();
    assert_int_equal(nr_asked_pages, 8);
    assert_false(leaf->is_settled); /* answers are to come */
    answer_all(2 * STORE_SLAB_BYTES);
    run_lap();
    assert_true(leaf->is_settled);
    run_lap();
    pager_begin_lap(&pager, false, false);
    assert_false(pager_lap(&pager));
    assert_true(leaf->is_settled);
    assert_int_equal(nr_asked_pages, 8);

    leaving[2] = 2 + 1; /* where the answers have put them */
    is_told = true;
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(locator_slab(leaf->pages[i].where), 2);
    run_lap();
    assert_int_equal(nr_asked_pages, 16);
    is_told = false;
    run_lap(); /* nobody has to tell twice of what was refused */
    assert_int_equal(nr_asked_pages, 16);
    struct squeezed_entry refused = { .result = SQUEEZED_NOT_NOW };
    for (; refused.cookie < 2; refused.cookie++)
        assert_int_equal(pager_on_squeezed(&pager, &refused), 0);
    run_lap();
    assert_int_equal(nr_asked_pages, 24);
    for (refused.cookie = 0; refused.cookie < 2; refused.cookie++)
        assert_int_equal(pager_on_squeezed(&pager, &refused), 0);
    leaving[2] = 0;
    run_lap();
    assert_true(leaf->is_settled);

    for (unsigned i = 0; i < 3; i++) { /* of the first group one is left */
        pager_count(&pager, leaf, &leaf->pages[i], -1);
        (void)page_on_installed(&leaf->pages[i]);
    }
    for (unsigned age = 1; age <= 5; age++) {
        pager_begin_ageing(&pager);
        while (pager_lap(&pager))
            ;
        assert_int_equal(leaf->pages[3].age, age);
    }
    run_lap();
    assert_int_equal(nr_asked_pages, 25);
    run_lap();
    assert_true(leaf->is_settled); /* as long as there is no answer */
    assert_int_equal(pager_on_squeezed(&pager, &(struct squeezed_entry){ .result = SQUEEZED_NOT_NOW }), 0);
    assert_int_equal(leaf->pages[3].age, 0);
    pager_begin_ageing(&pager);
    while (pager_lap(&pager))
        ;
    assert_int_equal(leaf->pages[3].age, 1); /* and waits as long as others do */
}

/* More than can be asked for at a time. */
static void test_no_room(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LEAVES_NR * LEAF_PAGES; i++) {
        struct page_leaf *l = page_table_grow(&pager.table, FIRST + i); /* with something out it stays */
        assert_non_null(l);
        store_in(l, i % LEAF_PAGES, i % 3 ? 0 : LEAVING_SLAB);
        if (i % 3)
            grow_old(&l->pages[i % LEAF_PAGES]); /* the others are moved */
    }
    run_lap();
    assert_int_equal(pager.nr_asked, SQUEEZES_NR);
    assert_false(pager_lap(&pager));
}

/* What is stored while a lap waits for answers grows old meanwhile, and the same lap asks for it. */
static void test_growing_old_while_a_lap_waits(void **state)
{
    (void)state;
    unsigned nr = LEAVES_NR * LEAF_PAGES;
    pager.stores[0].nr_bytes = 1 << 30;
    for (unsigned i = 0; i < nr; i++) {
        struct page_leaf *l = page_table_grow(&pager.table, FIRST + i);
        assert_non_null(l);
        store_in(l, i % LEAF_PAGES, 0);
        if (i < nr - LEAF_PAGES)
            grow_old(&l->pages[i % LEAF_PAGES]);
    }
    const struct page *last = &pager.table.leaves[LEAVES_NR - 1].pages[LEAF_PAGES - 1];
    run_lap();
    assert_int_equal(pager.nr_asked, SQUEEZES_NR);
    assert_true(pager.lap.is_on);
    for (unsigned age = 1; age <= 5; age++) {
        pager_begin_ageing(&pager);
        for (unsigned i = 0; pager_lap(&pager); i++)
            assert_true(i < PIECES_MAX);
        assert_int_equal(last->age, age);
    }
    for (unsigned i = 0; i < PIECES_MAX && pager.lap.is_on; i++) {
        answer_all(((uint64_t)i + 1) << 20);
        while (pager_lap(&pager))
            ;
    }
    assert_false(pager.lap.is_on);
    assert_int_equal(nr_asked_pages, nr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_awaited_behind_a_group, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_moved_ages_on, begin, end),
        cmocka_unit_test_setup_teardown(test_a_group_goes_before_a_move, begin, end),
        cmocka_unit_test_setup_teardown(test_what_cant_be_grouped_is_moved, begin, end),
        cmocka_unit_test_setup_teardown(test_groups_stay, begin, end),
        cmocka_unit_test_setup_teardown(test_settled, begin, end),
        cmocka_unit_test_setup_teardown(test_no_room, begin, end),
        cmocka_unit_test_setup_teardown(test_growing_old_while_a_lap_waits, begin, end),
    };
    return cmocka_run_group_tests_name("laps", tests, NULL, NULL);
}
