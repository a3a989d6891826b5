/* compress.h - the thread that compresses: takes raw pages out of the sessions' rings, puts blobs
 * into their stores and answers. When no page waits it does what clients ask for of what is stored
 * (tier.h), in half of its time or a fifth (policy/background.h). Touches only what session.h marks `compress`.
 *
 * Contract: called by the control thread. */
#ifndef DAEMON_COMPRESS_H
#define DAEMON_COMPRESS_H

#include "daemon/session.h"

/* wake_fd: an eventfd that is written when a session has failed or has been detached. total_cap_bytes: of all
 * sessions' stores together; user_cap_bytes: of those of one user. */
int compress_start(int wake_fd, uint64_t total_cap_bytes, uint64_t user_cap_bytes);
/* What they hold now; any thread. */
uint64_t compress_held_bytes(void);
/* Ends the thread; sessions that it still has are control's again. */
void compress_stop(void);
/* From now on the compress thread has the session. */
void compress_attach(struct session *s);
/* Rings the agent's bell in that thread: the eventfd is the client's, too, who could make it block by
 * filling it and taking O_NONBLOCK away, and control must never wait. */
void compress_ring_agent(struct session *s);
/* Is it ringing a client's bell at this moment? The number of that ring tells whether it still is. */
bool compress_is_ringing(uint64_t *ret_ring);
/* Fails the session whose bell it is ringing and empties its bells, so that the thread goes on. For
 * control, which frees sessions, so that this one is not freed meanwhile. */
void compress_unblock(void);
/* Asks for it back ... */
void compress_detach(struct session *s);
/* ... and takes those that have been given back, as a list through `next`; NULL: none yet. */
struct session *compress_detached(void);

#endif
