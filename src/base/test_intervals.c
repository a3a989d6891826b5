/* Interval sets agree with a page-by-page model. Method: random sets and clears over 200 pages, after
 * each every page, every cover and every overlap is compared with an array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/intervals.h"

#define NR_PAGES 200

static void compare(const struct intervals *s, const int *model)
{
    for (uint32_t i = 0; i < s->nr; i++) {
        assert_true(s->items[i].first < s->items[i].end);
        if (i)
            assert_true(s->items[i - 1].end <= s->items[i].first);
    }
    for (page_number p = 0; p < NR_PAGES; p++) {
        struct interval *in = intervals_find(s, p);
        assert_int_equal(in ? (int)in->tag : 0, model[p]);
    }
    page_number first = (page_number)rand() % NR_PAGES;
    page_number end = first + 1 + (page_number)rand() % (NR_PAGES - first);
    int all = 1, any = 0;
    for (page_number p = first; p < end; p++) {
        all &= model[p] != 0;
        any |= model[p] != 0;
    }
    assert_int_equal(intervals_cover(s, first, end), all);
    assert_int_equal(intervals_overlap(s, first, end), any);
}

static void random_changes_match_the_model(void **state)
{
    (void)state;
    struct interval memory[64];
    struct intervals s = { .items = memory, .nr_max = 64 };
    int model[NR_PAGES] = { 0 };
    srand(7);
    for (int step = 1; step < 20000; step++) {
        page_number first = (page_number)rand() % NR_PAGES;
        page_number end = first + (page_number)rand() % (NR_PAGES - first + 1);
        int tag = rand() % 2 ? step : 0;
        int r = tag ? intervals_set(&s, first, end, (uint64_t)tag) : intervals_clear(&s, first, end);
        if (r == 0)
            for (page_number p = first; p < end; p++)
                model[p] = tag;
        else
            assert_int_equal(r, -ENOSPC);
        compare(&s, model);
    }
}

static void a_full_set_refuses_and_keeps(void **state)
{
    (void)state;
    struct interval memory[4];
    struct intervals s = { .items = memory, .nr_max = 4 };
    assert_int_equal(intervals_set(&s, 0, 10, 1), 0);
    assert_int_equal(intervals_set(&s, 20, 30, 2), 0);
    assert_int_equal(intervals_set(&s, 40, 50, 3), 0);
    assert_int_equal(intervals_set(&s, 60, 70, 4), -ENOSPC);
    assert_int_equal(intervals_clear(&s, 3, 5), 0);
    assert_int_equal(intervals_clear(&s, 23, 25), -ENOSPC);
    assert_true(intervals_cover(&s, 20, 30));
    assert_null(intervals_find(&s, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_match_the_model),
        cmocka_unit_test(a_full_set_refuses_and_keeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
