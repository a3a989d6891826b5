/* control.h - the control thread: connections, messages, heat and policy of every session. */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include "daemon/config.h"
#include "daemon/features.h"
#include "daemon/listen.h"

struct damon_watcher;

/* Serves until SIGTERM or SIGINT, and stops the watcher, which may be NULL. 0, or an exit code after
 * logging why. */
int control_run(const struct config *config, const struct features *features, struct listener *l,
                struct damon_watcher *watcher);

#endif
