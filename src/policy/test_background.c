/* How long background work pauses. Method: it is told what each turn has seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/background.h"

#define MS UINT64_C(1000000)
#define TURN (MS + MS / 20) /* it ends with the piece of work that is under way */

static struct background b;

static void turns(unsigned nr, unsigned nr_running, unsigned nr_cpus)
{
    for (unsigned i = 0; i < nr; i++)
        background_note(&b, nr_running, nr_cpus, MS / 40);
}

static void waits(unsigned nr, uint64_t wait_ns)
{
    for (unsigned i = 0; i < nr; i++)
        background_note(&b, 1, 2, wait_ns);
}

static void is_short(bool wanted)
{
    assert_int_equal(background_pause_ns(&b, TURN), wanted ? 1 * MS : BACKGROUND_PAUSES * MS);
}

static void begin_free(void)
{
    background_begin(&b);
    turns(BACKGROUND_WINDOW, 1, 2);
    is_short(true);
}

static void begins_carefully(void **state)
{
    (void)state;
    background_begin(&b);
    turns(BACKGROUND_WINDOW - 1, 1, 2);
    is_short(false);
    turns(1, 1, 2);
    is_short(true);
}

static void a_free_cpu_is_what_counts(void **state)
{
    (void)state;
    background_begin(&b);
    turns(BACKGROUND_WINDOW, 64, 64);
    is_short(true);
    turns(BACKGROUND_WINDOW, 65, 64);
    is_short(false);
    turns(BACKGROUND_WINDOW, 1, 1);
    is_short(true);
    turns(BACKGROUND_WINDOW, 2, 1);
    is_short(false);
}

static void a_crowd_is_seen_at_once_and_forgotten_later(void **state)
{
    (void)state;
    begin_free();
    turns(BACKGROUND_CROWDED, 3, 2);
    is_short(false);
    turns(BACKGROUND_WINDOW - BACKGROUND_CROWDED, 1, 2); /* of the same window */
    is_short(false);
    turns(BACKGROUND_WINDOW, 1, 2);
    is_short(true);
}

static void one_who_passes_is_not_a_crowd(void **state)
{
    (void)state;
    begin_free();
    for (unsigned i = 0; i < 10; i++) {
        turns(BACKGROUND_CROWDED - 1, 3, 2);
        turns(BACKGROUND_WINDOW - BACKGROUND_CROWDED + 1, 1, 2);
        is_short(true);
    }
}

static void who_had_to_wait_is_crowded(void **state)
{
    (void)state;
    begin_free();
    waits(BACKGROUND_WINDOW, BACKGROUND_WAIT_NS - 1);
    is_short(true);
    waits(BACKGROUND_CROWDED, BACKGROUND_WAIT_NS);
    is_short(false);
    waits(2 * BACKGROUND_WINDOW, 0);
    is_short(true);
}

/* Once in a period, at most: too rarely to be an eighth of all turns. */
static void a_quota_is_not_tried_again_soon(void **state)
{
    (void)state;
    begin_free();
    waits(1, BACKGROUND_LONG_NS - 1);
    is_short(true);
    waits(1, BACKGROUND_LONG_NS);
    is_short(false);
    turns(BACKGROUND_LONG_WINDOWS * BACKGROUND_WINDOW - 1, 1, 2);
    waits(1, BACKGROUND_LONG_NS); /* it is no better */
    turns(BACKGROUND_LONG_WINDOWS * BACKGROUND_WINDOW, 1, 2);
    is_short(false);
    turns(BACKGROUND_WINDOW, 1, 2);
    is_short(true);
}

static void nothing_known_is_crowded(void **state)
{
    (void)state;
    begin_free();
    turns(10 * BACKGROUND_WINDOW, 0, 2);
    is_short(false);
    turns(10 * BACKGROUND_WINDOW, 1, 0);
    is_short(false);
}

/* However soon the turn was over: else pages that come one by one would leave it no pause at all. */
static void a_pause_is_whole_milliseconds_and_one_at_least(void **state)
{
    (void)state;
    background_begin(&b);
    assert_int_equal(background_pause_ns(&b, 0), MS);
    assert_int_equal(background_pause_ns(&b, MS / 10), MS);
    assert_int_equal(background_pause_ns(&b, 49 * MS / 100), 2 * MS);
    assert_int_equal(background_pause_ns(&b, 3 * MS), 12 * MS);
    begin_free();
    assert_int_equal(background_pause_ns(&b, MS / 10), MS);
    assert_int_equal(background_pause_ns(&b, 19 * MS / 10), 2 * MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_carefully),
        cmocka_unit_test(a_free_cpu_is_what_counts),
        cmocka_unit_test(a_crowd_is_seen_at_once_and_forgotten_later),
        cmocka_unit_test(one_who_passes_is_not_a_crowd),
        cmocka_unit_test(who_had_to_wait_is_crowded),
        cmocka_unit_test(a_quota_is_not_tried_again_soon),
        cmocka_unit_test(nothing_known_is_crowded),
        cmocka_unit_test(a_pause_is_whole_milliseconds_and_one_at_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
