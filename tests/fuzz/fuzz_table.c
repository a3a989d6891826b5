/* fuzz_table - the page table under pages that leave, come back, are barred and paged out in any order: what
 * says something is found where it is, with what was written there, and is met once by a walk; a leaf is used
 * again only if it says nothing; no leaf is refused while there is one. Method: the same 48 leaves in plain
 * arrays; a table of up to 32, so that it is full most of the time, in memory of its exact size.
 *
 *   input: byte 0  how many leaves
 *          rest    three bytes each: what happens, to which leaf, to which page of it */
#include <stdlib.h>

#include "fuzz.h"
#include "page/table.h"

#define PLACES 48u
#define PAGES 4u /* of each leaf, at its begin and its end */
#define LEAVES_MAX 32u

struct place {
    uint32_t where[PAGES]; /* 0: RESIDENT */
    bool is_paged_out[PAGES];
    uint64_t bar_epoch; /* 0: none */
};

static struct place places[PLACES];
static uint64_t bars_set;
static uint32_t last_where;

/* Neighbours, and some that are far apart. */
static page_number first_of(unsigned place)
{
    return place < PLACES / 2 ? 0x100000 + (page_number)place * LEAF_PAGES
                              : (page_number)place * 0x123457 * LEAF_PAGES % ((page_number)1 << 34);
}

static page_number page_in(unsigned place, unsigned page)
{
    return first_of(place) + (page < PAGES / 2 ? page : LEAF_PAGES - 1 - page);
}

static bool says_something(const struct page_table *t, unsigned place)
{
    const struct place *p = &places[place];
    bool says = p->bar_epoch > t->bars_over;
    for (unsigned i = 0; i < PAGES; i++)
        says |= p->where[i] || p->is_paged_out[i];
    return says;
}

static void check(const struct page_table *t, unsigned place)
{
    const struct place *p = &places[place];
    struct page_leaf *leaf = page_table_find(t, page_in(place, 1));
    CHECK(leaf || !says_something(t, place));
    CHECK(leaf || !p->bar_epoch || t->has_forgotten_bars);
    for (unsigned i = 0; leaf && i < PAGES; i++) {
        CHECK(leaf->first == first_of(place));
        const struct page *page = leaf_page(leaf, page_in(place, i));
        CHECK(page->state == (p->where[i] ? PAGE_STORED : PAGE_RESIDENT));
        CHECK(page->where == p->where[i] && page->is_paged_out == p->is_paged_out[i]);
    }
}

/* The leaf of the place; NULL: full, and rightly so. */
static struct page_leaf *grow(struct page_table *t, unsigned place, bool must)
{
    page_number page = page_in(place, 0);
    bool was_there = page_table_find(t, page);
    struct page_leaf *leaf = must ? page_table_must_grow(t, page) : page_table_grow(t, page);
    unsigned nr = 0;
    for (unsigned i = 0; i < PLACES; i++)
        nr += says_something(t, i) && i != place;
    CHECK(leaf || nr >= t->nr_leaves_max);
    if (leaf && !was_there)
        places[place].bar_epoch = 0; /* of a leaf that has been used for another meanwhile */
    return leaf;
}

static void put(struct page_table *t, unsigned place, unsigned i, bool must)
{
    struct place *p = &places[place];
    struct page_leaf *leaf = p->is_paged_out[i] ? NULL : grow(t, place, must);
    if (!leaf)
        return;
    struct page *page = leaf_page(leaf, page_in(place, i));
    leaf->nr_out = (uint8_t)(leaf->nr_out + !p->where[i]);
    p->where[i] = ++last_where;
    page->state = PAGE_STORED;
    page->where = p->where[i];
}

static void page_out(struct page_table *t, unsigned place, unsigned i)
{
    struct place *p = &places[place];
    struct page_leaf *leaf = p->where[i] || p->is_paged_out[i] ? NULL : grow(t, place, false);
    if (!leaf)
        return;
    leaf->nr_paged_out++;
    leaf_page(leaf, page_in(place, i))->is_paged_out = p->is_paged_out[i] = true;
}

static void come_back(struct page_table *t, unsigned place, unsigned i)
{
    struct place *p = &places[place];
    struct page_leaf *leaf = page_table_find(t, page_in(place, i));
    if (!leaf)
        return;
    leaf->nr_out = (uint8_t)(leaf->nr_out - (p->where[i] != 0));
    leaf->nr_paged_out = (uint8_t)(leaf->nr_paged_out - p->is_paged_out[i]);
    *leaf_page(leaf, page_in(place, i)) = (struct page){ .state = PAGE_RESIDENT };
    p->where[i] = 0;
    p->is_paged_out[i] = false;
}

static void bar(struct page_table *t, unsigned place)
{
    struct page_leaf *leaf = page_table_find(t, page_in(place, 0));
    if (!leaf)
        return;
    leaf->nr_barred = 1;
    leaf->bar_epoch = places[place].bar_epoch = ++bars_set;
}

/* From one place to another, or over everything. */
static void walk(const struct page_table *t, unsigned from, unsigned to)
{
    page_number first = page_in(from, 1), end = to < PLACES ? page_in(to, 1) : (page_number)1 << 35;
    unsigned seen[PLACES] = { 0 };
    if (first >= end)
        return;
    struct leaf_walk w = leaf_walk_begin(t, first, end);
    for (struct page_leaf *leaf; (leaf = leaf_walk_next(t, &w));)
        for (unsigned i = 0; i < PLACES; i++)
            seen[i] += leaf->first == first_of(i);
    for (unsigned i = 0; i < PLACES; i++) {
        bool is_inside = first_of(i) < end && first_of(i) + LEAF_PAGES > first;
        CHECK(seen[i] <= is_inside);
        CHECK(seen[i] || !is_inside || !says_something(t, i));
    }
}

static void happen(struct page_table *t, uint8_t what, unsigned place, uint8_t argument)
{
    switch (what % 8) {
    case 0: put(t, place, argument % PAGES, false); break;
    case 1: put(t, place, argument % PAGES, true); break;
    case 2: come_back(t, place, argument % PAGES); break;
    case 3: page_out(t, place, argument % PAGES); break;
    case 4: bar(t, place); break;
    case 5: t->bars_over = argument & 1 ? bars_set : t->bars_over + (t->bars_over < bars_set); break;
    case 6: walk(t, place, argument % (PLACES + 1)); break;
    case 7: check(t, place); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, data + size };
    uint32_t nr_leaves = 1 + input_u8(&in) % LEAVES_MAX;
    size_t bytes = nr_leaves * (sizeof(struct page_leaf) + 2 * sizeof(uint32_t));
    size_t with_buckets = bytes + 8 * sizeof(uint32_t); /* eight at least */
    void *memory = aligned_alloc(64, (with_buckets + 63) / 64 * 64);
    struct page_table t;
    CHECK(memory);
    memset(memory, 0, with_buckets);
    memset(places, 0, sizeof places);
    bars_set = last_where = 0;
    page_table_init(&t, memory, bytes);
    CHECK(t.nr_leaves_max == nr_leaves);
    while (!input_is_empty(&in)) {
        uint8_t what = input_u8(&in), place = input_u8(&in), argument = input_u8(&in);
        happen(&t, what, place % PLACES, argument);
        CHECK(page_table_used_bytes(&t) <= with_buckets);
        CHECK(!page_table_grow(&t, ((page_number)1 << 35) + place));
    }
    for (unsigned i = 0; i < PLACES; i++)
        check(&t, i);
    walk(&t, 0, PLACES);
    free(memory);
    return 0;
}
