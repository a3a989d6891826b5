/* background.h - how long background work pauses: shortly while there is a CPU for it, for longer where it
 * takes one from somebody. Pure: told what is seen at each turn, it decides.
 *
 * What is seen is of moments only, so some are counted together: it is crowded from the moment when an
 * eighth of a window of BACKGROUND_WINDOW turns were, until the end of one of which less was. Who had to wait
 * for long has used up a quota, which lets it run again at once: then it is crowded for many windows. The
 * numbers were chosen, not measured, but for the waits: an idle CPU of a guest takes 25 us to wake
 * (docs/stall.md). Contract: one thread. */
#ifndef POLICY_BACKGROUND_H
#define POLICY_BACKGROUND_H

#include <stdbool.h>
#include <stdint.h>

#define BACKGROUND_WINDOW 32u
#define BACKGROUND_CROWDED 4u
#define BACKGROUND_PAUSES 4u /* of what was taken; where there is a CPU, 1 */
#define BACKGROUND_WAIT_NS UINT64_C(500000)
#define BACKGROUND_LONG_NS UINT64_C(8000000) /* a quota's period is 100 ms, so it takes longer */
#define BACKGROUND_LONG_WINDOWS 16u          /* 2.6 s, at turns of a millisecond */

struct background {
    unsigned nr_to_go, nr_crowded; /* of the window */
    bool is_crowded;
};

void background_begin(struct background *b); /* crowded, before anything is known */
/* A turn is over. nr_running: tasks, we among them; 0: not known. nr_cpus: that we may use. wait_ns: for how
 * long we have waited for a CPU since the last turn, or since there was something to do. */
void background_note(struct background *b, unsigned nr_running, unsigned nr_cpus, uint64_t wait_ns);
/* After a turn that took so much of a CPU: whole milliseconds, as epoll_wait() has them, one at least. */
uint64_t background_pause_ns(const struct background *b, uint64_t cpu_ns);

#endif
