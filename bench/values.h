/* values.h - what tables and sentences take from the rows of all runs. */
#ifndef BENCH_VALUES_H
#define BENCH_VALUES_H

#include <stdbool.h>

#include "aggregate.h"
#include "arm.h"
#include "csv.h"

#define VALUES_CHURN "mmap_churn" /* its maps do not live long enough: in no saving, no total */

bool values_is_churn(const char *workload);

/* Of the column whose name has the arm's at the %s. */
struct aggregate values_of_arm(const struct csv_table *t, const char *workload,
                               const char *column_format, enum arm_kind kind);
/* What an arm saved, as "steady_mib"; the pager's columns have no arm in their names. */
struct aggregate values_saved(const struct csv_table *t, const char *workload,
                              const char *span_and_unit, enum arm_kind kind);

/* How many rows a workload has, and how many of them are not plainly a result. */
struct values_tally {
    unsigned total, invalid, failed, unchecked;
};
struct values_tally values_tally(const struct csv_table *t, const char *workload);

#endif
