/* report.h - one page that holds a whole result: what ran and where, tables, pictures, what the
 * numbers mean and what they don't. RESULTS_DIR/report.html needs no network and no script. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

/* From manifest.json, the rows of all runs, aggregate.csv and plots/, whichever are there; a part
 * that is not is said to be missing. -errno: no rows, or the page can't be written. */
int report_write(const char *results_dir);

#endif
