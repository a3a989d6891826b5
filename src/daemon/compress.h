/* compress.h - the thread that compresses: takes raw pages out of the sessions' rings, puts blobs into
 * their stores and answers. Touches only what session.h marks `compress`.
 *
 * Contract: called by the control thread. */
#ifndef DAEMON_COMPRESS_H
#define DAEMON_COMPRESS_H

#include "daemon/session.h"

/* wake_fd: an eventfd that is written when a session has failed or has been detached. */
int compress_start(int wake_fd);
/* Ends the thread; sessions that it still has are control's again. */
void compress_stop(void);
/* From now on the compress thread has the session. 0 or negative errno. */
int compress_attach(struct session *s);
/* Asks for it back ... */
void compress_detach(struct session *s);
/* ... and takes those that have been given back, as a list through `next`; NULL: none yet. */
struct session *compress_detached(void);

#endif
