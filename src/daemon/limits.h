/* limits.h - ceilings of the daemon, each with its reason. */
#ifndef DAEMON_LIMITS_H
#define DAEMON_LIMITS_H

#include <stdint.h>

/* Descriptors: 8 a session and a few of our own; the soft limit is raised to what they need. */
#define SESSIONS_MAX 256u
#define DESCRIPTORS_PER_SESSION 8u
/* Connections that have not said hello yet. */
#define HELLO_TIMEOUT_MS 5000u
/* A client's ranges, in pages, whether there is memory or not: 1 TiB costs us 32 MiB, and where there
 * is memory two bytes a page more. */
#define SESSION_PAGES_MAX ((uint64_t)256 << 20)
/* Messages taken from one client before the others have their turn; fewer if they take so long: a range
 * in front of half a million others moves all of them. */
#define MESSAGES_PER_TURN 64u
#define TURN_NS 1000000u
/* Pages compressed for one client before the others have their turn. */
#define COMPRESS_PER_TURN 32u
/* Unread candidates, in entries and in pages: so that what is offered is still cold when it is looked
 * at. Entries may be of one page each. */
#define CANDIDATES_AHEAD 512u
#define PAGES_AHEAD 2048u
/* Blocks given back to the system in one go: each punch is a system call. */
#define TRIM_BLOCKS 512u

/* Where the budget is memory, time is no reason to ration write-protection further. */
#define PROTECTS_UNBOUND 2500u

#endif
