/* rhythm.c - see rhythm.h. */
#include "policy/rhythm.h"

#include <string.h>

#define MISSED_BEATS_MAX 3u

static uint32_t mean_ms(const struct rhythm *r)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < RHYTHM_PERIODS; i++)
        sum += r->periods_ms[i];
    return (uint32_t)(sum / RHYTHM_PERIODS);
}

/* Largest less smallest. */
static uint32_t spread_ms(const struct rhythm *r)
{
    uint32_t least = UINT32_MAX, most = 0;
    for (unsigned i = 0; i < RHYTHM_PERIODS; i++) {
        least = r->periods_ms[i] < least ? r->periods_ms[i] : least;
        most = r->periods_ms[i] > most ? r->periods_ms[i] : most;
    }
    return most - least;
}

static bool is_full(const struct rhythm *r)
{
    return r->periods_ms[RHYTHM_PERIODS - 1] != 0;
}

static bool agrees(const struct rhythm *r)
{
    return is_full(r) && spread_ms(r) <= mean_ms(r) / RHYTHM_SPREAD;
}

/* Two or three periods in one, where begins between went unnoticed. */
static uint32_t one_period_of(const struct rhythm *r, uint32_t period_ms)
{
    if (!agrees(r))
        return period_ms;
    uint32_t mean = mean_ms(r);
    for (uint32_t beats = 2; beats <= MISSED_BEATS_MAX; beats++) {
        uint32_t one = period_ms / beats, off = one > mean ? one - mean : mean - one;
        if (off <= mean / RHYTHM_SPREAD)
            return one;
    }
    return period_ms;
}

static void note_period(struct rhythm *r, uint32_t period_ms)
{
    period_ms = one_period_of(r, period_ms);
    memmove(r->periods_ms + 1, r->periods_ms, (RHYTHM_PERIODS - 1) * sizeof *r->periods_ms);
    r->periods_ms[0] = period_ms ? period_ms : 1;
    if (!is_full(r))
        return;
    if (!agrees(r))
        r->nr_agreed = 0;
    else if (!r->nr_agreed)
        r->nr_agreed = RHYTHM_PERIODS;
    else
        r->nr_agreed = (uint8_t)(r->nr_agreed < UINT8_MAX ? r->nr_agreed + 1 : UINT8_MAX);
}

bool rhythm_on_touch(struct rhythm *r, uint32_t now_ms, uint32_t idle_ms)
{
    bool is_begin = !r->touch_ms || now_ms - r->touch_ms >= idle_ms;
    r->touch_ms = now_ms;
    if (!is_begin)
        return false;
    if (r->begin_ms)
        note_period(r, now_ms - r->begin_ms);
    r->begin_ms = now_ms;
    return true;
}

bool rhythm_predict(const struct rhythm *r, uint32_t *ret_begin_ms, uint32_t *ret_margin_ms)
{
    if (r->nr_agreed < RHYTHM_PERIODS << r->nr_misses)
        return false;
    uint32_t mean = mean_ms(r), margin = 2 * spread_ms(r) + RHYTHM_MARGIN_MIN_MS;
    *ret_begin_ms = r->begin_ms + mean;
    *ret_margin_ms = margin < mean / 4 ? margin : mean / 4;
    return true;
}

void rhythm_on_hit(struct rhythm *r)
{
    if (r->nr_misses)
        r->nr_misses--;
}

void rhythm_on_miss(struct rhythm *r)
{
    memset(r->periods_ms, 0, sizeof r->periods_ms);
    r->nr_agreed = 0;
    r->begin_ms = 0;
    if (r->nr_misses < RHYTHM_MISSES_MAX)
        r->nr_misses++;
}
