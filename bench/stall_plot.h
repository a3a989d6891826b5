/* stall_plot.h - the picture of bench/stall: for each load, paced and back to back, which share of the
 * touches took longer than a time, a curve an arm. The histograms are files in RESULTS_DIR/touches/, one for
 * each phase of each run. */
#ifndef BENCH_STALL_PLOT_H
#define BENCH_STALL_PLOT_H

#include <limits.h>
#include <stdbool.h>

#include "subject.h"

#define STALL_LOADS_MAX 5u

struct stall_run {
    const char *load;
    unsigned nr_threads, arm, repeat;
};

/* RESULTS_DIR/touches/LOAD-THREADS-ARM-REPEAT, in a folder that is made. 0, or -errno. */
int stall_run_prefix(const char *results_dir, const struct stall_run *run, char ret_prefix[PATH_MAX]);

struct stall_plot {
    const char *loads[STALL_LOADS_MAX];
    unsigned nr_loads, nr_threads, nr_repeats;
    bool has_arm[SUBJECT_ARMS_NR];
};

/* RESULTS_DIR/plots/touches-THREADS.gp, and by gnuplot .png and .svg; without it one line on stderr. What
 * cannot be read is left out. 0, or -errno. */
int stall_plot_draw(const char *results_dir, const struct stall_plot *plot);

#endif
