/* digest.h - all runs of a comparison read aloud: aggregate_summary.txt, and the same on the
 * terminal. Medians with the least and the most beside them; what is invalid says so, in red where
 * that is asked for. mmap_churn, whose memory does not live long enough to be saved, has a table of
 * its own and is in no saving and no total. */
#ifndef BENCH_DIGEST_H
#define BENCH_DIGEST_H

#include <stdbool.h>
#include <stdio.h>

#include "csv.h"

/* t: the rows of all runs. The folder's manifest gives the headline, if it is there. */
void digest_write(FILE *out, const char *results_dir, const struct csv_table *t, bool is_coloured);

/* One plain sentence: what the pager cost this workload and what it saved, and zram beside it. */
void digest_sentence(const struct csv_table *t, const char *workload, char *ret_text, size_t size);

#endif
