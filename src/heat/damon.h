/* damon.h - the watcher: one thread that keeps DAMON watching all clients and hands each of them its
 * part of what DAMON saw. A thread, because each command to DAMON takes a tenth of a second. One
 * kdamond and one context for all; a client is a target, its watched memory the target's regions.
 *
 * Contract: start, stop and everything about one client from one thread (the daemon's control thread);
 * nothing but start and stop waits for DAMON. */
#ifndef HEAT_DAMON_H
#define HEAT_DAMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sys/damon.h"

struct damon_watcher;
struct damon_client;

/* What DAMON saw of one client, ascending. Belongs to who took it. */
struct damon_view {
    struct damon_region *regions; /* malloc'd */
    size_t nr;
    uint64_t taken_ms; /* 0: never */
};

/* As damon_open(); and -EAGAIN: no thread. */
int damon_watcher_start(const char *root, const struct damon_attrs *attrs, struct damon_watcher **ret);
/* Ends the thread and puts back what it made in DAMON's tree. No client may be left. Takes NULL. */
struct damon_watcher *damon_watcher_stop(struct damon_watcher *w);
/* 0; or why it has given up for good, as damon_watch() says it. */
int damon_watcher_failure(struct damon_watcher *w);
/* How long an aggregation interval, the unit of a region's age, takes as measured: on a busy machine, or
 * with many regions, longer than was asked for. */
uint64_t damon_watcher_aggregation_us(struct damon_watcher *w);

struct damon_client *damon_watcher_join(struct damon_watcher *w, pid_t pid); /* NULL: no memory */
void damon_watcher_leave(struct damon_watcher *w, struct damon_client *c);
/* What to watch of it from now on. Takes the array over. */
void damon_watcher_set(struct damon_watcher *w, struct damon_client *c, struct damon_range *ranges,
                       size_t nr);
/* True: there was a newer view, and it has replaced this one. */
bool damon_watcher_take(struct damon_watcher *w, struct damon_client *c, struct damon_view *view);

#endif
