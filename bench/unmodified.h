/* unmodified.h - the programs that bench/unmodified runs in each arm, a file each. A run adds a row to the
 * table, or one for each window; the caller has set who and when (unmodified_row). */
#ifndef BENCH_UNMODIFIED_H
#define BENCH_UNMODIFIED_H

#include <stdint.h>

#include "csv.h"
#include "under.h"

struct unmodified {
    uint64_t bytes; /* of data */
    uint64_t seed;
    uint64_t warm_up_ns, window_ns, nr_windows, connections, turn; /* redis */
    uint64_t idle_ns;                                              /* python */
    const char *source; /* build: where the project is */
    unsigned repeat;
    struct csv_table *table;
    /* What the arm with the pager paid last, in KiB: what the zram arm after it aims at. */
    uint64_t paid_kib;
};

/* A new row, with its columns repeat, window and arm. */
void unmodified_row(struct unmodified *m, const struct under *u, unsigned window);

/* Each: u has begun. An exit code; why not is in u->problem. */
int unmodified_redis(struct unmodified *m, struct under *u);
int unmodified_python(struct unmodified *m, struct under *u);
int unmodified_build(struct unmodified *m, struct under *u);
int unmodified_spawn(struct unmodified *m, struct under *u);

#endif
