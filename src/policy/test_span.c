/* What comes back behind a fault. Method: values of some pages each at random places far apart, all out; they
 * are read upwards, a page that has come back is no fault. Counted are faults, what came back, and what of it
 * nobody read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "policy/span.h"

#define BASE ((page_number)0x7f0000000)
#define APART 64u /* pages from one value to the next */

static struct spans s;
static page_number place; /* of the next value */
static unsigned nr_faults, nr_back, nr_vain;
static uint64_t random_state;

static void begin(void)
{
    memset(&s, 0, sizeof s);
    place = BASE;
    random_state = 88172645463325252u;
}

static void count_anew(void)
{
    nr_faults = nr_back = nr_vain = 0;
}

static unsigned below(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % n);
}

static uint32_t fault(page_number page)
{
    bool is_late;
    nr_faults++;
    uint32_t nr = span_on_fault(&s, page, &is_late);
    assert_false(is_late);
    assert_in_range(nr, 0, SPAN_MAX - 1);
    nr_back += nr;
    return nr;
}

static void read_value(unsigned nr)
{
    page_number back = place; /* what lies before it is there */
    for (unsigned i = 0; i < nr; i++)
        if (place + i >= back)
            back = place + i + 1 + fault(place + i);
    nr_vain += (unsigned)(back - place) - nr;
    place += APART;
}

static void read_values(unsigned nr_values, unsigned nr)
{
    for (unsigned i = 0; i < nr_values; i++)
        read_value(nr);
}

static void values_of_three_pages(void **state)
{
    (void)state;
    begin();
    read_values(100, 3);
    count_anew();
    read_values(800, 3);
    /* One each, but for one of eight, which is left alone. */
    assert_in_range(nr_faults, 690 + 90 * 3, 710 + 110 * 3);
    assert_in_range(nr_back, 690 * 2, 710 * 2);
    assert_int_equal(nr_vain, 0);
}

static void values_of_two_to_five_pages(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i < 200; i++)
        read_value(2 + below(4));
    count_anew();
    unsigned nr_pages = 0;
    for (unsigned i = 0, nr; i < 4000; i++) {
        read_value(nr = 2 + below(4));
        nr_pages += nr;
    }
    assert_in_range(nr_faults, 4000, nr_pages * 6 / 10);
    assert_in_range(nr_vain, 1, nr_back / 3);
}

static void single_pages_get_nothing(void **state)
{
    (void)state;
    begin();
    bool is_late; /* a page twice in a row: it has left meanwhile */
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(span_on_fault(&s, BASE + below(100000), &is_late), 0);
}

/* As a value's page beside three that are its key's, its entry's and its head's. */
static void values_beside_single_pages(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i < 200; i++) {
        read_values(3, 1);
        read_value(4);
    }
    count_anew();
    for (unsigned i = 0; i < 800; i++) {
        read_values(3, 1);
        read_value(4);
    }
    /* Most go no further than one page; of those that do, the rest comes back with their second. */
    assert_in_range(nr_faults, 800 * 5, 800 * 5 + 800 * 2 / 8 + 10);
    assert_int_equal(nr_vain, 0);
}

static void several_at_a_time(void **state)
{
    (void)state;
    begin();
    for (unsigned round = 0; round < 200; round++) {
        unsigned nr[SPANS_NR] = { 0 };
        if (round == 100)
            count_anew();
        for (unsigned i = 0; i < 3; i++)
            for (unsigned j = 0; j < SPANS_NR; j++)
                if (i >= nr[j])
                    nr[j] = i + 1 + fault(place + j * APART + i);
        place += SPANS_NR * APART;
    }
    assert_in_range(nr_faults, 100 * SPANS_NR, 100 * SPANS_NR * 3 / 2);
}

static void what_has_changed_is_learned_anew(void **state)
{
    (void)state;
    begin();
    read_values(1000, 4);
    count_anew();
    read_values(4000, 1);
    assert_in_range(nr_vain, 1, 3 * SPAN_ALONE * 16); /* until enough were left alone */
    count_anew();
    read_values(100, 1);
    assert_int_equal(nr_back, 0);
}

/* Two come back with the first, in vain for who wants one page or two; of those who want three, three quarters want
 * four, and by the others it is not seen where they end. */
static void what_comes_back_teaches_nothing(void **state)
{
    (void)state;
    begin();
    uint64_t sum = 0;
    for (unsigned i = 0; i < 40000; i++) {
        unsigned of_100 = below(100);
        read_value(of_100 < 10 ? 1 : of_100 < 37 ? 2 : of_100 < 53 ? 3 : 4);
        sum += i < 1000 ? 0 : s.goes_on[2];
    }
    assert_in_range(sum / 39000, 65536 * 65 / 100, 65536 * 85 / 100);
}

/* A count of each eighth would leave alone only the same one of such a pattern. */
static void sizes_in_turns(void **state)
{
    (void)state;
    static const unsigned turns[][4] = { { 3, 1, 1, 1 }, { 3, 1, 3, 1 }, { 3, 3, 1, 1 }, { 5, 1, 1, 1 } };
    for (unsigned i = 0; i < sizeof turns / sizeof *turns; i++) {
        begin();
        read_values(30, 3);
        for (unsigned nr = 0; nr < 2000; nr++)
            read_value(turns[i][nr % 4]);
        count_anew();
        for (unsigned nr = 0; nr < 8000; nr++)
            read_value(turns[i][nr % 4]);
        assert_in_range(nr_vain, 0, nr_back / 2 + 2);
    }
}

/* Fewer than may be under way. */
static void the_same_places_again_and_again(void **state)
{
    (void)state;
    begin();
    for (unsigned round = 0; round < 200; round++) {
        if (round == 100)
            count_anew();
        for (unsigned i = 0; i < 4; i++) {
            place = BASE + i * APART;
            read_value(3);
        }
    }
    assert_in_range(nr_faults, 400, 400 * 3 / 2);
    assert_int_equal(nr_vain, 0);
}

static void late_touches(void **state)
{
    (void)state;
    begin();
    read_values(100, 3);
    bool is_late;
    uint32_t nr = span_on_fault(&s, place, &is_late);
    if (!nr) /* it was left alone */
        nr = span_on_fault(&s, place += APART, &is_late);
    assert_int_equal(nr, 2);
    assert_false(is_late);
    assert_int_equal(span_on_fault(&s, place + 1, &is_late), 0);
    assert_true(is_late);
    assert_int_equal(span_on_fault(&s, place + 3, &is_late), 0); /* it goes on, further than others */
    assert_false(is_late);
}

static void passes_teach_nothing(void **state)
{
    (void)state;
    begin();
    read_values(100, 3);
    struct spans before = s;
    for (unsigned i = 0; i < 100; i++) { /* seen as a pass at its first page already */
        bool is_late;
        (void)span_on_fault(&s, place, &is_late);
        span_leave_to_pass(&s, place + 1);
        place += APART;
    }
    for (unsigned i = 1; i < SPAN_MAX; i++)
        assert_in_range(s.goes_on[i], before.goes_on[i], before.goes_on[i]);
    assert_true(s.goes_on[0] >= before.goes_on[0] - before.goes_on[0] / 16); /* of what was under way */
}

static void long_ones_end(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i < 100; i++)
        read_value(40);
    count_anew();
    read_value(40);
    read_value(40);
    assert_true(nr_back <= 2 * (SPAN_MAX - 1)); /* further is for passes */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_three_pages),
        cmocka_unit_test(values_of_two_to_five_pages),
        cmocka_unit_test(single_pages_get_nothing),
        cmocka_unit_test(values_beside_single_pages),
        cmocka_unit_test(several_at_a_time),
        cmocka_unit_test(what_has_changed_is_learned_anew),
        cmocka_unit_test(what_comes_back_teaches_nothing),
        cmocka_unit_test(sizes_in_turns),
        cmocka_unit_test(the_same_places_again_and_again),
        cmocka_unit_test(late_touches),
        cmocka_unit_test(passes_teach_nothing),
        cmocka_unit_test(long_ones_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
