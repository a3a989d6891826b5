/* pagemap.c - see pagemap.h. */
#include "sys/pagemap.h"

#include <errno.h>
#include <unistd.h>

#include "base/point.h"

int pagemap_read(int pagemap_fd, page_number first, size_t nr, pagemap_entry *ret_entries)
{
    size_t bytes = nr * sizeof *ret_entries;
    ssize_t n = point_fails(POINT_PAGEMAP_READ)
                    ? -1
                    : pread(pagemap_fd, ret_entries, bytes, (off_t)(first * sizeof *ret_entries));
    if (n < 0)
        return -errno;
    return (size_t)n == bytes ? 0 : -EIO;
}
