/* user.h - what one user may have of the daemon, over all of its sessions, so that nobody keeps another
 * user from being served. The ceilings of a single session stand beside these in limits.h.
 *
 * The daemon's own user has none of them: root could end us anyway, and a daemon that an ordinary user has
 * started serves nobody else.
 *
 * Contract: control's, but for the three functions that say so. */
#ifndef DAEMON_USER_H
#define DAEMON_USER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct user {
    uid_t uid;
    bool is_exempt;
    unsigned nr_connections; /* sessions, and those that have not said hello */
    uint64_t left_ns;        /* when the last one ended */
    uint64_t nr_pages, range_bytes;
    uint64_t next_log_ms;
    unsigned nr_away; /* of its sessions: threads of ours are in looks at them, or were until just now */
    int64_t ns_left; /* of control's time, before its messages have to wait */
    uint64_t paid_ns; /* until when ns_left has been filled up */
    uint32_t turn;    /* in which ... */
    uint64_t turn_ns; /* ... it has taken so much already */
    _Atomic uint64_t held_bytes; /* of all its stores; compress writes, anybody reads */
    uint64_t door_turn; /* when a message of its was last let in at a door */
    uint32_t round, nr_turns;    /* compress: how many turns its sessions have had in that round */
    struct user *next;
};

/* What one session has been counted for. */
struct user_share {
    uint64_t nr_pages, range_bytes;
};

/* One connection more. NULL: no memory. */
struct user *user_enter(uid_t uid);
/* One less, and what was its share. Of who has none any more what its messages have cost, and when a line in
 * the log is due, is known for some seconds: else whoever connects anew each time would have no ceiling. */
void user_leave(struct user *u, const struct user_share *share, uint64_t held_bytes);
bool user_has_too_many(const struct user *u);
/* Is it time for a line in the log about this user? Once a second: a flood is not to be one there, too. */
bool user_may_log(struct user *u, uint64_t now_ms);

/* The session now watches so much. False: more than a user may. */
bool user_count(struct user *u, struct user_share *share, uint64_t nr_pages, uint64_t range_bytes);

/* Its messages cost so much time. */
void user_pay(struct user *u, uint64_t ns, uint32_t turn);
/* False: nothing more is read of this user for now. */
bool user_may_speak(struct user *u, uint64_t now_ns);
/* False: none of its memory is looked at for now. */
bool user_may_be_looked_at(struct user *u, uint64_t now_ns);
/* False: not in this turn; the others first. */
bool user_has_turn(const struct user *u, uint32_t turn);

/* Compress: what its stores hold has changed; may more be put? */
void user_hold(struct user *u, int64_t more_bytes);
bool user_may_put(const struct user *u, uint64_t cap_bytes);
/* The same: a turn of one of its sessions. False: not in this round; the others first. */
bool user_may_compress(struct user *u, uint32_t round);

#endif
