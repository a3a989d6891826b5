/* rhythm.c - see rhythm.h. */
#include "policy/rhythm.h"

#include <string.h>

#define MISSED_BEATS_MAX 3u

/* ---- activity */

void activity_on_touch(struct activity *a, uint32_t now_ms, uint32_t idle_ms)
{
    if (!a->touch_ms || now_ms - a->touch_ms >= idle_ms) {
        a->before_begin_ms = a->begin_ms;
        a->before_end_ms = a->touch_ms;
        a->begin_ms = now_ms;
    }
    a->touch_ms = now_ms;
}

static bool is_within(uint32_t at_ms, uint32_t from_ms, uint32_t to_ms)
{
    return at_ms - from_ms <= to_ms - from_ms;
}

/* The end of the activity that the piece was last touched in. */
static uint32_t end_of_use(const struct activity *a, uint32_t touch_ms)
{
    if (is_within(touch_ms, a->begin_ms, a->touch_ms))
        return a->touch_ms;
    if (a->before_end_ms && is_within(touch_ms, a->before_begin_ms, a->before_end_ms))
        return a->before_end_ms;
    return touch_ms;
}

/* ---- one beat */

static unsigned nr_known(const struct beat *b)
{
    unsigned nr = 0;
    while (nr < RHYTHM_PERIODS && b->times_ms[nr])
        nr++;
    return nr;
}

static uint32_t mean_ms(const struct beat *b)
{
    uint64_t sum = 0;
    unsigned nr = nr_known(b);
    for (unsigned i = 0; i < nr; i++)
        sum += b->times_ms[i];
    return nr ? (uint32_t)(sum / nr) : 0;
}

/* Largest less smallest. */
static uint32_t spread_ms(const struct beat *b)
{
    uint32_t least = UINT32_MAX, most = 0;
    for (unsigned i = 0; i < nr_known(b); i++) {
        least = b->times_ms[i] < least ? b->times_ms[i] : least;
        most = b->times_ms[i] > most ? b->times_ms[i] : most;
    }
    return most - least;
}

static bool agrees(const struct beat *b)
{
    return spread_ms(b) <= mean_ms(b) / RHYTHM_SPREAD;
}

/* Two or three times in one, where begins between went unnoticed. */
static uint32_t one_of(const struct beat *b, uint32_t time_ms)
{
    if (nr_known(b) < RHYTHM_PERIODS || !agrees(b))
        return time_ms;
    uint32_t mean = mean_ms(b);
    for (uint32_t beats = 2; beats <= MISSED_BEATS_MAX; beats++) {
        uint32_t one = time_ms / beats, off = one > mean ? one - mean : mean - one;
        if (off <= mean / RHYTHM_SPREAD)
            return one;
    }
    return time_ms;
}

static void note(struct beat *b, uint32_t time_ms)
{
    time_ms = one_of(b, time_ms);
    memmove(b->times_ms + 1, b->times_ms, (RHYTHM_PERIODS - 1) * sizeof *b->times_ms);
    b->times_ms[0] = time_ms ? time_ms : 1;
    unsigned nr = nr_known(b);
    if (!agrees(b))
        b->nr_agreed = 0;
    else if (b->nr_agreed || nr == 1)
        b->nr_agreed = (uint8_t)(b->nr_agreed < UINT8_MAX ? b->nr_agreed + 1 : UINT8_MAX);
    else if (nr == RHYTHM_PERIODS)
        b->nr_agreed = RHYTHM_PERIODS;
}

/* ---- the rhythm of a piece */

bool rhythm_on_touch(struct rhythm *r, const struct activity *a, uint32_t idle_ms)
{
    uint32_t now_ms = a->touch_ms, before_ms = r->touch_ms;
    r->touch_ms = now_ms;
    if (before_ms && now_ms - before_ms < idle_ms)
        return false;
    bool was_of_it = r->is_of_it, is_of_it = now_ms - a->begin_ms < idle_ms;
    uint32_t begin_ms = is_of_it ? a->begin_ms : now_ms;
    if (r->begin_ms) {
        note(&r->beats[RHYTHM_OF_BEGINS], begin_ms - r->begin_ms);
        note(&r->beats[RHYTHM_OF_PAUSES], begin_ms - (was_of_it && is_of_it ? end_of_use(a, before_ms) : before_ms));
    }
    r->is_of_it = is_of_it;
    uint32_t lag_ms = now_ms - begin_ms;
    r->lag_ms = lag_ms > r->lag_ms ? lag_ms : r->lag_ms - (r->lag_ms - lag_ms) / 4;
    r->begin_ms = begin_ms;
    return true;
}

static unsigned nr_needed(const struct rhythm *r)
{
    return r->nr_misses ? RHYTHM_PERIODS << (r->nr_misses - 1u) : 1;
}

/* When it begins next if this is what is regular about it. */
static uint32_t next_ms(const struct rhythm *r, const struct activity *a, enum rhythm_kind kind)
{
    uint32_t end_ms = r->is_of_it ? end_of_use(a, r->touch_ms) : r->touch_ms;
    return mean_ms(&r->beats[kind]) + (kind == RHYTHM_OF_BEGINS ? r->begin_ms : end_ms);
}

/* One period: nothing tells yet which of the two it is. */
static uint32_t guess(const struct rhythm *r, const struct activity *a, uint32_t *ret_begin_ms)
{
    uint32_t one = next_ms(r, a, RHYTHM_OF_BEGINS), other = next_ms(r, a, RHYTHM_OF_PAUSES);
    int32_t apart = (int32_t)(one - other);
    *ret_begin_ms = apart > 0 ? one : other;
    return (uint32_t)(apart > 0 ? apart : -apart);
}

bool rhythm_predict(const struct rhythm *r, const struct activity *a, uint32_t *ret_begin_ms,
                    uint32_t *ret_margin_ms)
{
    const struct beat *best = NULL;
    for (unsigned i = 0; i < RHYTHM_KIND_NR; i++) {
        const struct beat *b = &r->beats[i];
        if (b->nr_agreed >= nr_needed(r) && (!best || spread_ms(b) < spread_ms(best)))
            best = b;
    }
    if (!best)
        return false;
    uint32_t mean = mean_ms(best), margin = RHYTHM_MARGIN_MIN_MS;
    if (best->nr_agreed == 1)
        margin += guess(r, a, ret_begin_ms);
    else {
        *ret_begin_ms = next_ms(r, a, (enum rhythm_kind)(best - r->beats));
        margin += 2 * spread_ms(best);
    }
    *ret_margin_ms = margin < mean / 4 ? margin : mean / 4;
    return true;
}

uint32_t rhythm_patience_ms(const struct rhythm *r)
{
    uint32_t ms = mean_ms(&r->beats[RHYTHM_OF_BEGINS]) / RHYTHM_SPREAD;
    return ms > RHYTHM_PATIENCE_MIN_MS ? ms : RHYTHM_PATIENCE_MIN_MS;
}

void rhythm_on_hit(struct rhythm *r)
{
    if (r->nr_misses)
        r->nr_misses--;
}

void rhythm_on_miss(struct rhythm *r)
{
    memset(r->beats, 0, sizeof r->beats);
    r->begin_ms = 0;
    if (r->nr_misses < RHYTHM_MISSES_MAX)
        r->nr_misses++;
}
