/* rhythm.h - when a piece of memory that is idle and in use by turns will next be wanted. Times in,
 * times out; no clock.
 *
 * What counts is when a time of use begins: the first touch after a pause. Two things may be regular about
 * it, the time since the begin before (what runs every ten seconds) and the time since the end (what rests for
 * ten seconds). When enough of either in a row agree (RHYTHM_SPREAD), the next begin is predicted by the one
 * that varies less, and how much earlier to be ready: what the rhythm's own spread says. A begin that
 * nobody noticed, because nothing was out, leaves a period twice as long, which counts as two.
 *
 * One period is enough for a guess, once: what is regular is foreseen from its third begin on, and what is not
 * comes back in vain one time. Whoever has been wrong, or has seen two periods that differ, waits for three that
 * agree. A prediction that nobody comes for is a miss: it has to be learned again, for twice as long each time
 * after the first.
 *
 * All pieces that are used at one time have one begin and one end, those of the activity: where in a burst a
 * piece comes depends on how fast the burst goes, which is what we change.
 *
 * Contract: one thread; one struct rhythm for each piece of memory, one struct activity for all, zeroed at
 * birth; milliseconds since any time, modulo 2^32, and never 0. */
#ifndef POLICY_RHYTHM_H
#define POLICY_RHYTHM_H

#include <stdbool.h>
#include <stdint.h>

/* Periods agree while the largest and the smallest of the last three differ by at most a sixteenth
 * of their mean. Pauses that vary by half (as in the coldtail profile) do so by chance once in 85
 * times. */
#define RHYTHM_SPREAD 16u
#define RHYTHM_PERIODS 3u
#define RHYTHM_MISSES_MAX 4u /* 24 periods in a row, then */
#define RHYTHM_MARGIN_MIN_MS 10u
#define RHYTHM_PATIENCE_MIN_MS 20u

/* Touches of any piece, with no pause between them. */
struct activity {
    uint32_t begin_ms, touch_ms;             /* its first and its last */
    uint32_t before_begin_ms, before_end_ms; /* of the one before */
};

enum rhythm_kind {
    RHYTHM_OF_BEGINS, /* from begin to begin */
    RHYTHM_OF_PAUSES, /* from end to begin */
    RHYTHM_KIND_NR,
};

struct beat {
    uint32_t times_ms[RHYTHM_PERIODS]; /* newest first; 0: none */
    uint8_t nr_agreed;                 /* in a row; from 0 not before there are three */
};

struct rhythm {
    uint32_t begin_ms; /* the last one; 0: none yet */
    uint32_t touch_ms; /* the last touch */
    uint32_t lag_ms;   /* behind the begin of its activity, lately */
    bool is_of_it;     /* its last begin was the activity's; else that goes on without regard to this piece */
    struct beat beats[RHYTHM_KIND_NR];
    uint8_t nr_misses;
};

/* Some piece is touched. A pause is idle_ms or more. */
void activity_on_touch(struct activity *a, uint32_t now_ms, uint32_t idle_ms);
/* And it is this one. True: a time of use begins. */
bool rhythm_on_touch(struct rhythm *r, const struct activity *a, uint32_t idle_ms);
/* True: the next begin is expected at *ret_begin_ms, at the earliest *ret_margin_ms before it; and no later
 * than that, lag_ms and patience_ms after it. */
bool rhythm_predict(const struct rhythm *r, const struct activity *a, uint32_t *ret_begin_ms,
                    uint32_t *ret_margin_ms);
/* What is late by less than periods may differ has come in time. */
uint32_t rhythm_patience_ms(const struct rhythm *r);
void rhythm_on_hit(struct rhythm *r);
void rhythm_on_miss(struct rhythm *r);

#endif
