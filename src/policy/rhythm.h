/* rhythm.h - when a piece of memory that is idle and in use by turns will next be wanted. Times in,
 * times out; no clock.
 *
 * What counts is when a time of use begins: the first touch after a pause. Each difference to the
 * begin before is a period. When enough of them in a row agree (RHYTHM_SPREAD), the next begin is
 * predicted, and how much earlier to be ready: what the rhythm's own spread says. A begin that
 * nobody noticed, because nothing was out, leaves a period twice as long, which counts as two. A
 * prediction that nobody comes for is a miss: it has to be learned again, for twice as long each
 * time.
 *
 * Contract: one thread; one struct for each piece of memory, zeroed at birth; milliseconds since
 * any time, modulo 2^32, and never 0. */
#ifndef POLICY_RHYTHM_H
#define POLICY_RHYTHM_H

#include <stdbool.h>
#include <stdint.h>

/* Periods agree while the largest and the smallest of the last three differ by at most a sixteenth
 * of their mean. Pauses that vary by half (as in the coldtail profile) do so by chance once in 85
 * times. */
#define RHYTHM_SPREAD 16u
#define RHYTHM_PERIODS 3u
#define RHYTHM_MISSES_MAX 3u /* 24 periods in a row, then */
#define RHYTHM_MARGIN_MIN_MS 10u

struct rhythm {
    uint32_t begin_ms; /* the last one; 0: none yet */
    uint32_t touch_ms; /* the last touch */
    uint32_t periods_ms[RHYTHM_PERIODS]; /* newest first; 0: none */
    uint8_t nr_agreed; /* periods in a row */
    uint8_t nr_misses;
};

/* It is touched. A pause is idle_ms or more. True: a time of use begins. */
bool rhythm_on_touch(struct rhythm *r, uint32_t now_ms, uint32_t idle_ms);
/* True: the next begin is expected at *ret_begin_ms, at the earliest *ret_margin_ms before it. */
bool rhythm_predict(const struct rhythm *r, uint32_t *ret_begin_ms, uint32_t *ret_margin_ms);
void rhythm_on_hit(struct rhythm *r);
void rhythm_on_miss(struct rhythm *r);

#endif
