/* tier.h - what a session's client asks for of its store when nothing leaves and nothing is wanted
 * back: the second tier, and slabs that become empty.
 *
 * Contract: the compress thread's. */
#ifndef DAEMON_TIER_H
#define DAEMON_TIER_H

#include <stdbool.h>

#include "daemon/session.h"
#include "daemon/squeeze.h"

/* Does what was asked for next. False: nothing is asked for. */
bool tier_do_one(struct session *s, struct squeezer *q);
/* Is there something, if only a ring that is broken? */
bool tier_has_asks(struct session *s);
/* Tells the client which slabs could become empty, if so much is lost in holes that it is worth
 * moving anything. */
void tier_compact(struct session *s, uint64_t now_ms);

#endif
