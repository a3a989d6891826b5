/* waits.c - see waits.h. */
#include "pager/waits.h"

#define UNSEEN_FIRST_NS 20000u
#define UNSEEN_LEAST_NS 2000u /* two wakings on one CPU take longer */
#define GAP_MAX_NS 60000u     /* longer ones say what the thread did: on two CPUs it is 40 us */
#define STEP 16u              /* a quartile is found to within 1/16 */

/* A quarter of the gaps below: up by one step for each above, down by three for each below. */
static void learn(struct waits *w, uint64_t gap_ns)
{
    uint64_t step_ns = w->unseen_ns / STEP;
    if (gap_ns > w->unseen_ns)
        w->unseen_ns += step_ns / 3;
    else
        w->unseen_ns -= step_ns;
    if (w->unseen_ns < UNSEEN_LEAST_NS)
        w->unseen_ns = UNSEEN_LEAST_NS;
}

uint64_t waits_on_answered(struct waits *w, pid_t thread, uint64_t read_ns, uint64_t answered_ns)
{
    if (!w->unseen_ns)
        w->unseen_ns = UNSEEN_FIRST_NS;
    unsigned at = (unsigned)thread % WAITS_THREADS;
    uint64_t unseen_ns = w->unseen_ns;
    if (w->last[at].thread == thread && read_ns >= w->last[at].answered_ns) {
        uint64_t gap_ns = read_ns - w->last[at].answered_ns;
        if (gap_ns < GAP_MAX_NS)
            learn(w, gap_ns);
        if (gap_ns < unseen_ns)
            unseen_ns = gap_ns;
    }
    w->last[at].thread = thread;
    w->last[at].answered_ns = answered_ns;
    return answered_ns - read_ns + unseen_ns;
}

uint64_t waits_for_event(const struct waits *w)
{
    return w->unseen_ns ? w->unseen_ns : UNSEEN_FIRST_NS;
}
