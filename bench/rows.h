/* rows.h - what can be compared: a row is a workload with its parameters, a profile some rows and
 * how long they run. The same workload may stand in two rows.
 *
 *  published   the parameters of the published run, all of them spelled out
 *  coldtail    what a pager is for: memory that looks like a heap's, idle for longer than the cold
 *              age at times that nobody can foresee, and a heap most of which is hardly touched */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arm.h"
#include "common/options.h"

#define ROWS_MAX 8u

struct row {
    const char *name, *program, *args;
    bool is_default; /* runs also when it is not asked for by name */
};

struct profile {
    const char *name;
    double duration_sec, duration_sec_min, warm_up_sec;
    size_t nr_rows;
    struct row rows[ROWS_MAX];
};

enum { PROFILE_PUBLISHED, PROFILE_COLDTAIL, PROFILE_NR };
extern const char *const profile_names[PROFILE_NR + 1]; /* ends with NULL */
extern const struct profile profiles[PROFILE_NR];

/* Which rows a comma list names; NULL: those that run by default. False: one line about a name that
 * is none, in the name of `program`. */
bool rows_choose(const struct profile *profile, const char *only, const char *program,
                 bool ret_has_row[ROWS_MAX]);
/* True when each of the texts is ROW=OPTIONS or all=OPTIONS; else one line. */
bool rows_args_make_sense(const struct profile *profile, const struct option_list *row_args,
                          const char *program);

struct rows_run {
    double duration_sec, warm_up_sec;
    uint64_t seed;
};

/* The words for the workload of a row: its parameters, and behind them what row_args adds. */
struct arm_args rows_args(const struct row *row, const struct option_list *row_args,
                          const struct rows_run *run);

#endif
