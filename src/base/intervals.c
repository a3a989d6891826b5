/* intervals.c - see intervals.h. */
#include "base/intervals.h"

#include <errno.h>
#include <string.h>

uint32_t intervals_from(const struct intervals *s, page_number page)
{
    uint32_t low = 0, high = s->nr;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (s->items[middle].end <= page)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct interval *intervals_find(const struct intervals *s, page_number page)
{
    uint32_t i = intervals_from(s, page);
    return i < s->nr && s->items[i].first <= page ? &s->items[i] : NULL;
}

bool intervals_overlap(const struct intervals *s, page_number first, page_number end)
{
    uint32_t i = intervals_from(s, first);
    return i < s->nr && s->items[i].first < end;
}

bool intervals_cover(const struct intervals *s, page_number first, page_number end)
{
    for (uint32_t i = intervals_from(s, first); first < end; i++) {
        if (i == s->nr || s->items[i].first > first)
            return false;
        first = s->items[i].end;
    }
    return true;
}

static void open_gap(struct intervals *s, uint32_t at)
{
    memmove(&s->items[at + 1], &s->items[at], (s->nr - at) * sizeof *s->items);
    s->nr++;
}

static void close_gap(struct intervals *s, uint32_t at, uint32_t nr)
{
    memmove(&s->items[at], &s->items[at + nr], (s->nr - at - nr) * sizeof *s->items);
    s->nr -= nr;
}

int intervals_clear(struct intervals *s, page_number first, page_number end)
{
    if (first >= end)
        return 0;
    uint32_t i = intervals_from(s, first);
    if (i == s->nr || s->items[i].first >= end)
        return 0;
    if (s->items[i].first < first && s->items[i].end > end) { /* a hole in the middle of one */
        if (s->nr == s->nr_max)
            return -ENOSPC;
        open_gap(s, i);
        s->items[i].end = first;
        s->items[i + 1].first = end;
        return 0;
    }
    if (s->items[i].first < first)
        s->items[i++].end = first;
    uint32_t nr_whole = 0;
    while (i + nr_whole < s->nr && s->items[i + nr_whole].end <= end)
        nr_whole++;
    if (i + nr_whole < s->nr && s->items[i + nr_whole].first < end)
        s->items[i + nr_whole].first = end;
    close_gap(s, i, nr_whole);
    return 0;
}

int intervals_set(struct intervals *s, page_number first, page_number end, uint64_t tag)
{
    if (first >= end)
        return 0;
    if (s->nr + 2 > s->nr_max) /* a cut and the new one, at most */
        return -ENOSPC;
    int r = intervals_clear(s, first, end);
    if (r)
        return r;
    uint32_t i = intervals_from(s, first);
    open_gap(s, i);
    s->items[i] = (struct interval){ .first = first, .end = end, .tag = tag };
    return 0;
}
