/* A staging slot is used again only when the porter has freed it, and an answer is believed only
 * for the taking that it names. Method: the circle by hand, then a long random life beside a plain
 * list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "page/staging.h"

#define NR 8u

static struct staging_slot slots[NR];

static struct staging fresh(void)
{
    struct staging s;
    staging_init(&s, slots, NR);
    return s;
}

static void let_go_and_free(struct staging *s, uint32_t slot)
{
    staging_let_go(s, slot);
    assert_true(staging_freed(s, slot));
}

static void slots_are_taken_in_a_circle(void **state)
{
    (void)state;
    struct staging s = fresh();
    uint32_t first;
    assert_int_equal(staging_run(&s, 100, &first), NR);
    assert_int_equal(first, 0);
    for (uint32_t i = 0; i < 5; i++)
        (void)staging_take(&s, i, 100 + i);
    assert_int_equal(staging_run(&s, 100, &first), 3); /* up to the end, not around it */
    assert_int_equal(first, 5);
    assert_int_equal(staging_run(&s, 2, &first), 2);
    for (uint32_t i = 5; i < NR; i++)
        (void)staging_take(&s, i, 100 + i);
    assert_int_equal(staging_run(&s, 1, &first), 0);
    let_go_and_free(&s, 0);
    let_go_and_free(&s, 1);
    assert_int_equal(staging_run(&s, 100, &first), 2);
    assert_int_equal(first, 0);
}

static void a_slot_that_was_let_go_is_not_free_before_its_memory_is(void **state)
{
    (void)state;
    struct staging s = fresh();
    uint32_t first;
    for (uint32_t i = 0; i < NR; i++)
        (void)staging_take(&s, i, i);
    for (uint32_t i = 0; i < NR; i++)
        staging_let_go(&s, i);
    assert_int_equal(s.nr_holding, 0);
    assert_int_equal(s.nr_used, NR);
    assert_int_equal(staging_run(&s, NR, &first), 0);
    assert_true(staging_freed(&s, 0));
    assert_int_equal(staging_run(&s, NR, &first), 1);
    assert_int_equal(s.nr_used, NR - 1);
}

static void only_a_slot_that_was_let_go_can_be_freed(void **state)
{
    (void)state;
    struct staging s = fresh();
    (void)staging_take(&s, 0, 5);
    assert_false(staging_freed(&s, 0)); /* it holds a page */
    assert_false(staging_freed(&s, 1)); /* it is free */
    assert_false(staging_freed(&s, NR)); /* it is not there */
    staging_let_go(&s, 0);
    assert_true(staging_freed(&s, 0));
    assert_false(staging_freed(&s, 0));
}

static void an_answer_names_the_taking(void **state)
{
    (void)state;
    struct staging s = fresh();
    uint32_t before = staging_take(&s, 3, 77);
    assert_true(staging_is_current(&s, 3, before));
    assert_false(staging_is_current(&s, 3, before + 1));
    assert_false(staging_is_current(&s, 2, before));
    assert_false(staging_is_current(&s, NR, before));
    staging_let_go(&s, 3);
    assert_false(staging_is_current(&s, 3, before));
    assert_true(staging_freed(&s, 3));
    uint32_t after = staging_take(&s, 3, 78);
    assert_int_not_equal(before, after);
    assert_false(staging_is_current(&s, 3, before)); /* IGNORE_GENERATION believes it */
    assert_true(staging_is_current(&s, 3, after));
}

static void mremap_changes_the_page_and_nothing_else(void **state)
{
    (void)state;
    struct staging s = fresh();
    uint32_t generation = staging_take(&s, 1, 10);
    staging_rekey(&s, 1, 20);
    assert_int_equal(s.slots[1].page, 20);
    assert_true(staging_is_current(&s, 1, generation));
    assert_int_equal(s.nr_holding, 1);
}

static void a_limit_keeps_the_upper_slots_free(void **state)
{
    (void)state;
    struct staging s = fresh();
    uint32_t first;
    for (uint32_t i = 0; i < 6; i++)
        (void)staging_take(&s, i, i);
    staging_set_limit(&s, 4);
    assert_int_equal(staging_run(&s, NR, &first), 0);
    let_go_and_free(&s, 5); /* above the limit: stays so */
    assert_int_equal(staging_run(&s, NR, &first), 0);
    let_go_and_free(&s, 0);
    assert_int_equal(staging_run(&s, NR, &first), 1);
    assert_int_equal(first, 0);
    staging_set_limit(&s, 1000); /* never more than there are */
    assert_int_equal(s.limit, NR);
}

static void the_sums_and_generations_hold_over_a_long_life(void **state)
{
    (void)state;
    struct staging s = fresh();
    uint32_t generations[NR] = { 0 }, random = 1, first;
    enum slot_state expected[NR] = { SLOT_FREE };
    for (unsigned step = 0; step < 200000; step++) {
        random = random * 1664525u + 1013904223u;
        uint32_t slot = (random >> 16) % NR;
        if (expected[slot] == SLOT_HOLDS) {
            assert_true(staging_is_current(&s, slot, generations[slot]));
            staging_let_go(&s, slot);
            expected[slot] = SLOT_LEFT;
        } else if (expected[slot] == SLOT_LEFT) {
            assert_true(staging_freed(&s, slot));
            expected[slot] = SLOT_FREE;
        } else if (staging_run(&s, 1, &first)) {
            assert_int_equal(expected[first], SLOT_FREE);
            uint32_t before = generations[first];
            generations[first] = staging_take(&s, first, step);
            assert_int_not_equal(generations[first], before);
            expected[first] = SLOT_HOLDS;
        } else {
            s.next = (s.next + 1) % NR;
        }
        uint32_t nr_used = 0, nr_holding = 0;
        for (uint32_t i = 0; i < NR; i++) {
            nr_used += expected[i] != SLOT_FREE;
            nr_holding += expected[i] == SLOT_HOLDS;
        }
        assert_int_equal(s.nr_used, nr_used);
        assert_int_equal(s.nr_holding, nr_holding);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_taken_in_a_circle),
        cmocka_unit_test(a_slot_that_was_let_go_is_not_free_before_its_memory_is),
        cmocka_unit_test(only_a_slot_that_was_let_go_can_be_freed),
        cmocka_unit_test(an_answer_names_the_taking),
        cmocka_unit_test(mremap_changes_the_page_and_nothing_else),
        cmocka_unit_test(a_limit_keeps_the_upper_slots_free),
        cmocka_unit_test(the_sums_and_generations_hold_over_a_long_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
