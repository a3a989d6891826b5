/* places.h - the programs that a comparison runs: where they are, and whether this machine can run
 * them. What is missing is said in one line on stderr. */
#ifndef BENCH_PLACES_H
#define BENCH_PLACES_H

#include <limits.h>
#include <stdbool.h>

#include "arm.h"

struct places_wish {
    const char *program;                     /* who asks, for the messages */
    const char *daemon_path, *workloads_dir; /* NULL: looked for beside this program */
    const char *gnu_time_path;
    bool needs_daemon;
};

struct places {
    const char *program;
    char daemon[PATH_MAX], workloads[PATH_MAX];
    const char *gnu_time_path; /* NULL: it is not there, which was said */
};

bool places_find(const struct places_wish *wish, struct places *ret_places);

/* Asks the daemon, with these options, whether it can work here. 0; else its code, after its words
 * were passed on. The words go to log_path, too. */
int places_check(const struct places *p, const struct arm_args *daemon_args, const char *log_path);

#endif
