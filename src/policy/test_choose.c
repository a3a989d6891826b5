/* The governor's step response: from an eighth to the whole rate in 300 ms when nothing comes back, to
 * a quarter when more than 5 % does, never to nothing, and up again. Method: time is a number here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "policy/choose.h"

#define RATE 128000u

/* Lets everything leave that may, every 10 ms until `until_ms`; of that, per_mille come back at once.
 * Returns how many left. */
static uint64_t run(struct choose *c, uint64_t *now_ms, uint64_t until_ms, uint64_t per_mille)
{
    uint64_t sum = 0;
    for (; *now_ms < until_ms; *now_ms += 10) {
        uint64_t nr = choose_allowance(c, *now_ms);
        choose_on_offered(c, nr);
        choose_on_returned(c, nr * per_mille / 1000);
        sum += nr;
    }
    return sum;
}

static void the_rate_is_reached_in_four_steps(void **state)
{
    (void)state;
    struct choose c;
    uint64_t now_ms = 5000;
    choose_init(&c, RATE);
    static const unsigned shares[] = {8, 4, 2, 1, 1, 1};
    uint64_t before = run(&c, &now_ms, now_ms + 10, 0); /* the first call only starts the clock */
    assert_int_equal(before, 0);
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        uint64_t nr = run(&c, &now_ms, now_ms + 100, 0);
        uint64_t expected = RATE / shares[i] / 10;
        assert_in_range(nr, expected - expected / 8, expected + expected / 8);
    }
    uint64_t nr = run(&c, &now_ms, now_ms + 10000, 0);
    assert_in_range(nr, RATE * 10 - RATE / 10, RATE * 10 + RATE / 10);
}

static void it_falls_when_more_than_a_twentieth_comes_back(void **state)
{
    (void)state;
    struct choose c;
    uint64_t now_ms = 5000;
    choose_init(&c, RATE);
    (void)run(&c, &now_ms, now_ms + 2000, 0);
    assert_int_equal(c.allowed_rate, RATE);
    /* Of 2 seconds' worth 0.5 % come back: nothing. 4 %: no faster. 7 %: to a quarter, once a second. */
    choose_on_returned(&c, (uint64_t)RATE * 2 * 5 / 1000);
    (void)run(&c, &now_ms, now_ms + 110, 0);
    assert_int_equal(c.allowed_rate, RATE);
    c.allowed_rate = RATE / 2;
    choose_on_returned(&c, (uint64_t)RATE * 2 * 35 / 1000);
    (void)run(&c, &now_ms, now_ms + 500, 0);
    assert_int_equal(c.allowed_rate, RATE / 2);
    choose_on_returned(&c, (uint64_t)RATE * 2 * 70 / 1000);
    (void)run(&c, &now_ms, now_ms + 500, 0);
    assert_int_equal(c.allowed_rate, RATE / 8);
    /* Calm again: forgotten after two seconds, and at the whole rate 300 ms later. */
    (void)run(&c, &now_ms, now_ms + 2500, 0);
    assert_int_equal(c.allowed_rate, RATE);
}

static void it_does_not_swing(void **state)
{
    (void)state;
    struct choose c;
    uint64_t now_ms = 5000, highest = 0;
    choose_init(&c, RATE);
    (void)run(&c, &now_ms, now_ms + 30000, 1000); /* all of it comes back, always */
    for (int i = 0; i < 600; i++) {
        (void)run(&c, &now_ms, now_ms + 100, 1000);
        highest = c.allowed_rate > highest ? c.allowed_rate : highest;
    }
    assert_in_range(highest, 1, RATE / 100);
}

static void set_free_it_does_not_care(void **state)
{
    (void)state;
    struct choose c;
    uint64_t now_ms = 5000;
    choose_init(&c, RATE);
    choose_set_free(&c);
    (void)run(&c, &now_ms, now_ms + 10, 1000);
    uint64_t nr = run(&c, &now_ms, now_ms + 5000, 1000);
    assert_in_range(nr, RATE * 5 - RATE / 10, RATE * 5 + RATE / 10);
}

static void a_small_rate_is_not_exceeded(void **state)
{
    (void)state;
    struct choose c;
    uint64_t now_ms = 5000;
    choose_init(&c, 10);
    uint64_t nr = run(&c, &now_ms, now_ms + 100000, 0);
    assert_in_range(nr, 900, 1100);
}

static void it_never_stops_altogether(void **state)
{
    (void)state;
    struct choose c;
    uint64_t now_ms = 5000;
    choose_init(&c, RATE);
    (void)run(&c, &now_ms, now_ms + 20000, 1000); /* all of it comes back */
    uint64_t nr = run(&c, &now_ms, now_ms + 10000, 1000);
    assert_in_range(nr, 1000, RATE / 10);
    (void)run(&c, &now_ms, now_ms + 3500, 0); /* and it finds out when that has changed */
    assert_int_equal(c.allowed_rate, RATE);
}

static void what_is_not_used_is_not_saved_up(void **state)
{
    (void)state;
    struct choose c;
    uint64_t now_ms = 5000;
    choose_init(&c, RATE);
    (void)run(&c, &now_ms, now_ms + 2000, 0);
    now_ms += 3600 * 1000;
    assert_true(choose_allowance(&c, now_ms) <= RATE / 4);
}

static void returns_long_after_are_forgotten(void **state)
{
    (void)state;
    struct choose c;
    uint64_t now_ms = 5000;
    choose_init(&c, RATE);
    (void)run(&c, &now_ms, now_ms + 1000, 0);
    now_ms += 30000; /* nothing is left in the window of ten seconds */
    choose_on_returned(&c, 1);
    (void)choose_allowance(&c, now_ms);
    choose_on_returned(&c, 1);
    now_ms += 100;
    (void)choose_allowance(&c, now_ms);
    assert_true(c.allowed_rate < RATE); /* one came back and none had left: suspicious */
}

/* Told so, it doubles once a second and asks nobody, pauses at the same rate, and halts to a quarter. */
static void as_advised(void **state)
{
    (void)state;
    struct choose c;
    uint64_t now_ms = 5000;
    choose_init(&c, RATE);
    choose_advise(&c, CHOOSE_RISE);
    (void)run(&c, &now_ms, now_ms + 900, 1000); /* all of it comes back: that is for others to judge */
    assert_int_equal(c.allowed_rate, RATE / 8);
    (void)run(&c, &now_ms, now_ms + 3200, 1000);
    assert_int_equal(c.allowed_rate, RATE);
    choose_advise(&c, CHOOSE_PAUSE);
    assert_int_equal(run(&c, &now_ms, now_ms + 2000, 0), 0);
    assert_int_equal(c.allowed_rate, RATE);
    choose_advise(&c, CHOOSE_HALT);
    assert_int_equal(run(&c, &now_ms, now_ms + 1900, 0), 0);
    assert_int_equal(c.allowed_rate, RATE / 16);
    (void)run(&c, &now_ms, now_ms + 20000, 0);
    assert_int_equal(c.allowed_rate, 256);
    choose_advise(&c, CHOOSE_RISE);
    uint64_t nr = run(&c, &now_ms, now_ms + 1000, 0);
    assert_in_range(nr, 200, 300);
    choose_init(&c, RATE);
    choose_begin_at(&c, RATE);
    assert_int_equal(c.allowed_rate, RATE / 8);
    choose_begin_at(&c, 1000);
    assert_int_equal(c.allowed_rate, 1000);
    choose_begin_at(&c, 0);
    assert_int_equal(c.allowed_rate, 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rate_is_reached_in_four_steps),
        cmocka_unit_test(it_falls_when_more_than_a_twentieth_comes_back),
        cmocka_unit_test(it_does_not_swing),
        cmocka_unit_test(it_never_stops_altogether),
        cmocka_unit_test(set_free_it_does_not_care),
        cmocka_unit_test(a_small_rate_is_not_exceeded),
        cmocka_unit_test(what_is_not_used_is_not_saved_up),
        cmocka_unit_test(returns_long_after_are_forgotten),
        cmocka_unit_test(as_advised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
