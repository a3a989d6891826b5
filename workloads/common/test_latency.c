/* test_latency.c - histogram, pacing and options against values worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "latency.h"
#include "options.h"
#include "pace.h"

static void buckets_meet_without_gap(void **state)
{
    (void)state;
    uint64_t bottom = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        uint64_t top = latency_bucket_top_ns(i);
        assert_int_equal(latency_bucket(bottom), i);
        assert_int_equal(latency_bucket(top), i);
        assert_true(top - bottom <= bottom / 16); /* a sixteenth wide at most */
        bottom = top + 1;
    }
    assert_int_equal(bottom, UINT64_C(1) << 40);
    assert_int_equal(latency_bucket(UINT64_MAX), LATENCY_BUCKETS - 1);
    assert_int_equal(latency_bucket(LATENCY_SLOW_NS - 1) + 1, latency_bucket(LATENCY_SLOW_NS));
}

/* 100 values 1..100 us: the 50th smallest is 50 us, in the bucket 49152..51199 (shift 11: 24 to
 * 25); the 95th is 95 us, in 94208..98303; the 99th 99 us, in 98304..102399, cut at the largest. */
static void percentiles_are_nearest_rank(void **state)
{
    (void)state;
    struct latency *l = calloc(1, sizeof(*l));
    for (uint64_t us = 100; us >= 1; us--)
        latency_record(l, us * 1000);
    assert_int_equal(latency_count(l, 0), 100);
    assert_int_equal(latency_percentile_ns(l, 0, 500), 51199);
    assert_int_equal(latency_percentile_ns(l, 0, 950), 98303);
    assert_int_equal(latency_percentile_ns(l, 0, 990), 100000);
    assert_int_equal(latency_percentile_ns(l, 0, 1000), 100000);
    assert_int_equal(l->max_ns, 100000);
    free(l);
}

/* Ninety fast ones and ten of 2 us .. 11 us: above 1 us the 5th smallest of ten is 6 us. */
static void fast_ones_can_be_left_out(void **state)
{
    (void)state;
    struct latency *l = calloc(1, sizeof(*l)), *other = calloc(1, sizeof(*other));
    for (int i = 0; i < 90; i++)
        latency_record(l, 200);
    for (uint64_t us = 2; us <= 11; us++)
        latency_record(other, us * 1000);
    latency_merge(l, other);
    assert_int_equal(latency_count(l, LATENCY_SLOW_NS), 10);
    assert_int_equal(latency_percentile_ns(l, LATENCY_SLOW_NS, 500), 6143); /* 5888..6143 */
    assert_int_equal(latency_percentile_ns(l, 0, 500), 207);                /* 200..207 */
    assert_int_equal(latency_percentile_ns(l, 0, 900), 207);
    assert_int_equal(latency_percentile_ns(l, 0, 901), 2047); /* the 91st: 2000, in 1984..2047 */
    assert_int_equal(latency_percentile_ns(l, LATENCY_SLOW_NS, 990), 11000);
    free(l);
    free(other);
}

static void nothing_recorded_is_zero(void **state)
{
    (void)state;
    static const struct latency none;
    assert_int_equal(latency_count(&none, 0), 0);
    assert_int_equal(latency_percentile_ns(&none, 0, 990), 0);
}

/* 1000 a second from t = 1 s. */
static void pace_hands_out_what_is_due(void **state)
{
    (void)state;
    const uint64_t s = 1000000000, ms = 1000000;
    struct pace p = pace_new(1000, s);
    assert_int_equal(pace_take_due(&p, s), 0);
    assert_int_equal(pace_take_due(&p, s + 10 * ms + 1), 10);
    assert_int_equal(pace_take_due(&p, s + 10 * ms + 2), 0);
    assert_true(pace_next_ns(&p, s + 10 * ms + 2) == s + 10 * ms + 2 + PACE_TICK_NS);
    assert_int_equal(p.missed, 0);
    /* half a second late: 500 are due, a backlog of 100 ms is done, the rest is missed */
    assert_int_equal(pace_take_due(&p, s + 510 * ms + 1), 101);
    assert_int_equal(p.missed, 399);
    /* at 2 a second the next one is not for 500 ms */
    struct pace slow = pace_new(2, s);
    assert_in_range(pace_next_ns(&slow, s), s + 500 * ms, s + 500 * ms + 10);
}

static void sizes_and_times_take_units(void **state)
{
    (void)state;
    uint64_t value = 0;
    assert_true(options_read_size("512M", &value));
    assert_int_equal(value, 536870912);
    assert_true(options_read_size("1.5K", &value));
    assert_int_equal(value, 1536);
    assert_true(options_read_time("300ms", &value));
    assert_int_equal(value, 300000000);
    assert_false(options_read_time("300", &value)); /* of what? */
    assert_false(options_read_size("-1", &value));
    assert_false(options_read_size("12X", &value));
    assert_false(options_read_size("", &value));
    assert_false(options_read_size("99999999999G", &value));
}

static void options_are_stored_and_refused(void **state)
{
    (void)state;
    static const char *const colours[] = {"red", "green", NULL};
    bool flag = false, other = true;
    uint64_t count = 1;
    double fraction = 0;
    const char *file = "-";
    unsigned colour = 0;
    const struct option_row rows[] = {
        {"flag", OPTION_FLAG, &flag, 0, 0, NULL, ""},
        {"other", OPTION_FLAG, &other, 0, 0, NULL, ""},
        {"count", OPTION_UINT, &count, 1, 9, NULL, ""},
        {"fraction", OPTION_DOUBLE, &fraction, 0, 1, NULL, ""},
        {"file", OPTION_FILE, &file, 0, 0, NULL, ""},
        {"colour", OPTION_CHOICE, &colour, 0, 0, colours, ""},
    };
    struct option_table table = {.program = "test", .about = "", .rows = {rows}, .nr_rows = {6}};
    char *good[] = {"test", "--flag", "--other", "off",      "--count=9", "--fraction",
                    "0.25", "--file", "x.json",  "--colour", "green",     NULL};
    assert_int_equal(options_parse(&table, 11, good), OPTIONS_RUN);
    assert_true(flag);
    assert_false(other);
    assert_int_equal(count, 9);
    assert_true(fraction == 0.25);
    assert_string_equal(file, "x.json");
    assert_int_equal(colour, 1);

    char *alone[] = {"test", "--file", "--flag", NULL};
    assert_int_equal(options_parse(&table, 3, alone), OPTIONS_RUN);
    assert_string_equal(file, "-");

    char *wrong[][4] = {{"test", "--nope", NULL},           {"test", "--count", "10", NULL},
                        {"test", "--count", "-1", NULL},    {"test", "--fraction", "nan", NULL},
                        {"test", "--colour", "blue", NULL}, {"test", "plain", NULL},
                        {"test", "--count", NULL},          {"test", "--flag=maybe", NULL}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        int argc = 0;
        while (wrong[i][argc])
            argc++;
        assert_int_equal(options_parse(&table, argc, wrong[i]), OPTIONS_BAD);
    }
}

/* 3, 3 and 1000 have buckets of their own or a top of their own; 1023 shares one with 1000. */
static void a_histogram_is_written_and_its_mean_is_exact(void **state)
{
    (void)state;
    static const uint64_t values[] = {3, 3, 1000, 1023, 70000};
    struct latency a = {.max_ns = 0}, b = {.max_ns = 0};
    char text[256] = "";
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        latency_record(i % 2 ? &a : &b, values[i]);
    latency_merge(&a, &b);
    assert_int_equal(a.sum_ns, 3 + 3 + 1000 + 1023 + 70000);
    FILE *out = fmemopen(text, sizeof(text), "w");
    latency_write_csv(&a, out);
    fclose(out);
    assert_string_equal(text, "upper_ns,count\n3,2\n1023,2\n70000,1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_meet_without_gap),
        cmocka_unit_test(percentiles_are_nearest_rank),
        cmocka_unit_test(fast_ones_can_be_left_out),
        cmocka_unit_test(nothing_recorded_is_zero),
        cmocka_unit_test(a_histogram_is_written_and_its_mean_is_exact),
        cmocka_unit_test(pace_hands_out_what_is_due),
        cmocka_unit_test(sizes_and_times_take_units),
        cmocka_unit_test(options_are_stored_and_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
