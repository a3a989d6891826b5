/* choose.h - how many pages may leave now. Numbers in, numbers out; no clock, no I/O.
 *
 * A rate between a floor and what the user allows, which starts at an eighth. Which way it goes somebody
 * else says, once he has begun to (choose_advise(): src/policy/budget.h does): it doubles once a second
 * that it is in use, or nothing leaves, or that and it falls to a quarter once a second.
 *
 * Where nobody does, because the user gave a cold age and no budget, the share that is wanted back says
 * it: it doubles every 100 ms while hardly anything comes back (1 % of what left in the last ten
 * seconds), stays where it is while some does, and falls to a quarter, once a second, when more than 5 %
 * came back in the last one: what looks cold by its writes may be hot by its reads, and the first few
 * thousand pages tell. Without the middle it would swing: after a fall the share looks small, because
 * the ten seconds still hold the faster time.
 *
 * Contract: one thread; one struct per session. */
#ifndef POLICY_CHOOSE_H
#define POLICY_CHOOSE_H

#include <stdbool.h>
#include <stdint.h>

#define CHOOSE_SECONDS 10u

enum choose_advice {
    CHOOSE_UNTOLD,
    CHOOSE_RISE,
    CHOOSE_PAUSE, /* nothing leaves now */
    CHOOSE_HALT,  /* nor so fast afterwards */
};

struct choose {
    uint64_t rate;         /* pages per second that the user allows */
    uint64_t allowed_rate; /* now */
    double credit;         /* pages that may leave now */
    uint64_t last_ms, last_step_ms, last_fall_ms, last_rise_ms;
    uint64_t offered[CHOOSE_SECONDS], returned[CHOOSE_SECONDS]; /* by second, modulo */
    uint64_t second;
    bool is_free;
    enum choose_advice advice;
};

void choose_init(struct choose *c, uint64_t pages_per_second);
/* The whole rate at once and whatever comes back: for who asked for a cold age of milliseconds. */
void choose_set_free(struct choose *c);
/* Which way the rate goes from now on. */
void choose_advise(struct choose *c, enum choose_advice advice);
/* No faster than this, to begin with. */
void choose_begin_at(struct choose *c, uint64_t pages_per_second);
/* Pages that may be offered at this time. */
uint64_t choose_allowance(struct choose *c, uint64_t now_ms);
void choose_on_offered(struct choose *c, uint64_t nr_pages);
/* Offered because somebody asked for it: costs no credit, but counts in what share of it returns. */
void choose_on_forced(struct choose *c, uint64_t nr_pages);
void choose_on_returned(struct choose *c, uint64_t nr_pages);

#endif
