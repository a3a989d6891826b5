/* choose.h - how many pages may leave now. Numbers in, numbers out; no clock, no I/O.
 *
 * A governor between the rate that the user allows and what is wanted back: it starts at an eighth of
 * the rate, doubles every 100 ms while little comes back, and falls to a quarter when more than 5 % of
 * what left in the last ten seconds came back in the last one: what looks cold by its writes may be hot
 * by its reads, and the first few thousand pages tell.
 *
 * Contract: one thread; one struct per session. */
#ifndef POLICY_CHOOSE_H
#define POLICY_CHOOSE_H

#include <stdint.h>

#define CHOOSE_SECONDS 10u

struct choose {
    uint64_t rate;         /* pages per second that the user allows */
    uint64_t allowed_rate; /* now */
    double credit;         /* pages that may leave now */
    uint64_t last_ms, last_step_ms;
    uint64_t offered[CHOOSE_SECONDS], returned[CHOOSE_SECONDS]; /* by second, modulo */
    uint64_t second;
};

void choose_init(struct choose *c, uint64_t pages_per_second);
/* Pages that may be offered at this time. */
uint64_t choose_allowance(struct choose *c, uint64_t now_ms);
void choose_on_offered(struct choose *c, uint64_t nr_pages);
void choose_on_returned(struct choose *c, uint64_t nr_pages);

#endif
