/* pins.c - see pins.h. */
#include "pager/pins.h"

#include <errno.h>
#include <stddef.h>

static struct pin *find(const struct pins *p, page_number first, page_number end)
{
    for (uint32_t i = 0; i < p->nr; i++)
        if (p->items[i].first == first && p->items[i].end == end)
            return &p->items[i];
    return NULL;
}

int pins_add(struct pins *p, page_number first, page_number end)
{
    struct pin *pin = find(p, first, end);
    if (!pin && p->nr == PINS_MAX)
        return -ENOSPC;
    if (!pin) {
        pin = &p->items[p->nr++];
        *pin = (struct pin){ .first = first, .end = end };
    }
    pin->count++;
    return 0;
}

int pins_remove(struct pins *p, page_number first, page_number end)
{
    struct pin *pin = find(p, first, end);
    if (!pin)
        return -ENOENT;
    if (--pin->count == 0)
        *pin = p->items[--p->nr];
    return 0;
}

bool pins_overlap(const struct pins *p, page_number first, page_number end)
{
    for (uint32_t i = 0; i < p->nr; i++)
        if (p->items[i].first < end && first < p->items[i].end)
            return true;
    return false;
}
