/* test_repeats.c - what ab-repeats works out from many runs, against numbers worked out by hand,
 * and what it reads from folders made by hand. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "aggregate.h"
#include "compare.h"
#include "csv.h"
#include "digest.h"
#include "files.h"
#include "made.h"
#include "progress.h"
#include "rows.h"
#include "runs.h"
#include "trial.h"

/* ---- values --------------------------------------------------------------------------------- */

/* Ranks of five: 25 % is the 2nd, 50 % the 3rd, 75 % the 4th, 95 % the 5th. */
static void five_values(void **state)
{
    (void)state;
    double values[] = {5, 1, 4, 2, 3};
    struct aggregate a = aggregate_values(values, 5);
    assert_int_equal(a.n, 5);
    assert_true(a.min == 1 && a.p50 == 3 && a.p95 == 5 && a.max == 5 && a.mean == 3);
    assert_true(a.iqr == 2);
    assert_true(is_near(a.stddev, 1.5811388)); /* sqrt(10 / 4) */
}

/* Of four the median is the 2nd: a value that was measured, not the mean of two. */
static void four_values(void **state)
{
    (void)state;
    double values[] = {40, 10, 30, 20};
    struct aggregate a = aggregate_values(values, 4);
    assert_true(a.p50 == 20 && a.p95 == 40 && a.mean == 25 && a.iqr == 20);
    assert_true(is_near(a.stddev, 12.9099445)); /* sqrt(500 / 3) */
}

/* 95 % of 20 is 19 exactly; of 21 it is 19.95, the 20th. */
static void ranks_round_up(void **state)
{
    (void)state;
    double values[21];
    for (int i = 0; i < 21; i++)
        values[i] = i + 1;
    struct aggregate a = aggregate_values(values, 20);
    assert_true(a.p50 == 10 && a.p95 == 19 && a.iqr == 10); /* 15 - 5 */
    a = aggregate_values(values, 21);
    assert_true(a.p50 == 11 && a.p95 == 20 && a.iqr == 10); /* 16 - 6 */
    assert_true(aggregate_percentile(values, 21, 0) == 1);
    assert_true(aggregate_percentile(values, 21, 100) == 21);
}

static void one_value_and_none(void **state)
{
    (void)state;
    double values[] = {7};
    struct aggregate a = aggregate_values(values, 1);
    assert_int_equal(a.n, 1);
    assert_true(a.min == 7 && a.p50 == 7 && a.p95 == 7 && a.max == 7 && a.mean == 7 && a.iqr == 0);
    assert_true(isnan(a.stddev)); /* not zero: nothing is known about the spread */
    assert_int_equal(aggregate_values(values, 0).n, 0);
}

/* ---- rows ----------------------------------------------------------------------------------- */

static void add_row(struct csv_table *t, const char *run, const char *workload, const char *verdict)
{
    csv_table_add_row(t);
    csv_table_set(t, "run", "%s", run);
    csv_table_set(t, "workload", "%s", workload);
    csv_table_set(t, "verdict", "%s", verdict);
}

/* Three good rows of `one`, and one each that is invalid and failed, with numbers that would show.
 */
static struct csv_table *made_table(void)
{
    struct csv_table *t = csv_table_new();
    static const char *const verdicts[] = {"OK", "INVALID", "OK", "FAILED", "UNCHECKED"};
    static const double ratios[] = {0.9, 50, 1.1, 60, 1.0};
    for (int i = 0; i < 5; i++) {
        char run[16];
        snprintf(run, sizeof(run), "%d", i + 1);
        add_row(t, run, "one", verdicts[i]);
        csv_table_set(t, "commit", "%s", "71e5113");
        csv_table_set(t, "units_per_sec_ratio_pager_vs_baseline", "%g", ratios[i]);
        csv_table_set(t, "pager_units_per_sec", "%g", 100 * ratios[i]);
        csv_table_set(t, "content", "%s", "heap");
        csv_table_set(t, "sometimes", "%s", i == 0 ? "3" : "");
        csv_table_set(t, "never", "%s", "");
    }
    csv_table_set(t, "late", "%s", "8"); /* only the last row has this column */
    return t;
}

static void only_results_are_counted(void **state)
{
    (void)state;
    struct csv_table *t = made_table();
    struct aggregate a = aggregate_of(t, "one", "units_per_sec_ratio_pager_vs_baseline");
    assert_int_equal(a.n, 3);
    assert_true(is_near(a.min, 0.9) && is_near(a.p50, 1.0) && is_near(a.max, 1.1));
    assert_true(is_near(a.mean, 1.0) && is_near(a.stddev, 0.1) && is_near(a.iqr, 0.2));
    assert_int_equal(aggregate_of(t, "one", "sometimes").n, 1);
    assert_int_equal(aggregate_of(t, "one", "late").n, 1);
    assert_int_equal(aggregate_of(t, "one", "never").n, 0);
    assert_int_equal(aggregate_of(t, "one", "absent").n, 0);
    assert_int_equal(aggregate_of(t, "other", "late").n, 0);
    csv_table_free(t);
}

/* A commit of digits and an e reads as a number, and is none. */
static void metrics_are_told_from_names(void **state)
{
    (void)state;
    struct csv_table *t = made_table();
    assert_true(aggregate_is_metric(t, "units_per_sec_ratio_pager_vs_baseline"));
    assert_true(aggregate_is_metric(t, "sometimes"));
    static const char *const none[] = {"run", "commit", "content", "verdict", "never", "workload"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_false(aggregate_is_metric(t, none[i]));
    csv_table_free(t);
}

static char folder[64];

static const char *in_folder(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static void assert_file_is(const char *path, const char *expected)
{
    char *text = file_read(path);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

#define HEAD "workload,metric,n,min,p50,p95,max,mean,stddev,iqr\n"

static void aggregate_csv_is_written(void **state)
{
    (void)state;
    struct csv_table *t = csv_table_new();
    assert_int_equal(aggregate_write(t, in_folder("a.csv")), 0);
    assert_file_is(in_folder("a.csv"), HEAD); /* no rows at all */
    add_row(t, "1", "one", "OK");
    csv_table_set(t, "x", "%s", "2");
    add_row(t, "1", "two", "FAILED");
    csv_table_set(t, "x", "%s", "9");
    assert_int_equal(aggregate_write(t, in_folder("a.csv")), 0);
    assert_file_is(in_folder("a.csv"), HEAD "one,x,1,2,2,2,2,2,,0\n");
    add_row(t, "2", "one", "OK");
    csv_table_set(t, "x", "%s", "4");
    assert_int_equal(aggregate_write(t, in_folder("a.csv")), 0);
    assert_file_is(in_folder("a.csv"), HEAD "one,x,2,2,2,4,4,3,1.414213562,2\n");
    csv_table_free(t);
}

/* ---- folders -------------------------------------------------------------------------------- */

/* run-010 comes after run-002, run-003 has not finished a row, and another folder is no run. */
static void runs_are_read_in_their_order(void **state)
{
    (void)state;
    static const char *const folders[] = {"runs/run-002", "runs/run-010", "runs/run-003",
                                          "runs/old"};
    struct csv_table *t;
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        assert_int_equal(folder_make(in_folder(folders[i])), 0);
    made_file(in_folder("runs/run-010/comparison.csv"), "workload,verdict,y\nb,OK,5\n");
    made_file(in_folder("runs/run-002/comparison.csv"), "workload,verdict,x\na,OK,1\nb,FAILED,\n");
    made_file(in_folder("runs/old/comparison.csv"), "workload,verdict,x\na,OK,99\n");
    assert_int_equal(runs_aggregate(folder), 0);
    assert_file_is(in_folder("all_runs_long.csv"), "run,workload,verdict,x,y\n"
                                                   "2,a,OK,1,\n2,b,FAILED,,\n10,b,OK,,5\n");
    assert_file_is(in_folder("aggregate.csv"), HEAD "a,x,1,1,1,1,1,1,,0\nb,y,1,5,5,5,5,5,,0\n");
    assert_int_equal(runs_read(folder, &t), 0);
    assert_string_equal(csv_table_column(t, 0), "run");
    csv_table_free(t);
}

/* A copy that was cut: the part of a row at its end is none, also if it is cut behind a cell. */
static void a_part_of_a_row_is_none(void **state)
{
    (void)state;
    struct csv_table *t;
    made_file(in_folder("a.csv"), "workload,x,verdict\na,1,OK\na,2");
    assert_int_equal(csv_table_read(in_folder("a.csv"), &t), 0);
    assert_int_equal(csv_table_rows(t), 1);
    csv_table_free(t);
    made_file(in_folder("a.csv"), "workload,x,verdict\na,1,OK\na,2\n");
    assert_int_equal(csv_table_read(in_folder("a.csv"), &t), 0);
    assert_int_equal(csv_table_rows(t), 2);
    assert_int_equal(aggregate_of(t, "a", "x").n, 1); /* no verdict, no number */
    csv_table_free(t);
}

/* Nothing half-written takes the place of what was there, and the reason is the right one. */
static void a_full_disk_is_told(void **state)
{
    (void)state;
    FILE *out = fopen("/dev/full", "w");
    assert_non_null(out);
    for (int i = 0; i < 10000; i++)
        fputs("more than a buffer", out);
    assert_int_equal(file_close(out), -ENOSPC);
    struct csv_table *t = csv_table_new();
    add_row(t, "1", "one", "OK");
    made_file(in_folder("a.csv"), "as it was");
    assert_int_equal(symlink("/dev/full", in_folder("a.csv.new")), 0);
    assert_int_equal(csv_table_write(t, in_folder("a.csv")), -ENOSPC);
    assert_file_is(in_folder("a.csv"), "as it was");
    assert_int_equal(access(in_folder("a.csv.new"), F_OK), -1);
    csv_table_free(t);
}

/* Somebody hands on all_runs_long.csv alone. */
static void the_long_table_is_enough(void **state)
{
    (void)state;
    char other[96];
    struct csv_table *t;
    snprintf(other, sizeof(other), "%s/alone", folder);
    assert_int_equal(folder_make(other), 0);
    assert_int_equal(runs_read(other, &t), -ENOENT);
    made_file(in_folder("alone/all_runs_long.csv"), "run,workload,verdict,x\n4,a,OK,1\n");
    assert_int_equal(runs_aggregate(other), 0);
    assert_file_is(in_folder("alone/aggregate.csv"), HEAD "a,x,1,1,1,1,1,1,,0\n");
}

/* ---- order, rows, parameters ---------------------------------------------------------------- */

static void arms_take_turns(void **state)
{
    (void)state;
    const bool two[ARM_NR] = {true, true, false}, three[ARM_NR] = {true, true, true};
    enum arm_kind order[ARM_NR], before[ARM_NR] = {0};
    unsigned places[ARM_NR][ARM_NR] = {{0}};
    for (uint64_t repeat = 0; repeat < 6; repeat++) {
        assert_int_equal(trial_order(two, repeat, order), 2);
        assert_int_equal(order[0], repeat % 2 ? ARM_PAGER : ARM_BASELINE);
        assert_int_equal(order[1], repeat % 2 ? ARM_BASELINE : ARM_PAGER);
    }
    for (uint64_t repeat = 0; repeat < 6; repeat++) {
        assert_int_equal(trial_order(three, repeat, order), 3);
        for (unsigned i = 0; i < 3; i++)
            places[order[i]][i]++;
        if (repeat % 2)
            assert_true(order[0] == before[2] && order[1] == before[1] && order[2] == before[0]);
        memcpy(before, order, sizeof(before));
    }
    for (unsigned arm = 0; arm < ARM_NR; arm++) {
        for (unsigned place = 0; place < 3; place++)
            assert_int_equal(places[arm][place], 2);
    }
}

static void rows_are_chosen_by_name(void **state)
{
    (void)state;
    bool has[ROWS_MAX];
    const struct profile *cold = &profiles[PROFILE_COLDTAIL];
    assert_true(rows_choose(cold, NULL, "test", has));
    assert_true(has[0] && has[1] && has[2] && has[3]);
    assert_false(has[4]); /* mmap_churn, by name only */
    assert_true(rows_choose(cold, "mmap_churn,anon_streamer", "test", has));
    assert_true(has[4] && has[2]);
    assert_false(has[0] || has[1] || has[3]);
    assert_false(rows_choose(cold, "half_idle_heap", "test", has));
    assert_false(rows_choose(cold, "", "test", has));
    assert_false(rows_choose(cold, "anon_streamer,", "test", has));
    assert_false(rows_choose(cold, "anon_stream", "test", has));
}

/* What is added stands behind, where it counts. */
static void words_of_a_row(void **state)
{
    (void)state;
    struct option_list list = {
        .items = {"all=--workers 2", "mmap_churn=--map 4K", "anon_streamer=--region 8M"},
        .count = 3};
    struct rows_run run = {.duration_sec = 1.5, .warm_up_sec = 0.5, .seed = 7};
    const struct row *row = &profiles[PROFILE_PUBLISHED].rows[1];
    char text[512] = "";
    struct arm_args args = rows_args(row, &list, &run);
    for (size_t i = 0; i < args.count; i++) {
        strcat(text, args.words[i]);
        strcat(text, " ");
    }
    arm_args_free(&args);
    assert_string_equal(text, "--duration-sec 1.5 --warm-up-sec 0.5 --seed 7 --content seed "
                              "--region 512M --workers 4 --write-fraction 1 --idle 300ms "
                              "--workers 2 --region 8M ");
}

/* ---- three arms ----------------------------------------------------------------------------- */

/* From 110 s on it is the steady part. */
static const struct made_time twelve_seconds = {.window_s = 12, .warm_up_s = 4};

#define JSON(units, more)                                                                          \
    "{\n  \"units_per_sec\": " units ",\n  \"units_per_sec_with_warm_up\": 1,\n"                   \
    "  \"warm_up_sec\": 4,\n  \"period_mean_ns\": " units ",\n  \"verify_errors\": 0,\n"           \
    "  \"pages_checked\": 9" more "\n}\n"

static void a_third_arm_has_columns_of_its_own(void **state)
{
    (void)state;
    struct arm_result baseline =
        made_arm(JSON("100", ""), twelve_seconds, (uint64_t[]){500, 500, 500});
    struct arm_result pager = made_arm(
        JSON("90", ",\n  \"pager_agent_cpu_ns\": 100000000,\n  \"pager_porter_cpu_ns\": 20000000,\n"
                   "  \"warm_up_pager_agent_cpu_ns\": 40000000,\n"
                   "  \"warm_up_pager_porter_cpu_ns\": 0"),
        twelve_seconds, (uint64_t[]){500, 400, 300});
    struct arm_result zram = made_arm(JSON("80", ""), twelve_seconds, (uint64_t[]){500, 300, 200});
    char *names[] = {"wall_ms", "fault_missing_ns_p999", "fault_missing_ns_n",
                     "restore_wall_ns_p999", "restore_wall_ns_n"};
    char *values[] = {"1000", "777", "9999", "888", "10000"};
    pager.has_session = true;
    pager.session = (struct csv_row){.names = names, .values = values, .count = 5};
    for (size_t i = 0; i < zram.memory.count; i++) {
        zram.memory.samples[i].is_zram = true;
        zram.memory.samples[i].zram_used_kib = 50 * 1024;
        zram.memory.samples[i].daemon.pss_kib = 7 * 1024; /* not counted, in its favour */
    }
    struct csv_table *t = csv_table_new();
    csv_table_add_row(t);
    assert_int_equal(compare_arms(t, (const struct arm_result *[ARM_NR]){&baseline, &pager, &zram}),
                     0);
    assert_true(is_near(made_cell(t, "units_per_sec_ratio_pager_vs_baseline"), 0.9));
    assert_true(is_near(made_cell(t, "units_per_sec_ratio_zram_vs_baseline"), 0.8));
    assert_true(is_near(made_cell(t, "period_mean_ns_ratio_zram_vs_baseline"), 0.8));
    /* after the warm-up six samples of 400 and two of 300; with it four of 500 more */
    assert_true(is_near(made_cell(t, "net_memory_saved_avg_mib"), 125));
    assert_true(fabs(made_cell(t, "net_memory_saved_avg_with_warm_up_mib") - 1000.0 / 12) < 1e-3);
    assert_true(is_near(made_cell(t, "net_memory_saved_steady_mib"), 200));
    assert_true(is_near(made_cell(t, "net_memory_saved_steady_pct"), 40));
    /* 500 - 200 - 50 */
    assert_true(is_near(made_cell(t, "zram_net_memory_saved_steady_mib"), 250));
    assert_true(is_near(made_cell(t, "zram_net_memory_saved_steady_pct"), 50));
    assert_true(is_near(made_cell(t, "zram_memory_paid_steady_mib"), 250));
    /* 10 ms a second of the daemon's; 80 ms in 8 s of the two threads' */
    assert_true(is_near(made_cell(t, "pager_window_cpu_pct"), 2));
    /* too few for a p99.9, and just enough */
    assert_string_equal(csv_table_get(t, 0, "pager_fault_missing_p999_ns"), "");
    assert_string_equal(csv_table_get(t, 0, "pager_restore_wall_p999_ns"), "888");
    csv_table_free(t);
    pager.has_session = false; /* it was not allocated */
    t = csv_table_new();
    csv_table_add_row(t);
    (void)compare_arms(t, (const struct arm_result *[ARM_NR]){&baseline, &pager, NULL});
    const char *column;
    for (size_t c = 0; (column = csv_table_column(t, c)) != NULL; c++)
        assert_null(strstr(column, "zram")); /* no empty columns where it was not run */
    csv_table_free(t);
    arm_result_free(&baseline);
    arm_result_free(&pager);
    arm_result_free(&zram);
}

/* ---- words ---------------------------------------------------------------------------------- */

static struct csv_table *savings_table(void)
{
    struct csv_table *t = csv_table_new();
    static const char *const workloads[] = {"anon_streamer", "mmap_churn"};
    for (int i = 0; i < 2; i++) {
        add_row(t, "1", workloads[i], "OK");
        csv_table_set(t, "period", "%s", i ? "op" : "pass");
        csv_table_set(t, "baseline_units_per_sec", "%d", 10);
        csv_table_set(t, "pager_units_per_sec", "%d", 9);
        csv_table_set(t, "units_per_sec_ratio_pager_vs_baseline", "%s", "0.9");
        csv_table_set(t, "period_mean_ns_ratio_pager_vs_baseline", "%s", "1.25");
        csv_table_set(t, "pager_window_cpu_pct", "%s", "3.5");
        csv_table_set(t, "baseline_memory_paid_steady_mib", "%s", "500");
        csv_table_set(t, "net_memory_saved_steady_mib", "%s", "123.5");
        csv_table_set(t, "net_memory_saved_steady_pct", "%s", "24.7");
    }
    return t;
}

static void a_sentence_says_cost_and_saving(void **state)
{
    (void)state;
    char text[512];
    struct csv_table *t = savings_table();
    digest_sentence(t, "anon_streamer", text, sizeof(text));
    assert_string_equal(text,
                        "anon_streamer: The pager cost 10.0 % of the throughput (0.900 of the "
                        "baseline's); a pass took 25.0 % longer; its threads used 3.50 % of one "
                        "CPU; it saved 123.5 of 500.0 MiB (24.7 %), net.");
    digest_sentence(t, "mmap_churn", text, sizeof(text));
    assert_null(strstr(text, "123.5"));
    digest_sentence(t, "anon_streamer", text, 20); /* cut, not overrun */
    assert_int_equal(strlen(text), 19);
    csv_table_free(t);
}

static char *digest_text(const struct csv_table *t, bool is_coloured)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    digest_write(out, "/nonexistent", t, is_coloured);
    fclose(out);
    return text;
}

/* mmap_churn's saving stands nowhere, also not in a sum. */
static void churn_is_in_no_saving(void **state)
{
    (void)state;
    struct csv_table *t = savings_table(); /* the last row is mmap_churn's */
    csv_table_set(t, "net_memory_saved_steady_mib", "%s", "777.7");
    csv_table_set(t, "net_memory_saved_steady_pct", "%s", "66.6");
    char *text = digest_text(t, false);
    assert_non_null(strstr(text, "123.5"));
    assert_null(strstr(text, "777.7"));
    assert_null(strstr(text, "66.6"));
    assert_null(strstr(text, "901.2")); /* the sum of both */
    assert_null(strstr(text, "\033"));
    free(text);
    csv_table_free(t);
}

static void invalid_rows_are_told(void **state)
{
    (void)state;
    struct csv_table *t = savings_table();
    add_row(t, "2", "anon_streamer", "INVALID");
    csv_table_set(t, "reason", "%s", "pager: workload failed: verify error");
    csv_table_set(t, "net_memory_saved_steady_mib", "%s", "444.4");
    char *text = digest_text(t, true);
    assert_null(strstr(text, "444.4"));
    assert_non_null(strstr(text, "\033[31m  INVALID: wrong bytes in 1 of 2 runs\033[0m"));
    assert_non_null(
        strstr(text, "\033[31mINVALID\033[0m: run 2 anon_streamer pager: workload failed"));
    assert_non_null(strstr(text, "123.5"));
    free(text);
    csv_table_free(t);
    t = csv_table_new();
    text = digest_text(t, false);
    assert_non_null(strstr(text, "No run was finished."));
    free(text);
    csv_table_free(t);
}

static void time_left_is_readable(void **state)
{
    (void)state;
    static const struct {
        double sec;
        const char *text;
    } cases[] = {{-3, "0 s"},       {0.4, "0 s"},          {59.4, "59 s"},
                 {60, "1 min 0 s"}, {3599.6, "1 h 0 min"}, {7380, "2 h 3 min"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[48];
        progress_format_sec(cases[i].sec, text, sizeof(text));
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_values),
        cmocka_unit_test(four_values),
        cmocka_unit_test(ranks_round_up),
        cmocka_unit_test(one_value_and_none),
        cmocka_unit_test(only_results_are_counted),
        cmocka_unit_test(metrics_are_told_from_names),
        cmocka_unit_test(aggregate_csv_is_written),
        cmocka_unit_test(runs_are_read_in_their_order),
        cmocka_unit_test(a_part_of_a_row_is_none),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(the_long_table_is_enough),
        cmocka_unit_test(arms_take_turns),
        cmocka_unit_test(rows_are_chosen_by_name),
        cmocka_unit_test(words_of_a_row),
        cmocka_unit_test(a_third_arm_has_columns_of_its_own),
        cmocka_unit_test(a_sentence_says_cost_and_saving),
        cmocka_unit_test(churn_is_in_no_saving),
        cmocka_unit_test(invalid_rows_are_told),
        cmocka_unit_test(time_left_is_readable),
    };
    snprintf(folder, sizeof(folder), "/tmp/test_repeats.XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    static const char *const left[] = {"runs/run-002/comparison.csv",
                                       "runs/run-010/comparison.csv",
                                       "runs/old/comparison.csv",
                                       "runs/run-002",
                                       "runs/run-010",
                                       "runs/run-003",
                                       "runs/old",
                                       "runs",
                                       "a.csv",
                                       "all_runs_long.csv",
                                       "aggregate.csv",
                                       "aggregate_summary.txt",
                                       "alone/all_runs_long.csv",
                                       "alone/aggregate.csv",
                                       "alone/aggregate_summary.txt",
                                       "alone",
                                       ""};
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++)
        (void)remove(in_folder(left[i]));
    return failed;
}
