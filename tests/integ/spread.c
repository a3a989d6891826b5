/* spread.c - see spread.h. */
#include "spread.h"

#include <stdio.h>
#include <stdlib.h>

void spread_add(struct spread *s, double value)
{
    if (s->nr < SPREAD_MAX)
        s->values[s->nr++] = (float)value;
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double at(const struct spread *s, unsigned percent)
{
    return s->nr ? (double)s->values[(s->nr - 1) * percent / 100] : 0;
}

const char *spread_text(struct spread *s, char *ret_text, size_t capacity)
{
    qsort(s->values, s->nr, sizeof *s->values, compare);
    (void)snprintf(ret_text, capacity, "p50 %.0f p90 %.0f p99 %.0f max %.0f of %u", at(s, 50), at(s, 90),
                   at(s, 99), at(s, 100), s->nr);
    return ret_text;
}
