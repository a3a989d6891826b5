/* memory.h - what a process costs, and what a pager's daemon holds for it.
 *
 * Net memory saved = baseline target's Pss - (target's Pss without its map of the store
 *                    + daemon's Pss without its memfds + blocks held by those memfds).
 *
 * In the arm with zram: baseline target's Pss - (target's Pss + what zram's pages cost).
 *
 * Every file that the daemon holds is paid for once, by its blocks. The target's maps of the other
 * shared memory (rings) stay in its Pss and are thereby counted twice, at the pager's expense. */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define MEMORY_STORE_MAP "/memfd:process-pager-store"
#define MEMORY_PAGER_MAP "/memfd:process-pager"

/* Sums of Pss over a process's mappings, in KiB. */
struct memory_maps {
    uint64_t pss_kib;       /* all */
    uint64_t store_pss_kib; /* of it, maps of the store */
    uint64_t pager_pss_kib; /* of it, maps of the pager's memfds, the store's too */
    uint64_t memfd_pss_kib; /* of it, maps of any memfd */
    uint64_t anon_huge_kib; /* of its private memory, in transparent huge pages */
};

/* Reads the text of a smaps file. */
void memory_sum_smaps(FILE *smaps, struct memory_maps *ret_maps);
/* Of a live process. -errno: it is gone, or may not be looked at. */
int memory_read_maps(pid_t pid, struct memory_maps *ret_maps);
/* KiB held by the blocks of all memfds that a process has open or mapped, each file once. */
int memory_read_memfd_kib(pid_t pid, uint64_t *ret_kib);

struct memory_sample {
    uint64_t time_ns;
    struct memory_maps target, daemon; /* daemon: zeros in the baseline arm */
    uint64_t store_blocks_kib;         /* of the daemon's memfds */
    uint64_t daemon_cpu_ms;
    bool is_zram; /* pages that are out are in zram, and the daemon only chooses them */
    uint64_t zram_used_kib;
    uint64_t cost_us; /* of taking this sample */
};

/* daemon 0: there is none. -errno: the target is gone; no sample. */
int memory_sample(pid_t target, pid_t daemon, struct memory_sample *ret_sample);
/* What the sample's arm pays, in KiB, as above. In the zram arm the daemon's own memory is not in
 * it, in the peer's favour. */
uint64_t memory_paid_kib(const struct memory_sample *s);

struct memory_series {
    struct memory_sample *samples;
    size_t count, capacity;
};

void memory_series_add(struct memory_series *series, const struct memory_sample *sample);
void memory_series_free(struct memory_series *series);
/* Mean of what is paid over the samples of [from_ns, to_ns], in MiB. False: none lies there. */
bool memory_series_mean_mib(const struct memory_series *series, uint64_t from_ns, uint64_t to_ns,
                            double *ret_mib);
/* The same of the target's memory that is in transparent huge pages. */
bool memory_series_mean_huge_mib(const struct memory_series *series, uint64_t from_ns, uint64_t to_ns,
                                 double *ret_mib);
int memory_series_write(const struct memory_series *series, uint64_t start_ns, uint64_t end_ns,
                        const char *path);

#endif
