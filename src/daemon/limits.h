/* limits.h - ceilings of the daemon, each with its reason. */
#ifndef DAEMON_LIMITS_H
#define DAEMON_LIMITS_H

#include <stdint.h>

/* Descriptors: 10 a session and a few of our own, within the usual hard limit of 4096 and more. */
#define SESSIONS_MAX 256u
/* Connections that have not said hello yet. */
#define HELLO_TIMEOUT_MS 5000u
/* A client's ranges, in pages: 2 bytes of ours each, so 2 TiB cost 1 GiB. */
#define SESSION_PAGES_MAX ((uint64_t)512 << 20)
/* Messages taken from one client before the others have their turn. */
#define MESSAGES_PER_TURN 64u
/* Pages compressed for one client before the others have their turn. */
#define COMPRESS_PER_TURN 32u
/* Unread candidates: so that what is offered is still cold when it is looked at. */
#define CANDIDATES_AHEAD 64u
/* Blocks given back to the system in one go: each punch is a system call. */
#define TRIM_BLOCKS 2048u

#endif
