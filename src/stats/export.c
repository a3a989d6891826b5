/* export.c - the flat list of everything in stats.def, walked by the CSV, the JSON and pp_stats_*. */
#include "stats/stats.h"

#include <stdatomic.h>

enum export_what {
    EXPORT_NUMBER,
    EXPORT_PERCENTILE,
    EXPORT_MAX,
    EXPORT_COUNT,
};

struct export_row {
    const char *name, *unit, *meaning;
    enum export_what what;
    unsigned which;     /* enum stat_number or enum stat_hist */
    unsigned per_mille; /* EXPORT_PERCENTILE */
};

static const struct export_row rows[] = {
#define COUNTER(name, unit, meaning) {#name, #unit, meaning, EXPORT_NUMBER, STAT_##name, 0},
#define GAUGE(name, unit, meaning) {#name, #unit, meaning, EXPORT_NUMBER, STAT_##name, 0},
#define HIST(name, unit, meaning)                                                                  \
    {#name "_p50", #unit, meaning ": median", EXPORT_PERCENTILE, STAT_HIST_##name, 500},           \
    {#name "_p95", #unit, meaning ": 95th percentile", EXPORT_PERCENTILE, STAT_HIST_##name, 950},  \
    {#name "_p99", #unit, meaning ": 99th percentile", EXPORT_PERCENTILE, STAT_HIST_##name, 990},  \
    {#name "_p999", #unit, meaning ": 99.9th percentile", EXPORT_PERCENTILE, STAT_HIST_##name,     \
     999},                                                                                         \
    {#name "_max", #unit, meaning ": the longest", EXPORT_MAX, STAT_HIST_##name, 0},               \
    {#name "_n", "count", meaning ": how many", EXPORT_COUNT, STAT_HIST_##name, 0},
#include "stats/stats.def"
#undef COUNTER
#undef GAUGE
#undef HIST
};

#define NR_ROWS (sizeof(rows) / sizeof(rows[0]))

size_t stats_export_count(void)
{
    return NR_ROWS;
}

const char *stats_export_name(size_t index)
{
    return index < NR_ROWS ? rows[index].name : NULL;
}

const char *stats_export_unit(size_t index)
{
    return index < NR_ROWS ? rows[index].unit : NULL;
}

const char *stats_export_meaning(size_t index)
{
    return index < NR_ROWS ? rows[index].meaning : NULL;
}

uint64_t stats_export_value(const struct stats_block *b, size_t index)
{
    if (index >= NR_ROWS)
        return 0;
    const struct export_row *row = &rows[index];
    switch (row->what) {
    case EXPORT_NUMBER:     return stats_get(b, (enum stat_number)row->which);
    case EXPORT_PERCENTILE: return histogram_percentile(&b->hists[row->which], row->per_mille);
    case EXPORT_MAX:        return atomic_load_explicit(&b->hists[row->which].max,
                                                        memory_order_relaxed);
    case EXPORT_COUNT:      return histogram_count(&b->hists[row->which]);
    }
    return 0;
}
