/* damon_watcher.c - see damon.h. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "heat/damon.h"

/* After a view that was lost: such a part of an interval is enough not to spin where that is said at once. */
#define PAUSE_PARTS_IF_LOST 10u
/* Of an aggregation interval at least: two seconds, as it is by default. */
#define BUSY_ROUNDS_MAX 20u

struct damon_client {
    uint64_t id; /* never used again */
    pid_t pid;
    struct damon_range *ranges;
    size_t nr;
    struct damon_view view; /* the newest that was not taken */
    struct damon_client *next;
};

/* What DAMON has been told to watch: a copy, so that clients may change meanwhile. */
struct plan {
    struct damon_target *targets;
    uint64_t *ids;
    size_t nr, nr_ranges;
};

struct damon_watcher {
    struct damon *damon;          /* thread only, once it runs */
    struct damon_attrs attrs;     /* set at birth */
    struct plan plan;             /* thread only */
    bool is_resting, is_view_lost; /* thread only */
    uint64_t pace_ms, pace_bytes; /* thread only: where the measurement began; pace_ms 0: nowhere */
    unsigned nr_busy;             /* thread only */
    _Atomic uint64_t aggregation_us;
    pthread_t thread;
    _Atomic int failure;

    pthread_mutex_t lock; /* all that follows; never held across a command to DAMON */
    pthread_cond_t changed;
    struct damon_client *clients; /* in the order of joining: positions change as rarely as can be */
    uint64_t next_id;
    bool has_changed, must_end;
};

/* ---- what to watch */

static void plan_free(struct plan *p)
{
    for (size_t i = 0; i < p->nr; i++)
        free((void *)p->targets[i].ranges);
    free(p->targets);
    free(p->ids);
    *p = (struct plan){ .nr = 0 };
}

/* One that is gone would end the kdamond, and its session ends by itself. */
static bool is_wanted(const struct damon_client *c)
{
    return c->nr && (kill(c->pid, 0) == 0 || errno != ESRCH);
}

static int plan_add(struct plan *p, const struct damon_client *c)
{
    struct damon_range *ranges = malloc(c->nr * sizeof *ranges);
    if (!ranges)
        return -ENOMEM;
    memcpy(ranges, c->ranges, c->nr * sizeof *ranges);
    p->ids[p->nr] = c->id;
    p->targets[p->nr++] = (struct damon_target){ .pid = c->pid, .ranges = ranges, .nr = c->nr };
    p->nr_ranges += c->nr;
    return 0;
}

static int plan_make_locked(struct damon_watcher *w)
{
    struct plan *p = &w->plan;
    size_t nr = 0;
    plan_free(p);
    for (const struct damon_client *c = w->clients; c; c = c->next)
        nr++;
    p->targets = calloc(nr + 1, sizeof *p->targets);
    p->ids = calloc(nr + 1, sizeof *p->ids);
    int r = p->targets && p->ids ? 0 : -ENOMEM;
    for (const struct damon_client *c = w->clients; c && r == 0; c = c->next)
        if (is_wanted(c))
            r = plan_add(p, c);
    return r;
}

/* ---- what was seen */

/* The regions of one target, for its client, if that is still there. */
static void deliver(struct damon_watcher *w, uint64_t id, const struct damon_region *regions, size_t nr,
                    uint64_t taken_ms)
{
    struct damon_region *copy = malloc(nr * sizeof *copy);
    if (!copy)
        return; /* the next will do */
    memcpy(copy, regions, nr * sizeof *copy);
    (void)pthread_mutex_lock(&w->lock);
    struct damon_client *c = w->clients;
    while (c && c->id != id)
        c = c->next;
    if (c) {
        struct damon_region *old = c->view.regions;
        c->view = (struct damon_view){ .regions = copy, .nr = nr, .taken_ms = taken_ms };
        copy = old;
    }
    (void)pthread_mutex_unlock(&w->lock);
    free(copy);
}

/* How fast DAMON has really gone since the last look: over more of them it is not known in time when it slows
 * down. A command more, which takes a tenth of a second, but no CPU. */
static int measure_pace(struct damon_watcher *w)
{
    uint64_t bytes, watched_bytes = 0, at_ms = monotonic_ms();
    int r = damon_looked_bytes(w->damon, &bytes);
    if (r)
        return r;
    for (size_t i = 0; i < w->plan.nr; i++)
        for (size_t k = 0; k < w->plan.targets[i].nr; k++) {
            const struct damon_range *range = &w->plan.targets[i].ranges[k];
            watched_bytes += pages_to_bytes(range->end - range->first);
        }
    uint64_t nr_intervals = w->pace_ms && bytes > w->pace_bytes && watched_bytes
                                ? (bytes - w->pace_bytes) / watched_bytes
                                : 0;
    if (nr_intervals) {
        uint64_t us = (at_ms - w->pace_ms) * 1000 / nr_intervals;
        atomic_store(&w->aggregation_us, us > w->attrs.aggr_us ? us : w->attrs.aggr_us);
    }
    w->pace_ms = at_ms;
    w->pace_bytes = bytes;
    return 0;
}

static int look(struct damon_watcher *w)
{
    /* DAMON may exceed its own bound for a moment, and has a region for each range whatever it is. */
    size_t nr_max = 2 * (size_t)w->attrs.nr_regions_max + 2 * w->plan.nr_ranges;
    struct damon_region *regions = malloc(nr_max * sizeof *regions);
    uint32_t *target = malloc(nr_max * sizeof *target);
    uint64_t at_ns = 0;
    ssize_t n = regions && target ? damon_snapshot(w->damon, regions, nr_max, &at_ns) : -ENOMEM;
    w->is_view_lost = n == 0;
    int r = n > 0 ? measure_pace(w) : (int)n;
    if (n > 0)
        damon_assign(w->plan.targets, w->plan.nr, regions, (size_t)n, target);
    for (ssize_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && target[to] == target[from];)
            to++;
        if (target[from] < w->plan.nr)
            deliver(w, w->plan.ids[target[from]], regions + from, (size_t)(to - from), at_ns / NS_PER_MS);
    }
    free(regions);
    free(target);
    return r;
}

/* ---- the thread */

static void wait_locked(struct damon_watcher *w, uint64_t ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + ms * NS_PER_MS;
    until.tv_sec += (time_t)(ns / (1000 * NS_PER_MS));
    until.tv_nsec = (long)(ns % (1000 * NS_PER_MS));
    while (!w->must_end && pthread_cond_timedwait(&w->changed, &w->lock, &until) != ETIMEDOUT)
        ;
}

/* Tells DAMON what has changed. 0, or what damon_watch() says. */
static int follow_locked(struct damon_watcher *w)
{
    w->has_changed = false;
    w->pace_ms = 0;
    int r = plan_make_locked(w);
    (void)pthread_mutex_unlock(&w->lock);
    w->is_resting = w->plan.nr == 0;
    if (r == 0 && w->is_resting)
        damon_rest(w->damon);
    else if (r == 0)
        r = damon_watch(w->damon, &w->attrs, w->plan.targets, w->plan.nr);
    (void)pthread_mutex_lock(&w->lock);
    return r;
}

/* Another user of the tree may be at it just now; one who excludes us stays. */
static bool is_passing(struct damon_watcher *w, int r)
{
    w->nr_busy = r == -EBUSY ? w->nr_busy + 1 : 0;
    return r == -ESRCH || r == -ENOMEM || (r == -EBUSY && w->nr_busy < BUSY_ROUNDS_MAX);
}

static int round_locked(struct damon_watcher *w)
{
    int r = w->has_changed ? follow_locked(w) : 0;
    if (r == 0 && w->is_resting) {
        while (!w->must_end && !w->has_changed)
            (void)pthread_cond_wait(&w->changed, &w->lock);
        return 0;
    }
    wait_locked(w, w->attrs.aggr_us / 1000 / (w->is_view_lost ? PAUSE_PARTS_IF_LOST : 1));
    if (r == 0 && !w->must_end) {
        (void)pthread_mutex_unlock(&w->lock);
        r = look(w);
        (void)pthread_mutex_lock(&w->lock);
    }
    if (!is_passing(w, r) || r == 0)
        return r;
    w->has_changed = true; /* somebody is gone, for example: without him */
    return 0;
}

static void *watch(void *arg)
{
    struct damon_watcher *w = arg;
    int r = 0;
    (void)pthread_mutex_lock(&w->lock);
    while (!w->must_end && r == 0)
        r = round_locked(w);
    (void)pthread_mutex_unlock(&w->lock);
    w->damon = damon_close(w->damon);
    plan_free(&w->plan);
    atomic_store(&w->failure, r);
    return NULL;
}

static int start_thread(struct damon_watcher *w)
{
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)pthread_mutex_init(&w->lock, NULL);
    sigset_t all, before; /* signals are for the thread that expects them */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&w->thread, NULL, watch, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

int damon_watcher_start(const char *root, const struct damon_attrs *attrs, struct damon_watcher **ret)
{
    struct damon_watcher *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->attrs = *attrs;
    w->is_resting = true;
    atomic_store(&w->aggregation_us, attrs->aggr_us);
    int r = damon_open(root, &w->damon);
    if (r == 0) {
        r = start_thread(w);
        if (r)
            damon_close(w->damon);
    }
    if (r) {
        free(w);
        return r;
    }
    *ret = w;
    return 0;
}

struct damon_watcher *damon_watcher_stop(struct damon_watcher *w)
{
    if (!w)
        return NULL;
    (void)pthread_mutex_lock(&w->lock);
    w->must_end = true;
    (void)pthread_cond_signal(&w->changed);
    (void)pthread_mutex_unlock(&w->lock);
    (void)pthread_join(w->thread, NULL);
    if (w->clients)
        return NULL; /* somebody may be in a look at one still, and the process is about to end */
    (void)pthread_cond_destroy(&w->changed);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
    return NULL;
}

int damon_watcher_failure(struct damon_watcher *w)
{
    return atomic_load(&w->failure);
}

uint64_t damon_watcher_aggregation_us(struct damon_watcher *w)
{
    return atomic_load(&w->aggregation_us);
}

/* ---- clients */

static void changed_locked(struct damon_watcher *w)
{
    w->has_changed = true;
    (void)pthread_cond_signal(&w->changed);
}

struct damon_client *damon_watcher_join(struct damon_watcher *w, pid_t pid)
{
    struct damon_client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->pid = pid;
    (void)pthread_mutex_lock(&w->lock);
    c->id = ++w->next_id;
    struct damon_client **at = &w->clients;
    while (*at)
        at = &(*at)->next;
    *at = c;
    (void)pthread_mutex_unlock(&w->lock);
    return c;
}

void damon_watcher_leave(struct damon_watcher *w, struct damon_client *c)
{
    (void)pthread_mutex_lock(&w->lock);
    struct damon_client **at = &w->clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    changed_locked(w);
    (void)pthread_mutex_unlock(&w->lock);
    free(c->ranges);
    free(c->view.regions);
    free(c);
}

void damon_watcher_set(struct damon_watcher *w, struct damon_client *c, struct damon_range *ranges,
                       size_t nr)
{
    (void)pthread_mutex_lock(&w->lock);
    struct damon_range *old = c->ranges;
    c->ranges = ranges;
    c->nr = nr;
    changed_locked(w);
    (void)pthread_mutex_unlock(&w->lock);
    free(old);
}

bool damon_watcher_take(struct damon_watcher *w, struct damon_client *c, struct damon_view *view)
{
    (void)pthread_mutex_lock(&w->lock);
    struct damon_view newer = c->view;
    if (newer.regions)
        c->view = (struct damon_view){ .nr = 0 };
    (void)pthread_mutex_unlock(&w->lock);
    if (!newer.regions)
        return false;
    free(view->regions);
    *view = newer;
    return true;
}
