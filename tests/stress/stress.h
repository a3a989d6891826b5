/* stress.h - what the kinds of stress share: processes under a watchdog, and their progress.
 *
 * A run of one kind is a conductor, the real daemon, and clients. The conductor never holds a pager: it
 * starts and kills the others, watches that every thread goes on, and adds up. All they tell each
 * other lies in memory that they share (struct run), so what a killed client has done is known, too.
 * Each client is a process linked with the client library, mutants and all; the daemon is whole. */
#ifndef STRESS_STRESS_H
#define STRESS_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/pagesize.h"
#include "integ/group.h"
#include "integ/support.h"
#include "process_pager.h"

#define CLIENTS_MAX 64u
#define THREADS_MAX 24u /* of one client, that the watchdog looks after; 0 is its main thread */

/* One thread's progress. Its thread writes, the conductor reads. */
struct progress {
    _Alignas(64) _Atomic uint64_t beat_ms; /* 0: nobody to look after */
    _Atomic uint64_t ops;
    const char *_Atomic doing; /* text of the image, valid on both sides */
    _Atomic pid_t thread;
};

struct client_slot {
    pid_t pid; /* conductor only; 0: free */
    bool is_killed; /* conductor only: by us, on purpose */
    uint64_t kill_ms; /* conductor only: when to kill it; 0: not decided */
    /* Where its pages are and their versions: for a look from outside, see field_share_out(). */
    struct field *_Atomic field;
    _Atomic bool is_running; /* its pages are filled, its threads at work */
    _Atomic uint64_t evictions, restores, joins, pages_out, pages_all;
    _Atomic uint64_t full, rejected, busy, unreported, retries, barred, starved;
    struct progress threads[THREADS_MAX];
};

/* What one kind has come to; a row of the table. */
struct result {
    double seconds;
    uint64_t ops, evictions, restores, wrong, hangs;
    uint64_t complaints;    /* a process that ended, a call that failed, and nobody meant it */
    double first_failure_s; /* 0: none */
    char note[800];
};

struct run {
    const struct kind *kind;
    uint64_t seed, begun_ms;
    double seconds;
    bool is_until_failure, wants_stats;
    uint64_t growth_kib; /* what the daemon's own memory may grow by */
    char directory[64], socket_path[108];
    pid_t daemon; /* conductor only */
    uint64_t daemon_since_ms;
    uint64_t random; /* conductor only */
    unsigned nr_kills; /* conductor only, as the next: */
    double share_out_min, share_out_sum; /* of the pages, when they were killed */
    uint64_t counts[8]; /* conductor only: kinds keep what they like */
    _Atomic bool may_begin, is_over;
    _Atomic uint64_t wrong, complaints, failed_ms;
    /* Of any thread of any client, since it was last taken; the kind's measures_waits: without waiting for its
     * own CPU. */
    _Atomic uint64_t slowest_read_ns;
    _Atomic uint32_t hot_permille; /* of the blocks, which are all that threads use; 0: all */
    struct memory_group group;     /* the last client's; path "": none */
    _Atomic unsigned nr_slow_starts; /* the daemon was too busy to answer within pp_start's time */
    _Atomic unsigned nr_told; /* failures are told a few times, not a million */
    struct result result; /* conductor only, as the next */
    struct sums {
        uint64_t full, rejected, busy, unreported, retries, barred, joins, starved;
    } sums; /* of clients that have ended */
    _Atomic uint64_t shared[8]; /* between clients and conductor: kinds keep what they like */
    struct client_slot clients[CLIENTS_MAX];
};

/* In a client: everything of it. */
struct client {
    struct run *run;
    struct client_slot *slot;
    unsigned index;
    struct field *field;
    struct pp_pager *pager;
    void *own; /* of the kind */
};

struct worker {
    struct client *client;
    struct progress *progress;
    unsigned index; /* from 0 */
    uint64_t random;
    void *own; /* of the kind */
};

/* Does one thing. False: could not just then, and is not counted. */
typedef bool operation(struct worker *w);

struct weighted {
    operation *what;
    const char *name;
    unsigned weight;
};

struct kind {
    const char *name;
    unsigned share; /* of the time of a run of all kinds; 0: only by its name */
    unsigned nr_clients, nr_threads;
    double kills_per_s; /* fewer are a failure; 0: it kills nobody */
    const struct field_shape *shape;
    const struct weighted *operations; /* ends with what = NULL */
    const struct weighted *(*operations_for)(unsigned client); /* NULL: all have the same */
    const char *const *daemon_options; /* beyond the cold age and the rate; NULL: none */
    const char *cold_age; /* NULL: 1ms */
    bool is_thp_always;   /* for the whole machine, as long as it runs */
    bool has_group;       /* its last client is in a memory cgroup, where one can be had */
    bool measures_waits;  /* of reads, less what a thread waits for its CPU */
    /* Any of them may be NULL. In the client, before it starts its pager, ... */
    void (*prepare)(struct client *c);
    /* ... in each thread before its first operation and after its last ... */
    void (*worker_begin)(struct worker *w);
    void (*worker_end)(struct worker *w);
    /* ... in its main thread, again and again ... */
    void (*main_turn)(struct client *c);
    /* ... and, all threads gone, before the pager is stopped. */
    void (*check)(struct client *c);
    /* In the conductor: with no client yet; every 2 ms; at the end; and for the note. */
    void (*begin)(struct run *r);
    void (*conduct)(struct run *r);
    void (*calm)(struct run *r);  /* before the clients are to end */
    void (*empty)(struct run *r); /* when they have ended, before the daemon is to */
    void (*conclude)(struct run *r, struct result *ret);
};

/* ---- anywhere */

/* Says it (the first few times) and counts it: wrong bytes ... */
void stress_wrong(struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* ... or something else that must not happen, which also ends the run of the kind. */
void stress_complain(struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What is not our subject failed: ends the process. */
_Noreturn void stress_broken(const char *what);

static inline uint32_t random_below(uint64_t *random, uint32_t n)
{
    return (uint32_t)((test_random(random) >> 20) % n);
}

/* ---- client.c */

/* The whole life of a client process. */
int client_main(struct run *r, unsigned index);
/* The thread lives; also what it is about to do. */
void progress_beat(struct progress *p, const char *doing);
/* Another thread under the watchdog's eye: slots 1 to nr_threads are the workers'. */
struct progress *progress_new(struct client *c);
void progress_end(struct progress *p);

/* ---- run.c: the conductor */

void run_kind(struct run *r);
void run_start_client(struct run *r, unsigned index);
void run_kill_client(struct run *r, unsigned index);
void run_start_daemon(struct run *r);
void run_kill_daemon(struct run *r); /* and waits for its end */
void run_end_daemon(struct run *r);  /* in order; complains when it does not, or not well */
double run_take_stall_ns(struct run *r); /* the slowest read since this was last asked */
double run_kills_wanted(const struct run *r); /* in its share of the time */

extern const struct kind *const stress_kinds[]; /* ends with NULL */
extern const struct kind kind_threads, kind_direct_io, kind_thp, kind_discard, kind_remap,
    kind_protect, kind_churn, kind_syscalls, kind_two_clients, kind_many_clients, kind_kill_client,
    kind_kill_daemon, kind_cap, kind_faults, kind_direct, kind_direct_daemon, kind_soak, kind_moments,
    kind_fork;

#endif
