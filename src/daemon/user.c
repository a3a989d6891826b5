/* user.c - see user.h. */
#include "daemon/user.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/point.h"
#include "daemon/limits.h"

/* Then it has its burst again, whatever it has cost us, and a line in the log is due. */
#define REMEMBERED_NS (2 * (uint64_t)USER_BURST_NS * USER_TIME_SHARE)

static struct user *users; /* few: those with a connection, and those that have just left */

static void forget_who_left(void)
{
    uint64_t now = now_ns();
    for (struct user **at = &users; *at;) {
        struct user *u = *at;
        if (u->nr_connections || now - u->left_ns < REMEMBERED_NS) {
            at = &u->next;
            continue;
        }
        *at = u->next;
        free(u);
    }
}

struct user *user_enter(uid_t uid)
{
    forget_who_left();
    struct user *u = users;
    while (u && u->uid != uid)
        u = u->next;
    if (!u) {
        u = point_fails(POINT_USER) ? NULL : calloc(1, sizeof *u);
        if (!u)
            return NULL;
        u->uid = uid;
        u->is_exempt = uid == geteuid();
        u->ns_left = USER_BURST_NS;
        u->paid_ns = now_ns();
        u->next = users;
        users = u;
    }
    u->nr_connections++;
    return u;
}

void user_leave(struct user *u, const struct user_share *share, uint64_t held_bytes)
{
    u->nr_pages -= share->nr_pages;
    u->range_bytes -= share->range_bytes;
    atomic_fetch_sub_explicit(&u->held_bytes, held_bytes, memory_order_relaxed);
    if (--u->nr_connections == 0)
        u->left_ns = now_ns(); /* who comes back at once is no stranger */
}

bool user_has_too_many(const struct user *u)
{
    return !u->is_exempt && u->nr_connections > USER_SESSIONS_MAX;
}

bool user_may_log(struct user *u, uint64_t now_ms)
{
    if (now_ms < u->next_log_ms)
        return false;
    u->next_log_ms = now_ms + 1000;
    return true;
}

bool user_count(struct user *u, struct user_share *share, uint64_t nr_pages, uint64_t range_bytes)
{
    u->nr_pages += nr_pages - share->nr_pages;
    u->range_bytes += range_bytes - share->range_bytes;
    *share = (struct user_share){ .nr_pages = nr_pages, .range_bytes = range_bytes };
    return u->is_exempt ||
           (u->nr_pages <= USER_PAGES_MAX && u->range_bytes <= USER_RANGE_BYTES_MAX);
}

void user_pay(struct user *u, uint64_t ns, uint32_t turn)
{
    if (u->turn != turn) {
        u->turn = turn;
        u->turn_ns = 0;
    }
    u->turn_ns += ns;
    u->ns_left -= (int64_t)ns;
    if (u->ns_left < -(int64_t)USER_BURST_NS) /* after two seconds it may speak again */
        u->ns_left = -(int64_t)USER_BURST_NS;
}

bool user_may_speak(struct user *u, uint64_t now_ns)
{
    uint64_t passed_ns = now_ns - u->paid_ns;
    if (passed_ns > USER_BURST_NS * USER_TIME_SHARE)
        passed_ns = USER_BURST_NS * USER_TIME_SHARE;
    u->paid_ns = now_ns;
    u->ns_left += (int64_t)(passed_ns / USER_TIME_SHARE);
    if (u->ns_left > (int64_t)USER_BURST_NS)
        u->ns_left = (int64_t)USER_BURST_NS;
    return u->is_exempt || u->ns_left > 0;
}

bool user_may_be_looked_at(struct user *u, uint64_t now_ns)
{
    return (u->is_exempt || u->nr_away < USER_AWAY_MAX) && user_may_speak(u, now_ns);
}

bool user_has_turn(const struct user *u, uint32_t turn)
{
    return u->is_exempt || u->turn != turn || u->turn_ns < USER_TURN_NS;
}

void user_hold(struct user *u, int64_t more_bytes)
{
    atomic_fetch_add_explicit(&u->held_bytes, (uint64_t)more_bytes, memory_order_relaxed);
}

bool user_may_put(const struct user *u, uint64_t cap_bytes)
{
    return u->is_exempt || atomic_load_explicit(&u->held_bytes, memory_order_relaxed) < cap_bytes;
}

bool user_may_compress(struct user *u, uint32_t round)
{
    if (u->round != round) {
        u->round = round;
        u->nr_turns = 0;
    }
    return u->is_exempt || u->nr_turns++ < USER_COMPRESS_TURNS;
}
