/* pagemap.h - /proc/PID/pagemap: what is mapped at each page, eight bytes a page. Bits as in
 * Documentation/admin-guide/mm/pagemap.rst. Contract: any thread; nothing is allocated. */
#ifndef SYS_PAGEMAP_H
#define SYS_PAGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pagesize.h"

typedef uint64_t pagemap_entry;

/* Reads nr entries from `first` on. 0, or negative errno (-EIO: a short read). */
int pagemap_read(int pagemap_fd, page_number first, size_t nr, pagemap_entry *ret_entries);

static inline bool pagemap_is_present(pagemap_entry e)
{
    return e >> 63 & 1;
}

static inline bool pagemap_is_swapped(pagemap_entry e)
{
    return e >> 62 & 1;
}

/* A touch of it meets bytes, in memory or in the kernel's swap. (A write-protect marker in a hole reads as
 * swapped, too.) */
static inline bool pagemap_is_there(pagemap_entry e)
{
    return e >> 62 != 0;
}

static inline bool pagemap_is_file_or_shared(pagemap_entry e)
{
    return e >> 61 & 1;
}

/* Write-protected by a scan and not written since. */
static inline bool pagemap_is_unwritten(pagemap_entry e)
{
    return e >> 57 & 1;
}

/* Mapped by this process alone; clear for the shared zero page, too. */
static inline bool pagemap_is_exclusive(pagemap_entry e)
{
    return e >> 56 & 1;
}

#endif
