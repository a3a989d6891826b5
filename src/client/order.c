/* order.c - what somebody asks for by hand (process-pager reclaim, process-pager drain) and the daemon
 * passes on: one order at a time, done in slices between faults, and answered when it is done. The
 * daemon's orders are about moving pages only: one that is not meant costs time, never bytes. */
#include <errno.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "client/client.h"

#define ORDER_SLICE 16u                      /* pages between two looks for faults, as other drains */
#define WATCH_PATIENCE_NS (100 * NS_PER_MS) /* with mappings that change all the time */

static uint64_t nr_out(const struct agent *a)
{
    return pager_nr_out(&a->pg) + a->pg.nr_paged_out;
}

/* What has been offered and not been looked at is not wanted any more. Once round the ring: a daemon that
 * goes on offering is not waited for. */
static void forget_candidates(struct agent *a)
{
    struct candidate_entry unread;
    a->candidate.nr_pages = 0;
    for (unsigned i = 0; i < RING_CANDIDATES_NR; i++)
        if (ring_take(&a->session.candidates, &unread) != 1)
            return;
}

int order_take(struct agent *a, const struct msg_order *what)
{
    if (a->order.is_running)
        return -EPROTO;
    switch ((enum order_op)what->op) {
    case ORDER_DRAIN:
        a->is_held = true;
        forget_candidates(a);
        break;
    case ORDER_RESUME:
    case ORDER_WATCH:
        a->is_held = false;
        break;
    case ORDER_SETTLE:
        break;
    case ORDER_RECLAIM:
    case ORDER_OP_NR:
        return -EPROTO;
    }
    a->order = (struct order){ .is_running = true,
                               .what = *what,
                               .answer = { .op = what->op, .nr_before = nr_out(a) },
                               .begin_ns = now_ns() };
    return 0;
}

/* Sixteen pages of a drain. A page that is lost stays poisoned; the rest still comes back. */
static bool drain_slice(struct agent *a)
{
    struct order *o = &a->order;
    int r = pager_drain_all(&a->pg, &o->cursor, ORDER_SLICE);
    if (r == -EIO)
        o->answer.error = r;
    return r == 1 && pager_nr_out(&a->pg) == 0; /* mremap may have moved some behind the cursor */
}

static bool watch_slice(struct agent *a, struct pp_pager *pp)
{
    if (a->order.what.age_ms || agent_adopt_all(a, pp) ||
        now_ns() - a->order.begin_ns > WATCH_PATIENCE_NS)
        return true;
    agent_nap(a, 0);
    return false;
}

/* Frozen, nothing goes on until the fork has been. */
static bool is_settled(struct agent *a)
{
    return !a->candidate.nr_pages && ring_is_empty(&a->session.candidates) && !a->pg.nr_staged;
}

static void answer(struct agent *a, struct pp_pager *pp)
{
    struct order *o = &a->order;
    o->answer.nr_after = nr_out(a);
    int r = msg_send(a->session.socket, MSG_ORDER_DONE, &o->answer, NULL);
    if (r == -EAGAIN)
        return; /* the daemon does not read just now: at the next tick */
    o->is_running = false;
    agent_publish_stats(a, pp); /* who asks for the status next sees what was done */
}

bool order_piece(struct agent *a, struct pp_pager *pp)
{
    if (!a->order.is_running || !a->is_joined)
        return false;
    bool is_done = true, is_waiting = false;
    switch ((enum order_op)a->order.what.op) {
    case ORDER_DRAIN:
        is_done = drain_slice(a);
        break;
    case ORDER_WATCH:
        is_done = watch_slice(a, pp);
        break;
    case ORDER_SETTLE:
        is_done = is_settled(a);
        is_waiting = !is_done; /* what it waits for wakes us */
        break;
    case ORDER_RESUME:
    case ORDER_RECLAIM:
    case ORDER_OP_NR:
        break;
    }
    if (is_done || mutant_is(MUTANT_ORDER_EARLY))
        answer(a, pp);
    return !is_waiting && !(is_done && a->order.is_running);
}
