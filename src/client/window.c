/* window.c - see window.h. */
#include "client/window.h"

#include <errno.h>

#include "client/client.h"

#define BLOCK 8u         /* of a pass downwards */
#define COST_QUEUED 1u   /* against it: */
#define COST_BACK 4u     /* a system call of its own, 1 us */
#define NOTHING_MAX 128u /* places with nothing out that are passed over in one go, 10 us */

void window_begin(struct window *w, page_number first, int32_t stride, uint32_t nr)
{
    *w = (struct window){ .first = first, .stride = stride, .nr = nr, .leave_every = nr };
}

/* The i-th place that is taken on. */
static uint32_t place_at(const struct window *w, uint32_t i)
{
    uint32_t block = i / BLOCK * BLOCK;
    bool is_upwards = w->stride > 0 || block + BLOCK > w->nr;
    return is_upwards ? i : block + BLOCK - 1 - i % BLOCK;
}

static page_number page_at(const struct window *w, uint32_t place)
{
    return w->first + (page_number)((int64_t)w->stride * place);
}

int64_t window_place(const struct window *w, page_number page)
{
    int64_t d = (int64_t)(page - w->first);
    if (w->stride < 0)
        d = -d;
    int64_t stride = w->stride < 0 ? -w->stride : w->stride;
    if (d < 0 || (d % stride && d / stride < w->nr))
        return -1;
    return d / stride < w->nr ? d / stride : w->nr;
}

int window_take(struct agent *a, struct window *w, unsigned *budget)
{
    for (unsigned nr_nothing = 0; w->at < w->nr && *budget; w->at++) {
        uint32_t place = place_at(w, w->at);
        page_number page = page_at(w, place);
        struct page_leaf *leaf;
        const struct page *p = pager_page(&a->pg, page, &leaf);
        bool is_out = p && p->state != PAGE_RESIDENT && p->state != PAGE_POISONED;
        if (is_out && place >= w->leave_from) {
            w->leave_from += w->leave_every;
            w->nr_left_out++;
            continue;
        }
        unsigned cost = 0;
        switch (is_out ? pager_ahead(&a->pg, page) : AHEAD_NOTHING) {
        case AHEAD_QUEUED:   cost = COST_QUEUED; break;
        case AHEAD_BACK:     cost = COST_BACK; break;
        case AHEAD_NOTHING:  nr_nothing++; break;
        case AHEAD_FULL:     return -ENOBUFS;
        case AHEAD_CHANGING: return -EAGAIN;
        }
        if (cost)
            w->back[place / 64] |= UINT64_C(1) << place % 64;
        *budget -= cost < *budget ? cost : *budget;
        if (nr_nothing == NOTHING_MAX)
            *budget = 0;
    }
    return 0;
}

/* Tells of what came back among places from .. to - 1, in runs. */
static unsigned tell(struct agent *a, const struct window *w, uint32_t from, uint32_t to,
                     enum feedback_kind kind)
{
    unsigned nr_told = 0;
    for (uint32_t i = from, run = 0; i <= to; i++) {
        bool is_back = i < to && w->back[i / 64] >> i % 64 & 1;
        bool goes_on = is_back && (w->stride == 1 || w->stride == -1) && run < FEEDBACK_RUN_MAX;
        if (run && !goes_on) {
            page_number first = page_at(w, w->stride > 0 ? i - run : i - 1);
            (void)agent_on_feedback_run(a, kind, first, run); /* a hint that may be lost */
            run = 0;
        }
        run += is_back;
        nr_told += is_back;
    }
    return nr_told;
}

static void is_not_back(struct window *w, uint32_t place)
{
    w->back[place / 64] &= ~(UINT64_C(1) << place % 64);
}

unsigned window_passed(struct agent *a, struct window *w, uint32_t place)
{
    uint32_t until = place < w->nr ? place : w->nr;
    if (until < w->nr) /* it was out when it was touched, or it would not have been a fault */
        is_not_back(w, until);
    uint32_t passed = w->stride < 0 ? (until + 1) / BLOCK * BLOCK : until + 1;
    if (until == w->nr)
        passed = w->nr;
    if (w->at < passed)
        w->at = passed;
    if (until <= w->told)
        return 0;
    unsigned nr = tell(a, w, w->told, until, FEEDBACK_REFAULT);
    stats_add(a->pg.stats, STAT_prefetch_used, nr);
    w->told = until;
    return nr;
}

void window_faulted(struct window *w, page_number page)
{
    int64_t place = window_place(w, page);
    if (place >= 0 && place < w->nr)
        is_not_back(w, (uint32_t)place);
}

unsigned window_wanted(struct agent *a, struct window *w)
{
    for (uint32_t i = w->told; i < w->nr; i++) {
        struct page_leaf *leaf;
        const struct page *p = pager_page(&a->pg, page_at(w, i), &leaf);
        if (!p || p->state != PAGE_RESIDENT) /* dropped on its way, or it has left again */
            is_not_back(w, i);
    }
    unsigned nr = tell(a, w, w->told, w->nr, FEEDBACK_REFAULT);
    w->told = w->at = w->nr;
    return nr;
}

void window_wasted(struct agent *a, struct window *w)
{
    stats_add(a->pg.stats, STAT_prefetch_wasted, tell(a, w, w->told, w->nr, FEEDBACK_PREFETCHED));
    w->told = w->at = w->nr;
}
