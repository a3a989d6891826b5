/* background.c - see background.h. */
#include "policy/background.h"

#define NS_PER_MS UINT64_C(1000000)
#define WAIT_NS (NS_PER_MS + NS_PER_MS / 2) /* less is what timers and other work of ours take */

void background_begin(struct background *b)
{
    *b = (struct background){ .nr_to_go = BACKGROUND_WINDOW, .is_crowded = true };
}

static bool is_crowded(const struct background_turn *turn)
{
    return !turn->nr_running || turn->nr_running > turn->nr_cpus || turn->wait_ns >= WAIT_NS;
}

void background_note(struct background *b, const struct background_turn *turn)
{
    b->nr_crowded += is_crowded(turn);
    b->nr_to_go--;
    if (turn->wait_ns >= BACKGROUND_LONG_NS) {
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
