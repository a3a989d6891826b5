/* Which rhythms are predicted, how early, and what misses change. Method: time is a number here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "policy/rhythm.h"

#define IDLE_MS 500u

static struct rhythm r;
static uint32_t now_ms;

static struct activity all;

static void begin(void)
{
    r = (struct rhythm){ 0 };
    all = (struct activity){ 0 };
    now_ms = 1000;
}

static bool touch(uint32_t at_ms)
{
    activity_on_touch(&all, at_ms, IDLE_MS);
    return rhythm_on_touch(&r, &all, IDLE_MS);
}

/* A time of use of 80 ms, then nothing until the next. */
static void use(uint32_t pause_ms)
{
    assert_true(touch(now_ms));
    for (int i = 0; i < 8; i++)
        assert_false(touch(now_ms += 10));
    now_ms += pause_ms - 80;
}

static void a_regular_one_is_predicted_after_a_period(void **state)
{
    (void)state;
    begin();
    uint32_t begin_ms, margin_ms;
    use(10000);
    assert_false(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
    for (int i = 0; i < 20; i++) {
        use(10000);
        assert_true(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
        assert_int_equal(begin_ms, now_ms);
        assert_int_equal(margin_ms, RHYTHM_MARGIN_MIN_MS);
    }
}

/* Whether it rests for 10 s or begins every 10.1 is not known yet: ready for the one, it waits for the other. */
static void a_guess_is_ready_for_either_kind(void **state)
{
    (void)state;
    begin();
    assert_true(touch(now_ms));
    assert_false(touch(now_ms += 100));
    assert_true(touch(now_ms += 10000));
    assert_false(touch(now_ms += 300));
    uint32_t begin_ms, margin_ms;
    assert_true(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
    assert_int_equal(begin_ms, now_ms + 10000);
    assert_int_equal(begin_ms - margin_ms, now_ms - 300 + 10100 - RHYTHM_MARGIN_MIN_MS);
    assert_true(touch(now_ms += 10000));
    assert_false(touch(now_ms += 100));
    assert_true(rhythm_predict(&r, &all, &begin_ms, &margin_ms)); /* it was the pause */
    assert_int_equal(begin_ms, now_ms + 10000);
    assert_int_equal(margin_ms, RHYTHM_MARGIN_MIN_MS);
}

static void after_two_periods_that_differ_three_must_agree(void **state)
{
    (void)state;
    begin();
    uint32_t begin_ms, margin_ms;
    use(10000);
    use(7000);
    for (int i = 0; i < 3; i++) {
        assert_true(touch(now_ms));
        assert_false(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
        now_ms += 9000;
    }
    assert_true(touch(now_ms));
    assert_true(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
}

static void the_margin_is_the_rhythms_own_spread(void **state)
{
    (void)state;
    begin();
    static const uint32_t pauses[] = { 10000, 10100, 9900, 10200 };
    for (unsigned i = 0; i < 4; i++)
        use(pauses[i]);
    uint32_t begin_ms, margin_ms;
    assert_true(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
    assert_int_equal(begin_ms, r.begin_ms + 10000);
    assert_int_equal(margin_ms, 2 * 200 + RHYTHM_MARGIN_MIN_MS);
}

/* As --idle-jitter 0.5: hardly ever, in a thousand bursts. */
static void none_where_pauses_vary_by_half(void **state)
{
    (void)state;
    begin();
    uint64_t random = 88172645463325252u;
    unsigned nr = 0;
    for (int i = 0; i < 1000; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        use(5000 + (uint32_t)(random % 10000));
        uint32_t begin_ms, margin_ms;
        if (rhythm_predict(&r, &all, &begin_ms, &margin_ms)) {
            nr++;
            rhythm_on_miss(&r);
        }
    }
    assert_in_range(nr, 0, 15);
}

static void a_begin_that_nobody_noticed_counts_as_two_periods(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 4; i++)
        use(4000);
    use(8000);
    use(12000);
    uint32_t begin_ms, margin_ms;
    use(4000);
    assert_true(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
    assert_in_range(begin_ms, now_ms - 5, now_ms + 5);
}

static void a_change_is_learned_anew(void **state)
{
    (void)state;
    begin();
    uint32_t begin_ms, margin_ms;
    for (int i = 0; i < 6; i++)
        use(4000);
    use(7000);
    use(7000);
    assert_false(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
    use(7000);
    use(7000);
    assert_true(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
    assert_int_equal(begin_ms, now_ms);
}

static void each_miss_makes_it_more_careful(void **state)
{
    (void)state;
    begin();
    uint32_t begin_ms, margin_ms;
    for (unsigned misses = 0; misses < 6; misses++) {
        unsigned nr = 0;
        do {
            use(4000);
            nr++;
        } while (!rhythm_predict(&r, &all, &begin_ms, &margin_ms) && nr < 100);
        static const unsigned nr_needed[] = { 1, 3, 6, 12, 24, 24 };
        assert_int_equal(nr, nr_needed[misses] + 1);
        rhythm_on_miss(&r);
    }
    for (unsigned i = 0; i < RHYTHM_MISSES_MAX; i++)
        rhythm_on_hit(&r);
    assert_int_equal(r.nr_misses, 0);
}

/* Another piece is touched first, this one so much later; then both until the end. */
static void use_both(struct rhythm *other, uint32_t later_ms, uint32_t until_end_ms, uint32_t pause_ms)
{
    activity_on_touch(&all, now_ms, IDLE_MS);
    (void)rhythm_on_touch(other, &all, IDLE_MS);
    (void)touch(now_ms += later_ms);
    activity_on_touch(&all, now_ms += until_end_ms, IDLE_MS);
    (void)rhythm_on_touch(other, &all, IDLE_MS);
    now_ms += pause_ms;
}

/* What comes late in a slow burst comes early in a quick one; what rests for ten seconds does so after either. */
static void a_burst_may_become_quicker(void **state)
{
    (void)state;
    begin();
    struct rhythm other = { 0 };
    uint32_t begin_ms, margin_ms;
    for (int i = 0; i < 4; i++)
        use_both(&other, 200 + (uint32_t)i, 100, 10000);
    assert_true(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
    assert_int_equal(begin_ms, now_ms);
    assert_in_range(margin_ms, RHYTHM_MARGIN_MIN_MS, RHYTHM_MARGIN_MIN_MS + 10);
    use_both(&other, 3, 2, 10000);
    assert_true(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
    assert_int_equal(begin_ms, now_ms);
    assert_in_range(margin_ms, RHYTHM_MARGIN_MIN_MS, RHYTHM_MARGIN_MIN_MS + 10);
}

static void what_begins_in_a_rhythm_may_take_its_time(void **state)
{
    (void)state;
    begin();
    struct rhythm other = { 0 };
    uint32_t begin_ms, margin_ms;
    for (uint32_t i = 0; i < 6; i++)
        use_both(&other, 10, 20 + 300 * (i % 2), 10000 - 30 - 300 * (i % 2));
    assert_true(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
    assert_int_equal(begin_ms, now_ms);
    assert_int_equal(margin_ms, RHYTHM_MARGIN_MIN_MS);
}

/* It is brought back for the begin of them all, and waited for until its own. */
static void one_that_comes_later_than_others_is_waited_for(void **state)
{
    (void)state;
    begin();
    struct rhythm other = { 0 };
    uint32_t begin_ms, margin_ms;
    for (int i = 0; i < 6; i++)
        use_both(&other, 200, 5, 10000);
    assert_true(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
    assert_int_equal(begin_ms, now_ms);
    assert_int_equal(r.lag_ms, 200);
    assert_int_equal(other.lag_ms, 0);
    for (int i = 0; i < 20; i++)
        use_both(&other, 3, 5, 10000);
    assert_in_range(r.lag_ms, 3, 10);
}

/* Something is touched all the time, which says nothing about this piece. */
static void beside_what_never_rests(void **state)
{
    (void)state;
    begin();
    uint32_t begin_ms, margin_ms;
    for (int i = 0; i < 5; i++) {
        (void)touch(now_ms);
        for (int j = 0; j < 50; j++)
            activity_on_touch(&all, now_ms += 100, IDLE_MS);
    }
    assert_true(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
    assert_int_equal(begin_ms, now_ms);
}

/* To give up costs more than to wait for as long as two periods may differ. */
static void what_is_a_little_late_is_waited_for(void **state)
{
    (void)state;
    begin();
    assert_int_equal(rhythm_patience_ms(&r), RHYTHM_PATIENCE_MIN_MS);
    for (int i = 0; i < 4; i++)
        use(16000);
    assert_int_equal(rhythm_patience_ms(&r), 1000);
}

/* It rests for 5 s after each use, which takes longer and longer, and there is always something else. */
static void pauses_beside_what_never_rests(void **state)
{
    (void)state;
    begin();
    uint32_t begin_ms, margin_ms;
    for (uint32_t i = 0; i < 6; i++) {
        uint32_t end_ms = now_ms + 400 * i;
        (void)touch(now_ms);
        while (now_ms < end_ms)
            (void)touch(now_ms += 100);
        for (int j = 0; j < 50; j++)
            activity_on_touch(&all, now_ms += 100, IDLE_MS);
    }
    assert_true(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
    assert_int_equal(begin_ms, now_ms);
}

/* The activity goes on; a pause of just so long is one of this piece, not a second begin at the same time. */
static void a_pause_of_just_the_least_is_one(void **state)
{
    (void)state;
    begin();
    assert_true(touch(now_ms));
    activity_on_touch(&all, now_ms + IDLE_MS / 2, IDLE_MS);
    assert_true(touch(now_ms + IDLE_MS));
    assert_int_equal(r.begin_ms, now_ms + IDLE_MS);
    assert_int_equal(r.beats[RHYTHM_OF_BEGINS].times_ms[0], IDLE_MS);
    assert_int_equal(r.beats[RHYTHM_OF_PAUSES].times_ms[0], IDLE_MS);
}

static void time_may_wrap(void **state)
{
    (void)state;
    begin();
    now_ms = UINT32_MAX - 15000;
    uint32_t begin_ms, margin_ms;
    for (int i = 0; i < 6; i++)
        use(7001);
    assert_true(rhythm_predict(&r, &all, &begin_ms, &margin_ms));
    assert_int_equal(begin_ms, now_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_regular_one_is_predicted_after_a_period),
        cmocka_unit_test(a_guess_is_ready_for_either_kind),
        cmocka_unit_test(after_two_periods_that_differ_three_must_agree),
        cmocka_unit_test(the_margin_is_the_rhythms_own_spread),
        cmocka_unit_test(none_where_pauses_vary_by_half),
        cmocka_unit_test(a_begin_that_nobody_noticed_counts_as_two_periods),
        cmocka_unit_test(a_change_is_learned_anew),
        cmocka_unit_test(each_miss_makes_it_more_careful),
        cmocka_unit_test(a_burst_may_become_quicker),
        cmocka_unit_test(what_begins_in_a_rhythm_may_take_its_time),
        cmocka_unit_test(one_that_comes_later_than_others_is_waited_for),
        cmocka_unit_test(beside_what_never_rests),
        cmocka_unit_test(what_is_a_little_late_is_waited_for),
        cmocka_unit_test(pauses_beside_what_never_rests),
        cmocka_unit_test(a_pause_of_just_the_least_is_one),
        cmocka_unit_test(time_may_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
