/* stats.h - counters, gauges and histograms of one thread of one session, in memory that another
 * process may read at any time. One writer, any reader; each word is atomic and relaxed: readers
 * see a recent value, not a snapshot. Blocks are summed on read. Pure memory, no I/O. */
#ifndef STATS_STATS_H
#define STATS_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum stat_number {
#define COUNTER(name, unit, meaning) STAT_##name,
#define GAUGE(name, unit, meaning) STAT_##name,
#define HIST(name, unit, meaning)
#include "stats/stats.def"
#undef COUNTER
#undef GAUGE
#undef HIST
    STAT_NUMBER_NR
};

enum stat_hist {
#define COUNTER(name, unit, meaning)
#define GAUGE(name, unit, meaning)
#define HIST(name, unit, meaning) STAT_HIST_##name,
#include "stats/stats.def"
#undef COUNTER
#undef GAUGE
#undef HIST
    STAT_HIST_NR
};

/* Log-linear buckets: 8 to an octave, so a percentile is read to within 1/8 of its value, from 0 to
 * 2^40 (18 minutes in ns); the largest value is kept exactly. */
#define HIST_SUB_BITS 3
#define HIST_OCTAVES 40
#define HIST_BUCKETS ((HIST_OCTAVES - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct histogram {
    _Atomic uint64_t max;
    _Atomic uint32_t buckets[HIST_BUCKETS];
};

struct stats_block {
    _Alignas(64) _Atomic uint64_t numbers[STAT_NUMBER_NR];
    struct histogram hists[STAT_HIST_NR];
};

/* Writer side; one thread. */
void stats_add(struct stats_block *b, enum stat_number number, uint64_t amount);
void stats_set(struct stats_block *b, enum stat_number number, uint64_t value);
void histogram_record(struct histogram *h, uint64_t value);
/* For a histogram that one thread writes, in a signal handler, too, and another one empties ... */
void histogram_record_shared(struct histogram *h, uint64_t value);
/* ... with this: moves all that `from` holds to `into`, whose writer the caller is. */
void histogram_take(struct histogram *into, struct histogram *from);

/* Reader side. */
uint64_t stats_get(const struct stats_block *b, enum stat_number number);
/* Adds what `from` holds to `into` (sums, buckets; larger max), `into` private to the caller.
 * Gauges add too: each is written by one thread only. */
void stats_merge(struct stats_block *into, const struct stats_block *from);
uint64_t histogram_count(const struct histogram *h);
/* Nearest-rank percentile, upper edge of its bucket but never above max; 0 for an empty one.
 * per_mille: 500, 950, 990, 999. */
uint64_t histogram_percentile(const struct histogram *h, unsigned per_mille);

/* Everything flattened, in order of stats.def, each histogram as _p50 _p95 _p99 _p999 _max _n:
 * the CSV header, pp_stats_* and the JSON all walk this list. */
size_t stats_export_count(void);
const char *stats_export_name(size_t index);    /* NULL: no such index */
const char *stats_export_unit(size_t index);    /* "count", "bytes", "ns" */
const char *stats_export_meaning(size_t index);
uint64_t stats_export_value(const struct stats_block *b, size_t index);

#endif
