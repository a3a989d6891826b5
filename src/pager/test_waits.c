/* What threads wait is estimated from what the agent sees. Method: times made up here, of threads whose
 * real waits are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "pager/waits.h"

#define SEEN_NS 5000u

/* A thread that works for work_ns between faults, each of which has before_ns and after_ns unseen. Returns
 * how much of the real wait is counted, in per cent. */
static uint64_t run(struct waits *w, pid_t thread, unsigned nr, uint64_t before_ns, uint64_t after_ns,
                    uint64_t work_ns)
{
    uint64_t now_ns = 1000000000, counted_ns = 0;
    for (unsigned i = 0; i < nr; i++) {
        uint64_t read_ns = now_ns + before_ns, answered_ns = read_ns + SEEN_NS;
        counted_ns += waits_on_answered(w, thread, read_ns, answered_ns);
        now_ns = answered_ns + after_ns + work_ns;
    }
    return counted_ns * 100 / (nr * (before_ns + SEEN_NS + after_ns));
}

static void runs_are_counted_closely(void **state)
{
    (void)state;
    struct waits near = { 0 }, far = { 0 };
    assert_in_range(run(&near, 7, 2000, 4000, 3000, 500), 95, 115);
    assert_in_range(run(&far, 7, 2000, 20000, 22000, 500), 95, 105);
    assert_in_range(waits_for_event(&far), 38000, 46000);
}

static void work_in_between_is_counted_at_most_once(void **state)
{
    (void)state;
    struct waits w = { 0 };
    assert_in_range(run(&w, 7, 2000, 4000, 3000, 20000), 100, 300); /* 12 us of waiting, 20 of work */
    struct waits rare = { 0 };
    assert_in_range(run(&rare, 7, 2000, 4000, 3000, 5000000), 200, 215); /* 25 for 12: never a gap */
}

static void several_threads_are_told_apart(void **state)
{
    (void)state;
    struct waits w = { 0 };
    for (pid_t t = 100; t < 108; t++)
        (void)run(&w, t, 300, 10000, 10000, 500);
    assert_in_range(run(&w, 108, 300, 10000, 10000, 500), 90, 105);
    /* Two that share a place: neither has a gap. */
    uint64_t before = w.unseen_ns;
    for (uint64_t i = 0; i < 100; i++)
        (void)waits_on_answered(&w, (pid_t)(i % 2 ? 1 : 1 + WAITS_THREADS), 2000000000 + i * 3000,
                                2000000000 + i * 3000 + 100);
    assert_int_equal(w.unseen_ns, before);
}

static void a_faster_machine_is_learnt(void **state)
{
    (void)state;
    struct waits w = { 0 };
    (void)run(&w, 7, 1000, 30000, 30000, 0);
    assert_in_range(run(&w, 7, 1000, 3000, 3000, 0), 95, 120);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_counted_closely),
        cmocka_unit_test(work_in_between_is_counted_at_most_once),
        cmocka_unit_test(several_threads_are_told_apart),
        cmocka_unit_test(a_faster_machine_is_learnt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
