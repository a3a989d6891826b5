/* aggregate.h - what many runs say together: of each metric of each workload how many values there
 * are, and how they spread. Percentiles are nearest-rank: always a value that was measured. Rows
 * that are no result (INVALID, FAILED) are left out; a cell that is empty or missing is a value
 * less. */
#ifndef BENCH_AGGREGATE_H
#define BENCH_AGGREGATE_H

#include <stdbool.h>
#include <stddef.h>

#include "csv.h"

struct aggregate {
    size_t n; /* 0: none, and the rest says nothing */
    double min, p50, p95, max, mean;
    double stddev; /* of the sample (n - 1); NAN of one value */
    double iqr;    /* p75 - p25 */
};

/* Sorts the values. */
struct aggregate aggregate_values(double *values, size_t count);
/* The value that `percent` of 100 values do not exceed; values are sorted, count > 0. */
double aggregate_percentile(const double *values, size_t count, unsigned percent);

struct aggregate aggregate_of(const struct csv_table *t, const char *workload, const char *metric);

/* Whether a column of all_runs_long.csv holds measured numbers: not what says which run, machine or
 * parameters it was. */
bool aggregate_is_metric(const struct csv_table *t, const char *column);

/* aggregate.csv: workload,metric,n,min,p50,p95,max,mean,stddev,iqr. A metric without a value has no
 * line. */
int aggregate_write(const struct csv_table *t, const char *path);

#endif
