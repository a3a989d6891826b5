/* pace.c - arithmetic of due operations, and the sleep. */
#include "pace.h"

#include <errno.h>

void pace_sleep_until_ns(uint64_t time_ns)
{
    struct timespec t = {.tv_sec = (time_t)(time_ns / UINT64_C(1000000000)),
                         .tv_nsec = (long)(time_ns % UINT64_C(1000000000))};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

struct pace pace_new(double ops_per_sec, uint64_t start_ns)
{
    return (struct pace){.ops_per_ns = ops_per_sec / 1e9, .start_ns = start_ns};
}

uint64_t pace_take_due(struct pace *p, uint64_t now_ns)
{
    uint64_t asked = (uint64_t)((double)(now_ns - p->start_ns) * p->ops_per_ns);
    if (asked <= p->begun)
        return 0;
    uint64_t due = asked - p->begun;
    uint64_t most = (uint64_t)((double)PACE_BACKLOG_NS * p->ops_per_ns) + 1;
    if (due > most) {
        p->missed += due - most;
        due = most;
    }
    p->begun = asked;
    return due;
}

uint64_t pace_next_ns(const struct pace *p, uint64_t now_ns)
{
    double next = (double)(p->begun + 1) / p->ops_per_ns + 1;
    uint64_t next_ns = p->start_ns + (uint64_t)next;
    return next_ns > now_ns + PACE_TICK_NS ? next_ns : now_ns + PACE_TICK_NS;
}
