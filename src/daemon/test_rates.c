/* Rates are those of the last five seconds, and of less while there is less. Method: samples at times of
 * the test's own choosing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/rates.h"

static void note(struct rates *r, uint64_t now_ms, uint64_t faults)
{
    const uint64_t values[RATE_NR] = { [RATE_FAULTS] = faults, [RATE_EVICTIONS] = 2 * faults };
    rates_note(r, now_ms, values);
}

static void one_sample_is_no_rate(void **state)
{
    (void)state;
    struct rates r = { .nr = 0 };
    assert_true(rates_per_s(&r, RATE_FAULTS) == 0);
    note(&r, 1000, 77);
    assert_true(rates_per_s(&r, RATE_FAULTS) == 0);
    note(&r, 1000, 78); /* at the same moment */
    assert_true(rates_per_s(&r, RATE_FAULTS) == 0);
    note(&r, 1500, 127);
    assert_true(rates_per_s(&r, RATE_FAULTS) == 100);
    assert_true(rates_per_s(&r, RATE_EVICTIONS) == 200);
}

static void what_is_long_ago_does_not_count(void **state)
{
    (void)state;
    struct rates r = { .nr = 0 };
    for (unsigned i = 0; i < 100; i++)
        note(&r, i * 500, i * 1000);
    assert_true(rates_per_s(&r, RATE_FAULTS) == 2000);
    for (unsigned i = 100; i < 100 + RATES_SAMPLES - 1; i++) {
        note(&r, i * 500, 99000);
        assert_true(rates_per_s(&r, RATE_FAULTS) == (RATES_SAMPLES - 2 - (i - 100)) * 200.0);
    }
    note(&r, 60000, 99000);
    assert_true(rates_per_s(&r, RATE_FAULTS) == 0);
}

static void numbers_that_fall_are_no_rate(void **state)
{
    (void)state;
    struct rates r = { .nr = 0 };
    note(&r, 0, UINT64_MAX / 4);
    note(&r, 500, 3);
    assert_true(rates_per_s(&r, RATE_FAULTS) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_sample_is_no_rate),
        cmocka_unit_test(what_is_long_ago_does_not_count),
        cmocka_unit_test(numbers_that_fall_are_no_rate),
    };
    return cmocka_run_group_tests_name("rates", tests, NULL, NULL);
}
