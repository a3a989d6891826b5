/* table.h - the page table of one client: page number -> struct page and its checksum, 12 bytes for
 * each page of a 2 MiB leaf that was ever written to, nothing for the rest. Keyed by address, not by
 * range: mremap re-keys pages, munmap and ranges do not touch its shape.
 *
 * Lives in memory that the caller reserved (zeroed, populated by touch) and never allocates, so that
 * the agent may grow it while it handles an event.
 *
 * Contract: the agent's, no locks; any thread may call page_table_find(). */
#ifndef PAGE_TABLE_H
#define PAGE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/pagesize.h"
#include "page/page.h"

#define LEAF_PAGES 512u

struct page_leaf {
    page_number first;  /* of its 512 pages; a multiple of 512 */
    uint64_t bar_epoch; /* when the last bar in it was set: see pager/bars.h */
    uint32_t nr_barred; /* at most this many pages are barred */
    uint32_t nr_out;    /* pages that are not RESIDENT */
    uint32_t nr_paged_out; /* RESIDENT pages in the kernel's swap at our wish */
    uint32_t unused;
    struct page pages[LEAF_PAGES];
    uint32_t checksums[LEAF_PAGES]; /* of the raw page; valid while STORED */
};

struct page_table {
    struct page_leaf *leaves; /* set at birth */
    uint32_t nr_leaves;       /* ever used; leaves[0 .. nr_leaves) */
    uint32_t nr_leaves_max;   /* set at birth */
    uint32_t nr_middles, nr_middles_max;
    uint32_t (*middles)[8192];         /* leaf index + 1; 0: none */
    uint16_t top[8192];                /* middle index + 1; 0: none */
};

/* How much to reserve so that nr_pages can be covered in one or a few pieces. */
size_t page_table_bytes(size_t nr_pages);
void page_table_init(struct page_table *t, void *memory, size_t bytes);
/* NULL: no page of that leaf was ever anything but RESIDENT. */
struct page_leaf *page_table_find(const struct page_table *t, page_number page);
/* Finds or makes. NULL: the reserve is used up; the page can't be managed. */
struct page_leaf *page_table_grow(struct page_table *t, page_number page);

static inline struct page *leaf_page(struct page_leaf *leaf, page_number page)
{
    return &leaf->pages[page % LEAF_PAGES];
}

/* Bytes of memory in use (what was touched, rounded up to leaves). */
size_t page_table_used_bytes(const struct page_table *t);

#endif
