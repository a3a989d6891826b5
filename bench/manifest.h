/* manifest.h - manifest.json: what was run, on what machine, with which versions and parameters. It
 * is written before the first run, saying "cut short", and again at the end: whoever finds one that
 * says so knows that nobody came to the end. */
#ifndef BENCH_MANIFEST_H
#define BENCH_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "rows.h"
#include "trial.h"

#define MANIFEST_RUN_ID_CHARS 16u /* YYYYMMDD-HHMMSS, UTC */

struct manifest {
    char run_id[MANIFEST_RUN_ID_CHARS];
    const char *command_line, *check_path; /* check_path: what process-pagerd --check said */
    const struct profile *profile;
    const bool *has_row; /* of the profile's rows */
    const struct trial_plan *plan;
    struct rows_run run; /* seed: of the first run; then one more each */
    uint64_t nr_runs;
    time_t start;
};

/* The text of UTC now or then. */
void manifest_run_id(time_t when, char ret_run_id[MANIFEST_RUN_ID_CHARS]);

/* end 0: not yet. nr_rows: how many of all rows were finished. -errno. */
int manifest_write(const struct manifest *m, const char *results_dir, time_t end, uint64_t nr_rows,
                   bool is_complete);

/* One line of the folder's manifest for people; nothing when there is none. */
void manifest_write_headline(FILE *out, const char *results_dir);

#endif
