/* tier.c - see tier.h. */
#include "daemon/tier.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/point.h"

/* So much of what is held must be room in slots and blocks that nothing uses. */
#define HOLES_SHARE 16u
#define HOLES_BYTES_MIN ((uint64_t)256 << 10)
/* Between two choices. Longer, by doubling, while a client empties no slab: its pages may be apart
 * by now. */
#define COMPACT_PAUSE_MS 500u
#define COMPACT_PAUSE_MAX_MS 64000u

static void fail(struct session *s, const char *why)
{
    atomic_store(&s->failure, why);
}

bool tier_has_asks(struct session *s)
{
    return !atomic_load_explicit(&s->failure, memory_order_relaxed) && ring_look(&s->squeeze) != 0;
}

bool tier_do_one(struct session *s, struct squeezer *q)
{
    struct squeeze_entry ask;
    struct squeezed_entry answer;
    int r = ring_take(&s->squeeze, &ask);
    if (r < 0)
        fail(s, "squeeze ring: impossible position");
    if (r != 1)
        return false;
    uint64_t begin_ns = thread_cpu_ns();
    point_kills(POINT_ASK_TAKEN);
    squeeze_do(q, s->store, &ask, &answer);
    point_kills(POINT_SQUEEZED);
    if (ring_put(&s->squeezed, &answer))
        fail(s, "an answer does not fit: more asked for than there is room for");
    point_kills(POINT_SQUEEZE_ANSWERED);
    s->nr_squeezed_unrung++;
    atomic_fetch_add_explicit(&s->compress_cpu_ns, thread_cpu_ns() - begin_ns, memory_order_relaxed);
    return true;
}

static void publish(struct session *s, const uint32_t slabs[STORE_LEAVING_NR])
{
    for (unsigned i = 0; i < STORE_LEAVING_NR; i++)
        atomic_store_explicit(&s->memory->leaving[i], slabs[i], memory_order_relaxed);
    point_kills(POINT_LEAVING_HALF_TOLD);
    atomic_fetch_add_explicit(&s->memory->leaving_round, 1, memory_order_release);
}

void tier_compact(struct session *s, uint64_t now_ms)
{
    struct store_usage u;
    if (now_ms < s->next_compact_ms)
        return;
    store_usage(s->store, &u);
    uint64_t nr_still = store_nr_leaving(s->store);
    bool has_holes = u.held_bytes - u.slot_bytes > u.held_bytes / HOLES_SHARE + HOLES_BYTES_MIN;
    if (!has_holes && !nr_still) {
        s->nr_slabs_before = 0;
        return;
    }
    bool is_stuck = s->nr_slabs_before && nr_still == s->nr_slabs_before;
    s->compact_pause_ms = is_stuck ? 2 * s->compact_pause_ms : COMPACT_PAUSE_MS;
    if (s->compact_pause_ms > COMPACT_PAUSE_MAX_MS)
        s->compact_pause_ms = COMPACT_PAUSE_MAX_MS;
    s->next_compact_ms = now_ms + s->compact_pause_ms;
    uint32_t slabs[STORE_LEAVING_NR];
    s->nr_slabs_before = store_choose_leaving(s->store, slabs);
    if (s->nr_slabs_before || nr_still)
        publish(s, slabs);
}
