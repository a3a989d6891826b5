/* progress.h - where a comparison stands: on a terminal one line that is written over, else a line
 * when an arm begins. The time left is what is asked for and what the arms so far took beside it.
 */
#ifndef BENCH_PROGRESS_H
#define BENCH_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    bool is_terminal;
    uint64_t nr_runs;
    size_t nr_arms; /* of all runs together */
    double arm_sec; /* as the workloads are told */
    /* from here on found out */
    uint64_t run;
    size_t nr_done;
    double overhead_sec; /* of all that are done */
    uint64_t arm_start_ns;
    char what[96];
};

struct progress progress_new(uint64_t nr_runs, size_t nr_arms, double arm_sec);
void progress_arm(struct progress *p, uint64_t run, const char *row, const char *arm);
void progress_beat(struct progress *p); /* any time while an arm runs */
void progress_arm_end(struct progress *p);
/* Takes the line away, so that something else can be written. */
void progress_clear(const struct progress *p);

/* "2 h 3 min", "4 min 10 s", "35 s". */
void progress_format_sec(double sec, char *ret_text, size_t size);

#endif
