/* stall.c - how long a touch of a page that is out takes, as the program feels it: process-pager's ways of
 * answering against the kernel's zram, arms alternating in one run. Load, number of faulting threads, order
 * and pace vary; every byte is checked in every run, and ratios are pair by pair.
 *
 * Files: stall.csv (a row a run), stall.txt (the table that is printed), touches/ (a histogram of each phase of
 * each run), plots/ (of them, a picture for each number of threads). */
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "common/options.h"
#include "csv.h"
#include "duel.h"
#include "spread.h"
#include "stall_plot.h"
#include "stall_subject.h"

#define REPEATS_MAX 50u
#define HOGS_MAX 4u
#define HOG_PATIENCE_NS (2 * UINT64_C(1000000000))

/* What else the machine does meanwhile. */
static const struct load {
    const char *name;
    unsigned nr_hogs; /* processes that compute */
    bool is_evicting; /* other memory of the subject leaves as fast as it goes */
    bool is_flooded;  /* another process of the same arm faults as fast as it can */
} loads[] = { { .name = "idle" }, { .name = "hog", .nr_hogs = 1 }, { .name = "hogs", .nr_hogs = 4 },
              { .name = "evict", .is_evicting = true }, { .name = "flood", .is_flooded = true } };
#define LOADS_NR (sizeof loads / sizeof *loads)

static const unsigned thread_numbers[] = { 1, 2, 8 };
#define THREADS_NR (sizeof thread_numbers / sizeof *thread_numbers)

static struct {
    uint64_t bytes, repeats, seed, nr_paced, pause_ns, nr_threads;
    const char *results_dir, *daemon_path, *arms, *loads, *threads, *touches_prefix;
    bool is_subject, is_hog, is_evicting, is_flooded;
    struct subject_spec subject;
} settings = {
    .bytes = UINT64_C(64) << 20,
    .repeats = 5,
    .seed = 1,
    .nr_paced = 10000,
    .pause_ns = 100000,
    .arms = "pager,zram,direct",
    .loads = "idle,hog,hogs,evict,flood",
    .threads = "1,2,8",
    .touches_prefix = "",
};

static const struct option_row rows[] = {
    { "mib-bytes", OPTION_SIZE, &settings.bytes, 4 << 20, 1e12, NULL, "memory of each run" },
    { "repeats", OPTION_UINT, &settings.repeats, 1, REPEATS_MAX, NULL, "of all arms" },
    { "seed", OPTION_UINT, &settings.seed, 0, 1e15, NULL, "of the content and the order" },
    { "paced", OPTION_UINT, &settings.nr_paced, 1, 1e9, NULL, "touches with a pause" },
    { "pause", OPTION_TIME, &settings.pause_ns, 0, 1e9, NULL, "of spinning between paced touches" },
    { "arms", OPTION_STRING, &settings.arms, 0, 0, NULL, "which" },
    { "loads", OPTION_STRING, &settings.loads, 0, 0, NULL, "what else the machine does" },
    { "threads", OPTION_STRING, &settings.threads, 0, 0, NULL, "numbers of threads that touch" },
    DUEL_PLACES(settings),
};

/* How this program calls itself for one run. */
static const struct option_row subject_rows[] = {
    { "subject", OPTION_FLAG, &settings.is_subject, 0, 0, NULL, "be measured (internal)" },
    { "hog", OPTION_FLAG, &settings.is_hog, 0, 0, NULL, "compute (internal)" },
    { "evicting", OPTION_FLAG, &settings.is_evicting, 0, 0, NULL, "(internal)" },
    { "flooded", OPTION_FLAG, &settings.is_flooded, 0, 0, NULL, "(internal)" },
    { "touches", OPTION_STRING, &settings.touches_prefix, 0, 0, NULL, "(internal)" },
    { "nr-threads", OPTION_UINT, &settings.nr_threads, 1, STALL_THREADS_MAX, NULL, "(internal)" },
    SUBJECT_ROWS(settings.subject, subject_arm_names),
};

/* Is the word one of "a,b,c"? */
static bool is_listed(const char *list, const char *word)
{
    size_t size = strlen(word);
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (!strncmp(at, word, size) && (at[size] == ',' || !at[size]))
            return true;
    return false;
}

static bool is_thread_number_listed(unsigned i)
{
    char word[16];
    snprintf(word, sizeof word, "%u", thread_numbers[i]);
    return is_listed(settings.threads, word);
}

static int run_subject(void)
{
    struct stall_spec spec = { .subject = settings.subject,
                               .nr_threads = settings.nr_threads,
                               .is_evicting = settings.is_evicting,
                               .is_flooded = settings.is_flooded,
                               .touches_prefix = *settings.touches_prefix ? settings.touches_prefix : NULL };
    spec.subject.bytes = settings.bytes;
    spec.subject.seed = settings.seed;
    spec.subject.nr_paced = settings.nr_paced;
    spec.subject.pause_ns = settings.pause_ns;
    return stall_run(&spec);
}

/* ---- one run */

static int start_hogs(struct child hogs[HOGS_MAX], unsigned nr)
{
    char *argv[] = { "/proc/self/exe", "--hog", NULL };
    struct child_spec spec = { .argv = argv, .end_signal = SIGKILL };
    for (unsigned i = 0; i < nr; i++) {
        int r = child_start(&spec, &hogs[i]);
        if (r) {
            fprintf(stderr, "stall: cannot start a process that computes: %s\n", strerror(-r));
            return r;
        }
    }
    return 0;
}

static int do_run(struct csv_table *t, unsigned arm, const struct load *load, unsigned nr_threads,
                  unsigned repeat)
{
    char bytes[32], seed[32], paced[32], pause[32], threads[32], touches[PATH_MAX];
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)settings.bytes);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)(settings.seed + repeat));
    snprintf(paced, sizeof paced, "%llu", (unsigned long long)settings.nr_paced);
    snprintf(pause, sizeof pause, "%lluns", (unsigned long long)settings.pause_ns);
    snprintf(threads, sizeof threads, "%u", nr_threads);
    struct stall_run run = { load->name, nr_threads, arm, repeat };
    if (!settings.results_dir || stall_run_prefix(settings.results_dir, &run, touches))
        *touches = '\0';
    char *arguments[] = { "--mib-bytes", bytes, "--seed", seed, "--paced", paced, "--pause", pause,
                          "--nr-threads", threads, "--touches", touches,
                          load->is_evicting ? "--evicting" : load->is_flooded ? "--flooded" : NULL, NULL };
    struct duel_spec spec = { .program = "stall",
                              .arm = arm,
                              .daemon_path = settings.daemon_path,
                              .cold_age = "1h",
                              .zram_bytes = settings.bytes * (load->is_flooded ? 3 : 2) + (64 << 20) };
    csv_table_add_row(t);
    csv_table_set(t, "repeat", "%u", repeat);
    csv_table_set(t, "arm", "%s", subject_arm_names[arm]);
    csv_table_set(t, "load", "%s", load->name);
    csv_table_set(t, "threads", "%u", nr_threads);
    csv_table_set(t, "mib", "%llu", (unsigned long long)(settings.bytes >> 20));
    struct child hogs[HOGS_MAX] = { { .pid = 0 } };
    int code = EXIT_SYSTEM;
    if (start_hogs(hogs, load->nr_hogs) == 0)
        code = duel_run(&spec, arguments, t);
    for (unsigned i = 0; i < HOGS_MAX; i++)
        child_end(&hogs[i], HOG_PATIENCE_NS);
    return code;
}

/* ---- the table */

struct key {
    unsigned arm, load, nr_threads, repeat;
};

static bool cell(const struct csv_table *t, struct key k, const char *column, double *ret_value)
{
    for (size_t row = 0; row < csv_table_rows(t); row++) {
        double repeat, threads;
        if (csv_table_get_number(t, row, "repeat", &repeat) && (unsigned)repeat == k.repeat &&
            csv_table_get_number(t, row, "threads", &threads) && (unsigned)threads == k.nr_threads &&
            !strcmp(csv_table_get(t, row, "arm"), subject_arm_names[k.arm]) &&
            !strcmp(csv_table_get(t, row, "load"), loads[k.load].name))
            return csv_table_get_number(t, row, column, ret_value);
    }
    return false;
}

static bool has_column(const struct csv_table *t, const char *column)
{
    double value;
    for (size_t row = 0; row < csv_table_rows(t); row++)
        if (csv_table_get_number(t, row, column, &value))
            return true;
    return false;
}

static void print_metric(FILE *f, const struct csv_table *t, struct key k, const char *phase,
                         const char *what, const char *label, double scale)
{
    char column[64];
    snprintf(column, sizeof column, "%s_%s", phase, what);
    if (!has_column(t, column))
        return; /* stages, in the program that does not tell them */
    fprintf(f, "  %-12s %-14s", phase, label);
    for (k.arm = 0; k.arm < SUBJECT_ARMS_NR; k.arm++) {
        if (!is_listed(settings.arms, subject_arm_names[k.arm]))
            continue;
        double values[REPEATS_MAX], ratios[REPEATS_MAX];
        unsigned nr = 0, nr_ratios = 0;
        for (k.repeat = 0; k.repeat < settings.repeats; k.repeat++) {
            double value, zram;
            struct key other = k;
            other.arm = SUBJECT_ZRAM;
            if (!cell(t, k, column, &value))
                continue;
            values[nr++] = value;
            if (k.arm != SUBJECT_ZRAM && cell(t, other, column, &zram) && zram > 0)
                ratios[nr_ratios++] = value / zram;
        }
        fprintf(f, " %s", subject_arm_names[k.arm]);
        spread_print(f, spread_of(values, nr), scale);
        if (nr_ratios) {
            fprintf(f, " x");
            spread_print(f, spread_of(ratios, nr_ratios), 1);
        }
    }
    fprintf(f, "\n");
}

/* Two of the numbers do so under one load alone. */
static bool says_something(const char *what, const struct load *load)
{
    if (!strcmp(what, "evicted_beside"))
        return load->is_evicting;
    return strcmp(what, "flood_per_s") || load->is_flooded;
}

static void print_table(FILE *f, const struct csv_table *t)
{
    static const struct {
        const char *what, *label;
        double scale;
    } metrics[] = {
        { "p50_ns", "p50, us", 1e-3 },      { "p95_ns", "p95, us", 1e-3 },
        { "p99_ns", "p99, us", 1e-3 },      { "p999_ns", "p99.9, us", 1e-3 },
        { "max_ns", "max, us", 1e-3 },      { "pages_per_s", "pages/s", 1 },
        { "target_cpu_us_per_page", "CPU us/page", 1 },
        { "daemon_cpu_us_per_page", "daemon us/page", 1 },
        { "reach_p50_ns", "reached, us", 1e-3 },   { "reach_p99_ns", "p99, us", 1e-3 },
        { "decode_p50_ns", "decoded, us", 1e-3 },  { "decode_p99_ns", "p99, us", 1e-3 },
        { "install_p50_ns", "the call, us", 1e-3 }, { "install_p99_ns", "p99, us", 1e-3 },
        { "back_p50_ns", "call, back, us", 1e-3 }, { "back_p99_ns", "p99, us", 1e-3 },
        { "evicted_beside", "evicted", 1 },
        { "flood_per_s", "the flood's/s", 1 },
    };
    fprintf(f, "median [min, max] of %u; x: against zram, pair by pair\n", (unsigned)settings.repeats);
    for (unsigned load = 0; load < LOADS_NR; load++)
        for (unsigned i = 0; i < THREADS_NR; i++) {
            if (!is_listed(settings.loads, loads[load].name) || !is_thread_number_listed(i))
                continue;
            fprintf(f, "%s, %u threads\n", loads[load].name, thread_numbers[i]);
            struct key k = { .load = load, .nr_threads = thread_numbers[i] };
            for (size_t p = 0; stall_phases[p]; p++)
                for (size_t m = 0; m < sizeof metrics / sizeof *metrics; m++)
                    if (says_something(metrics[m].what, &loads[load]))
                        print_metric(f, t, k, stall_phases[p], metrics[m].what, metrics[m].label,
                                     metrics[m].scale);
        }
}

static int run_arms(struct csv_table *t, const struct load *load, unsigned nr_threads, unsigned repeat)
{
    int worst = 0;
    for (unsigned i = 0; i < SUBJECT_ARMS_NR && !children_stop_signal(); i++) {
        unsigned arm = (i + repeat) % SUBJECT_ARMS_NR;
        if (!is_listed(settings.arms, subject_arm_names[arm]))
            continue;
        int code = do_run(t, arm, load, nr_threads, repeat);
        if (code)
            fprintf(stderr, "stall: %s, %s, %u threads: code %d\n", subject_arm_names[arm], load->name,
                    nr_threads, code);
        worst = code > worst ? code : worst;
    }
    return worst;
}

static int run_all(struct csv_table *t)
{
    int worst = 0;
    for (unsigned repeat = 0; repeat < settings.repeats; repeat++)
        for (unsigned load = 0; load < LOADS_NR; load++)
            for (unsigned i = 0; i < THREADS_NR && !children_stop_signal(); i++) {
                if (!is_listed(settings.loads, loads[load].name) || !is_thread_number_listed(i))
                    continue;
                fprintf(stderr, "stall: %u/%u, %s, %u threads\n", repeat + 1,
                        (unsigned)settings.repeats, loads[load].name, thread_numbers[i]);
                int code = run_arms(t, &loads[load], thread_numbers[i], repeat);
                worst = code > worst ? code : worst;
            }
    return worst;
}

/* A picture for each number of threads. */
static int draw_all(void)
{
    struct stall_plot plot = { .nr_repeats = (unsigned)settings.repeats };
    for (unsigned arm = 0; arm < SUBJECT_ARMS_NR; arm++)
        plot.has_arm[arm] = is_listed(settings.arms, subject_arm_names[arm]);
    for (unsigned load = 0; load < LOADS_NR; load++)
        if (is_listed(settings.loads, loads[load].name))
            plot.loads[plot.nr_loads++] = loads[load].name;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < THREADS_NR && !children_stop_signal(); i++) {
        plot.nr_threads = thread_numbers[i];
        r = is_thread_number_listed(i) ? stall_plot_draw(settings.results_dir, &plot) : 0;
    }
    if (r)
        fprintf(stderr, "stall: %s/plots: %s\n", settings.results_dir, strerror(-r));
    return r ? EXIT_SYSTEM : 0;
}

int main(int argc, char **argv)
{
    const struct option_table table = {
        .program = "stall",
        .about = "What a touch of a page that is out takes, against zram (lz4, page-cluster 0), in one run. "
                 "Needs root for zram.",
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
    if (settings.is_hog)
        for (volatile unsigned n = 0;; n++)
            ;
    if (!settings.daemon_path)
        settings.daemon_path = duel_find_daemon();
    children_catch_signals();
    char reason[160];
    struct zram probe;
    if (is_listed(settings.arms, "zram")) {
        if (zram_recover() || zram_begin(&probe, settings.bytes, reason, sizeof reason)) {
            printf("SKIP: %s\n", reason);
            return 77;
        }
        zram_end(&probe);
    }
    struct csv_table *t = csv_table_new();
    int code = run_all(t);
    int r = duel_write("stall", settings.results_dir, t, print_table);
    csv_table_free(t);
    if (settings.results_dir && !children_stop_signal() && r == 0)
        r = draw_all();
    return children_stop_signal() ? 128 + children_stop_signal() : code ? code : r;
}
