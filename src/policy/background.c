/* background.c - see background.h. */
#include "policy/background.h"

#define NS_PER_MS UINT64_C(1000000)
#define WAIT_NS (NS_PER_MS / 2) /* less is no wait: a turn may end at once */

void background_begin(struct background *b)
{
    *b = (struct background){ .is_crowded = true };
}

void background_note(struct background *b, unsigned nr_running, unsigned nr_cpus, uint64_t wall_ns,
                     uint64_t cpu_ns)
{
    b->nr_crowded += !nr_running || nr_running > nr_cpus || wall_ns >= 2 * cpu_ns + WAIT_NS;
    b->nr_turns++;
    if (b->nr_crowded >= BACKGROUND_CROWDED)
        b->is_crowded = true;
    if (b->nr_turns < BACKGROUND_WINDOW)
        return;
    b->is_crowded = b->nr_crowded >= BACKGROUND_CROWDED;
    b->nr_turns = b->nr_crowded = 0;
}

uint64_t background_pause_ns(const struct background *b, uint64_t cpu_ns)
{
    uint64_t ms = cpu_ns * (b->is_crowded ? BACKGROUND_PAUSES : 1) / NS_PER_MS;
    return (ms ? ms : 1) * NS_PER_MS;
}
