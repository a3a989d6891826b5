/* latency.h - a histogram of durations in ns: 16 buckets to an octave, so a percentile is read to
 * within 1/16 of its value, never below it; the largest value and the mean are exact. One thread
 * writes; merge when the writers are done. */
#ifndef WORKLOADS_LATENCY_H
#define WORKLOADS_LATENCY_H

#include <stdint.h>
#include <stdio.h>

#define LATENCY_SUB_BITS 4
#define LATENCY_OCTAVES 40 /* to 2^40 ns, 18 minutes; longer ones count in the last bucket */
#define LATENCY_BUCKETS ((LATENCY_OCTAVES - LATENCY_SUB_BITS + 1) << LATENCY_SUB_BITS)
#define LATENCY_SLOW_NS 1024u            /* "above 1 us": the bucket edge next to it */
#define LATENCY_P999_MIN UINT64_C(10000) /* fewer values do not carry a p99.9 */

struct latency {
    uint64_t max_ns, sum_ns;
    uint64_t buckets[LATENCY_BUCKETS];
};

/* The bucket of a value, and the largest value of a bucket. */
static inline unsigned latency_bucket(uint64_t ns)
{
    if (ns < 1u << LATENCY_SUB_BITS)
        return (unsigned)ns;
    unsigned octave = 63u - (unsigned)__builtin_clzll(ns);
    if (octave >= LATENCY_OCTAVES)
        return LATENCY_BUCKETS - 1;
    unsigned shift = octave - LATENCY_SUB_BITS;
    return ((shift + 1) << LATENCY_SUB_BITS) +
           (unsigned)((ns >> shift) & ((1u << LATENCY_SUB_BITS) - 1));
}

uint64_t latency_bucket_top_ns(unsigned bucket);

static inline void latency_record(struct latency *l, uint64_t ns)
{
    l->buckets[latency_bucket(ns)]++;
    l->sum_ns += ns;
    if (ns > l->max_ns)
        l->max_ns = ns;
}

void latency_merge(struct latency *into, const struct latency *from);

/* Of the values >= from_ns, which is 0 or a bucket's edge (LATENCY_SLOW_NS): how many, and the
 * nearest-rank percentile (0 when there is none). per_mille: 500, 950, 990, 999. */
uint64_t latency_count(const struct latency *l, uint64_t from_ns);
uint64_t latency_percentile_ns(const struct latency *l, uint64_t from_ns, unsigned per_mille);

/* "upper_ns,count", a line for each bucket that is not empty, shortest first. upper_ns is the
 * longest that the bucket can hold, in the last line the longest that there was. */
void latency_write_csv(const struct latency *l, FILE *out);

#endif
