/* under.h - one run of an unmodified program: as it is, under `process-pager run` at a daemon of this
 * run's, or as it is with a zram swap device, onto which it is paged out until as little is paid as wished.
 * Its memory is sampled meanwhile, the daemon's and the store's or zram's with it (memory.h).
 *
 * under_begin(), under_start(), then looks and waits, under_end() on every path. What goes wrong is in
 * `problem`, the first thing only. One thread. */
#ifndef BENCH_UNDER_H
#define BENCH_UNDER_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "arm.h"
#include "child.h"
#include "csv.h"
#include "memory.h"
#include "pageout.h"
#include "zram.h"

enum under_arm { UNDER_PLAIN, UNDER_PAGER, UNDER_ZRAM, UNDER_NR };
extern const char *const under_names[UNDER_NR + 1]; /* ends with NULL */

struct under_places {
    char build[PATH_MAX]; /* of process-pagerd and process-pager */
    struct arm_args daemon_args, run_args;
};

struct under {
    enum under_arm arm;
    const struct under_places *places;
    uint64_t seed, zram_bytes;
    uint64_t wanted_kib; /* zram: paged out until no more is paid; 0: all of it is */
    char folder[48], socket_path[80], problem[200];
    struct child daemon, program;
    pid_t program_pid; /* also when it has ended, and */
    int program_code;  /* how */
    struct zram zram;
    struct pageout pageout;
    struct memory_series memory;
    bool has_session; /* after under_end(), pager */
    struct csv_row session; /* the daemon's row of it; csv_row_free() */
};

/* A folder, and what the arm needs. An exit code. */
int under_begin(struct under *u);
/* Starts the program, its output into files of the folder (under_path()). An exit code. */
int under_start(struct under *u, const char *const *words);
/* A path in the folder. */
void under_path(const struct under *u, const char *name, char ret_path[PATH_MAX]);
/* Takes a sample, and in the zram arm pages out some more if may_page_out. False: the program is gone. */
bool under_look(struct under *u, bool may_page_out);
/* Looks every two seconds until a time of CLOCK_MONOTONIC. False: the program has ended, or we are to stop. */
bool under_look_until(struct under *u, uint64_t time_ns, bool may_page_out);
/* What the last sample paid; 0: there is none. */
uint64_t under_paid_kib(const struct under *u);
/* CPU time of the program, and of the daemon, so far. */
uint64_t under_cpu_ns(const struct under *u);
/* Notes what went wrong, and returns the code. */
int under_fail(struct under *u, int code, const char *what, const char *detail);
/* Asks the program to end, and takes everything down. Returns `code`, or what went wrong now. */
int under_end(struct under *u, int code);

#endif
