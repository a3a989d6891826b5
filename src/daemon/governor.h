/* governor.h - a session's budget at work: what is measured goes to policy/budget, what it chooses to heat
 * and to policy/choose. Without a budget (--cold-age) it only measures, for status.
 *
 * Lost time is what the client's agent counts (src/pager/waits.h) and what the heat source costs in
 * write-protection. Paged out by the kernel (--evict-by pageout) pages come back unseen: each return is
 * charged what zram's takes. A client that lies about its numbers is slower or larger than it wished.
 *
 * Contract: the control thread. */
#ifndef DAEMON_GOVERNOR_H
#define DAEMON_GOVERNOR_H

#include <stdint.h>
#include <sys/types.h>

#include "daemon/config.h"
#include "heat/heat.h"
#include "policy/budget.h"

struct session;

struct governor {
    struct budget budget;
    uint64_t sampled_ms;       /* 0: not yet */
    uint64_t given_age_ms;     /* 0: it is chosen */
    uint64_t look_ms;          /* how often memory is looked at */
    uint64_t nr_threads, resident_bytes;
    uint64_t waited_ns;        /* by all causes since the session began */
    /* counters as they were at the last look or sample */
    uint64_t fault_wait_ns, other_wait_ns, sampled_fault_wait_ns, sampled_other_wait_ns;
    uint64_t nr_faults, nr_restored, nr_returned, nr_rewritten, nr_paged_back, sampled_paged_back;
    uint64_t nr_reused[AGES_NR];
};

void governor_init(struct governor *g, const struct config *config);
/* Called as often as the session is served; samples once a second. */
void governor_tick(struct session *s, uint64_t now_ms);
uint64_t governor_cold_age_ms(const struct session *s); /* given or chosen */
/* How many more pages may be offered, whatever the rate. */
uint64_t governor_room(const struct session *s);

#endif
