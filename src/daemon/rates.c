/* rates.c - see rates.h. */
#include "daemon/rates.h"

void rates_note(struct rates *r, uint64_t now_ms, const uint64_t values[RATE_NR])
{
    unsigned at = r->nr++ % RATES_SAMPLES;
    r->at_ms[at] = now_ms;
    for (unsigned i = 0; i < RATE_NR; i++)
        r->value[i][at] = values[i];
}

double rates_per_s(const struct rates *r, enum rate which)
{
    if (r->nr < 2)
        return 0;
    unsigned newest = (r->nr - 1) % RATES_SAMPLES;
    unsigned oldest = r->nr > RATES_SAMPLES ? r->nr % RATES_SAMPLES : 0;
    uint64_t from = r->value[which][oldest], to = r->value[which][newest];
    uint64_t elapsed_ms = r->at_ms[newest] - r->at_ms[oldest];
    return to > from && elapsed_ms ? (double)(to - from) * 1000 / (double)elapsed_ms : 0;
}
