/* trial.h - one row through its arms, one after the other, with the same seed: what is compared
 * with what. Makes one row of comparison.csv. */
#ifndef BENCH_TRIAL_H
#define BENCH_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "csv.h"
#include "places.h"
#include "rows.h"

/* What is the same for all trials of a comparison. */
struct trial_plan {
    const char *program; /* who says what goes wrong */
    const struct places *places;
    struct option_list row_args;
    const char *cold_age, *heat, *daemon_args; /* NULL: as the daemon has it; nothing */
    bool has_arm[ARM_NR];
    uint64_t zram_bytes;
    const char *kernel;
    /* For who looks on. An arm begins; a sample of it was taken; it is over. */
    void (*on_arm)(void *context, const struct row *row, enum arm_kind kind);
    void (*on_beat)(void *context);
    void (*on_arm_end)(void *context);
    void *context;
};

struct trial {
    const struct row *row;
    uint64_t repeat; /* from 0: says the order of the arms */
    struct rows_run run;
    const char *folder; /* a folder below it for each arm */
};

/* The order of the arms: it turns round every repeat, and with three arms each of them is the
 * first, the middle and the last one equally often within six. Returns how many. */
size_t trial_order(const bool has_arm[ARM_NR], uint64_t repeat, enum arm_kind ret_order[ARM_NR]);

/* Adds a row to the table. Returns its exit code as compare_arms() does; when we were told to stop,
 * no row and 128 + the signal. */
int trial_run(const struct trial_plan *plan, const struct trial *trial, struct csv_table *table);

/* The options for process-pagerd, to be freed. */
struct arm_args trial_daemon_args(const struct trial_plan *plan);

#endif
