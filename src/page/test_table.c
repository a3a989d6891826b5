/* The page table finds what was put in, says no when its reserve is used up, and costs 12.2 bytes a
 * page at most. Method: 512 MiB of pages, in one piece and in many, with the kernel asked how much
 * memory really stands behind the reserve. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "page/table.h"

#define NR_PAGES ((size_t)512 << (20 - PAGE_SHIFT))
#define BYTES_PER_PAGE_X10_MAX 122u
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
}

static void check(const struct page_table *t, page_number page)
{
    struct page_leaf *leaf = page_table_find(t, page);
    assert_non_null(leaf);
    assert_int_equal(leaf_page(leaf, page)->state, PAGE_STORED);
    assert_int_equal(leaf_page(leaf, page)->where, page & 0xffffffff);
    assert_int_equal(leaf->checksums[page % LEAF_PAGES], (uint32_t)~page);
}

static void pages_in_512_mib_cost_12_2_bytes_each_at_most(void **state)
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

/* One page in each of many 16 GiB pieces: the middle level ends first, and that is a refusal, too.
 */
static void too_many_pieces_are_refused(void **state)
{
    (void)state;
    struct reserve r = reserve_for(LEAF_PAGES * 1024);
    static struct page_table t;
    page_table_init(&t, r.memory, r.bytes);
    unsigned nr = 0;
    while (nr < 8192 && page_table_grow(&t, (page_number)nr << 22))
        put(&t, (page_number)nr++ << 22);
    assert_int_equal(nr, t.nr_middles_max);
    for (unsigned i = 0; i < nr; i++)
        check(&t, (page_number)i << 22);
    assert_null(page_table_find(&t, (page_number)nr << 22));
    put(&t, LEAF_PAGES); /* a piece that has its middle goes on growing */
    munmap(r.memory, r.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_in_512_mib_cost_12_2_bytes_each_at_most),
        cmocka_unit_test(what_was_never_put_in_is_not_found),
        cmocka_unit_test(growth_is_refused_at_the_end_of_the_reserve),
        cmocka_unit_test(too_many_pieces_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
