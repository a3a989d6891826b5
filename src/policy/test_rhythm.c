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

static void begin(void)
{
    r = (struct rhythm){ 0 };
    now_ms = 1000;
}

/* A time of use of 80 ms, then nothing until the next. */
static void use(uint32_t pause_ms)
{
    assert_true(rhythm_on_touch(&r, now_ms, IDLE_MS));
    for (int i = 0; i < 8; i++)
        assert_false(rhythm_on_touch(&r, now_ms += 10, IDLE_MS));
    now_ms += pause_ms - 80;
}

static void a_regular_one_is_predicted_after_three_periods(void **state)
{
    (void)state;
    begin();
    uint32_t begin_ms, margin_ms;
    for (int i = 0; i < 3; i++) {
        use(10000);
        assert_false(rhythm_predict(&r, &begin_ms, &margin_ms));
    }
    for (int i = 0; i < 20; i++) {
        use(10000);
        assert_true(rhythm_predict(&r, &begin_ms, &margin_ms));
        assert_int_equal(begin_ms, now_ms);
        assert_int_equal(margin_ms, RHYTHM_MARGIN_MIN_MS);
    }
}

static void the_margin_is_the_rhythms_own_spread(void **state)
{
    (void)state;
    begin();
    static const uint32_t pauses[] = { 10000, 10100, 9900, 10200 };
    for (unsigned i = 0; i < 4; i++)
        use(pauses[i]);
    uint32_t begin_ms, margin_ms;
    assert_true(rhythm_predict(&r, &begin_ms, &margin_ms));
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
        if (rhythm_predict(&r, &begin_ms, &margin_ms)) {
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
    assert_true(rhythm_predict(&r, &begin_ms, &margin_ms));
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
    assert_false(rhythm_predict(&r, &begin_ms, &margin_ms));
    use(7000);
    use(7000);
    assert_true(rhythm_predict(&r, &begin_ms, &margin_ms));
    assert_int_equal(begin_ms, now_ms);
}

static void each_miss_makes_it_more_careful(void **state)
{
    (void)state;
    begin();
    uint32_t begin_ms, margin_ms;
    for (unsigned misses = 0; misses < 5; misses++) {
        unsigned nr = 0;
        do {
            use(4000);
            nr++;
        } while (!rhythm_predict(&r, &begin_ms, &margin_ms) && nr < 100);
        unsigned doubled = misses < RHYTHM_MISSES_MAX ? misses : RHYTHM_MISSES_MAX;
        assert_int_equal(nr, (RHYTHM_PERIODS << doubled) + 1);
        rhythm_on_miss(&r);
    }
    for (int i = 0; i < 3; i++)
        rhythm_on_hit(&r);
    assert_int_equal(r.nr_misses, 0);
}

static void time_may_wrap(void **state)
{
    (void)state;
    begin();
    now_ms = UINT32_MAX - 15000;
    uint32_t begin_ms, margin_ms;
    for (int i = 0; i < 6; i++)
        use(7001);
    assert_true(rhythm_predict(&r, &begin_ms, &margin_ms));
    assert_int_equal(begin_ms, now_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_regular_one_is_predicted_after_three_periods),
        cmocka_unit_test(the_margin_is_the_rhythms_own_spread),
        cmocka_unit_test(none_where_pauses_vary_by_half),
        cmocka_unit_test(a_begin_that_nobody_noticed_counts_as_two_periods),
        cmocka_unit_test(a_change_is_learned_anew),
        cmocka_unit_test(each_miss_makes_it_more_careful),
        cmocka_unit_test(time_may_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
