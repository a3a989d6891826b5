/* stall_flood.h - another process under the same mechanism that faults as fast as it can, beside the one that is
 * measured: all of its memory leaves, is touched at random without a pause, leaves again, and so on. */
#ifndef BENCH_STALL_FLOOD_H
#define BENCH_STALL_FLOOD_H

#include <stdint.h>
#include <sys/types.h>

#include "subject.h"

struct flood {
    pid_t pid;
    struct flood_shared *shared;
};

/* Forks; to be called before there is another thread. Returns when the flood has come: its first pages are touched.
 * spec: of who is measured; the flood has the same arm, size and daemon, and other content. Negative errno. */
int flood_begin(struct flood *f, const struct subject_spec *spec);
/* How many pages that were out it has touched. */
uint64_t flood_nr_touched(const struct flood *f);
/* Tells it to end and waits. 0; EXIT_WRONG: it had wrong bytes; else it could not go on. */
int flood_end(struct flood *f);

#endif
