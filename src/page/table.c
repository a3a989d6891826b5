/* table.c - see table.h. Three levels over a 47-bit address: 13 + 13 bits of index, 9 of page. What was
 * published once stays as it is. */
#include "page/table.h"

#define MIDDLE_SHIFT 9  /* pages to leaves */
#define TOP_SHIFT 22    /* pages to middles */
#define MIDDLE_MASK 8191u
#define PAGE_NUMBER_END ((page_number)1 << 35)
#define MIDDLES_NR 256u /* addresses lie in few 16 GiB pieces: heap, mmap area, stacks */
#define MIDDLES_SPARE 64u

size_t page_table_bytes(size_t nr_pages)
{
    size_t nr_leaves = nr_pages / LEAF_PAGES + MIDDLES_SPARE; /* a piece may begin inside a leaf */
    return nr_leaves * sizeof(struct page_leaf) + MIDDLES_NR * sizeof(uint32_t[8192]);
}

void page_table_init(struct page_table *t, void *memory, size_t bytes)
{
    size_t middles_bytes = MIDDLES_NR * sizeof(uint32_t[8192]);
    *t = (struct page_table){
        .middles = memory,
        .nr_middles_max = MIDDLES_NR,
        .leaves = (struct page_leaf *)((unsigned char *)memory + middles_bytes),
        .nr_leaves_max = (uint32_t)((bytes - middles_bytes) / sizeof(struct page_leaf)),
    };
}

struct page_leaf *page_table_find(const struct page_table *t, page_number page)
{
    if (page >= PAGE_NUMBER_END)
        return NULL;
    uint16_t middle = __atomic_load_n(&t->top[page >> TOP_SHIFT], __ATOMIC_ACQUIRE);
    if (!middle)
        return NULL;
    uint32_t leaf = __atomic_load_n(&t->middles[middle - 1][page >> MIDDLE_SHIFT & MIDDLE_MASK],
                                    __ATOMIC_ACQUIRE);
    return leaf ? &t->leaves[leaf - 1] : NULL;
}

struct page_leaf *page_table_grow(struct page_table *t, page_number page)
{
    struct page_leaf *leaf = page_table_find(t, page);
    if (leaf || page >= PAGE_NUMBER_END)
        return leaf;
    uint16_t *middle = &t->top[page >> TOP_SHIFT];
    if (t->nr_leaves == t->nr_leaves_max || (!*middle && t->nr_middles == t->nr_middles_max))
        return NULL;
    if (!*middle)
        __atomic_store_n(middle, (uint16_t)++t->nr_middles, __ATOMIC_RELEASE);
    leaf = &t->leaves[t->nr_leaves++];
    leaf->first = page / LEAF_PAGES * LEAF_PAGES;
    __atomic_store_n(&t->middles[*middle - 1][page >> MIDDLE_SHIFT & MIDDLE_MASK], t->nr_leaves,
                     __ATOMIC_RELEASE);
    return leaf;
}

size_t page_table_used_bytes(const struct page_table *t)
{
    return t->nr_leaves * sizeof(struct page_leaf) + t->nr_middles * sizeof(uint32_t[8192]) / 8;
}
