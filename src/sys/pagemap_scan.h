/* pagemap_scan.h - PAGEMAP_SCAN (Linux 6.7): which pages were written since they were last
 * write-protected, and which are there. Works on any open /proc/PID/pagemap, also one that another
 * process opened and handed over. From Documentation/admin-guide/mm/pagemap.rst. Any thread. */
#ifndef SYS_PAGEMAP_SCAN_H
#define SYS_PAGEMAP_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/pagesize.h"

struct page_run {
    page_number first, end;
};

/* Finds the pages of [first, end) that have been written since the last call and write-protects them
 * again. Only where the owner registered asynchronous write-protection. Holes get no markers. Number
 * of runs; -EPERM: part of it is not registered so (any more). */
int pagemap_scan_written(int pagemap_fd, page_number first, page_number end, struct page_run *ret_runs,
                         size_t nr_max);
/* Finds the pages that are present, anonymous, not the zero page, and unwritten since the last
 * pagemap_scan_written(); changes nothing. */
int pagemap_scan_unwritten(int pagemap_fd, page_number first, page_number end,
                           struct page_run *ret_runs, size_t nr_max);

#endif
