/* limits.h - ceilings of the daemon, each with its reason. */
#ifndef DAEMON_LIMITS_H
#define DAEMON_LIMITS_H

#include <stdint.h>

/* Descriptors: 9 a session and a few of our own; the soft limit is raised to what they need. */
#define SESSIONS_MAX 256u
#define DESCRIPTORS_PER_SESSION 9u
/* Processes that receive descriptors: one, and so many that wait for what a user has sent. */
#define DOORS_MAX 33u
/* Sockets of connections that have ended, whose close waits for a door. Those of a user who holds one wait
 * there. */
#define CLOSING_MAX 512u
/* Connections that have not said hello yet. */
#define HELLO_TIMEOUT_MS 5000u
#define DOOR_TIMEOUT_MS 4000u /* and those whose hello waits at a door */
/* A client's ranges, in pages, whether there is memory or not: 1 TiB costs us 48 MiB, and where there
 * is memory two bytes a page more. */
#define SESSION_PAGES_MAX ((uint64_t)256 << 20)
/* Of one user, over all its sessions; the daemon's own user has none of these (user.h). Half of all
 * sessions: two users at their ceilings leave each other what they have. */
#define USER_SESSIONS_MAX (SESSIONS_MAX / 2)
/* 4 TiB of address space, 192 MiB of ours; and what lists of ranges cost, about ten full ones. */
#define USER_PAGES_MAX (4 * SESSION_PAGES_MAX)
#define USER_RANGE_BYTES_MAX ((uint64_t)256 << 20)
/* Of the control thread's time one user gets a quarter, in turns of 4 ms, after half a second at once: so
 * much is a hundred thousand ranges, more than a process may have. A message counts 5 us at least, so
 * 50,000 a second go on for ever, or fewer that cost more; a connection counts as twenty. */
#define USER_TIME_SHARE 4u
#define USER_BURST_NS 500000000u
#define USER_TURN_NS 4000000u
#define USER_MESSAGE_NS 5000u
#define USER_CONNECTION_NS (20 * USER_MESSAGE_NS)
#define MUTED_LOOK_MS 25u
/* A look at a client's memory that waits for longer waits for the lock of that memory, as a rule, and its user
 * pays for that time as for its messages'. After 50 ms control goes on without the thread that looks; while so
 * many are left in looks at one user's sessions, at 20 KiB each, none of its other sessions is looked at. */
#define LOOK_FREE_NS 1000000u
#define LOOK_MS_MAX 50u
#define USER_AWAY_MAX 4u
/* Messages taken from one client before the others have their turn; fewer if they take so long: a range
 * in front of half a million others moves all of them. */
#define MESSAGES_PER_TURN 64u
#define TURN_NS 1000000u
/* Pages compressed for one client before the others have their turn. */
#define COMPRESS_PER_TURN 32u
/* Of one user's sessions so many have their turn before the other users' have theirs: with a hundred others of
 * one user at work a session waits for four turns, 0.7 ms, not for a hundred. */
#define USER_COMPRESS_TURNS 4u
/* What a client may ask for, so that nothing leaves by itself for so long. */
#define GRACE_MS_MAX 60000u
/* Unread candidates, in entries and in pages: so that what is offered is still cold when it is looked
 * at. Entries may be of one page each. */
#define CANDIDATES_AHEAD 512u
#define PAGES_AHEAD 2048u
/* Blocks given back to the system in one go: each punch is a system call. */
#define TRIM_BLOCKS 512u

/* Where the budget is memory, time is no reason to ration write-protection further. */
#define PROTECTS_UNBOUND 2500u

#endif
