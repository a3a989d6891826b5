/* pageout.h - another process's private memory onto the kernel's swap, by process_madvise(MADV_PAGEOUT), in
 * pieces of 2 MiB in random order, each once: what has come back by then is what is used, and stays. So the
 * kernel's own mechanism is measured without a policy that could choose badly. Root's. */
#ifndef BENCH_PAGEOUT_H
#define BENCH_PAGEOUT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pageout_piece {
    uint64_t start, end;
};

struct pageout {
    int pidfd; /* -1: not begun */
    struct pageout_piece *pieces;
    size_t nr, next;
};

#define PAGEOUT_NONE { .pidfd = -1 }

/* Lists the memory as it is now. -errno. */
int pageout_begin(struct pageout *p, pid_t pid, uint64_t seed);
/* The next pieces, of so many bytes at least, unless none are left. Returns how many bytes were asked. */
uint64_t pageout_next(struct pageout *p, uint64_t bytes);
void pageout_end(struct pageout *p);

#endif
