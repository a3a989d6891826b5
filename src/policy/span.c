/* span.c - see span.h. Per fault: a look at 8 spans, about 10 ns. */
#include "policy/span.h"

#define WEIGHT 16
#define WHOLE 65535
#define MOST (WHOLE / 2)

static struct span *find(struct spans *s, page_number page)
{
    for (struct span *p = s->under_way; p < s->under_way + SPANS_NR; p++)
        if (p->first != p->end && page >= p->first && page <= p->end)
            return p;
    return NULL;
}

static uint32_t length(const struct span *p)
{
    return (uint32_t)(p->end - p->first);
}

static void learn(struct spans *s, const struct span *p, bool went_on)
{
    if (!p->teaches || length(p) > SPAN_MAX)
        return;
    uint16_t *part = &s->goes_on[length(p) - 1];
    *part = (uint16_t)(*part + ((went_on ? WHOLE : 0) - *part) / WEIGHT);
}

/* In the place of one that has ended. */
static void begin(struct spans *s, struct span *p, page_number page)
{
    if (p->first != p->end)
        learn(s, p, false);
    *p = (struct span){ .first = page, .end = page + 1, .back = page + 1, .teaches = true };
}

/* As far as more than half of those that have come to here go. */
static uint32_t foreseen(const struct spans *s, const struct span *p)
{
    uint32_t nr = 0, part = WHOLE;
    while (length(p) + nr < SPAN_MAX) {
        part = part * s->goes_on[length(p) + nr - 1] / WHOLE;
        if (part <= MOST)
            break;
        nr++;
    }
    return nr;
}

/* Multiplicative hashing (Knuth, The Art of Computer Programming, 6.4): a plain count would meet who asks in
 * turns for values of several sizes at the same size each time. */
static bool is_left_alone(uint32_t nr_foreseen)
{
    return nr_foreseen * UINT32_C(2654435769) < UINT32_MAX / SPAN_ALONE;
}

uint32_t span_on_fault(struct spans *s, page_number page, bool *ret_is_late)
{
    struct span *p = find(s, page);
    *ret_is_late = p && page >= p->back && page < p->end;
    if (*ret_is_late) {
        p->back = page + 1;
        return 0;
    }
    if (p && page == p->end) {
        learn(s, p, true);
        p->back = ++p->end;
    } else { /* of a span: it has left since, and is wanted anew; or another thread wants it, too */
        p = p ? p : &s->under_way[s->oldest++ % SPANS_NR];
        begin(s, p, page);
    }
    uint32_t nr = p->is_alone ? 0 : foreseen(s, p);
    if (!nr)
        return 0;
    p->is_alone = p->teaches && is_left_alone(++s->nr_foreseen);
    if (p->is_alone)
        return 0;
    p->teaches = false;
    p->end += nr;
    return nr;
}

void span_leave_to_pass(struct spans *s, page_number page)
{
    struct span *p = find(s, page);
    if (p)
        *p = (struct span){ .first = 0 };
}
