/* keeper.h - a daemon of one's own for one `run`, and who ends it.
 *
 * The command takes the place of `process-pager run` (exec), so signals, exit code and terminal are its own.
 * What has to outlive it, the daemon and its keeper, are no children of the command: they belong to init,
 * in a session of their own, with nothing of the caller's open. The keeper ends the daemon and removes
 * its folder when the command has ended, and with it every process that has the daemon's socket in its
 * environment or a session at the daemon. */
#ifndef CLI_KEEPER_H
#define CLI_KEEPER_H

#include <stdbool.h>
#include <stddef.h>

#define KEEPER_OPTIONS_MAX 8u

struct keeper_order {
    const char *options[2 * KEEPER_OPTIONS_MAX + 1]; /* for process-pagerd; NULL ends them */
    bool has_stats; /* say on stderr, at the end, what each session came to */
};

/* Starts both; returns when the daemon answers. The calling process is the command, or will be. 0, and the
 * socket's path; negative errno, and ret_error says in a line what is wrong. */
int keeper_start(const struct keeper_order *order, char *ret_socket, size_t socket_capacity, char *ret_error,
                 size_t capacity);

#endif
