/* move.c - see move.h. About 0.1 us a page in runs of 64; the look costs one pread, on errors only. */
#include "pager/move.h"

#include <errno.h>

#include "base/mutant.h"
#include "base/point.h"
#include "sys/pagemap.h"
#include "sys/uffd.h"

unsigned move_run(int uffd, int pagemap_fd, uint64_t to, uint64_t from, unsigned nr, int *ret_error,
                  unsigned *ret_unreported)
{
    *ret_unreported = 0;
    uint64_t moved_bytes = 0;
    int r = point_fails(POINT_MOVE_OUT) || point_fails(POINT_MOVE_OUT_CHANGING)
                ? -errno
                : uffd_move(uffd, to, from, pages_to_bytes(nr), &moved_bytes);
    unsigned moved = (unsigned)bytes_to_pages(moved_bytes);
    *ret_error = moved == nr ? 0 : r;
    if (moved == nr || mutant_is(MUTANT_BELIEVE_MOVE_ERROR))
        return moved;

    /* Both sides: a hole that somebody read from outside is present, too, and nothing has moved. */
    pagemap_entry there[MOVE_RUN_MAX], here[MOVE_RUN_MAX];
    if (pagemap_read(pagemap_fd, page_of(to) + moved, nr - moved, there) == 0 &&
        pagemap_read(pagemap_fd, page_of(from) + moved, nr - moved, here) == 0)
        while (moved + *ret_unreported < nr && pagemap_is_present(there[*ret_unreported]) &&
               !pagemap_is_present(here[*ret_unreported]))
            (*ret_unreported)++;
    moved += *ret_unreported;
    if (moved == nr)
        *ret_error = 0;
    else if (*ret_unreported || r == 0)
        *ret_error = -EAGAIN; /* its reason was the page that went: ask again */
    return moved;
}
