/* duel.h - one run of a subject process against one way of keeping its memory: a daemon of its own, or a
 * zram device of its own, for as long as the run takes; its "name value" lines become columns of a row.
 * Used by bench/peer, bench/stall and bench/forks. */
#ifndef BENCH_DUEL_H
#define BENCH_DUEL_H

#include <stdint.h>
#include <stdio.h>

#include "child.h"
#include "csv.h"
#include "zram.h"

struct duel_spec {
    const char *program;     /* says who speaks on stderr */
    unsigned arm;            /* enum subject_arm */
    const char *daemon_path, *cold_age;
    uint64_t zram_bytes;
};

struct duel {
    const struct duel_spec *spec;
    struct child daemon, subject;
    struct zram zram;
    char folder[64], socket_path[96], out_path[96], log_path[96];
};

/* Starts what the arm needs, then this program again as the subject, with these arguments and --arm,
 * --socket, --daemon-pid and --zram-id; waits for its end and takes everything down. Its exit code; on
 * failure a code of sysexits, after saying why. On success its lines have been set in t's last row. */
int duel_run(const struct duel_spec *spec, char *const arguments[], struct csv_table *t);

/* So many rounds of all arms, each beginning one arm later, until a signal asks to stop: run() adds a row to t
 * and returns an exit code. The largest of them. */
int duel_rounds(struct csv_table *t, unsigned nr_arms, uint64_t repeats,
                int (*run)(struct csv_table *t, unsigned arm, unsigned repeat));

/* The last rows of the programs' options: `to` has results_dir and daemon_path. */
#define DUEL_PLACES(to)                                                                            \
    { "results-dir", OPTION_STRING, &(to).results_dir, 0, 0, NULL, "where the files go" },         \
    { "daemon", OPTION_STRING, &(to).daemon_path, 0, 0, NULL,                                      \
      "path of process-pagerd; else looked for beside this program" }

/* process-pagerd beside this program's folder, or in PATH. */
const char *duel_find_daemon(void);

/* Prints the table to stdout; with a folder (else NULL) also into FOLDER/PROGRAM.txt, beside its cells in
 * FOLDER/PROGRAM.csv. 0, or a code of sysexits after saying why. */
int duel_write(const char *program, const char *folder, const struct csv_table *t,
               void (*print)(FILE *f, const struct csv_table *t));

#endif
