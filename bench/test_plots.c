/* test_plots.c - what is worked out for pictures and page, against values made by hand, and that no
 * text becomes a command or markup. Draws nothing: test_plots.py does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "draw.h"
#include "html.h"
#include "results.h"
#include "script.h"

/* ---- rows ----------------------------------------------------------------------------------- */

static void add_row(struct csv_table *t, const char *workload, const char *verdict, double ratio)
{
    csv_table_add_row(t);
    csv_table_set(t, "run", "%zu", csv_table_rows(t));
    csv_table_set(t, "workload", "%s", workload);
    csv_table_set(t, "verdict", "%s", verdict);
    csv_table_set(t, "ratio", "%g", ratio);
}

/* mmap_churn comes first, and is to be last; the fifth row has nothing but its workload. */
static struct results made_results(void)
{
    struct csv_table *t = csv_table_new();
    struct results results;
    add_row(t, "mmap_churn", "OK", 0.7);
    add_row(t, "heap", "OK", 1.25);
    add_row(t, "heap", "UNCHECKED", 1);
    add_row(t, "heap", "INVALID", 9);
    csv_table_add_row(t);
    csv_table_set(t, "workload", "heap");
    add_row(t, "heap", "FAILED", 8);
    add_row(t, "heap", "OK", 0);
    add_row(t, "heap", "OK", 0.5);
    csv_table_set(t, "baseline_memory_paid_steady_mib", "200");
    csv_table_set(t, "pager_memory_paid_steady_mib", "150");
    csv_table_set(t, "pager_units_per_sec", "7");
    results_of_table(t, "/nowhere", &results);
    return results;
}

static void only_what_counts_is_in_a_spread(void **state)
{
    (void)state;
    struct results results = made_results();
    struct results_spread s = results_spread(&results, "heap", results_cell, "ratio");
    assert_int_equal(s.n, 4);
    assert_int_equal(s.zeros, 1);
    assert_true(s.min == 0 && s.max == 1.25);
    assert_true(s.median == 0.5); /* the lower of the middle two, as in aggregate.csv */
    assert_true(s.mean == 2.75 / 4);
    s = results_spread_positive(&results, "heap", results_cell, "ratio");
    assert_int_equal(s.n, 3);
    assert_int_equal(s.zeros, 1);
    assert_true(s.min == 0.5 && s.median == 1);
    s = results_spread(&results, "heap", results_cell, "no_such_column");
    assert_int_equal(s.n, 0);
    results_free(&results);
}

static void runs_are_told_apart_by_verdict(void **state)
{
    (void)state;
    struct results results = made_results();
    struct results_tally tally = results_tally(&results, "heap");
    assert_int_equal(tally.total, 7);
    assert_int_equal(tally.invalid, 1);
    assert_int_equal(tally.failed, 2); /* and the one without a verdict */
    assert_int_equal(tally.unchecked, 1);
    results_free(&results);
}

static void churn_is_last_and_arms_are_those_with_numbers(void **state)
{
    (void)state;
    struct results results = made_results();
    assert_int_equal(results.nr_workloads, 2);
    assert_string_equal(results.workloads[1], RESULTS_CHURN);
    assert_true(results.has_arm[RESULTS_PAGER]);
    assert_false(results.has_arm[RESULTS_BASELINE]);
    assert_false(results.has_arm[RESULTS_ZRAM]);
    results_free(&results);
}

static void a_saving_is_against_the_baseline(void **state)
{
    (void)state;
    struct results results = made_results();
    double value = -1;
    assert_true(results_saved_pct(&results, 7, "pager", &value));
    assert_true(value == 25);
    assert_true(results_saved_mib(&results, 7, "pager", &value));
    assert_true(value == 50);
    assert_false(results_saved_pct(&results, 7, "zram", &value));
    assert_false(results_saved_pct(&results, 0, "pager", &value));
    results_free(&results);
}

static void paths_follow_from_a_row(void **state)
{
    (void)state;
    struct results results = made_results();
    char path[128];
    results_path(&results, 1, RESULTS_PAGER, "memory.csv", path, sizeof(path));
    assert_string_equal(path, "/nowhere/runs/run-002/heap/pager/memory.csv");
    results_free(&results);
}

/* ---- histograms ----------------------------------------------------------------------------- */

static void write_file(char *ret_path, const char *text)
{
    strcpy(ret_path, "/tmp/test_plots.XXXXXX");
    int fd = mkstemp(ret_path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void histograms_of_runs_are_added_up(void **state)
{
    (void)state;
    char first[32], second[32];
    struct results_touches touches = {.n = 0};
    write_file(first, "upper_ns,count\n7,2\n1023,5\n4095,1\n");
    write_file(second, "upper_ns,count\n7,1\n2047,4\n40"); /* cut short in a number */
    assert_true(results_touches_add(&touches, first));
    assert_true(results_touches_add(&touches, second));
    assert_false(results_touches_add(&touches, "/nonexistent"));
    unlink(first);
    unlink(second);
    assert_int_equal(touches.nr_buckets, 4);
    assert_true(touches.n == 13);
    static const struct results_bucket expected[] = {{7, 3}, {1023, 5}, {2047, 4}, {4095, 1}};
    for (size_t i = 0; i < 4; i++) {
        assert_true(touches.buckets[i].upper_ns == expected[i].upper_ns);
        assert_true(touches.buckets[i].count == expected[i].count);
    }
    results_touches_free(&touches);
}

/* ---- numbers as text ------------------------------------------------------------------------ */

static void expect_text(draw_format *format, double value, const char *expected)
{
    char text[32];
    format(value, text, sizeof(text));
    assert_string_equal(text, expected);
}

static void numbers_have_three_digits_and_a_unit(void **state)
{
    (void)state;
    expect_text(script_format_ns, 850, "850 ns");
    expect_text(script_format_ns, 999.6, "1.00 µs");
    expect_text(script_format_ns, 27184, "27.2 µs");
    expect_text(script_format_ns, 9996, "10.0 µs");
    expect_text(script_format_ns, 999600, "1.00 ms");
    expect_text(script_format_ns, 6255000, "6.25 ms");
    expect_text(script_format_ns, 1.5e9, "1.50 s");
    expect_text(script_format_count, 0, "0");
    expect_text(script_format_count, 104, "104");
    expect_text(script_format_count, 999.7, "1,000");
    expect_text(script_format_count, 245632, "245,632");
    expect_text(script_format_count, 245004, "245,004");
    expect_text(script_format_count, 1250000, "1.25 M");
    expect_text(draw_format_ratio, 0.687105, "0.687");
    expect_text(draw_format_pct, -0.804, "-0.80");
    expect_text(draw_format_pct, 33.33, "33.3");
}

static void a_spread_is_told_with_its_ends(void **state)
{
    (void)state;
    char text[96];
    struct results_spread s = {.n = 3, .median = 0.998, .min = 0.991, .max = 1.004};
    draw_tell_spread(&s, draw_format_ratio, "", text, sizeof(text));
    assert_string_equal(text, "0.998 (0.991..1.004)");
    draw_tell_spread(&s, draw_format_pct, " %", text, sizeof(text));
    assert_string_equal(text, "1.00 (0.99..1.00) %");
    s.n = 1;
    draw_tell_spread(&s, draw_format_ratio, "", text, sizeof(text));
    assert_string_equal(text, "0.998");
    s.n = 0;
    draw_tell_spread(&s, draw_format_ratio, "", text, sizeof(text));
    assert_string_equal(text, "");
}

static void axes_hold_what_they_show(void **state)
{
    (void)state;
    double low, high;
    script_log_range(4420, 49300, &low, &high);
    assert_true(low == 1000 && high == 100000);
    script_log_range(1000, 1000, &low, &high); /* one value on an edge is no empty axis */
    assert_true(low == 1000 && high == 10000);
    script_linear_range(0.98, 1.02, 0.1, &low, &high);
    assert_true(low < 0.95 && high > 1.05 && high < 1.07);
    script_linear_range(-5, 40, 4, &low, &high);
    assert_true(low < -5 && high > 40 && high < 50);
}

static void tics_are_decades(void **state)
{
    (void)state;
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    script_log_tics(out, "x", 100, 1000, "ns");
    fclose(out);
    assert_string_equal(text, "set xtics ('100 ns' 1e2, '' 2e2 1, '' 3e2 1, '' 4e2 1, '' 5e2 1, '' "
                              "6e2 1, '' 7e2 1, '' 8e2 1, '' 9e2 1, '1 µs' 1e3)\n");
    free(text);
}

static void lines_break_at_blanks_and_not_inside_characters(void **state)
{
    (void)state;
    assert_int_equal(script_line_length("two words", 20), 9);
    assert_int_equal(script_line_length("two words", 9), 9);
    assert_int_equal(script_line_length("two words", 8), 3);
    assert_int_equal(script_line_length("oneword", 3), 3);
    assert_int_equal(script_line_length("µµµµ", 2), 4); /* bytes */
}

/* ---- nothing becomes a command or markup ---------------------------------------------------- */

typedef void put_text(FILE *out, const char *text);

static void expect_put(put_text *put, const char *text, const char *expected)
{
    char *got;
    size_t size;
    FILE *out = open_memstream(&got, &size);
    put(out, text);
    fclose(out);
    assert_string_equal(got, expected);
    free(got);
}

static void gnuplot_expands_nothing(void **state)
{
    (void)state;
    expect_put(script_quote, "it's `date`", "'it''s `date`'");
    expect_put(script_quote, "a\\n\"b\"", "'a\\n\"b\"'");
    expect_put(script_quote, "two\nlines\t", "'two lines '");
    expect_put(script_quote, "'; system('x'); '", "'''; system(''x''); '''");
}

static void a_page_shows_text_as_text(void **state)
{
    (void)state;
    expect_put(html_text, "<b>&amp;\"'</b>", "&lt;b&gt;&amp;amp;&quot;&#39;&lt;/b&gt;");
    expect_put(html_text, "27 µs \xe2\x82\xac \xf0\x9f\x98\x80",
               "27 µs \xe2\x82\xac \xf0\x9f\x98\x80");
    expect_put(html_text, "a\tb\nc", "a\tb\nc");
}

#define NO_CHARACTER "\xef\xbf\xbd"

static void a_page_holds_only_characters(void **state)
{
    (void)state;
    expect_put(html_text, "\x01|\x7f|\x1b", NO_CHARACTER "|" NO_CHARACTER "|" NO_CHARACTER);
    expect_put(html_text, "\xff|", NO_CHARACTER "|");
    expect_put(html_text, "\xc0\xaf", NO_CHARACTER NO_CHARACTER); /* '/', too long */
    expect_put(html_text, "\xe0\x80\xaf|", NO_CHARACTER NO_CHARACTER NO_CHARACTER "|");
    expect_put(html_text, "\xed\xa0\x80|", NO_CHARACTER NO_CHARACTER NO_CHARACTER "|");
    expect_put(html_text, "\xe2\x82",
               NO_CHARACTER NO_CHARACTER); /* cut short: not beyond the end */
    expect_put(html_text, "\xc2\x85|", NO_CHARACTER NO_CHARACTER "|");
    expect_put(html_text, "\xef\xbf\xbf|", NO_CHARACTER NO_CHARACTER NO_CHARACTER "|");
}

static void pictures_on_a_page_have_ids_of_their_own(void **state)
{
    (void)state;
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_int_equal(html_svg(out,
                              "<?xml version=\"1.0\"?>\n<svg width=\"9\"><g id=\"a\"/><use "
                              "xlink:href='#b' id='c'/><g clip-path=\"url(#d)\"/></svg>\nrest",
                              "p-", "a \"b\""),
                     0);
    fclose(out);
    assert_string_equal(text, "<svg role=\"img\" aria-label=\"a &quot;b&quot;\" width=\"9\"><g "
                              "id=\"p-a\"/><use xlink:href='#p-b' id='p-c'/><g "
                              "clip-path=\"url(#p-d)\"/></svg>\n");
    free(text);
    out = open_memstream(&text, &size);
    assert_int_equal(html_svg(out, "<svg><g>", "p-", ""), -22); /* was cut short */
    fclose(out);
    assert_string_equal(text, "");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_counts_is_in_a_spread),
        cmocka_unit_test(runs_are_told_apart_by_verdict),
        cmocka_unit_test(churn_is_last_and_arms_are_those_with_numbers),
        cmocka_unit_test(a_saving_is_against_the_baseline),
        cmocka_unit_test(paths_follow_from_a_row),
        cmocka_unit_test(histograms_of_runs_are_added_up),
        cmocka_unit_test(numbers_have_three_digits_and_a_unit),
        cmocka_unit_test(a_spread_is_told_with_its_ends),
        cmocka_unit_test(axes_hold_what_they_show),
        cmocka_unit_test(tics_are_decades),
        cmocka_unit_test(lines_break_at_blanks_and_not_inside_characters),
        cmocka_unit_test(gnuplot_expands_nothing),
        cmocka_unit_test(a_page_shows_text_as_text),
        cmocka_unit_test(a_page_holds_only_characters),
        cmocka_unit_test(pictures_on_a_page_have_ids_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
