/* restart.h - one daemon goes, the next one comes: how soon has every client joined it, and how soon has the
 * last map of an old store gone, which is when everything that was in it is back? Contract: the conductor's. */
#ifndef STRESS_RESTART_H
#define STRESS_RESTART_H

#include <time.h>

#include "stress/stress.h"

/* From when the next daemon listens, which on a busy machine can take its time: */
#define JOIN_MS 5000u     /* a client that has not joined by then is a failure */
#define RELEASE_MS 30000u /* so is an old store that is still held: a slice a millisecond is 64 MiB a second */
#define LISTEN_MS 30000u  /* from its start */

struct restart {
    uint64_t since_ms;  /* the end of the one before */
    uint64_t listens_ms, joined_ms, next_look_ms;
    struct timespec old_socket; /* when it was made */
    uint64_t joins[CLIENTS_MAX]; /* how often each had joined a daemon before */
};

/* Kills it, or ends it in order, and starts the next. */
void restart_daemon(struct run *r, struct restart *w, bool is_in_order);
/* All who are there have joined since. */
bool restart_is_joined(const struct run *r, const struct restart *w);
/* They have, and nothing of old stores is left; complains when either takes too long. */
bool restart_is_over(struct run *r, struct restart *w);

#endif
