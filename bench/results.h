/* results.h - a results directory of the A/B with repeats, read back: its rows, what may be counted
 * of them, and the time series and histograms below runs/. Made for directories cut short, too:
 * what is not there is not known, never zero.
 *
 * Only rows with the verdict OK or UNCHECKED count. INVALID ones (wrong bytes) can be asked for by
 * themselves, to be shown in red; FAILED ones, and rows without a verdict, have no numbers. */
#ifndef BENCH_RESULTS_H
#define BENCH_RESULTS_H

#include <stdbool.h>
#include <stddef.h>

#include "csv.h"

#define RESULTS_WORKLOADS_MAX 16u
#define RESULTS_RUNS_MAX 1000u
#define RESULTS_CHURN "mmap_churn" /* short-lived mappings: in no saving, no total */

enum results_arm { RESULTS_BASELINE, RESULTS_PAGER, RESULTS_ZRAM, RESULTS_ARM_NR };
extern const char *const results_arm_names[RESULTS_ARM_NR];

struct results {
    const char *folder;
    struct csv_table *rows; /* of all runs */
    const char *workloads[RESULTS_WORKLOADS_MAX];
    size_t nr_workloads;
    bool has_arm[RESULTS_ARM_NR];
};

/* -ENOENT: neither runs/ nor all_runs_long.csv is there. No rows is no error. */
int results_read(const char *folder, struct results *ret_results);
/* Takes the table, which becomes the results'. */
void results_of_table(struct csv_table *rows, const char *folder, struct results *ret_results);
void results_free(struct results *results);

/* ---- rows ----------------------------------------------------------------------------------- */

enum results_verdict { RESULTS_COUNTS, RESULTS_INVALID, RESULTS_FAILED };
enum results_verdict results_verdict(const struct results *results, size_t row);

struct results_tally {
    size_t total, invalid, failed, unchecked;
};
struct results_tally results_tally(const struct results *results, const char *workload);

/* A number of a row. False: not known. `name` is a column, or an arm's for what is worked out. */
typedef bool results_value(const struct results *results, size_t row, const char *name,
                           double *ret_value);
results_value results_cell;
/* Net memory saved against the baseline in the steady state, of the arm `name`. */
results_value results_saved_pct, results_saved_mib;

struct results_spread {
    size_t n;     /* 0: no row has it */
    size_t zeros; /* of n */
    double min, median, max, mean;
};
/* Over the rows of a workload that count. The median is nearest-rank, as in aggregate.csv: a value
 * that was measured, of an even number the lower one of the middle two. */
struct results_spread results_spread(const struct results *results, const char *workload,
                                     results_value *value, const char *name);
/* The same over what is above zero, for an axis that has no zero; `zeros` says how many were not.
 */
struct results_spread results_spread_positive(const struct results *results, const char *workload,
                                              results_value *value, const char *name);

/* ---- what lies below runs/ ------------------------------------------------------------------ */

/* The path of a file of an arm of a row, as runs/run-001/anon_streamer/pager/memory.csv. */
void results_path(const struct results *results, size_t row, enum results_arm arm, const char *file,
                  char *ret_path, size_t size);

/* The row whose memory is shown: the one with the median saving among those that have samples of
 * the pager arm (or, without one, of the baseline). False: there is none. */
bool results_typical_row(const struct results *results, const char *workload, size_t *ret_row);

/* A histogram of touches: how many took at most upper_ns, and longer than the bucket before. */
struct results_touches {
    struct results_bucket {
        double upper_ns, count;
    } * buckets; /* by upper_ns, upwards */
    size_t nr_buckets;
    double n;
};
/* Adds a file's buckets. False: it can't be read, or has none. */
bool results_touches_add(struct results_touches *touches, const char *path);
/* Of all rows of a workload that count. */
struct results_touches results_touches(const struct results *results, const char *workload,
                                       enum results_arm arm);
void results_touches_free(struct results_touches *touches);

#endif
