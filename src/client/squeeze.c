/* squeeze.c - when the agent looks for what to keep in less room (pager/squeeze.c says how): only
 * when it has nothing else to do, in pieces of 10 us, between which it looks for faults.
 *
 * Every quarter of the squeeze age what is stored and not settled grows older by one, and a lap over it
 * begins unless one is under way: what has grown older five times has been stored for at least that long.
 * A lap costs 2 to 6.5 us for each 2 MiB that have pages out and are not settled. Another, over all, begins
 * when the daemon has slabs that it would like to have empty. */
#include <stdatomic.h>

#include "base/clock.h"
#include "client/client.h"

#define LAPS_PER_AGE 4u
#define MOVES_PAUSE_NS (50 * NS_PER_MS) /* a daemon tells of slabs twice a second, one that lies all the time */
#define ANSWERS_PER_PIECE 8u /* of four pages each, 0.3 us a page */

bool agent_on_squeeze(void *context, const struct squeeze_entry *entry)
{
    struct agent *a = context;
    return ring_put(&a->session.squeeze, entry) == 0;
}

bool squeeze_answers(struct agent *a, bool *ret_any)
{
    struct squeezed_entry e;
    int r = 0;
    for (unsigned i = 0; i < ANSWERS_PER_PIECE && (r = ring_take(&a->session.squeezed, &e)) == 1; i++) {
        *ret_any = true;
        r = pager_on_squeezed(&a->pg, &e);
        if (r)
            break;
    }
    return r >= 0;
}

/* False: there is no reason to look at what is stored now. */
static bool begin(struct agent *a)
{
    struct session *s = &a->session;
    uint64_t now = now_ns();
    bool is_time = s->squeeze_age_ns && now >= a->next_lap_ns && !a->pg.is_ageing;
    if (is_time)
        pager_begin_ageing(&a->pg);
    if (a->pg.is_ageing) /* from its end on: however long it takes, no page is old too soon, and laps go on */
        a->next_lap_ns = now + s->squeeze_age_ns / LAPS_PER_AGE;
    uint32_t round = atomic_load_explicit(&s->memory->leaving_round, memory_order_acquire);
    bool is_new = round != a->leaving_round;
    if (a->pg.lap.is_on) {
        a->pg.lap.is_told |= is_new; /* the rest of it; and another lap will be */
        return true;
    }
    bool is_told = is_new && now >= a->next_moves_ns;
    if (!is_time && !is_told)
        return a->pg.is_ageing;
    if (is_told) {
        a->next_moves_ns = now + MOVES_PAUSE_NS;
        a->leaving_round = round;
    }
    a->pg.leaving = s->memory->leaving;
    pager_begin_lap(&a->pg, s->squeeze_age_ns != 0, is_told);
    return true;
}

bool squeeze_piece(struct agent *a)
{
    if (!a->is_joined || a->is_frozen || !a->pg.nr_stored || !begin(a))
        return false;
    uint32_t position = a->session.squeeze.position;
    bool has_more = pager_lap(&a->pg);
    if (a->session.squeeze.position != position)
        doorbell_ring(&a->session.memory->daemon_bell, a->session.daemon_bell);
    return has_more;
}
