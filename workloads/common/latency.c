/* latency.c - reading a histogram: merge, count, nearest-rank percentiles, all of it as text. */
#include "latency.h"

uint64_t latency_bucket_top_ns(unsigned bucket)
{
    unsigned sub = 1u << LATENCY_SUB_BITS;
    if (bucket < sub)
        return bucket;
    unsigned shift = (bucket >> LATENCY_SUB_BITS) - 1;
    uint64_t bottom = (uint64_t)(sub + (bucket & (sub - 1))) << shift;
    return bottom + (UINT64_C(1) << shift) - 1;
}

void latency_merge(struct latency *into, const struct latency *from)
{
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->sum_ns += from->sum_ns;
    if (from->max_ns > into->max_ns)
        into->max_ns = from->max_ns;
}

uint64_t latency_count(const struct latency *l, uint64_t from_ns)
{
    uint64_t count = 0;
    for (unsigned i = latency_bucket(from_ns); i < LATENCY_BUCKETS; i++)
        count += l->buckets[i];
    return count;
}

uint64_t latency_percentile_ns(const struct latency *l, uint64_t from_ns, unsigned per_mille)
{
    uint64_t count = latency_count(l, from_ns);
    if (count == 0)
        return 0;
    uint64_t rank = (count * per_mille + 999) / 1000; /* the rank-th smallest, from 1 */
    uint64_t seen = 0;
    for (unsigned i = latency_bucket(from_ns); i < LATENCY_BUCKETS; i++) {
        seen += l->buckets[i];
        if (seen >= rank && i < LATENCY_BUCKETS - 1) {
            uint64_t top = latency_bucket_top_ns(i);
            return top < l->max_ns ? top : l->max_ns;
        }
    }
    return l->max_ns;
}

void latency_write_csv(const struct latency *l, FILE *out)
{
    fputs("upper_ns,count\n", out);
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        uint64_t top_ns = latency_bucket_top_ns(i);
        if (l->buckets[i] == 0)
            continue;
        if (i == LATENCY_BUCKETS - 1 || top_ns > l->max_ns)
            top_ns = l->max_ns;
        fprintf(out, "%llu,%llu\n", (unsigned long long)top_ns,
                (unsigned long long)l->buckets[i]);
    }
}
