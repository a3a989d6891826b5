/* A thread that goes through memory in order gets runs that double, a random one its page and nothing else.
 * Method: a world in which every page is out at first; a touch of what is out is answered as planned. Counted
 * are the touches that met nothing, and pages brought back that nobody touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "direct/passes.h"

#define WORLD 8192u
#define BASE ((page_number)0x7f0000000)

static struct {
    struct passes passes;
    unsigned char is_back[WORLD], is_touched[WORLD];
    unsigned nr_faults, nr_ahead, nr_passed, nr_wasted, longest;
    uint64_t random;
} w;

static void begin(void)
{
    memset(&w, 0, sizeof w);
}

static void touch(unsigned place)
{
    w.is_touched[place] = 1;
    if (w.is_back[place])
        return;
    w.nr_faults++;
    struct pass_plan plan = passes_plan(&w.passes, BASE + place);
    assert_true(plan.first == BASE + place || plan.end == BASE + place + 1);
    assert_true(plan.first <= BASE + place && plan.end > BASE + place);
    assert_int_equal(plan.first / DIRECT_RUN_ALIGN, (plan.end - 1) / DIRECT_RUN_ALIGN);
    unsigned nr_ahead = 0, nr_passed;
    for (page_number page = plan.first; page < plan.end; page++) {
        if (page < BASE || page >= BASE + WORLD)
            continue;
        nr_ahead += !w.is_back[page - BASE] && page != BASE + place;
        w.is_back[page - BASE] = 1;
    }
    w.longest = plan.end - plan.first > w.longest ? (unsigned)(plan.end - plan.first) : w.longest;
    w.nr_ahead += nr_ahead;
    w.nr_wasted += passes_done(&w.passes, &plan, nr_ahead, &nr_passed);
    w.nr_passed += nr_passed;
}

static unsigned nr_in_vain(void)
{
    unsigned nr = 0;
    for (unsigned i = 0; i < WORLD; i++)
        nr += w.is_back[i] && !w.is_touched[i];
    return nr;
}

static void upwards_runs_double(void **state)
{
    (void)state;
    static const unsigned faults[] = { 0, 1, 3, 7, 15, 31, 47, 63, 64, 80 };
    begin();
    for (unsigned i = 0; i < 96; i++) {
        unsigned before = w.nr_faults;
        touch(i);
        assert_int_equal(w.nr_faults > before, before < 10 && faults[before] == i);
    }
    assert_int_equal(w.longest, DIRECT_RUN_MAX);
    assert_int_equal(nr_in_vain(), 0);
}

static void downwards_too(void **state)
{
    (void)state;
    begin();
    for (unsigned i = WORLD; i-- > 0;)
        touch(i);
    assert_true(w.nr_faults < WORLD / DIRECT_RUN_MAX + 8);
    assert_int_equal(nr_in_vain(), 0);
    assert_true(w.nr_ahead - w.nr_passed < DIRECT_RUN_MAX);
    assert_int_equal(w.nr_wasted, 0);
}

static void a_copy_is_two_passes(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i < WORLD / 2; i++) {
        touch(i);
        touch(WORLD / 2 + i);
    }
    assert_true(w.nr_faults < WORLD / DIRECT_RUN_MAX + 16);
}

static void what_lies_between_may_be_there(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i < WORLD; i++)
        w.is_back[i] = i % 16 >= 9; /* less than a run of it */
    for (unsigned i = 0; i < WORLD; i++)
        touch(i);
    assert_true(w.nr_faults < WORLD / DIRECT_RUN_MAX + 8);
}

static uint64_t next_random(void)
{
    w.random = w.random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return w.random >> 33;
}

static void at_random_nothing_comes_ahead(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i < WORLD / 4; i++)
        touch((unsigned)(next_random() % WORLD));
    assert_true(w.nr_ahead < WORLD / 4 / 100);
}

/* Two pages, then elsewhere: each looks as if a pass began. */
static void short_ones_are_soon_not_believed(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i + 4 < WORLD; i += 8) {
        unsigned place = i * 37 % (WORLD - 8) / 8 * 8;
        touch(place);
        touch(place + 1);
    }
    assert_true(w.nr_ahead < WORLD / 8 / 8);
    assert_true(w.nr_wasted <= w.nr_ahead);
    assert_int_equal(w.nr_passed, 0);
    /* A real one is found all the same. */
    memset(w.is_back, 0, sizeof w.is_back);
    w.nr_faults = 0;
    for (unsigned i = 0; i < WORLD; i++)
        touch(i);
    assert_true(w.nr_faults < WORLD / DIRECT_RUN_MAX + 32);
}

static void at_the_begin_of_memory(void **state)
{
    (void)state;
    struct passes p = { .turn = 0 };
    unsigned nr_passed;
    for (page_number page = 4; page-- > 0;) {
        struct pass_plan plan = passes_plan(&p, page);
        assert_true(plan.first <= page && plan.end == page + 1);
        (void)passes_done(&p, &plan, 0, &nr_passed);
        page = plan.first;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upwards_runs_double),
        cmocka_unit_test(downwards_too),
        cmocka_unit_test(a_copy_is_two_passes),
        cmocka_unit_test(what_lies_between_may_be_there),
        cmocka_unit_test(at_random_nothing_comes_ahead),
        cmocka_unit_test(short_ones_are_soon_not_believed),
        cmocka_unit_test(at_the_begin_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
