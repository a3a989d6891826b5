/* ask.h - one question to a daemon, and its answer. */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include "cli/figures.h"
#include "wire/msg.h"

#define ASK_PLACE_BYTES 108u /* what a socket's path may have */

/* Descriptor of a connection to the daemon at `path` or, NULL, at the first place that answers, and where that
 * is. Negative errno; a lack of rights (-EACCES, -EPERM) goes before others. */
int ask_connect(const char *path, char ret_place[ASK_PLACE_BYTES]);
/* The status as JSON text, to be freed. path: --socket, or NULL: where daemons are. -ENOENT,
 * -ECONNREFUSED: nobody there; -EACCES: no right; -EPROTO, -ETIMEDOUT: no answer that can be read. */
int ask_status(const char *path, char **ret_json);
/* The same, read, to be given to figures_free(); -EPROTO also for another schema. */
int ask_figures(const char *path, struct figures *ret);
/* Waits as long as it takes; the daemon gives up on a process that stands still. 0: *ret_done has its
 * own error. Negative as above. */
int ask_order(const char *path, const struct msg_order *order, struct msg_order_done *ret_done);
/* Says why there was no answer; returns the exit code. */
int ask_complain(int error);

#endif
