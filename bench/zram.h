/* zram.h - a zram device of our own, swap or plain disk, for as long as a measurement needs one. It is
 * hot-added, so no device that was there is touched; page-cluster is set and put back. What must be put
 * back stands in a file until it has been: a run that was killed is cleaned up by the next one. Root's.
 *
 * Swap belongs to the whole machine, so only one of us has it at a time: a lock file, held from
 * zram_begin() to zram_end() and given back by the kernel when its holder dies. */
#ifndef BENCH_ZRAM_H
#define BENCH_ZRAM_H

#include <stddef.h>
#include <stdint.h>

struct zram {
    int id; /* of /dev/zram<id>; -1: none */
    int page_cluster_before;
    int lock; /* descriptor, while id >= 0 */
};

#define ZRAM_PATIENCE_MS 60000u

/* Nobody else of us turns swap on or off until the descriptor is closed. Also for a test that wants none
 * to be on. -EBUSY: another run has it, and still had after so long; -EINTR: a signal came
 * meanwhile; -EACCES: not root. */
int zram_claim(unsigned patience_ms);
/* Puts back what an earlier run left. 0 also when there was nothing, or another run is using it. */
int zram_recover(void);
/* A swap device of that many bytes, lz4, page-cluster 0, preferred over any other. Waits for another run
 * to be done with its own, ZRAM_PATIENCE_MS at most, and puts back what a dead one left. 0; else a line in
 * ret_reason why not (no root, no zram in this kernel, not our turn), and nothing is changed. */
int zram_begin(struct zram *z, uint64_t bytes, char *ret_reason, size_t capacity);
/* The same without the swap: a disk to be written with zram_open(). Nothing else is touched. */
int zram_begin_disk(struct zram *z, uint64_t bytes, char *ret_reason, size_t capacity);
/* A descriptor, close-on-exec; the caller closes it before the end. Negative errno. */
int zram_open(const struct zram *z, int flags);
/* Everything as it was. Pages still in it are read back by the kernel first. */
void zram_end(struct zram *z);
/* What its pages cost, in KiB (mem_used_total of mm_stat). */
uint64_t zram_used_kib(const struct zram *z);

struct zram_usage { /* the columns of mm_stat that somebody here wants */
    uint64_t compressed_bytes; /* of pages that are not same-filled; 4096 for those that did not shrink */
    uint64_t used_bytes;       /* whole pages of the allocator: what the machine pays */
    uint64_t nr_same, nr_huge;
};
int zram_usage(const struct zram *z, struct zram_usage *ret);

#endif
