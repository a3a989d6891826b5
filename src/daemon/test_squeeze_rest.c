/* How long squeezing rests: four times what it has used, and longer where somebody had to wait for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "daemon/squeeze.h"

#define AGE_MS 30000u

static void rests_longer_in_a_crowd(void **state)
{
    (void)state;
    assert_int_equal(squeeze_rest_ns(NS_PER_MS, 0, AGE_MS), 4 * NS_PER_MS);
    assert_int_equal(squeeze_rest_ns(NS_PER_MS, NS_PER_MS / 5, AGE_MS), 4 * NS_PER_MS);
    assert_int_equal(squeeze_rest_ns(NS_PER_MS, NS_PER_MS / 2, AGE_MS), 40 * NS_PER_MS);
}

static void but_not_for_long_where_it_is_wanted_soon(void **state)
{
    (void)state;
    assert_int_equal(squeeze_rest_ns(NS_PER_MS, NS_PER_MS, 1000), 10 * NS_PER_MS);
    assert_int_equal(squeeze_rest_ns(NS_PER_MS, NS_PER_MS, 20), 4 * NS_PER_MS);
    assert_int_equal(squeeze_rest_ns(100 * NS_PER_MS, 100 * NS_PER_MS, AGE_MS), 400 * NS_PER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rests_longer_in_a_crowd),
        cmocka_unit_test(but_not_for_long_where_it_is_wanted_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
