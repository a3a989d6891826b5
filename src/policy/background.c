/* background.c - see background.h. */
#include "policy/background.h"

#include "base/clock.h"

void background_begin(struct background *b)
{
    *b = (struct background){ .nr_to_go = BACKGROUND_WINDOW, .is_crowded = true };
}

void background_note(struct background *b, unsigned nr_running, unsigned nr_cpus, uint64_t wait_ns)
{
    b->nr_crowded += !nr_running || nr_running > nr_cpus || wait_ns >= BACKGROUND_WAIT_NS;
    b->nr_to_go--;
    if (wait_ns >= BACKGROUND_LONG_NS) {
        b->nr_crowded = BACKGROUND_CROWDED;
        b->nr_to_go = BACKGROUND_LONG_WINDOWS * BACKGROUND_WINDOW;
    }
    if (b->nr_crowded >= BACKGROUND_CROWDED)
        b->is_crowded = true;
    if (b->nr_to_go)
        return;
    b->is_crowded = b->nr_crowded >= BACKGROUND_CROWDED;
    b->nr_to_go = BACKGROUND_WINDOW;
    b->nr_crowded = 0;
}

uint64_t background_pause_ns(const struct background *b, uint64_t cpu_ns)
{
    uint64_t ms = (cpu_ns * (b->is_crowded ? BACKGROUND_PAUSES : 1) + NS_PER_MS / 2) / NS_PER_MS;
    return (ms ? ms : 1) * NS_PER_MS;
}
