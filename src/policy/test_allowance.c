/* What a loop that never stops may have of a CPU. Method: time is told, a slice at a time; the loop takes every
 * slice in the class that it is granted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/allowance.h"

#define US UINT64_C(1000)
#define MS (1000 * US)
#define SLICE_NS (200 * US)
#define SLICES 50000u     /* 10 s */
#define WINDOW 500u       /* 100 ms */

static bool used[SLICES]; /* in the class */

/* How often the class is left. */
static unsigned run_greedily(void)
{
    struct allowance w;
    uint64_t now = 7 * MS;
    unsigned nr_left = 0;
    bool is_on = true;
    allowance_begin(&w, now);
    for (unsigned i = 0; i < SLICES; i++) {
        used[i] = is_on;
        now += SLICE_NS;
        bool may = is_on ? allowance_use(&w, now, SLICE_NS) : allowance_is_back(&w, now);
        nr_left += is_on && !may;
        is_on = may;
    }
    return nr_left;
}

static void others_have_the_rest_of_any_100_ms(void **state)
{
    (void)state;
    (void)run_greedily();
    unsigned sum = 0, most = 0;
    for (unsigned i = 0; i < SLICES; i++) {
        sum += used[i];
        sum -= i >= WINDOW && used[i - WINDOW];
        most = sum > most ? sum : most;
    }
    uint64_t bound_ns = ALLOWANCE_NS_MAX + 100 * MS * ALLOWANCE_PERCENT / 100 + SLICE_NS;
    assert_true(most * SLICE_NS <= bound_ns);
    assert_true(most * SLICE_NS >= bound_ns * 9 / 10); /* and it is not less than is said */
}

static void in_the_long_run_it_is_the_share(void **state)
{
    (void)state;
    unsigned nr_left = run_greedily(), sum = 0;
    for (unsigned i = WINDOW; i < SLICES; i++)
        sum += used[i];
    unsigned percent = sum * 100 / (SLICES - WINDOW);
    assert_in_range(percent, ALLOWANCE_PERCENT - 1, ALLOWANCE_PERCENT + 1);
    assert_in_range(nr_left, 100, 2000); /* classes are not changed all the time */
}

static void who_uses_little_is_never_sent_away(void **state)
{
    (void)state;
    struct allowance w;
    allowance_begin(&w, 0);
    for (uint64_t now = MS; now < 100000 * MS; now += MS)
        assert_true(allowance_use(&w, now, MS * (ALLOWANCE_PERCENT - 1) / 100));
}

/* A clock that has stood still for long, or a machine that has, neither saves up nor owes for ever. */
static void long_times_are_forgotten(void **state)
{
    (void)state;
    struct allowance w;
    allowance_begin(&w, 0);
    assert_false(allowance_use(&w, 1, 1u << 30)); /* more than there is */
    assert_false(allowance_is_back(&w, 10 * MS));
    assert_true(allowance_is_back(&w, 200 * MS));
    assert_true(allowance_is_back(&w, UINT64_MAX / 2));
    assert_true(w.left_ns <= ALLOWANCE_NS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_have_the_rest_of_any_100_ms),
        cmocka_unit_test(in_the_long_run_it_is_the_share),
        cmocka_unit_test(who_uses_little_is_never_sent_away),
        cmocka_unit_test(long_times_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
