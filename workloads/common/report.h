/* report.h - the result of a run as one JSON object: what was asked, what was done, how long single
 * touches took, what the pager counted, and whether every byte was right. */
#ifndef WORKLOADS_REPORT_H
#define WORKLOADS_REPORT_H

#include <stdio.h>

#include "run.h"

/* pager_stats as of pager_read_stats(). Returns the exit code that the result deserves: 0, or 1
 * when a byte was wrong or a worker could not go on. */
int report_write(const struct run *run, const struct worker *workers, const uint64_t *pager_stats,
                 FILE *out);

#endif
