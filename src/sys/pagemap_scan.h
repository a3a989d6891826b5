/* pagemap_scan.h - PAGEMAP_SCAN (Linux 6.7): which pages are there, and which were written since they
 * were last write-protected. Works on any open /proc/PID/pagemap, also one that another process opened
 * and handed over. From Documentation/admin-guide/mm/pagemap.rst. Any thread; nothing is allocated. */
#ifndef SYS_PAGEMAP_SCAN_H
#define SYS_PAGEMAP_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pagesize.h"

/* A run of neighbours that are alike, as the kernel writes it. */
struct pagemap_region {
    uint64_t start, end; /* addresses */
    uint64_t categories;
};

static inline bool pagemap_region_is_written(const struct pagemap_region *r)
{
    return r->categories >> 1 & 1; /* PAGE_IS_WRITTEN */
}

enum pagemap_scan_mode {
    PAGEMAP_SCAN_LOOK,    /* changes nothing, costs the owner nothing */
    PAGEMAP_SCAN_PROTECT, /* and write-protects what is written: its next write costs about 1 us */
};

/* Finds the pages of [first, end) that are present and not the zero page, written and unwritten ones as
 * runs of their own. Only where the owner registered asynchronous write-protection;
 * holes in the address space are passed over. At most one run a page is needed.
 * Number of runs; -EPERM: part of it is not registered so (any more); -ENOTTY: an older kernel. */
int pagemap_scan(int pagemap_fd, page_number first, page_number end, enum pagemap_scan_mode mode,
                 struct pagemap_region *ret_regions, size_t nr_max);
/* The first page of [first, end) that is present or swapped, whatever it is and however registered; end:
 * there is none. What has no page tables is passed over in one step each: 1 TiB of nothing takes
 * microseconds. 0; -ENOTTY: an older kernel. */
int pagemap_scan_next(int pagemap_fd, page_number first, page_number end, page_number *ret_page);

#endif
