/* prefetch.c - see prefetch.h. Per fault: a look at 16 streams, about 50 ns. */
#include "policy/prefetch.h"

#include <stdlib.h>
#include <string.h>

/* How far from its last fault a stream without a trend looks for the next one. */
#define NEAR_PAGES 1024
#define SHORT_STEP 16 /* pages that may be there between two that are out */
#define VOTES_NR 4u   /* of the last differences */
#define CROWD_NR (PREFETCH_HISTORY + 1)
#define CROWD_PAGES 32 /* two pools of each of four size classes, if they are of 16 KiB, as CPython's are */
/* An established stream that so many faults have passed by is the first to be replaced. */
#define STALE_FAULTS 4096u
#define CREDIT_HIT 1u
#define CREDIT_WASTE 2u
/* Page numbers of user memory on x86-64 stay far below this. */
#define PAGES_END ((page_number)1 << 40)

void prefetch_init(struct prefetch *p)
{
    *p = (struct prefetch){ .credit = PREFETCH_CREDIT_FIRST };
}

static int64_t distance(page_number from, page_number to)
{
    return (int64_t)(to - from);
}

static int64_t magnitude(int64_t d)
{
    return d < 0 ? -d : d;
}

/* ---- which stream a fault belongs to */

/* How many places the fault is ahead of the stream's last one, negative: behind; INT64_MAX: it is
 * none of its places, or too far off. */
static int64_t places_ahead(const struct prefetch_stream *s, page_number page)
{
    int64_t d = distance(s->last, page);
    if (!s->stride || d % s->stride)
        return INT64_MAX;
    int64_t ahead = d / s->stride, planned = distance(s->last, s->planned) / s->stride;
    return ahead <= planned + s->window && ahead >= -(int64_t)s->window ? ahead : INT64_MAX;
}

static struct prefetch_stream *find_expecting(struct prefetch *p, page_number page, pid_t thread)
{
    struct prefetch_stream *found = NULL;
    for (struct prefetch_stream *s = p->streams; s < p->streams + PREFETCH_STREAMS; s++)
        if (s->fault && places_ahead(s, page) != INT64_MAX && (!found || s->thread == thread))
            found = s;
    return found;
}

/* The nearest one that has no trend yet; the thread's own goes before another's. */
static struct prefetch_stream *find_trainee(struct prefetch *p, page_number page, pid_t thread)
{
    struct prefetch_stream *found = NULL;
    int64_t best = INT64_MAX;
    for (struct prefetch_stream *s = p->streams; s < p->streams + PREFETCH_STREAMS; s++) {
        int64_t d = magnitude(distance(s->last, page));
        if (!s->fault || s->stride || d > NEAR_PAGES)
            continue;
        d += s->thread == thread ? 0 : NEAR_PAGES;
        if (d < best) {
            best = d;
            found = s;
        }
    }
    return found;
}

/* What is least missed: a free one, one that is stale, the oldest without a trend, the oldest. */
static struct prefetch_stream *find_victim(struct prefetch *p)
{
    struct prefetch_stream *oldest = NULL, *oldest_trainee = NULL;
    for (struct prefetch_stream *s = p->streams; s < p->streams + PREFETCH_STREAMS; s++) {
        if (!s->fault)
            return s;
        if (!oldest || s->fault < oldest->fault)
            oldest = s;
        if (!s->stride && (!oldest_trainee || s->fault < oldest_trainee->fault))
            oldest_trainee = s;
    }
    bool is_stale = oldest->fault + STALE_FAULTS < p->nr_faults;
    return is_stale || !oldest_trainee ? oldest : oldest_trainee;
}

/* ---- credit */

static void settle(struct prefetch *p, const struct prefetch_stream *s)
{
    bool was_waste = s->nr_planned > 2 * s->nr_passed;
    if (!s->stride || !was_waste)
        return;
    p->credit -= p->credit < CREDIT_WASTE ? p->credit : CREDIT_WASTE;
}

static bool has_credit(struct prefetch *p)
{
    return p->credit || ++p->nr_held_back % PREFETCH_PROBE == 0;
}

void prefetch_end(struct prefetch *p, unsigned stream)
{
    settle(p, &p->streams[stream]);
    p->streams[stream] = (struct prefetch_stream){ 0 };
}

/* ---- trends */

static int64_t delta_at(const struct prefetch_stream *s, unsigned back)
{
    return s->deltas[(s->nr_deltas - 1 - back) % PREFETCH_HISTORY];
}

/* The difference that three of the last four have. 0: none. */
static int64_t majority(const struct prefetch_stream *s)
{
    unsigned nr = s->nr_deltas < VOTES_NR ? s->nr_deltas : VOTES_NR;
    for (unsigned i = 0; i + 2 < nr; i++) {
        unsigned votes = 0;
        for (unsigned j = 0; j < nr; j++)
            votes += delta_at(s, j) == delta_at(s, i);
        if (votes >= 3)
            return delta_at(s, i);
    }
    return 0;
}

static bool are_short_steps(const struct prefetch_stream *s, int64_t direction)
{
    for (unsigned i = 0; i < 3; i++) {
        int64_t step = delta_at(s, i) * direction;
        if (step < 1 || step > SHORT_STEP)
            return false;
    }
    return true;
}

/* The newest faults, as many of them as lie close together, in pages from the last one. */
struct crowd {
    unsigned nr; /* pages: one that leaves and is wanted again and again is one */
    int64_t low, high;
    unsigned low_at, high_at; /* how many faults ago */
};

static struct crowd crowd_of(const struct prefetch_stream *s, unsigned nr_faults)
{
    struct crowd c = { .nr = 1 };
    uint64_t seen = UINT64_C(1) << CROWD_PAGES; /* bit: CROWD_PAGES + pages from the last one */
    int64_t at = 0;
    for (unsigned i = 1; i < nr_faults && i <= s->nr_deltas; i++) {
        at -= delta_at(s, i - 1);
        if ((at > c.high ? at : c.high) - (at < c.low ? at : c.low) >= CROWD_PAGES)
            break;
        c.nr += !(seen >> (CROWD_PAGES + at) & 1);
        seen |= UINT64_C(1) << (CROWD_PAGES + at);
        if (at < c.low) {
            c.low = at;
            c.low_at = i;
        } else if (at > c.high) {
            c.high = at;
            c.high_at = i;
        }
    }
    return c;
}

/* 0: there is none. *ret_nr: the newest faults that show it, where gaps may lie between them. */
static int32_t trend(const struct prefetch_stream *s, unsigned *ret_nr)
{
    *ret_nr = 1;
    if (s->nr_deltas >= 2 && magnitude(delta_at(s, 0)) == 1 && delta_at(s, 0) == delta_at(s, 1))
        return (int32_t)delta_at(s, 0);
    int64_t stride = majority(s);
    if (stride && magnitude(stride) <= PREFETCH_STRIDE_MAX)
        return (int32_t)stride;
    if (s->nr_deltas < 3)
        return 0;
    *ret_nr = 4;
    if (are_short_steps(s, 1) || are_short_steps(s, -1))
        return delta_at(s, 0) > 0 ? 1 : -1;
    *ret_nr = CROWD_NR;
    struct crowd c = crowd_of(s, CROWD_NR);
    return c.nr < CROWD_NR ? 0 : c.low_at > c.high_at ? 1 : -1;
}

/* ---- windows */

/* The next places, so many that lie behind the pass's front and `window` before it, as far as there can be
 * memory. */
static void plan(struct prefetch_stream *s, int64_t behind, struct prefetch_answer *ret)
{
    int64_t room = s->stride > 0 ? distance(s->planned, PAGES_END) : (int64_t)s->planned;
    int64_t nr = room / magnitude(s->stride);
    if (nr > behind + s->window)
        nr = behind + s->window;
    if (nr <= behind)
        return;
    ret->first = s->planned;
    ret->stride = s->stride;
    ret->nr = (uint32_t)nr;
    ret->left_out = (uint32_t)(behind + (nr - behind) / 2);
    s->planned += (page_number)(s->stride * nr);
    s->nr_planned += (uint32_t)(nr - behind);
}

/* Its first window: also what lies between the faults that have shown the trend. */
static void begin_pass(struct prefetch_stream *s, int32_t stride, unsigned nr_faults,
                       struct prefetch_answer *ret)
{
    struct crowd c = crowd_of(s, nr_faults);
    int64_t behind = c.high - c.low + 1;
    if (behind == c.nr)
        behind = 0; /* there is nothing between them */
    s->stride = stride;
    s->window = PREFETCH_WINDOW_MIN;
    s->last += (page_number)(stride > 0 ? c.high : c.low);
    s->planned = s->last + (page_number)(stride * (1 - behind));
    plan(s, behind, ret);
}

static void train(struct prefetch *p, struct prefetch_stream *s, page_number page,
                  struct prefetch_answer *ret)
{
    int64_t delta = distance(s->last, page);
    if (delta == 0)
        return; /* several threads want it */
    s->deltas[s->nr_deltas++ % PREFETCH_HISTORY] = delta;
    s->last = page;
    unsigned nr_faults;
    int32_t stride = trend(s, &nr_faults);
    if (!stride || !has_credit(p))
        return;
    begin_pass(s, stride, nr_faults, ret);
}

static void follow(struct prefetch *p, struct prefetch_stream *s, page_number page,
                   struct prefetch_answer *ret)
{
    int64_t ahead = places_ahead(s, page);
    if (ahead <= 0)
        return; /* another thread, a little behind */
    ret->is_hit = true;
    p->credit += p->credit < PREFETCH_CREDIT_MAX ? CREDIT_HIT : 0;
    s->nr_passed += (uint32_t)ahead;
    s->last = page;
    int64_t left = distance(page, s->planned) / s->stride - 1, behind = 0;
    if (left < 0) { /* what it has jumped over belongs to the pass, too, unless it is much */
        if (magnitude(s->stride) == 1 && left < -1 && left >= -CROWD_PAGES)
            behind = -left;
        else
            s->planned = page + (page_number)(int64_t)s->stride;
        left = 0;
    }
    if (left >= s->window)
        return;
    s->window = s->window < PREFETCH_WINDOW_MAX ? 2 * s->window : PREFETCH_WINDOW_MAX;
    plan(s, behind, ret);
}

void prefetch_on_fault(struct prefetch *p, page_number page, pid_t thread, struct prefetch_answer *ret)
{
    *ret = (struct prefetch_answer){ .nr = 0 };
    p->nr_faults++;
    struct prefetch_stream *s = find_expecting(p, page, thread);
    if (s) {
        follow(p, s, page, ret);
    } else if ((s = find_trainee(p, page, thread))) {
        train(p, s, page, ret);
    } else {
        s = find_victim(p);
        ret->is_new = s->fault != 0;
        settle(p, s);
        *s = (struct prefetch_stream){ .last = page };
    }
    s->fault = p->nr_faults;
    s->thread = thread;
    ret->stream = (unsigned)(s - p->streams);
}
