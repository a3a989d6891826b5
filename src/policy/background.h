/* background.h - how long background work pauses: shortly while there is a CPU for it, for longer where it
 * takes one from somebody. Pure: told what is seen at each turn, it decides.
 *
 * Whether a moment was crowded is known of moments only, so some are counted together: it is crowded from
 * the moment when an eighth of BACKGROUND_WINDOW turns were, until a whole window was not. */
#ifndef POLICY_BACKGROUND_H
#define POLICY_BACKGROUND_H

#include <stdbool.h>
#include <stdint.h>

#define BACKGROUND_WINDOW 32u
#define BACKGROUND_CROWDED 4u
#define BACKGROUND_PAUSES 4u /* of what was taken; where there is a CPU, 1 */

struct background {
    unsigned nr_turns, nr_crowded; /* of the window */
    bool is_crowded;
};

void background_begin(struct background *b); /* crowded, before anything is known */
/* nr_running: tasks, we among them; 0: not known. nr_cpus: that we may use. A turn that took twice as long as
 * it had a CPU, and half a millisecond, waited for one: what a quota holds up is seen in no other way. */
void background_note(struct background *b, unsigned nr_running, unsigned nr_cpus, uint64_t wall_ns,
                     uint64_t cpu_ns);
/* After a turn that took so much of a CPU: whole milliseconds, as epoll_wait() has them, one at least. */
uint64_t background_pause_ns(const struct background *b, uint64_t cpu_ns);

#endif
