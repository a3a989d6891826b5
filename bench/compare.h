/* compare.h - the arms of a row side by side: one row of comparison.csv. Column names are the
 * published ones where there are any; `baseline_`, `pager_` and `zram_` begin what an arm gave,
 * `pager_` and `zram_` also what the daemon counted for the session. A cell that was not measured
 * is empty. */
#ifndef BENCH_COMPARE_H
#define BENCH_COMPARE_H

#include <stdbool.h>

#include "arm.h"
#include "csv.h"

/* An arm may be NULL: it was not run. Cells go to the table's last row. Returns the row's exit
 * code: 0, 1 when a byte was wrong, or the code of an arm that could not be run. */
int compare_arms(struct csv_table *table, const struct arm_result *const arms[ARM_NR]);

/* Whether a row's numbers count: all arms ran, and no byte was wrong. A row without a verdict is a
 * part of one. */
bool compare_is_result(const struct csv_table *t, size_t row);

/* "restore_wall_ns_p95" -> "restore_wall_p95_ns": the unit ends the name. Other names stay. */
void compare_column_name(const char *export_name, char *ret_name, size_t size);

#endif
