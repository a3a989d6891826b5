/* table.h - the page table of one client: page number -> struct page and its checksum, 12 bytes for
 * each page of a 256 KiB leaf that was ever written to, half a byte more for finding it, nothing for
 * the rest. Keyed by address, not by range: mremap re-keys pages, munmap and ranges do not touch its
 * shape. Where addresses lie makes no difference: an allocator that spreads its pieces over the
 * whole address space pays what a heap in one piece does.
 *
 * Lives in memory that the caller reserved (zeroed, populated by touch) and never allocates, so that
 * the agent may grow it while it handles an event. A leaf of which no page is out or barred says
 * nothing that a missing one would not, so page_table_grow() takes such leaves before fresh ones.
 *
 * Contract: the agent's, no locks; another thread may call page_table_find() where the agent sees to it that
 * nothing grows meanwhile (pager_grow). A pointer to a leaf with nothing out or barred is good until the next
 * page_table_grow(). */
#ifndef PAGE_TABLE_H
#define PAGE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pagesize.h"
#include "page/page.h"

#define LEAF_PAGES 64u /* as many as V8's pieces of 256 KiB have, and a run of MOVE */

struct page_leaf {
    page_number first;  /* of its 64 pages; a multiple of 64 */
    uint64_t bar_epoch; /* when the last bar in it was set: see client/bars.h */
    uint32_t next;      /* of the same bucket: leaf index + 1; 0: none */
    uint8_t nr_barred;  /* at most this many pages are barred */
    uint8_t nr_out;     /* pages that are not RESIDENT */
    uint8_t nr_paged_out; /* RESIDENT pages in the kernel's swap at our wish */
    bool is_settled;      /* nothing can be denser here before a page of it changes: see pager/squeeze.c */
    struct page pages[LEAF_PAGES];
    uint32_t checksums[LEAF_PAGES]; /* of the raw page; valid while STORED */
};

struct page_table {
    struct page_leaf *leaves; /* set at birth */
    uint32_t *buckets;        /* set at birth; leaf index + 1; 0: none */
    uint32_t nr_leaves;       /* ever used; leaves[0 .. nr_leaves) */
    uint32_t nr_leaves_max;   /* set at birth */
    uint32_t nr_buckets, bucket_mask;
    uint32_t hand;            /* where the search for a leaf to use again goes on */
    uint64_t bars_over;       /* the pager's: bars up to this one are known to be over */
    bool has_forgotten_bars;  /* a leaf that had a bar_epoch was used again */
};

/* How much to reserve so that nr_pages can be covered in one or a few pieces. */
size_t page_table_bytes(size_t nr_pages);
void page_table_init(struct page_table *t, void *memory, size_t bytes);
/* NULL: no page of that leaf is anything but RESIDENT. */
struct page_leaf *page_table_find(const struct page_table *t, page_number page);
/* Finds or makes. NULL: the reserve is used up; the page can't be managed. */
struct page_leaf *page_table_grow(struct page_table *t, page_number page);
/* The same where NULL would be the end: with the reserve used up it looks at every leaf for one to use
 * again, some milliseconds for a million of them. */
struct page_leaf *page_table_must_grow(struct page_table *t, page_number page);

/* The leaves with pages in [first, end), each once: by looking up each place where one may be, or by
 * going through all there are, in no order, whichever is shorter. The table may not grow meanwhile. */
struct leaf_walk {
    page_number first, end; /* of what is walked */
    page_number page;       /* looking up: the next place */
    uint32_t index;         /* going through all: the next one */
    bool is_by_place;
};
struct leaf_walk leaf_walk_begin(const struct page_table *t, page_number first, page_number end);
struct page_leaf *leaf_walk_next(const struct page_table *t, struct leaf_walk *w); /* NULL: done */

static inline struct page *leaf_page(struct page_leaf *leaf, page_number page)
{
    return &leaf->pages[page % LEAF_PAGES];
}

static inline page_number leaf_end(page_number page) /* of the leaf in which the page is */
{
    return (page / LEAF_PAGES + 1) * LEAF_PAGES;
}

/* Bytes of memory in use (what was touched, rounded up to leaves). */
size_t page_table_used_bytes(const struct page_table *t);

#endif
