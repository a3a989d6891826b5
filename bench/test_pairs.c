/* test_pairs.c - medians and pairs against numbers worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "csv.h"
#include "pairs.h"

static const char *const arms[] = { "plain", "pager", NULL };

static void add(struct csv_table *t, unsigned repeat, unsigned window, const char *arm, const char *value)
{
    csv_table_add_row(t);
    csv_table_set(t, "repeat", "%u", repeat);
    csv_table_set(t, "window", "%u", window);
    csv_table_set(t, "arm", "%s", arm);
    if (value)
        csv_table_set(t, "n", "%s", value);
}

/* What is printed of one metric: the line after the head; "": none. */
static char *line_of(const struct csv_table *t, enum pairs_how how, double scale)
{
    static char text[2000];
    const struct pairs_metric metric = { "it", "n", scale, how };
    FILE *f = fmemopen(text, sizeof text, "w");
    assert_non_null(f);
    pairs_print(f, t, arms, &metric, 1);
    fclose(f);
    char *line = strchr(text, '\n') + 1;
    line[strcspn(line, "\n")] = 0;
    return line;
}

static void expect(const struct csv_table *t, enum pairs_how how, double scale, const double wanted[5])
{
    double median[2] = { 0, 0 }, pair[3];
    const char *line = line_of(t, how, scale);
    int n = how == PAIRS_SAVED
                ? 2 + sscanf(line, "it - - %lf%*[ %x][ %lf, %lf]", &pair[0], &pair[1], &pair[2])
                : sscanf(line, "it %lf %lf %lf%*[ %x][ %lf, %lf]", &median[0], &median[1], &pair[0],
                         &pair[1], &pair[2]);
    assert_int_equal(n, 5);
    for (int i = 0; i < 2; i++)
        assert_true(how == PAIRS_SAVED || median[i] == wanted[i]);
    for (int i = 0; i < 3; i++)
        assert_true(pair[i] == wanted[2 + i]);
}

/* Ratios 2, 4 and 3. By the order of the rows they would be 8, 1 and 3. */
static void pairs_are_of_the_same_repeat_and_window(void **state)
{
    (void)state;
    struct csv_table *t = csv_table_new();
    add(t, 0, 0, "plain", "1");
    add(t, 0, 1, "plain", "2");
    add(t, 0, 1, "pager", "8");
    add(t, 0, 0, "pager", "2");
    add(t, 1, 0, "pager", "12");
    add(t, 1, 0, "plain", "4");
    expect(t, PAIRS_RATIO, 1, (const double[]){ 2, 8, 3, 2, 4 });
    expect(t, PAIRS_DIFFERENCE, 0.5, (const double[]){ 1, 4, 3, 0.5, 4 });
    csv_table_free(t);
}

static void what_is_not_paid_is_saved(void **state)
{
    (void)state;
    struct csv_table *t = csv_table_new();
    add(t, 0, 0, "plain", "1000");
    add(t, 0, 0, "pager", "400");
    add(t, 1, 0, "plain", "1000");
    add(t, 1, 0, "pager", "500");
    expect(t, PAIRS_SAVED, 1, (const double[]){ 0, 0, 55, 50, 60 });
    csv_table_free(t);
}

/* A run that failed has no partner, and is in its arm's median only. */
static void a_row_without_partner_is_no_pair(void **state)
{
    (void)state;
    struct csv_table *t = csv_table_new();
    add(t, 0, 0, "plain", "10");
    add(t, 0, 0, "pager", "30");
    add(t, 1, 0, "pager", "50");
    add(t, 2, 0, "plain", NULL);
    add(t, 2, 0, "pager", "70");
    expect(t, PAIRS_RATIO, 1, (const double[]){ 10, 50, 3, 3, 3 });
    csv_table_free(t);
}

static void what_nobody_has_is_left_out(void **state)
{
    (void)state;
    struct csv_table *t = csv_table_new();
    add(t, 0, 0, "plain", NULL);
    assert_string_equal(line_of(t, PAIRS_RATIO, 1), "");
    csv_table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_of_the_same_repeat_and_window),
        cmocka_unit_test(what_is_not_paid_is_saved),
        cmocka_unit_test(a_row_without_partner_is_no_pair),
        cmocka_unit_test(what_nobody_has_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
