/* made.h - arms, files and cells made by hand, for the tests of bench/. */
#ifndef BENCH_MADE_H
#define BENCH_MADE_H

#include <stdbool.h>
#include <stdint.h>

#include "compare.h"
#include "csv.h"

/* When an arm ran: its window begins at 100 s, a sample is taken each second, from lead_s before it
 * to as long after it. */
struct made_time {
    uint64_t window_s, warm_up_s /* of it */, lead_s;
};

/* What its target took, in MiB: in the warm-up, then, and in the last quarter of the rest; its
 * daemon took 10 ms of CPU each second. For arm_result_free(). */
struct arm_result made_arm(const char *json, struct made_time when, const uint64_t mib[3]);

void made_file(const char *path, const char *text);
/* Of the first row; -12345: no number there. */
double made_cell(const struct csv_table *t, const char *column);
bool is_near(double a, double b);

#endif
