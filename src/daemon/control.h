/* control.h - the control thread: connections, messages, heat and policy of every session. */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include "daemon/config.h"
#include "daemon/features.h"
#include "daemon/listen.h"

/* Serves until SIGTERM or SIGINT. 0, or an exit code after logging why. */
int control_run(const struct config *config, const struct features *features, struct listener *l);

#endif
