/* heap_pages.h - the pages of a program's heap, read out of it while it stands still. Which pages:
 * those a pager could take, that is of private, readable and writable, not executable mappings
 * without a file, as far as they are there and the process's own (not the zero page, not shared
 * with another process). A page that the kernel has swapped out counts, too. Also to a file and
 * back, so that the same pages can be tried with other codecs and sizes.
 *
 * Contract: the process is stopped (SIGSTOP) and stays so; we may trace it (it is our child). */
#ifndef BENCH_HEAP_PAGES_H
#define BENCH_HEAP_PAGES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/pagesize.h"

struct heap_pages {
    size_t nr;
    unsigned char *bytes; /* nr * PAGE_BYTES, page-aligned; in the order of their addresses */
    page_number *numbers; /* nr: where each was */
};

/* Room for nr pages of zeros, all numbers 0. -ENOMEM. */
int heap_pages_new(size_t nr, struct heap_pages *ret);
void heap_pages_free(struct heap_pages *h); /* takes an empty one, too */

static inline unsigned char *heap_page(const struct heap_pages *h, size_t index)
{
    return h->bytes + pages_to_bytes(index);
}

/* Reads all of them. -ESRCH: it has ended; -EPERM: not ours to look into; -EFAULT: it is not still.
 */
int heap_pages_read(pid_t pid, struct heap_pages *ret);

/* PATH holds the pages and nothing else; PATH.numbers where they were, eight bytes a page. Without
 * that file the pages are taken for neighbours. -EINVAL: not whole pages. */
int heap_pages_save(const struct heap_pages *h, const char *path);
int heap_pages_load(const char *path, struct heap_pages *ret);

#endif
