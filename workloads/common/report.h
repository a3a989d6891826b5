/* report.h - the result of a run as one JSON object: what was asked, what was done, how long single
 * touches took, what the pager counted, and whether every byte was right. */
#ifndef WORKLOADS_REPORT_H
#define WORKLOADS_REPORT_H

#include <stdio.h>

#include "run.h"

/* Each as of pager_read_stats(); NULL: there are none. */
struct pager_stats {
    uint64_t *at_end;         /* when the clock stopped */
    uint64_t *at_warm_up_end; /* NULL also when there was no warm-up */
};

/* Returns the exit code that the result deserves: 0, or 1 when a byte was wrong or a worker could
 * not go on. */
int report_write(const struct run *run, const struct worker *workers,
                 const struct pager_stats *stats, FILE *out);

/* The histogram of all touches after the warm-up (latency_write_csv). */
void report_write_touches(const struct run *run, const struct worker *workers, FILE *out);

#endif
