/* heat.h - which pages of a client look cold, and for how long. A source yields (start, length,
 * idle); it decides nothing: how old is old enough, and how many may leave, comes from src/policy.
 *
 * One struct heat per session. Contract: the daemon's control thread; each call is bounded (about
 * 2 ms at most), but for what tick() waits for the client's memory: control may go on without it, and then
 * nobody else calls before it has returned (daemon/look.h). A wrong answer costs time, never bytes: the client
 * looks for itself. */
#ifndef HEAT_HEAT_H
#define HEAT_HEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/ages.h"
#include "base/pagesize.h"
#include "wire/session_memory.h"

struct heat;

struct heat_run {
    page_number first;
    uint32_t nr_pages; /* 1..512 */
    uint64_t idle_ms;  /* at least so long since the last touch, of the youngest page in it */
};

struct damon_watcher;

struct heat_client {
    int pagemap_fd;
    pid_t pid;            /* damon */
    uint64_t cold_age_ms; /* only scales how finely time is told apart */
    struct damon_watcher *watcher; /* damon */
    bool is_probing; /* scan: takes a few pages out to see whether they are read; probe.h */
    bool is_governed;     /* the cold age will change: pace() */
};

/* How many pages are how old. By age: the oldest of base/ages.h that they have reached. */
struct heat_ages {
    uint64_t nr_there[AGES_NR];  /* present, idle, and free to leave */
    uint64_t nr_barred[AGES_NR]; /* the same, but not free to: they, or some of their chunk, were wanted back
                                  * too soon, or are being asked for */
    uint64_t nr_out[AGES_NR];    /* not present; idle for as long as they are out, and before */
    uint64_t nr_pages_there;     /* whatever their age */
    uint64_t nr_reused[AGES_NR]; /* ever touched again at that age, there or out */
    uint64_t nr_rewritten;       /* scan: ever written again after a protection: a fault each */
    bool is_resting;             /* scan: nearly all of it has been out for long */
};

/* What is_governed changes. */
struct heat_pace {
    uint64_t cold_age_ms;
    uint64_t protects_per_s; /* pages that may be write-protected and will be written again */
    bool has_spare;          /* what comes back too soon costs nothing that would be missed */
    bool is_shut;            /* nothing may leave now: it is no time to ask either */
};

struct heat_ops {
    const char *name;
    bool knows_writes; /* what it offers was write-protected: the client can see a write since then */
    /* For one client. -ENOMEM. */
    int (*create)(const struct heat_client *client, struct heat **ret);
    struct heat *(*destroy)(struct heat *h); /* takes NULL, returns NULL; does not close pagemap_fd */
    /* The client watches, or no longer watches, an interval. Adding what is there changes nothing.
     * -ENOMEM, and -ENOSPC: in more pieces than an honest client has; a part may have been added. */
    int (*add)(struct heat *h, page_number first, page_number end);
    void (*remove)(struct heat *h, page_number first, page_number end);
    /* Looks at memory; called every few milliseconds to a quarter of a second. True: there was more to
     * look at than a bounded call may. */
    bool (*tick)(struct heat *h, uint64_t now_ms);
    /* The client tells what became of a page. True: it was a probe that is wanted back, and says nothing
     * of what pick() found. */
    bool (*feedback)(struct heat *h, page_number page, enum feedback_kind kind);
    /* From now on: another cold age, which takes effect chunk by chunk at the next look; and (scan) how many
     * pages a second may be write-protected that will be written again. Only of one that is governed. */
    void (*pace)(struct heat *h, const struct heat_pace *pace);
    void (*ages)(const struct heat *h, struct heat_ages *ret); /* as of the last looks */
    /* Finds runs of pages that are there and have been idle for at least cold_age_ms (longer for those
     * that were wanted back soon), at most nr_max runs and pages_max pages, going round. */
    size_t (*pick)(struct heat *h, uint64_t now_ms, size_t pages_max, struct heat_run *ret_runs,
                   size_t nr_max);
    /* Pages that are to leave before they are that old, to see how soon they are wanted back; a run each,
     * within a budget of their own. NULL, as the next: this source does not ask. */
    size_t (*pick_probes)(struct heat *h, uint64_t now_ms, struct heat_run *ret_runs, size_t nr_max);
    /* What the return of a page costs the client, as measured. */
    void (*set_return_ns)(struct heat *h, uint64_t ns);
    uint64_t (*nr_pages)(const struct heat *h);          /* watched now */
    uint64_t (*nr_ready)(const struct heat *h);          /* that pick could find now */
    uint64_t (*bookkeeping_bytes)(const struct heat *h); /* heap memory of this one */
};

/* A walk over everything once, for somebody who does not want to wait for the cold age: runs of pages
 * that are there and have been idle for at least idle_ms, in eighths of a given cold age, up to 128 of those
 * cold ages; governed in quarters of a second, up to 255 s. 0: everything, there or not. Begins zeroed but for
 * idle_ms; the walk goes on at each call, until is_over. Any source. */
struct heat_sweep {
    uint64_t idle_ms;
    page_number cursor;
    bool is_over;
};
size_t heat_sweep(struct heat *h, struct heat_sweep *s, size_t pages_max, struct heat_run *ret_runs,
                  size_t nr_max);

/* Gives another source what one watches. -ENOMEM, -ENOSPC: as add(). */
int heat_hand_over(const struct heat *from, const struct heat_ops *to_ops, struct heat *to);

extern const struct heat_ops heat_scan_ops;  /* what was written, by PAGEMAP_SCAN */
extern const struct heat_ops heat_damon_ops; /* what was touched, by DAMON; damon.h for the watcher */

#endif
