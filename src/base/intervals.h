/* intervals.h - a sorted set of page intervals that do not overlap, each with a tag. In memory that
 * the caller gives; never allocates. Neighbours are not merged: who was added stays one.
 * Contract: one thread at a time. Search is O(log n), change O(n) by memmove. */
#ifndef BASE_INTERVALS_H
#define BASE_INTERVALS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pagesize.h"

struct interval {
    page_number first, end; /* first <= page < end */
    uint64_t tag;           /* the caller's */
};

struct intervals {
    struct interval *items; /* set at birth */
    uint32_t nr;
    uint32_t nr_max; /* set at birth */
};

/* The one that covers the page, or NULL. */
struct interval *intervals_find(const struct intervals *s, page_number page);
/* Index of the first one that ends after the page; s->nr: none. */
uint32_t intervals_from(const struct intervals *s, page_number page);
bool intervals_overlap(const struct intervals *s, page_number first, page_number end);
/* Is every page of it in the set? */
bool intervals_cover(const struct intervals *s, page_number first, page_number end);
/* Puts one in, in place of whatever overlapped. -ENOSPC: no room; nothing changed. */
int intervals_set(struct intervals *s, page_number first, page_number end, uint64_t tag);
/* Takes the pages out, cutting what overlaps. -ENOSPC: a cut in the middle finds no room; nothing
 * changed. */
int intervals_clear(struct intervals *s, page_number first, page_number end);

#endif
