/* What each kind of pass gets restored ahead. Method: sequences of touches over a world in which
 * every page is out at first. A touch of a page that is out is a fault, which brings it back and is
 * fed to the policy; the windows it answers with are brought back at once, but for the page in the
 * middle of each, as the agent leaves one out. Counted are faults, and pages restored that nobody
 * touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "policy/prefetch.h"

#define WORLD 100000u
#define BASE ((page_number)0x7f0000000)

struct world {
    struct prefetch policy;
    unsigned char is_back[WORLD], is_touched[WORLD];
    unsigned nr_faults, nr_ahead, window_max;
    uint64_t random;
};

static struct world w;

static void begin(void)
{
    memset(&w, 0, sizeof w);
    w.random = 88172645463325252u;
    prefetch_init(&w.policy);
}

static uint64_t below(uint64_t n)
{
    w.random ^= w.random << 13;
    w.random ^= w.random >> 7;
    w.random ^= w.random << 17;
    return w.random % n;
}

static void restore(const struct prefetch_answer *a)
{
    for (uint32_t i = 0; i < a->nr; i++) {
        page_number page = a->first + (page_number)((int64_t)a->stride * i) - BASE;
        if (i == a->left_out || page >= WORLD || w.is_back[page])
            continue;
        w.is_back[page] = 1;
        w.nr_ahead++;
    }
    w.window_max = a->nr > w.window_max ? a->nr : w.window_max;
}

/* True: it was out. */
static int touch(int64_t page, pid_t thread)
{
    w.is_touched[page] = 1;
    if (w.is_back[page])
        return 0;
    w.is_back[page] = 1;
    w.nr_faults++;
    struct prefetch_answer a;
    prefetch_on_fault(&w.policy, BASE + (page_number)page, thread, &a);
    assert_in_range(a.stream, 0, PREFETCH_STREAMS - 1);
    restore(&a);
    return 1;
}

static unsigned nr_wasted(void)
{
    unsigned nr = 0;
    for (unsigned i = 0; i < WORLD; i++)
        nr += w.is_back[i] && !w.is_touched[i];
    return nr;
}

static void in_order(void **state)
{
    (void)state;
    begin();
    for (int i = 1000; i < 11000; i++)
        touch(i, 1);
    /* Three to see it, one for each of 8, 16, 32, 64, then one for 128 pages. */
    assert_in_range(w.nr_faults, 10000 / PREFETCH_WINDOW_MAX, 10000 / PREFETCH_WINDOW_MAX + 10);
    assert_int_equal(w.window_max, PREFETCH_WINDOW_MAX);
    assert_in_range(nr_wasted(), 1, 2 * PREFETCH_WINDOW_MAX);
}

static void backwards(void **state)
{
    (void)state;
    begin();
    for (int i = 11000; i > 1000; i--)
        touch(i, 1);
    assert_in_range(w.nr_faults, 10000 / PREFETCH_WINDOW_MAX, 10000 / PREFETCH_WINDOW_MAX + 10);
    assert_in_range(nr_wasted(), 1, 2 * PREFETCH_WINDOW_MAX);
}

/* Down to the first page there can be. */
static void not_below_nothing(void **state)
{
    (void)state;
    begin();
    for (page_number page = 20; page-- > 0;) {
        struct prefetch_answer a;
        prefetch_on_fault(&w.policy, page, 1, &a);
        for (uint32_t i = 0; i < a.nr; i++)
            assert_in_range(a.first + (page_number)((int64_t)a.stride * i), 0, 20);
    }
}

static void strided(void **state)
{
    (void)state;
    static const int strides[] = { 2, 7, -3, PREFETCH_STRIDE_MAX };
    for (unsigned k = 0; k < sizeof strides / sizeof *strides; k++) {
        begin();
        for (int i = 0, at = 40000; i < 600; i++, at += strides[k])
            touch(at, 1);
        assert_in_range(w.nr_faults, 5, 30);
        assert_in_range(nr_wasted(), 0, 2 * PREFETCH_WINDOW_MAX);
    }
}

static void what_is_too_far_apart_is_no_pass(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 500; i++)
        touch(i * 2 * PREFETCH_STRIDE_MAX, 1);
    assert_int_equal(w.nr_faults, 500);
    assert_int_equal(w.nr_ahead, 0);
}

/* Half of the pages are there: the steps are 1 to 5, and it is a pass all the same. */
static void what_is_there_in_between_does_not_matter(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 10000; i++)
        w.is_back[i] = w.is_touched[i] = below(2) == 0;
    for (int i = 0; i < 10000; i++)
        touch(i, 1);
    assert_in_range(w.nr_faults, 30, 110);
}

static void four_threads_each_its_own_part(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 5000; i++)
        for (int t = 0; t < 4; t++)
            touch(t * 5000 + i, 100 + t);
    assert_in_range(w.nr_faults, 4 * 35, 4 * 55);
}

/* memcpy: one thread, two passes in turns, near each other and far. */
static void one_thread_from_here_to_there(void **state)
{
    (void)state;
    static const int apart[] = { 3000, 50000 };
    for (unsigned k = 0; k < 2; k++) {
        begin();
        for (int i = 0; i < 3000; i++) {
            touch(i, 1);
            touch(apart[k] + i, 1);
        }
        assert_in_range(w.nr_faults, 2 * 20, 2 * 45);
    }
}

/* The pass goes from one thread to the next. */
static void many_threads_one_pass(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 10000; i++)
        touch(i, (pid_t)(1 + i / 50 % 7));
    assert_in_range(w.nr_faults, 70, 100);
}

/* Objects of eight sizes, each size on pools of four pages of its own, in arenas of 256 pages of which the next one
 * lies below: a heap as CPython's, gone through in the order in which it was filled. */
static void objects_of_several_sizes(void **state)
{
    (void)state;
    static const unsigned weights[] = { 10, 6, 4, 4, 3, 2, 2, 1 };
    begin();
    int64_t pool[8] = { 0 }, at[8], next_pool = 0, end = 0, arena = WORLD;
    unsigned nr_pages = 0;
    for (unsigned i = 0; i < 8; i++)
        at[i] = 4; /* none yet */
    while (arena >= 256 || next_pool < end) {
        unsigned draw = (unsigned)below(32), size = 0;
        while (draw >= weights[size])
            draw -= weights[size++];
        if (at[size] == 4) {
            if (next_pool == end) {
                arena -= 256;
                next_pool = arena;
                end = arena + 256;
            }
            pool[size] = next_pool;
            next_pool += 4;
            at[size] = 0;
        }
        touch(pool[size] + at[size]++, 1);
        nr_pages++;
    }
    assert_in_range(w.nr_faults, 8 * nr_pages / 256, 13 * nr_pages / 256); /* 9 are the windows' own */
    assert_in_range(nr_wasted(), 0, 2 * PREFETCH_WINDOW_MAX);
    fprintf(stderr, "of %u pages %u faulted, %u came in vain\n", nr_pages, w.nr_faults, nr_wasted());
}

/* A few hot pages that leave again and again are no pass over what lies between them. */
static void two_pages_in_turns_get_nothing(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 100; i++) {
        int64_t page = 1000 + i % 2 * 5;
        touch(page, 1);
        w.is_back[page] = 0;
    }
    assert_int_equal(w.nr_ahead, 0);
}

/* The step to the next run shows no trend, and what it has jumped over is no part of it. */
static void gaps_between_runs_stay_out(void **state)
{
    (void)state;
    begin();
    touch(1000, 1);
    for (int i = 1020; i < 1023; i++)
        touch(i, 1);
    assert_int_equal(w.nr_ahead, PREFETCH_WINDOW_MIN - 1);
    for (int i = 1001; i < 1020; i++)
        assert_false(w.is_back[i]);
}

static void random_touches_get_nothing(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 20000; i++)
        touch((int64_t)below(WORLD), (pid_t)(1 + below(4)));
    assert_in_range(w.nr_ahead, 0, 40);
}

static void in_order_beside_random(void **state)
{
    (void)state;
    begin();
    unsigned of_pass = 0;
    for (int i = 0; i < 10000; i++) {
        of_pass += (unsigned)touch(i, 1);
        for (int j = 0; j < 2; j++)
            touch(20000 + (int64_t)below(80000), 2);
    }
    assert_in_range(of_pass, 70, 120);
}

static void a_pass_that_stops_costs_less_than_two_windows(void **state)
{
    (void)state;
    static const int lengths[] = { 3, 10, 40, 300, 5000 };
    for (unsigned k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        begin();
        for (int i = 0; i < lengths[k]; i++)
            touch(i, 1);
        unsigned most = 2 * PREFETCH_WINDOW_MAX;
        if (most > 2 * (unsigned)lengths[k] + PREFETCH_WINDOW_MIN)
            most = 2 * (unsigned)lengths[k] + PREFETCH_WINDOW_MIN;
        assert_in_range(nr_wasted(), 0, most);
    }
}

/* Five pages in order at random places: never worth it. Learned, and found out when it changes. */
static void off_when_useless_and_on_again(void **state)
{
    (void)state;
    begin();
    unsigned nr = 0;
    for (; nr < 400; nr++) {
        int64_t at = (int64_t)below(WORLD / 16) * 16;
        for (int i = 0; i < 5; i++)
            touch(at + i, 1);
    }
    unsigned wasted = nr_wasted();
    assert_in_range(wasted, PREFETCH_WINDOW_MIN / 2, 2 * nr); /* two pages a run at most, not six */
    begin();
    w.policy.credit = 0;
    for (int i = 0; i < 10000; i++)
        touch(i, 1);
    assert_in_range(w.nr_faults, 80, 120);
}

static void a_stream_that_ends_is_forgotten(void **state)
{
    (void)state;
    begin();
    struct prefetch_answer a = { .nr = 0 };
    for (page_number i = 0; i < 3; i++)
        prefetch_on_fault(&w.policy, BASE + i, 1, &a);
    assert_int_equal(a.nr, PREFETCH_WINDOW_MIN);
    assert_int_equal(a.first, BASE + 3);
    prefetch_end(&w.policy, a.stream);
    assert_int_equal(w.policy.credit, PREFETCH_CREDIT_FIRST - 2);
    prefetch_on_fault(&w.policy, BASE + 5, 1, &a);
    assert_false(a.is_hit);
    assert_int_equal(a.nr, 0);
}

/* The number of a stream is given to another one: its owner is told. */
static void a_number_that_is_used_again(void **state)
{
    (void)state;
    begin();
    struct prefetch_answer a;
    for (unsigned i = 0; i < PREFETCH_STREAMS; i++) {
        prefetch_on_fault(&w.policy, BASE + i * 10000, 1, &a);
        assert_int_equal(a.stream, i);
        assert_false(a.is_new);
    }
    prefetch_on_fault(&w.policy, BASE + 900000, 1, &a);
    assert_true(a.is_new);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order),
        cmocka_unit_test(backwards),
        cmocka_unit_test(not_below_nothing),
        cmocka_unit_test(strided),
        cmocka_unit_test(what_is_too_far_apart_is_no_pass),
        cmocka_unit_test(what_is_there_in_between_does_not_matter),
        cmocka_unit_test(four_threads_each_its_own_part),
        cmocka_unit_test(one_thread_from_here_to_there),
        cmocka_unit_test(many_threads_one_pass),
        cmocka_unit_test(objects_of_several_sizes),
        cmocka_unit_test(two_pages_in_turns_get_nothing),
        cmocka_unit_test(gaps_between_runs_stay_out),
        cmocka_unit_test(random_touches_get_nothing),
        cmocka_unit_test(in_order_beside_random),
        cmocka_unit_test(a_pass_that_stops_costs_less_than_two_windows),
        cmocka_unit_test(off_when_useless_and_on_again),
        cmocka_unit_test(a_stream_that_ends_is_forgotten),
        cmocka_unit_test(a_number_that_is_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
