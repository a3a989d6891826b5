/* source.h - where heat comes from: what was asked for, and what there is. */
#ifndef DAEMON_SOURCE_H
#define DAEMON_SOURCE_H

#include "daemon/config.h"

struct damon_watcher;

struct source {
    struct damon_watcher *watcher; /* NULL: the scan; else control_run() stops it */
    char reason[120];
};

/* Takes a kdamond, if that is the choice; puts away what a killed daemon has left in any case. */
void source_choose(const struct config *config, struct source *ret);
const char *source_name(const struct source *s); /* "damon" or "scan" */
void source_log(const struct source *s, const struct config *config);

#endif
