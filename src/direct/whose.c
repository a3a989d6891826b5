/* whose.c - is a page that the table does not have out in a range of ours? */
#include <errno.h>

#include "base/mutant.h"
#include "direct/direct.h"
#include "sys/uffd.h"

/* COPY and ZEROPAGE fill a hole in anybody's range: another pager's, whose page is out, or one that the
 * application has a userfaultfd of its own for. MOVE does not; from a hole it moves nothing, if it comes that
 * far. It is asked of what mremap has brought, made longer or moved out of its range, mostly. */
int direct_whose(const struct direct *d, int uffd, page_number page)
{
    struct interval *watched = intervals_find(d->watched, page);
    if ((watched && d->is_registered(watched)) || mutant_is(MUTANT_DIRECT_ANYBODYS))
        return 1;
    uint64_t moved;
    int r = uffd_move(uffd, page_address(page), d->hole, PAGE_BYTES, &moved);
    return r == -ENOENT ? 1 : r;
}
