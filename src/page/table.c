/* table.c - see table.h. A hash over the leaves' numbers with a bucket for every half leaf: linear
 * hashing, which splits two buckets for each leaf that is added. So no growth is longer than another,
 * and of the array of buckets only what is used is touched. */
#include "page/table.h"

#include <string.h>

#include "base/mutant.h"

#define PAGE_NUMBER_END ((page_number)1 << 35)
#define LEAVES_SPARE 64u /* a piece may begin and end inside a leaf */
#define BUCKETS_PER_LEAF 2u
#define BUCKETS_NR_FIRST 8u /* a power of two */
/* Leaves looked at for one to use again before a fresh one is taken: where every third is idle four
 * looks find one four times of five, where none is they cost a cache miss each. */
#define IDLE_LOOKS 4u
#define IDLE_LOOKS_FULL 256u /* where there is no fresh one: 10-20 us, as a run of eviction */

size_t page_table_bytes(size_t nr_pages)
{
    size_t nr_leaves = nr_pages / LEAF_PAGES + LEAVES_SPARE;
    return nr_leaves * (sizeof(struct page_leaf) + BUCKETS_PER_LEAF * sizeof(uint32_t));
}

void page_table_init(struct page_table *t, void *memory, size_t bytes)
{
    size_t leaf_cost = sizeof(struct page_leaf) + BUCKETS_PER_LEAF * sizeof(uint32_t);
    uint32_t nr_max = (uint32_t)(bytes / leaf_cost);
    *t = (struct page_table){
        .leaves = memory,
        .nr_leaves_max = nr_max,
        .buckets = (uint32_t *)((struct page_leaf *)memory + nr_max),
        .nr_buckets = BUCKETS_NR_FIRST,
        .bucket_mask = BUCKETS_NR_FIRST - 1,
    };
}

/* Fibonacci hashing: neighbours go far apart, and the upper half of the product depends on all bits. */
static uint32_t hash_of(page_number page)
{
    return (uint32_t)(page / LEAF_PAGES * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

/* Buckets that have not been split yet hold what belongs to their second half, too. */
static uint32_t bucket_of(const struct page_table *t, page_number page)
{
    uint32_t hash = hash_of(page), bucket = hash & t->bucket_mask;
    return bucket < t->nr_buckets ? bucket : hash & t->bucket_mask >> 1;
}

static void put_in(struct page_table *t, uint32_t leaf)
{
    uint32_t *bucket = &t->buckets[bucket_of(t, t->leaves[leaf].first)];
    t->leaves[leaf].next = *bucket;
    *bucket = leaf + 1;
}

static void take_out(struct page_table *t, uint32_t leaf)
{
    uint32_t *at = &t->buckets[bucket_of(t, t->leaves[leaf].first)];
    while (*at != leaf + 1)
        at = &t->leaves[*at - 1].next;
    *at = t->leaves[leaf].next;
}

/* One bucket more; the leaves of the one that it was a part of are put in again. */
static void split_bucket(struct page_table *t)
{
    if (t->nr_buckets > t->bucket_mask)
        t->bucket_mask = t->bucket_mask << 1 | 1;
    uint32_t *old = &t->buckets[t->nr_buckets & t->bucket_mask >> 1];
    t->nr_buckets++;
    uint32_t at = *old;
    *old = 0;
    while (at) {
        uint32_t leaf = at - 1;
        at = t->leaves[leaf].next;
        put_in(t, leaf);
    }
}

struct page_leaf *page_table_find(const struct page_table *t, page_number page)
{
    if (page >= PAGE_NUMBER_END)
        return NULL;
    page_number first = page / LEAF_PAGES * LEAF_PAGES;
    for (uint32_t at = t->buckets[bucket_of(t, page)]; at; at = t->leaves[at - 1].next)
        if (t->leaves[at - 1].first == first)
            return &t->leaves[at - 1];
    return NULL;
}

static bool is_idle(const struct page_table *t, const struct page_leaf *leaf)
{
    return !leaf->nr_out && !leaf->nr_paged_out &&
           (!leaf->nr_barred || leaf->bar_epoch <= t->bars_over || mutant_is(MUTANT_REUSE_BARRED_LEAF));
}

/* A leaf that says nothing any more, out of its bucket; nr_leaves_max: none among those looked at. */
static uint32_t reuse_one(struct page_table *t, uint32_t nr_looks)
{
    for (uint32_t i = 0; i < nr_looks && i < t->nr_leaves; i++) {
        uint32_t at = t->hand < t->nr_leaves ? t->hand : 0;
        t->hand = at + 1;
        if (!is_idle(t, &t->leaves[at]))
            continue;
        t->has_forgotten_bars |= t->leaves[at].bar_epoch != 0;
        take_out(t, at);
        return at;
    }
    return t->nr_leaves_max;
}

static uint32_t take_fresh(struct page_table *t)
{
    while (t->nr_buckets < BUCKETS_PER_LEAF * (t->nr_leaves + 1))
        split_bucket(t);
    return t->nr_leaves++;
}

struct page_leaf *page_table_grow(struct page_table *t, page_number page)
{
    struct page_leaf *leaf = page_table_find(t, page);
    if (leaf || page >= PAGE_NUMBER_END)
        return leaf;
    bool is_full = t->nr_leaves == t->nr_leaves_max;
    uint32_t at = reuse_one(t, is_full ? IDLE_LOOKS_FULL : IDLE_LOOKS);
    if (at == t->nr_leaves_max && is_full)
        return NULL;
    if (at == t->nr_leaves_max)
        at = take_fresh(t);
    leaf = &t->leaves[at];
    memset(leaf, 0, sizeof *leaf);
    leaf->first = page / LEAF_PAGES * LEAF_PAGES;
    put_in(t, at);
    return leaf;
}

struct page_leaf *page_table_must_grow(struct page_table *t, page_number page)
{
    struct page_leaf *leaf = NULL;
    for (uint32_t looks = 0; !leaf && looks <= t->nr_leaves; looks += IDLE_LOOKS_FULL)
        leaf = page_table_grow(t, page); /* each goes on where the last one ended */
    return leaf;
}

struct leaf_walk leaf_walk_begin(const struct page_table *t, page_number first, page_number end)
{
    return (struct leaf_walk){ .first = first,
                               .end = end,
                               .page = first,
                               .is_by_place = end - first <= (page_number)t->nr_leaves * LEAF_PAGES };
}

struct page_leaf *leaf_walk_next(const struct page_table *t, struct leaf_walk *w)
{
    while (w->is_by_place && w->page < w->end) {
        struct page_leaf *leaf = page_table_find(t, w->page);
        w->page = leaf_end(w->page);
        if (leaf)
            return leaf;
    }
    while (!w->is_by_place && w->index < t->nr_leaves) {
        struct page_leaf *leaf = &t->leaves[w->index++];
        if (leaf->first < w->end && leaf->first + LEAF_PAGES > w->first)
            return leaf;
    }
    return NULL;
}

size_t page_table_used_bytes(const struct page_table *t)
{
    return t->nr_leaves * sizeof(struct page_leaf) + t->nr_buckets * sizeof *t->buckets;
}
