/* pagemap_scan.c - see pagemap_scan.h. */
#include "sys/pagemap_scan.h"

#include <errno.h>
#include <linux/types.h>
#include <sys/ioctl.h>

#ifndef PAGEMAP_SCAN
#define PAGE_IS_WRITTEN (1u << 1)
#define PAGE_IS_FILE (1u << 2)
#define PAGE_IS_PRESENT (1u << 3)
#define PAGE_IS_PFNZERO (1u << 5)
struct page_region {
    __u64 start;
    __u64 end;
    __u64 categories;
};
#define PM_SCAN_WP_MATCHING (1u << 0)
#define PM_SCAN_CHECK_WPASYNC (1u << 1)
struct pm_scan_arg {
    __u64 size;
    __u64 flags;
    __u64 start;
    __u64 end;
    __u64 walk_end;
    __u64 vec;
    __u64 vec_len;
    __u64 max_pages;
    __u64 category_inverted;
    __u64 category_mask;
    __u64 category_anyof_mask;
    __u64 return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#endif

#define REGIONS_MAX 512

static int scan(int fd, struct pm_scan_arg *a, struct page_run *ret_runs, size_t nr_max)
{
    struct page_region regions[REGIONS_MAX];
    a->size = sizeof *a;
    a->vec = (uintptr_t)regions;
    a->vec_len = nr_max < REGIONS_MAX ? nr_max : REGIONS_MAX;
    int n = ioctl(fd, PAGEMAP_SCAN, a);
    if (n < 0)
        return -errno;
    for (int i = 0; i < n; i++)
        ret_runs[i] = (struct page_run){ page_of(regions[i].start), page_of(regions[i].end) };
    return n;
}

int pagemap_scan_written(int pagemap_fd, page_number first, page_number end, struct page_run *ret_runs,
                         size_t nr_max)
{
    /* PRESENT, too: WRITTEN alone leaves write-protect markers in holes, and MOVE then says EEXIST. */
    struct pm_scan_arg a = { .flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
                             .start = page_address(first),
                             .end = page_address(end),
                             .category_mask = PAGE_IS_PRESENT | PAGE_IS_WRITTEN,
                             .return_mask = PAGE_IS_WRITTEN };
    return scan(pagemap_fd, &a, ret_runs, nr_max);
}

int pagemap_scan_unwritten(int pagemap_fd, page_number first, page_number end,
                           struct page_run *ret_runs, size_t nr_max)
{
    uint64_t absent = PAGE_IS_WRITTEN | PAGE_IS_FILE | PAGE_IS_PFNZERO;
    struct pm_scan_arg a = { .start = page_address(first),
                             .end = page_address(end),
                             .category_inverted = absent,
                             .category_mask = PAGE_IS_PRESENT | absent,
                             .return_mask = PAGE_IS_PRESENT };
    return scan(pagemap_fd, &a, ret_runs, nr_max);
}
