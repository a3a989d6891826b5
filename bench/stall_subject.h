/* stall_subject.h - the process that is measured by bench/stall: all of its memory leaves by one mechanism,
 * then 1 to 8 threads touch it, each its own pages: at random and in order, with a pause of spinning
 * between touches and back to back; while a thread beside them has other memory evicted, or another
 * process faults as fast as it can, if asked. */
#ifndef BENCH_STALL_SUBJECT_H
#define BENCH_STALL_SUBJECT_H

#include <stdbool.h>

#include "subject.h"

#define STALL_THREADS_MAX 8u

/* The phases of a run, in their order; the names begin the columns. */
extern const char *const stall_phases[];

struct stall_spec {
    struct subject_spec subject; /* nr_paced: touches of a paced phase, over all threads */
    uint64_t nr_threads;
    bool is_evicting, is_flooded;
    const char *touches_prefix; /* each phase's histogram goes to PREFIX-PHASE.csv; NULL: nowhere */
};

/* Prints "name value" lines on stdout. Exit code: 0; 1: wrong bytes; else it could not be run. */
int stall_run(const struct stall_spec *spec);

#endif
