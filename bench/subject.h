/* subject.h - the process that is measured by bench/peer: fills memory, has all of it evicted by one
 * mechanism, touches it, and checks every byte. One run per process, so that each starts alike. */
#ifndef BENCH_SUBJECT_H
#define BENCH_SUBJECT_H

#include <stdint.h>

enum subject_arm { SUBJECT_PAGER, SUBJECT_ZRAM, SUBJECT_ARMS_NR };
extern const char *const subject_arm_names[SUBJECT_ARMS_NR];

struct subject_spec {
    unsigned arm; /* enum subject_arm */
    uint64_t bytes;
    uint64_t seed;
    uint64_t nr_paced, nr_back_to_back; /* touches at random; the second half is touched in order */
    uint64_t pause_ns;                  /* of spinning between paced touches */
    const char *socket_path;            /* pager */
    uint64_t daemon_pid;                /* pager: whose CPU time counts, too */
    uint64_t zram_id;                   /* zram */
};

/* Prints "name value" lines on stdout. Exit code: 0; 1: wrong bytes; else it could not be run. */
int subject_run(const struct subject_spec *spec);

#endif
