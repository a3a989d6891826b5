/* pace.h - operations at an asked rate, in small batches with sleeps between them, so that pacing
 * itself costs next to nothing. Who falls behind catches up, but at most PACE_BACKLOG_NS of it:
 * what is older was missed, so that a long stall shows as a lower rate. */
#ifndef WORKLOADS_PACE_H
#define WORKLOADS_PACE_H

#include <stdint.h>
#include <time.h>

#define PACE_TICK_NS UINT64_C(2000000) /* 4 workers: 2000 wake-ups a second, ~2 % of a CPU */
#define PACE_BACKLOG_NS                                                                            \
    UINT64_C(100000000) /* longer than a scheduling delay, shorter than a stall */

static inline uint64_t pace_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* Sleeps until a time of CLOCK_MONOTONIC; at once when it has passed. */
void pace_sleep_until_ns(uint64_t time_ns);

struct pace {
    double ops_per_ns;
    uint64_t start_ns;
    uint64_t begun;  /* ops handed out and ops missed */
    uint64_t missed; /* of them, never handed out */
};

struct pace pace_new(double ops_per_sec, uint64_t start_ns);
/* How many operations are due now; counts them as begun. */
uint64_t pace_take_due(struct pace *p, uint64_t now_ns);
/* When to look again: the next operation's time, but not within a tick of now. */
uint64_t pace_next_ns(const struct pace *p, uint64_t now_ns);

#endif
