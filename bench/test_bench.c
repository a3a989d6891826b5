/* test_bench.c - what the A/B reads and works out, against texts and values made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "compare.h"
#include "csv.h"
#include "gnu_time.h"
#include "made.h"
#include "memory.h"
#include "summary.h"

static void elapsed_is_read_in_all_its_forms(void **state)
{
    (void)state;
    double sec = 0;
    assert_true(gnu_time_parse_elapsed("0:10.05", &sec));
    assert_true(sec > 10.049 && sec < 10.051);
    assert_true(gnu_time_parse_elapsed("2:03.50\n", &sec));
    assert_true(sec > 123.49 && sec < 123.51);
    assert_true(gnu_time_parse_elapsed("1:02:03", &sec));
    assert_true(sec > 3722.9 && sec < 3723.1);
    assert_false(gnu_time_parse_elapsed("12", &sec));
    assert_false(gnu_time_parse_elapsed("1:2:3:4", &sec));
    assert_false(gnu_time_parse_elapsed("x:10", &sec));
    assert_false(gnu_time_parse_elapsed("", &sec));
}

static const char time_text[] = "\tCommand being timed: \"./anon_streamer --duration-sec 3\"\n"
                                "\tUser time (seconds): 0.95\n"
                                "\tSystem time (seconds): 0.61\n"
                                "\tPercent of CPU this job got: 44%\n"
                                "\tElapsed (wall clock) time (h:mm:ss or m:ss): 0:03.54\n"
                                "\tAverage shared text size (kbytes): 0\n"
                                "\tMaximum resident set size (kbytes): 526888\n"
                                "\tAverage resident set size (kbytes): 0\n"
                                "\tMajor (requiring I/O) page faults: 7\n"
                                "\tMinor (reclaiming a frame) page faults: 131412\n"
                                "\tVoluntary context switches: 133\n"
                                "\tExit status: 0\n";

static void gnu_time_is_read(void **state)
{
    (void)state;
    struct gnu_time t;
    assert_true(gnu_time_parse(time_text, &t));
    assert_true(t.elapsed_sec > 3.53 && t.elapsed_sec < 3.55);
    assert_true(t.user_sec > 0.94 && t.user_sec < 0.96);
    assert_true(t.system_sec > 0.60 && t.system_sec < 0.62);
    assert_true(t.cpu_pct > 43.9 && t.cpu_pct < 44.1);
    assert_int_equal(t.max_rss_kib, 526888);
    assert_int_equal(t.major_faults, 7);
    assert_int_equal(t.minor_faults, 131412);
    assert_false(gnu_time_parse("Command terminated by signal 9\n", &t));
}

static const char smaps_text[] =
    "55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0                          [heap]\n"
    "Size:                132 kB\n"
    "Rss:                   8 kB\n"
    "Pss:                   8 kB\n"
    "Pss_Dirty:             8 kB\n"
    "VmFlags: rd wr mr mw me ac sd \n"
    "7f0000000000-7f0100000000 r--s 00000000 00:01 1027       /memfd:process-pager-store "
    "(deleted)\n"
    "Rss:                 400 kB\n"
    "Pss:                 200 kB\n"
    "Pss_Dirty:           200 kB\n"
    "7f0200000000-7f0200400000 rw-s 00000000 00:01 1028     /memfd:process-pager-session "
    "(deleted)\n"
    "Pss:                  30 kB\n"
    "7f0300000000-7f0300400000 rw-s 00000000 00:01 1029                   /memfd:somebody "
    "(deleted)\n"
    "Pss:                   5 kB\n"
    "7f0400000000-7f0420000000 rw-p 00000000 00:00 0 \n"
    "Pss:              524288 kB\n"
    "AnonHugePages:    409600 kB\n"
    "SwapPss:               0 kB\n";

static struct memory_maps sum_text(const char *text)
{
    struct memory_maps maps;
    FILE *file = fmemopen((void *)text, strlen(text), "r");
    memory_sum_smaps(file, &maps);
    fclose(file);
    return maps;
}

static void mappings_are_told_apart_by_name(void **state)
{
    (void)state;
    struct memory_maps maps = sum_text(smaps_text);
    assert_int_equal(maps.pss_kib, 8 + 200 + 30 + 5 + 524288);
    assert_int_equal(maps.store_pss_kib, 200);
    assert_int_equal(maps.pager_pss_kib, 200 + 30);
    assert_int_equal(maps.memfd_pss_kib, 200 + 30 + 5);
    assert_int_equal(maps.anon_huge_kib, 409600);
}

/* This process as the target: a file of 1 MiB under two descriptors and mapped is 1 MiB of blocks;
 * once mapped and touched it is in the Pss, under its name. */
static void a_memfd_is_counted_once(void **state)
{
    (void)state;
    uint64_t before_kib = 0, after_kib = 0;
    struct memory_maps maps;
    assert_int_equal(memory_read_memfd_kib(getpid(), &before_kib), 0);
    int fd = memfd_create("process-pager-store", MFD_CLOEXEC), again = dup(fd);
    assert_int_equal(ftruncate(fd, 8 << 20), 0); /* 8 MiB long, 1 MiB of it there */
    unsigned char *map = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    memset(map, 1, 1 << 20);
    assert_int_equal(memory_read_memfd_kib(getpid(), &after_kib), 0);
    assert_int_equal(after_kib - before_kib, 1024);
    assert_int_equal(memory_read_maps(getpid(), &maps), 0);
    assert_int_equal(maps.store_pss_kib, 1024);
    assert_int_equal(maps.pager_pss_kib, 1024);
    assert_true(maps.pss_kib > maps.memfd_pss_kib);
    assert_int_equal(munmap(map, 8 << 20), 0);
    close(fd);
    close(again);
    assert_int_equal(memory_read_memfd_kib(getpid(), &after_kib), 0);
    assert_int_equal(after_kib, before_kib);
}

/* Target 1000 of which 300 map the store; daemon 90 of which 40 are memfds; blocks 600:
 * 700 + 50 + 600. */
static void the_store_is_paid_for_once(void **state)
{
    (void)state;
    struct memory_sample s = {
        .target = {.pss_kib = 1000, .store_pss_kib = 300, .pager_pss_kib = 320},
        .daemon = {.pss_kib = 90, .memfd_pss_kib = 40},
        .store_blocks_kib = 600,
    };
    assert_int_equal(memory_paid_kib(&s), 1350);
}

static void means_are_over_the_asked_time(void **state)
{
    (void)state;
    struct memory_series series = {0};
    for (uint64_t i = 0; i < 100; i++) {
        struct memory_sample s = {.time_ns = i, .target = {.pss_kib = i * 1024}};
        memory_series_add(&series, &s);
    }
    double mib = 0;
    assert_true(memory_series_mean_mib(&series, 10, 20, &mib));
    assert_true(mib > 14.999 && mib < 15.001);
    assert_false(memory_series_mean_mib(&series, 200, 300, &mib));
    memory_series_free(&series);
}

static void unit_goes_to_the_end_of_a_column(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"fault_missing_ns_p95", "fault_missing_p95_ns"},
        {"restore_wall_ns_p999", "restore_wall_p999_ns"},
        {"restore_wall_ns_max", "restore_wall_max_ns"},
        {"restore_wall_ns_n", "restore_wall_n"},
        {"agent_cpu_ns", "agent_cpu_ns"},
        {"compress_success", "compress_success"},
        {"_n", "_n"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char name[64];
        compare_column_name(names[i][0], name, sizeof(name));
        assert_string_equal(name, names[i][1]);
    }
}

static struct csv_table *table_of(const double *values, size_t count)
{
    struct csv_table *t = csv_table_new();
    for (size_t i = 0; i < count; i++) {
        csv_table_add_row(t);
        csv_table_set(t, "workload", "%s", i % 2 ? "other" : "one");
        csv_table_set(t, "verdict", "OK");
        csv_table_set(t, "ratio", "%g", values[i]);
    }
    return t;
}

static void medians_are_over_one_workload(void **state)
{
    (void)state;
    static const double values[] = {3, 100, 1, 100, 2, 100, 10};
    struct csv_table *t = table_of(values, 7); /* one: 3 1 2 10 */
    struct spread s = summary_spread(t, "one", "ratio");
    assert_int_equal(s.count, 4);
    assert_true(s.median == 2.5 && s.min == 1 && s.max == 10);
    assert_int_equal(summary_spread(t, "one", "nothing").count, 0);
    csv_table_free(t);
    t = table_of(values, 5); /* one: 3 1 2 */
    assert_true(summary_spread(t, "one", "ratio").median == 2);
    csv_table_set(t, "verdict", "INVALID"); /* the last row: 2 */
    assert_true(summary_spread(t, "one", "ratio").median == 2);
    assert_int_equal(summary_spread(t, "one", "ratio").count, 2);
    csv_table_free(t);
}

static void the_row_of_a_pid_is_found(void **state)
{
    (void)state;
    char path[] = "/tmp/test_bench.XXXXXX";
    close(mkstemp(path));
    made_file(path, "session_id,name,pid,wall_ms\n1,a,77,100\n2,b,78,200\n3,,77,300\n4,cut");
    struct csv_row row;
    assert_int_equal(csv_row_read(path, "pid", "77", NULL, &row), 0);
    assert_string_equal(csv_row_get(&row, "session_id"), "3");
    assert_string_equal(csv_row_get(&row, "name"), "");
    assert_true(csv_row_number(&row, "wall_ms") == 300);
    assert_null(csv_row_get(&row, "absent"));
    csv_row_free(&row);
    assert_int_equal(csv_row_read(path, "pid", "77", "session_id", &row), 0);
    assert_string_equal(csv_row_get(&row, "session_id"), "3");
    csv_row_free(&row);
    made_file(path, "session_id,pid,ranges\n1,77,0\n2,77,5\n3,77,5\n4,77,0\n5,78,9\n");
    assert_int_equal(csv_row_read(path, "pid", "77", "ranges", &row), 0);
    assert_string_equal(csv_row_get(&row, "session_id"), "3");
    csv_row_free(&row);
    assert_int_not_equal(csv_row_read(path, "pid", "79", NULL, &row), 0);
    unlink(path);
    assert_int_not_equal(csv_row_read(path, "pid", "77", NULL, &row), 0);
}

static void cells_stay_under_their_columns(void **state)
{
    (void)state;
    char path[] = "/tmp/test_bench.XXXXXX", text[128];
    close(mkstemp(path));
    struct csv_table *t = csv_table_new();
    csv_table_add_row(t);
    csv_table_set(t, "a", "%d", 1);
    csv_table_set(t, "b", "%s", "x,y\n");
    csv_table_add_row(t);
    csv_table_set(t, "c", "%d", 3);
    csv_table_set(t, "a", "%d", 4);
    csv_table_set(t, "a", "%d", 5);
    assert_int_equal(csv_table_write(t, path), 0);
    FILE *file = fopen(path, "r");
    size_t length = fread(text, 1, sizeof(text) - 1, file);
    text[length] = '\0';
    fclose(file);
    unlink(path);
    assert_string_equal(text, "a,b,c\n1,x;y;,\n5,,3\n");
    csv_table_free(t);
}

/* ---- both arms, made by hand ---------------------------------------------------------------- */

static const struct made_time eight_seconds = {.window_s = 8, .lead_s = 2};

static const char baseline_json[] = "{\n  \"units_per_sec\": 200,\n  \"elapsed_ms\": 8000,\n"
                                    "  \"verify_errors\": 0,\n  \"pages_checked\": 9\n}\n";
static const char pager_json[] =
    "{\n  \"units_per_sec\": 190,\n  \"elapsed_ms\": 8080,\n  \"verify_errors\": 0,\n"
    "  \"pages_checked\": 9,\n  \"touch_p99_ns\": 1234,\n  \"touch_p999_ns\": null,\n"
    "  \"pager_agent_cpu_ns\": 40000000,\n  \"pager_porter_cpu_ns\": 8000000\n}\n";

static void a_row_is_worked_out(void **state)
{
    (void)state;
    char *names[] = {"wall_ms",       "daemon_cpu_ns",      "agent_cpu_ns",
                     "porter_cpu_ns", "agent_fault_cpu_ns", "fault_missing_ns_p95"};
    char *values[] = {"10000", "100000000", "200000000", "50000000", "80000000", "7000"};
    const uint64_t baseline_mib[] = {500, 500, 500}, pager_mib[] = {500, 500, 300};
    struct arm_result baseline = made_arm(baseline_json, eight_seconds, baseline_mib);
    struct arm_result pager = made_arm(pager_json, eight_seconds, pager_mib);
    pager.has_session = true;
    pager.session = (struct csv_row){.names = names, .values = values, .count = 6};
    struct csv_table *t = csv_table_new();
    csv_table_add_row(t);
    assert_int_equal(compare_arms(t, (const struct arm_result *[ARM_NR]){&baseline, &pager}), 0);
    assert_string_equal(csv_table_get(t, 0, "verdict"), "OK");
    assert_true(is_near(made_cell(t, "units_per_sec_ratio_pager_vs_baseline"), 0.95));
    assert_true(is_near(made_cell(t, "elapsed_ms_ratio_pager_vs_baseline"), 1.01));
    /* eight samples in the window, the last two of them lower by 200 */
    assert_true(is_near(made_cell(t, "net_memory_saved_avg_mib"), 50));
    assert_true(is_near(made_cell(t, "net_memory_saved_avg_pct"), 10));
    assert_true(is_near(made_cell(t, "net_memory_saved_steady_mib"), 200));
    assert_true(is_near(made_cell(t, "net_memory_saved_steady_pct"), 40));
    assert_true(is_near(made_cell(t, "pager_daemon_cpu_pct_total"), 3.5));
    assert_true(is_near(made_cell(t, "pager_fault_cpu_pct"), 0.8));
    assert_true(is_near(made_cell(t, "pager_bg_cpu_pct"), 2.7));
    assert_true(is_near(made_cell(t, "pager_daemon_process_cpu_pct"), 1));
    assert_true(is_near(made_cell(t, "pager_agent_cpu_pct"), 2));
    assert_true(is_near(made_cell(t, "pager_porter_cpu_pct"), 0.5));
    /* 10 ms a second of the daemon's, 48 ms in 8 s of the two threads' */
    assert_true(is_near(made_cell(t, "pager_window_cpu_pct"), 1.6));
    assert_true(is_near(made_cell(t, "pager_fault_missing_p95_ns"), 7000));
    assert_true(is_near(made_cell(t, "pager_touch_p99_ns"), 1234));
    assert_string_equal(csv_table_get(t, 0, "pager_touch_p999_ns"), "");
    assert_string_equal(csv_table_get(t, 0, "baseline_time_cpu_pct"), "");
    csv_table_free(t);
    pager.has_session = false; /* it was not allocated */
    arm_result_free(&baseline);
    arm_result_free(&pager);
}

static const char *verdict_of(const char *json, int exit_code, int *ret_code)
{
    static char verdict[32];
    const uint64_t mib[] = {1, 1, 1};
    struct arm_result baseline = made_arm(baseline_json, eight_seconds, mib);
    struct arm_result pager = made_arm(json, eight_seconds, mib);
    pager.exit_code = exit_code;
    struct csv_table *t = csv_table_new();
    csv_table_add_row(t);
    *ret_code = compare_arms(t, (const struct arm_result *[ARM_NR]){&baseline, &pager});
    snprintf(verdict, sizeof(verdict), "%s", csv_table_get(t, 0, "verdict"));
    csv_table_free(t);
    arm_result_free(&baseline);
    arm_result_free(&pager);
    return verdict;
}

static void a_wrong_byte_makes_a_row_invalid(void **state)
{
    (void)state;
    int code;
    assert_string_equal(
        verdict_of("{\n  \"verify_errors\": 3,\n  \"pages_checked\": 9\n}", 1, &code), "INVALID");
    assert_int_equal(code, 1);
    assert_string_equal(
        verdict_of("{\n  \"verify_errors\": 0,\n  \"pages_checked\": 0\n}", 0, &code), "UNCHECKED");
    assert_int_equal(code, 0);
    assert_string_equal(verdict_of("", 139, &code), "FAILED"); /* it crashed */
    assert_int_equal(code, 139);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elapsed_is_read_in_all_its_forms),
        cmocka_unit_test(gnu_time_is_read),
        cmocka_unit_test(mappings_are_told_apart_by_name),
        cmocka_unit_test(a_memfd_is_counted_once),
        cmocka_unit_test(the_store_is_paid_for_once),
        cmocka_unit_test(means_are_over_the_asked_time),
        cmocka_unit_test(unit_goes_to_the_end_of_a_column),
        cmocka_unit_test(medians_are_over_one_workload),
        cmocka_unit_test(the_row_of_a_pid_is_found),
        cmocka_unit_test(cells_stay_under_their_columns),
        cmocka_unit_test(a_row_is_worked_out),
        cmocka_unit_test(a_wrong_byte_makes_a_row_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
