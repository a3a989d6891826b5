/* choose.c - see choose.h. */
#include "policy/choose.h"

#define FIRST_SHARE 8u
#define STEP_MS 100u
#define FALL_PER_MILLE 50u
#define RISE_PER_MILLE 10u
#define FALL_PAUSE_MS 1000u /* what a fall changes is seen in the last second's returns after one */
#define RISE_PAUSE_MS 1000u /* as advised: by then what has just left could have been wanted back */
#define RATE_LEAST 256u /* pages/s: 1 MiB/s, so that it finds out when things have changed */

void choose_init(struct choose *c, uint64_t pages_per_second)
{
    *c = (struct choose){ .rate = pages_per_second };
    c->allowed_rate = pages_per_second / FIRST_SHARE;
    if (c->allowed_rate < RATE_LEAST)
        c->allowed_rate = RATE_LEAST;
    if (c->allowed_rate > c->rate)
        c->allowed_rate = c->rate;
}

void choose_set_free(struct choose *c)
{
    c->is_free = true;
    c->allowed_rate = c->rate;
}

void choose_advise(struct choose *c, enum choose_advice advice)
{
    c->advice = advice;
}

void choose_begin_at(struct choose *c, uint64_t pages_per_second)
{
    if (c->allowed_rate > pages_per_second)
        c->allowed_rate = pages_per_second > RATE_LEAST ? pages_per_second : RATE_LEAST;
    if (c->allowed_rate > c->rate)
        c->allowed_rate = c->rate;
}

static void next_second(struct choose *c, uint64_t second)
{
    uint64_t nr = second - c->second;
    for (uint64_t i = 0; i < nr && i < CHOOSE_SECONDS; i++) {
        c->offered[(second - i) % CHOOSE_SECONDS] = 0;
        c->returned[(second - i) % CHOOSE_SECONDS] = 0;
    }
    c->second = second;
}

static uint64_t nr_offered(const struct choose *c)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < CHOOSE_SECONDS; i++)
        sum += c->offered[i];
    return sum;
}

/* Of this second and the whole one before. */
static uint64_t nr_lately(const struct choose *c, const uint64_t by_second[CHOOSE_SECONDS])
{
    return by_second[c->second % CHOOSE_SECONDS] +
           by_second[(c->second + CHOOSE_SECONDS - 1) % CHOOSE_SECONDS];
}

static void fall(struct choose *c, uint64_t now_ms)
{
    if (c->last_fall_ms && now_ms < c->last_fall_ms + FALL_PAUSE_MS)
        return;
    c->allowed_rate /= 4;
    c->last_fall_ms = now_ms;
}

static void step_by_share(struct choose *c, uint64_t now_ms)
{
    uint64_t returned = nr_lately(c, c->returned) * 1000, offered = nr_offered(c);
    if (returned > offered * FALL_PER_MILLE)
        fall(c, now_ms);
    else if (returned <= offered * RISE_PER_MILLE)
        c->allowed_rate *= 2;
}

static void step_as_advised(struct choose *c, uint64_t now_ms)
{
    if (c->advice == CHOOSE_HALT)
        fall(c, now_ms);
    bool is_in_use = nr_lately(c, c->offered) > c->allowed_rate / 4; /* else nothing was learnt */
    if (c->advice != CHOOSE_RISE || !is_in_use) {
        c->last_rise_ms = now_ms;
    } else if (now_ms >= c->last_rise_ms + RISE_PAUSE_MS) {
        c->allowed_rate *= 2;
        c->last_rise_ms = now_ms;
    }
}

static void step(struct choose *c, uint64_t now_ms)
{
    if (c->advice == CHOOSE_UNTOLD)
        step_by_share(c, now_ms);
    else
        step_as_advised(c, now_ms);
    if (c->allowed_rate < RATE_LEAST)
        c->allowed_rate = RATE_LEAST;
    if (c->allowed_rate > c->rate)
        c->allowed_rate = c->rate;
}

uint64_t choose_allowance(struct choose *c, uint64_t now_ms)
{
    if (!c->last_ms) {
        c->last_ms = c->last_step_ms = c->last_rise_ms = now_ms;
        c->second = now_ms / 1000;
    }
    if (now_ms / 1000 != c->second)
        next_second(c, now_ms / 1000);
    if (!c->is_free && now_ms >= c->last_step_ms + STEP_MS) {
        step(c, now_ms);
        c->last_step_ms = now_ms;
    }
    c->credit += (double)c->allowed_rate * (double)(now_ms - c->last_ms) / 1000;
    c->last_ms = now_ms;
    double most = (double)c->allowed_rate / 4; /* a quarter of a second's worth is saved up */
    if (c->credit > most)
        c->credit = most;
    if (c->advice > CHOOSE_RISE && c->credit > 0)
        c->credit = 0;
    return c->credit > 0 ? (uint64_t)c->credit : 0;
}

void choose_on_offered(struct choose *c, uint64_t nr_pages)
{
    c->credit -= (double)nr_pages;
    c->offered[c->second % CHOOSE_SECONDS] += nr_pages;
}

void choose_on_forced(struct choose *c, uint64_t nr_pages)
{
    c->offered[c->second % CHOOSE_SECONDS] += nr_pages;
}

void choose_on_returned(struct choose *c, uint64_t nr_pages)
{
    c->returned[c->second % CHOOSE_SECONDS] += nr_pages;
}
