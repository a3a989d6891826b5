/* summary.h - comparison.csv read aloud: per workload the medians over the repeats, with the least
 * and the largest. Goes to the terminal and to summary.txt. */
#ifndef BENCH_SUMMARY_H
#define BENCH_SUMMARY_H

#include <stdio.h>

#include "csv.h"
#include "spread.h"

/* Of a column over the rows of one workload that are results; .count 0: no row had the cell. */
struct spread summary_spread(const struct csv_table *t, const char *workload, const char *column);

/* The tables, and behind them which rows are no result and why. */
void summary_write(FILE *out, const struct csv_table *t);

/* One line: what `workload` saved net in the steady state. */
void summary_write_saved(FILE *out, const struct csv_table *t, const char *workload);

#endif
