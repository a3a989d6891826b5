/* move.h - moving pages with UFFDIO_MOVE, and believing only what the page tables say. The kernel can
 * move a page and return an error when another thread, DAMON or reclaim changes the entry's bits
 * meanwhile (1 in 7,000 under ageing, Linux 6.18), so whatever does not report its full length is
 * looked at.
 *
 * Contract: the destination is empty before and nobody else fills it. The agent's. */
#ifndef PAGER_MOVE_H
#define PAGER_MOVE_H

#include <stdint.h>

#include "base/pagesize.h"

/* Moves up to nr (<= 64) pages; returns how many went, from the first on. *ret_error: 0 if all, else
 * why the next one did not go (sys/uffd.h has the meanings). *ret_unreported: how many of them the
 * kernel did not count. */
unsigned move_run(int uffd, int pagemap_fd, uint64_t to, uint64_t from, unsigned nr, int *ret_error,
                  unsigned *ret_unreported);

#define MOVE_RUN_MAX 64u

#endif
