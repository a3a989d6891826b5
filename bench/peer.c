/* peer.c - process-pager against the kernel's own zram, in one run: the same content, evicted whole,
 * then touched at random (paced with spinning, and back to back) and in order. Arms alternate and
 * their order flips every repeat; ratios are pair by pair. Every byte is checked in every run.
 *
 * Files: peer.csv (a row a run), peer.txt (the table that is printed). */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "common/options.h"
#include "csv.h"
#include "duel.h"
#include "spread.h"
#include "subject.h"
#include "zram.h"

#define REPEATS_MAX 50u

struct settings {
    uint64_t bytes, repeats, seed, nr_paced, nr_back_to_back, pause_ns;
    const char *results_dir, *daemon_path, *cold_age;
    bool is_subject;
    struct subject_spec subject;
};

static struct settings settings = {
    .bytes = UINT64_C(512) << 20,
    .repeats = 5,
    .seed = 1,
    .nr_paced = 10000,
    .nr_back_to_back = 30000,
    .pause_ns = 100000,
    .cold_age = "1h",
};

static const char *const arm_choices[] = { "pager", "zram", NULL };

static const struct option_row rows[] = {
    { "mib-bytes", OPTION_SIZE, &settings.bytes, 4 << 20, 1e12, NULL, "memory of each run" },
    { "repeats", OPTION_UINT, &settings.repeats, 1, REPEATS_MAX, NULL, "of both arms" },
    { "seed", OPTION_UINT, &settings.seed, 0, 1e15, NULL, "of the content and the order" },
    { "paced", OPTION_UINT, &settings.nr_paced, 1, 1e9, NULL, "random touches with a pause" },
    { "back-to-back", OPTION_UINT, &settings.nr_back_to_back, 1, 1e9, NULL, "random touches without" },
    { "pause", OPTION_TIME, &settings.pause_ns, 0, 1e9, NULL, "of spinning between paced touches" },
    { "cold-age", OPTION_STRING, &settings.cold_age, 0, 0, NULL,
      "of the pager arm: nothing leaves by itself" },
    DUEL_PLACES(settings),
};

/* How this program calls itself for one run. */
static const struct option_row subject_rows[] = {
    { "subject", OPTION_FLAG, &settings.is_subject, 0, 0, NULL, "be measured (internal)" },
    SUBJECT_ROWS(settings.subject, arm_choices),
};

static int run_subject(void)
{
    settings.subject.bytes = settings.bytes;
    settings.subject.seed = settings.seed;
    settings.subject.nr_paced = settings.nr_paced;
    settings.subject.nr_back_to_back = settings.nr_back_to_back;
    settings.subject.pause_ns = settings.pause_ns;
    return subject_run(&settings.subject);
}

/* ---- one run */

/* 0; an exit code after saying why. */
static int do_run(struct csv_table *t, unsigned arm, unsigned repeat)
{
    uint64_t run_seed = settings.seed + repeat;
    char bytes[32], seed[32], paced[32], straight[32], pause[32];
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)settings.bytes);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)run_seed);
    snprintf(paced, sizeof paced, "%llu", (unsigned long long)settings.nr_paced);
    snprintf(straight, sizeof straight, "%llu", (unsigned long long)settings.nr_back_to_back);
    snprintf(pause, sizeof pause, "%lluns", (unsigned long long)settings.pause_ns);
    char *arguments[] = { "--mib-bytes", bytes, "--seed", seed, "--paced", paced, "--back-to-back",
                          straight, "--pause", pause, NULL };
    struct duel_spec spec = { .program = "peer",
                              .arm = arm,
                              .daemon_path = settings.daemon_path,
                              .cold_age = settings.cold_age,
                              .zram_bytes = settings.bytes * 2 };
    fprintf(stderr, "peer: %s %u/%u\n", subject_arm_names[arm], repeat + 1, (unsigned)settings.repeats);
    csv_table_add_row(t);
    csv_table_set(t, "repeat", "%u", repeat);
    csv_table_set(t, "arm", "%s", subject_arm_names[arm]);
    csv_table_set(t, "seed", "%llu", (unsigned long long)run_seed);
    csv_table_set(t, "mib", "%llu", (unsigned long long)(settings.bytes >> 20));
    return duel_run(&spec, arguments, t);
}

/* ---- the table */

static bool cell(const struct csv_table *t, unsigned repeat, unsigned arm, const char *column,
                 double *ret_value)
{
    for (size_t row = 0; row < csv_table_rows(t); row++) {
        double r;
        if (csv_table_get_number(t, row, "repeat", &r) && (unsigned)r == repeat &&
            !strcmp(csv_table_get(t, row, "arm"), subject_arm_names[arm]))
            return csv_table_get_number(t, row, column, ret_value);
    }
    return false;
}

/* value: of each arm, and pager / zram pair by pair; is_difference: pager - zram instead. */
static void print_metric(FILE *f, const struct csv_table *t, const char *label, const char *column,
                         double scale, bool is_difference)
{
    double pager[REPEATS_MAX], zram[REPEATS_MAX], ratio[REPEATS_MAX];
    unsigned nr_pager = 0, nr_zram = 0, nr_ratio = 0;
    for (unsigned i = 0; i < settings.repeats; i++) {
        double p, z;
        bool has_p = cell(t, i, SUBJECT_PAGER, column, &p), has_z = cell(t, i, SUBJECT_ZRAM, column, &z);
        if (has_p)
            pager[nr_pager++] = p;
        if (has_z)
            zram[nr_zram++] = z;
        if (has_p && has_z && (is_difference || z != 0))
            ratio[nr_ratio++] = is_difference ? p - z : p / z;
    }
    fprintf(f, "%-30s", label);
    spread_print(f, spread_of(pager, nr_pager), scale);
    spread_print(f, spread_of(zram, nr_zram), scale);
    spread_print(f, spread_of(ratio, nr_ratio), is_difference ? scale : 1);
    fprintf(f, "\n");
}

static void print_table(FILE *f, const struct csv_table *t)
{
    static const struct {
        const char *label, *column;
        double scale;
        bool is_difference;
    } metrics[] = {
        { "evict, MiB/s", "evict_mib_per_s", 1, false },
        { "evict, target CPU us/page", "evict_target_cpu_us_per_page", 1, false },
        { "evict, daemon CPU us/page", "evict_daemon_cpu_us_per_page", 1, false },
        { "evict, CPU us/page in all", "evict_cpu_us_per_page", 1, false },
        { "saved, % (difference)", "saved_percent", 1, true },
        { "still present, pages", "present_pages", 1, true },
        { "paced p50, us", "paced_p50_ns", 1e-3, false },
        { "paced p95, us", "paced_p95_ns", 1e-3, false },
        { "paced p99, us", "paced_p99_ns", 1e-3, false },
        { "paced p99.9, us", "paced_p999_ns", 1e-3, false },
        { "paced max, us", "paced_max_ns", 1e-3, false },
        { "back to back p50, us", "back_to_back_p50_ns", 1e-3, false },
        { "back to back p99, us", "back_to_back_p99_ns", 1e-3, false },
        { "back to back p99.9, us", "back_to_back_p999_ns", 1e-3, false },
        { "back to back, pages/s", "back_to_back_pages_per_s", 1, false },
        { "back to back, CPU us/page", "back_to_back_cpu_us_per_page", 1, false },
        { "in order p50, us", "in_order_p50_ns", 1e-3, false },
        { "in order p99, us", "in_order_p99_ns", 1e-3, false },
        { "in order, pages/s", "in_order_pages_per_s", 1, false },
        { "wrong bytes, pages", "wrong", 1, true },
    };
    fprintf(f, "%-30s  %-30s  %-30s  %s\n", "median [min, max]", "process-pager", "zram lz4",
            "ratio, pair by pair");
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        print_metric(f, t, metrics[i].label, metrics[i].column, metrics[i].scale,
                     metrics[i].is_difference);
}

int main(int argc, char **argv)
{
    const struct option_table table = {
        .program = "peer",
        .about = "process-pager against zram (lz4, page-cluster 0), in one run. Needs root for zram.",
        .rows = { rows, subject_rows },
        .nr_rows = { sizeof rows / sizeof *rows, sizeof subject_rows / sizeof *subject_rows },
    };
    switch (options_parse(&table, argc, argv)) {
    case OPTIONS_DONE: return 0;
    case OPTIONS_BAD:  return EXIT_USAGE;
    case OPTIONS_RUN:  break;
    }
    if (settings.is_subject)
        return run_subject();
    if (!settings.daemon_path)
        settings.daemon_path = duel_find_daemon();
    children_catch_signals();
    char reason[160];
    struct zram probe;
    if (zram_recover() || zram_begin(&probe, settings.bytes, reason, sizeof reason)) {
        printf("SKIP: %s\n", reason);
        return 77;
    }
    zram_end(&probe);
    struct csv_table *t = csv_table_new();
    int code = duel_rounds(t, SUBJECT_PEER_ARMS_NR, settings.repeats, do_run);
    int r = duel_write("peer", settings.results_dir, t, print_table);
    csv_table_free(t);
    return children_stop_signal() ? 128 + children_stop_signal() : code ? code : r;
}
