/* run.h - one run of a workload, the same for all four: read the options, allocate, touch
 * everything first, start the pager if asked, let the workers work for the asked time, stop the
 * clock, check every byte, report. A workload adds its options and what one worker does.
 *
 * Both arms take the same path: without the pager its calls are left out and nothing else. */
#ifndef WORKLOADS_RUN_H
#define WORKLOADS_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latency.h"
#include "options.h"
#include "pages.h"

struct pp_pager;

/* What every workload can be told. */
struct settings {
    double duration_sec;
    double warm_up_sec; /* of them at the start, left out of rates and latencies */
    uint64_t workers, seed;
    const char *json_path;          /* "-": stdout */
    const char *touch_latency_path; /* NULL: not asked for */
    bool use_pager, is_direct, is_checking, ends_with_parent, tells_out;
    const char *socket_path;
    uint64_t region_bytes; /* 0: the workload keeps no region */
    unsigned content;      /* enum content_kind */
    double write_fraction;
};

struct run;

/* One thread's share; its owner is that thread until the run is over. */
struct worker {
    const struct run *run;
    unsigned index;
    size_t first_page, nr_pages; /* its part of the region; disjoint from the others' */
    struct toucher toucher;
    struct rng idle_rng; /* its own, so that a seed gives the same pauses in every arm */
    struct latency periods, warm_up_periods; /* see run_period() */
    double units, warm_up_units;             /* all; of them in the warm-up */
    double units_asked;                      /* 0 where no rate was asked for */
    uint64_t start_ns, end_ns;
    int failure; /* -errno: the worker could not go on */
};

struct workload {
    const char *name, *about, *unit;
    const char *period; /* what `periods` holds: "pass", "burst", "batch", "op" */
    const struct option_row *options;
    size_t nr_options;
    void (*work)(struct worker *w); /* called in each worker's thread, clock already running */
};

struct run {
    const struct workload *workload;
    struct settings settings;
    struct pages region;
    struct pp_pager *pager; /* NULL: the baseline arm */
    int pagemap_fd; /* -1: nobody asked which touches met a page that was out */
    uint64_t start_ns, warm_up_end_ns, deadline_ns;
};

/* 20 s, 4 workers, seed 1, content like the published workloads', every touch writes, checked, no
 * pager, no region, the result to stdout. */
struct settings run_defaults(void);

/* The whole program. `defaults` may be changed by the command line. Returns the exit code. */
int run_workload(const struct workload *workload, struct settings defaults, int argc, char **argv);

/* For work(): sleeps for idle_ns, longer or shorter by up to the fraction `jitter`, but not past
 * the deadline. False: the deadline has come. */
bool run_idle(struct worker *w, uint64_t idle_ns, double jitter);
/* For work(): a pass, burst, batch or operation took so long and ended at end_ns. */
void run_period(struct worker *w, uint64_t end_ns, uint64_t duration_ns);

#endif
