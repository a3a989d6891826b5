/* stats.c - recording and reading. A number has one writer, so an addition is a load and a store,
 * not a locked instruction: ~1 ns. */
#include "stats/stats.h"

#include <stdatomic.h>

void stats_add(struct stats_block *b, enum stat_number number, uint64_t amount)
{
    uint64_t now = atomic_load_explicit(&b->numbers[number], memory_order_relaxed);
    atomic_store_explicit(&b->numbers[number], now + amount, memory_order_relaxed);
}

void stats_set(struct stats_block *b, enum stat_number number, uint64_t value)
{
    atomic_store_explicit(&b->numbers[number], value, memory_order_relaxed);
}

uint64_t stats_get(const struct stats_block *b, enum stat_number number)
{
    return atomic_load_explicit(&b->numbers[number], memory_order_relaxed);
}

/* Values below 8 have a bucket each; above, the octave and the three bits after the leading one. */
static unsigned bucket_of(uint64_t value)
{
    if (value >> HIST_OCTAVES)
        return HIST_BUCKETS - 1;
    if (value < 1u << HIST_SUB_BITS)
        return (unsigned)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HIST_SUB_BITS;
    unsigned sub = (unsigned)(value >> shift) & ((1u << HIST_SUB_BITS) - 1);
    return (shift + 1) << HIST_SUB_BITS | sub;
}

/* The largest value that belongs into a bucket; the last one also has what is beyond the range. */
static uint64_t bucket_upper_edge(unsigned bucket)
{
    if (bucket == HIST_BUCKETS - 1)
        return UINT64_MAX;
    if (bucket < 1u << HIST_SUB_BITS)
        return bucket;
    unsigned shift = (bucket >> HIST_SUB_BITS) - 1;
    uint64_t lead = (bucket & ((1u << HIST_SUB_BITS) - 1)) | 1u << HIST_SUB_BITS;
    return ((lead + 1) << shift) - 1;
}

/* Buckets stop at their largest value rather than begin anew at 0. */
static void bucket_add(_Atomic uint32_t *bucket, uint32_t amount)
{
    uint32_t now = atomic_load_explicit(bucket, memory_order_relaxed);
    uint32_t sum;
    if (__builtin_add_overflow(now, amount, &sum))
        sum = UINT32_MAX;
    atomic_store_explicit(bucket, sum, memory_order_relaxed);
}

static void max_raise(_Atomic uint64_t *max, uint64_t value)
{
    if (value > atomic_load_explicit(max, memory_order_relaxed))
        atomic_store_explicit(max, value, memory_order_relaxed);
}

void histogram_record(struct histogram *h, uint64_t value)
{
    bucket_add(&h->buckets[bucket_of(value)], 1);
    max_raise(&h->max, value);
}

/* One addition that is never lost to the other's exchange, and no lock: 4 ns where no other CPU has the
 * line. A largest value that is stored just after it was taken is told the next time. */
void histogram_record_shared(struct histogram *h, uint64_t value)
{
    atomic_fetch_add_explicit(&h->buckets[bucket_of(value)], 1, memory_order_relaxed);
    max_raise(&h->max, value);
}

void histogram_take(struct histogram *into, struct histogram *from)
{
    for (unsigned b = 0; b < HIST_BUCKETS; b++)
        if (atomic_load_explicit(&from->buckets[b], memory_order_relaxed))
            bucket_add(&into->buckets[b],
                       atomic_exchange_explicit(&from->buckets[b], 0, memory_order_relaxed));
    max_raise(&into->max, atomic_exchange_explicit(&from->max, 0, memory_order_relaxed));
}

static void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned b = 0; b < HIST_BUCKETS; b++)
        bucket_add(&into->buckets[b],
                   atomic_load_explicit(&from->buckets[b], memory_order_relaxed));
    max_raise(&into->max, atomic_load_explicit(&from->max, memory_order_relaxed));
}

void stats_merge(struct stats_block *into, const struct stats_block *from)
{
    for (unsigned n = 0; n < STAT_NUMBER_NR; n++)
        stats_add(into, (enum stat_number)n, stats_get(from, (enum stat_number)n));
    for (unsigned h = 0; h < STAT_HIST_NR; h++)
        histogram_merge(&into->hists[h], &from->hists[h]);
}

uint64_t histogram_count(const struct histogram *h)
{
    uint64_t count = 0;
    for (unsigned b = 0; b < HIST_BUCKETS; b++)
        count += atomic_load_explicit(&h->buckets[b], memory_order_relaxed);
    return count;
}

uint64_t histogram_percentile(const struct histogram *h, unsigned per_mille)
{
    uint64_t count = histogram_count(h);
    if (!count)
        return 0;
    uint64_t rank = (count * per_mille + 999) / 1000;
    if (!rank)
        rank = 1;
    uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);
    uint64_t seen = 0;
    /* A writer may add while we walk: buckets only grow, so the rank is always reached. A writer
     * that lies may shrink them; then the answer is the max. */
    for (unsigned b = 0; b < HIST_BUCKETS; b++) {
        seen += atomic_load_explicit(&h->buckets[b], memory_order_relaxed);
        if (seen >= rank) {
            uint64_t edge = bucket_upper_edge(b);
            return edge < max ? edge : max;
        }
    }
    return max;
}
