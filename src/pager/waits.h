/* waits.h - how long the application's threads have waited for us, as far as that can be known from here.
 *
 * Of a fault the agent sees the part from its read to the end of the waking call. It does not see the
 * time before (our waking, and the faults that were answered first) nor after (the thread's waking). But
 * between the end of one answer and the read of the same thread's next fault lie the second half of one such
 * time, what the thread did, and the first half of the next: so a gap is an upper bound of what is not seen,
 * and a tight one where a thread runs from fault to fault. The estimate is the lower quartile of the gaps
 * below 60 us; without any it is 20 us, between the 8 us of an agent on the thread's CPU and the 40 us of
 * one elsewhere.
 *
 * Its error: threads that do much between faults make it too large, by what they do. Single faults of a
 * process that also has runs of them are charged as in a run, which is up to 30 us too little where the
 * agent has to be woken on another CPU. Work on the machine that keeps a thread from running after it was
 * woken is seen in runs only. docs/policy.md has what was measured.
 *
 * An event's raiser waits until it is read, and for its own waking: the same, taken for as long.
 *
 * Contract: one thread, the agent; never waits, never allocates. About 5 ns a fault. */
#ifndef PAGER_WAITS_H
#define PAGER_WAITS_H

#include <stdint.h>
#include <sys/types.h>

#define WAITS_THREADS 32u

struct waits {
    uint64_t unseen_ns; /* the estimate; 0: not asked yet */
    struct {
        pid_t thread;
        uint64_t answered_ns;
    } last[WAITS_THREADS]; /* by thread id, modulo: who shares a place forgets the other */
};

/* A fault of the thread, read then, has just been answered: how long the thread waits for it in all. */
uint64_t waits_on_answered(struct waits *w, pid_t thread, uint64_t read_ns, uint64_t answered_ns);
/* How long the raiser of an event waits for it. */
uint64_t waits_for_event(const struct waits *w);

#endif
