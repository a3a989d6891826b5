/* runs.h - the folder of a comparison with repeats:
 *
 *   manifest.json                        what was run, where, with what
 *   runs/run-NNN/comparison.csv          a row for each workload whose arms have all been run
 *   runs/run-NNN/summary.txt             the same to read
 *   runs/run-NNN/ROW/ARM/                everything raw
 *   all_runs_long.csv                    all rows of all runs, `run` in front
 *   aggregate.csv, aggregate_summary.txt what they say together
 *   plots/, report.html                  the same to look at
 *
 * All but the first two follow from these two, at any time and however far the comparison got. */
#ifndef BENCH_RUNS_H
#define BENCH_RUNS_H

#include <stddef.h>
#include <stdint.h>

#include "csv.h"

/* DIR/runs/run-NNN, run counted from 1. */
void runs_folder(const char *results_dir, uint64_t run, char *ret_path, size_t size);

/* The rows of all runs, in their order; of a folder without runs, those of its all_runs_long.csv.
 * -ENOENT: there is neither. No rows is no error. */
int runs_read(const char *results_dir, struct csv_table **ret_table);

/* Writes all_runs_long.csv, aggregate.csv and aggregate_summary.txt. -errno after one line. */
int runs_aggregate(const char *results_dir);

/* Draws plots/ and writes report.html. -errno after one line. */
int runs_plot(const char *results_dir);

#endif
