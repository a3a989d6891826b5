/* pagemap_scan.c - see pagemap_scan.h. */
#include "sys/pagemap_scan.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "base/point.h"
#include "sys/uapi.h"

_Static_assert(sizeof(struct pm_scan_arg) == 96, "the kernel's");
_Static_assert(sizeof(struct pagemap_region) == 24, "struct page_region of the kernel");
_Static_assert(PAGE_IS_WRITTEN == 2, "pagemap_region_is_written");

int pagemap_scan(int pagemap_fd, page_number first, page_number end, enum pagemap_scan_mode mode,
                 struct pagemap_region *ret_regions, size_t nr_max)
{
    /* Asking for PRESENT keeps holes out of it. That matters: protecting a hole leaves a marker there,
     * and MOVE into it then says EEXIST. What matches is protected only if it is also written.
     * Not asked for: PAGE_IS_FILE. The kernel would read each page's struct page to tell, 130 us for
     * 512 pages instead of 7, and owners register anonymous memory only. */
    const uint64_t not_ours = PAGE_IS_SWAPPED | PAGE_IS_PFNZERO;
    struct pm_scan_arg a = {
        .size = sizeof a,
        .flags = PM_SCAN_CHECK_WPASYNC | (mode == PAGEMAP_SCAN_PROTECT ? PM_SCAN_WP_MATCHING : 0),
        .start = page_address(first),
        .end = page_address(end),
        .vec = (uintptr_t)ret_regions,
        .vec_len = nr_max,
        .category_inverted = not_ours,
        .category_mask = PAGE_IS_PRESENT | not_ours,
        .return_mask = PAGE_IS_PRESENT | PAGE_IS_WRITTEN,
    };
    int n = point_fails(POINT_SCAN) ? -1 : ioctl(pagemap_fd, PAGEMAP_SCAN, &a);
    return n < 0 ? -errno : n;
}

int pagemap_scan_next(int pagemap_fd, page_number first, page_number end, page_number *ret_page)
{
    struct pagemap_region found = { .start = page_address(end) };
    struct pm_scan_arg a = {
        .size = sizeof a,
        .start = page_address(first),
        .end = page_address(end),
        .vec = (uintptr_t)&found,
        .vec_len = 1,
        .max_pages = 1,
        .category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
        .return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
    };
    if (ioctl(pagemap_fd, PAGEMAP_SCAN, &a) < 0)
        return -errno;
    *ret_page = page_of(found.start);
    return 0;
}
