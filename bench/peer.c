/* peer.c - process-pager against the kernel's own zram, in one run: the same content, evicted whole,
 * then touched at random (paced with spinning, and back to back) and in order. Arms alternate and
 * their order flips every repeat; ratios are pair by pair. Every byte is checked in every run.
 *
 * Files: peer.csv (a row a run), peer.txt (the table that is printed). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "common/options.h"
#include "common/pace.h"
#include "csv.h"
#include "files.h"
#include "subject.h"
#include "zram.h"

#define REPEATS_MAX 50u
#define RUN_PATIENCE_NS (180 * UINT64_C(1000000000))
#define END_PATIENCE_NS (5 * UINT64_C(1000000000))

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
    { "results-dir", OPTION_STRING, &settings.results_dir, 0, 0, NULL, "where the files go" },
    { "daemon", OPTION_STRING, &settings.daemon_path, 0, 0, NULL,
      "path of process-pagerd; else looked for beside this program" },
};

/* How this program calls itself for one run. */
static const struct option_row subject_rows[] = {
    { "subject", OPTION_FLAG, &settings.is_subject, 0, 0, NULL, "be measured (internal)" },
    { "arm", OPTION_CHOICE, &settings.subject.arm, 0, 0, arm_choices, "(internal)" },
    { "socket", OPTION_STRING, &settings.subject.socket_path, 0, 0, NULL, "(internal)" },
    { "daemon-pid", OPTION_UINT, &settings.subject.daemon_pid, 0, 1e9, NULL, "(internal)" },
    { "zram-id", OPTION_UINT, &settings.subject.zram_id, 0, 1e6, NULL, "(internal)" },
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

struct run {
    unsigned arm;
    uint64_t seed;
    struct child daemon, subject;
    struct zram zram;
    char folder[64], socket_path[96], out_path[96], log_path[96];
};

static int start_daemon(struct run *run)
{
    char *argv[] = { (char *)settings.daemon_path, "--socket", run->socket_path, "--cold-age",
                     (char *)settings.cold_age, "--reclaim-rate", "100G", NULL };
    struct child_spec spec = { .argv = argv,
                               .stdout_path = run->log_path,
                               .stderr_path = run->log_path,
                               .end_signal = SIGTERM };
    int r = child_start(&spec, &run->daemon);
    struct stat st;
    for (int i = 0; r == 0 && stat(run->socket_path, &st); i++) {
        int code;
        if (child_wait_until(&run->daemon, pace_now_ns() + 20000000, &code) != CHILD_RUNS || i > 250)
            r = -ESRCH;
    }
    return r;
}

static int start_subject(struct run *run)
{
    char bytes[32], seed[32], paced[32], straight[32], pause[32], daemon_pid[32], zram_id[32];
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)settings.bytes);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)run->seed);
    snprintf(paced, sizeof paced, "%llu", (unsigned long long)settings.nr_paced);
    snprintf(straight, sizeof straight, "%llu", (unsigned long long)settings.nr_back_to_back);
    snprintf(pause, sizeof pause, "%lluns", (unsigned long long)settings.pause_ns);
    snprintf(daemon_pid, sizeof daemon_pid, "%d", (int)run->daemon.pid);
    snprintf(zram_id, sizeof zram_id, "%d", run->zram.id < 0 ? 0 : run->zram.id);
    char *argv[] = { "/proc/self/exe", "--subject", "--arm", (char *)arm_choices[run->arm],
                     "--mib-bytes", bytes, "--seed", seed, "--paced", paced, "--back-to-back", straight,
                     "--pause", pause, "--socket", run->socket_path, "--daemon-pid", daemon_pid,
                     "--zram-id", zram_id, NULL };
    struct child_spec spec = { .argv = argv,
                               .stdout_path = run->out_path,
                               .end_signal = SIGKILL };
    return child_start(&spec, &run->subject);
}

static void take_lines(struct csv_table *t, const struct run *run, unsigned repeat)
{
    csv_table_add_row(t);
    csv_table_set(t, "repeat", "%u", repeat);
    csv_table_set(t, "arm", "%s", arm_choices[run->arm]);
    csv_table_set(t, "seed", "%llu", (unsigned long long)run->seed);
    csv_table_set(t, "mib", "%llu", (unsigned long long)(settings.bytes >> 20));
    char *text = file_read(run->out_path);
    char *rest = text;
    for (char *line; text && (line = strtok_r(rest, "\n", &rest));) {
        char *value = strchr(line, ' ');
        if (!value)
            continue;
        *value++ = '\0';
        csv_table_set(t, line, "%s", value);
    }
    free(text);
}

/* 0; an exit code after saying why. */
static int do_run(struct csv_table *t, unsigned arm, unsigned repeat)
{
    struct run run = { .arm = arm, .seed = settings.seed + repeat, .zram = { .id = -1 } };
    snprintf(run.folder, sizeof run.folder, "/tmp/process-pager-peer.XXXXXX");
    if (!mkdtemp(run.folder)) {
        fprintf(stderr, "peer: %s: %s\n", run.folder, strerror(errno));
        return EXIT_SYSTEM;
    }
    snprintf(run.socket_path, sizeof run.socket_path, "%s/pager.sock", run.folder);
    snprintf(run.out_path, sizeof run.out_path, "%s/out", run.folder);
    snprintf(run.log_path, sizeof run.log_path, "%s/log", run.folder);
    char reason[160] = "";
    int r = arm == SUBJECT_PAGER ? start_daemon(&run)
                                 : zram_begin(&run.zram, settings.bytes * 2, reason, sizeof reason);
    int code = EXIT_SYSTEM;
    if (r == 0)
        r = start_subject(&run);
    if (r == 0 && child_wait_until(&run.subject, pace_now_ns() + RUN_PATIENCE_NS, &code) != CHILD_ENDED)
        code = EXIT_SYSTEM;
    child_end(&run.subject, END_PATIENCE_NS);
    child_end(&run.daemon, END_PATIENCE_NS);
    zram_end(&run.zram);
    if (r)
        fprintf(stderr, "peer: %s: %s\n", arm_choices[arm], *reason ? reason : strerror(-r));
    else
        take_lines(t, &run, repeat);
    (void)unlink(run.out_path);
    (void)unlink(run.log_path);
    (void)unlink(run.socket_path);
    (void)rmdir(run.folder);
    return code;
}

/* ---- the table */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct spread {
    double median, least, most;
    unsigned nr;
};

static struct spread spread_of(double *values, unsigned nr)
{
    qsort(values, nr, sizeof *values, by_size);
    if (!nr)
        return (struct spread){ .nr = 0 };
    double median = nr % 2 ? values[nr / 2] : (values[nr / 2 - 1] + values[nr / 2]) / 2;
    return (struct spread){ .median = median, .least = values[0], .most = values[nr - 1], .nr = nr };
}

static bool cell(const struct csv_table *t, unsigned repeat, unsigned arm, const char *column,
                 double *ret_value)
{
    for (size_t row = 0; row < csv_table_rows(t); row++) {
        double r;
        if (csv_table_get_number(t, row, "repeat", &r) && (unsigned)r == repeat &&
            !strcmp(csv_table_get(t, row, "arm"), arm_choices[arm]))
            return csv_table_get_number(t, row, column, ret_value);
    }
    return false;
}

static void print_spread(FILE *f, struct spread s, double scale)
{
    if (s.nr)
        fprintf(f, "  %9.2f [%8.2f, %8.2f]", s.median * scale, s.least * scale, s.most * scale);
    else
        fprintf(f, "  %30s", "-");
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
    print_spread(f, spread_of(pager, nr_pager), scale);
    print_spread(f, spread_of(zram, nr_zram), scale);
    print_spread(f, spread_of(ratio, nr_ratio), is_difference ? scale : 1);
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

static int write_results(const struct csv_table *t)
{
    print_table(stdout, t);
    if (!settings.results_dir)
        return 0;
    char path[PATH_MAX];
    int r = folder_make(settings.results_dir);
    snprintf(path, sizeof path, "%s/peer.csv", settings.results_dir);
    if (r == 0)
        r = csv_table_write(t, path);
    snprintf(path, sizeof path, "%s/peer.txt", settings.results_dir);
    FILE *f = r == 0 ? fopen(path, "we") : NULL;
    if (!f) {
        fprintf(stderr, "peer: %s: %s\n", path, strerror(r ? -r : errno));
        return EXIT_SYSTEM;
    }
    print_table(f, t);
    return fclose(f) ? EXIT_SYSTEM : 0;
}

/* build/bench/peer -> build/process-pagerd */
static const char *find_daemon(void)
{
    static char path[PATH_MAX + 32];
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return "process-pagerd";
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(path, sizeof path, "%s/../process-pagerd", self);
    return access(path, X_OK) == 0 ? path : "process-pagerd";
}

static int run_all(struct csv_table *t)
{
    int worst = 0;
    for (unsigned repeat = 0; repeat < settings.repeats && !children_stop_signal(); repeat++)
        for (unsigned i = 0; i < SUBJECT_ARMS_NR && !children_stop_signal(); i++) {
            unsigned arm = (i + repeat) % SUBJECT_ARMS_NR;
            fprintf(stderr, "peer: %s %u/%u\n", arm_choices[arm], repeat + 1,
                    (unsigned)settings.repeats);
            int code = do_run(t, arm, repeat);
            worst = code > worst ? code : worst;
        }
    return worst;
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
        settings.daemon_path = find_daemon();
    children_catch_signals();
    char reason[160];
    struct zram probe;
    if (zram_recover() || zram_begin(&probe, settings.bytes, reason, sizeof reason)) {
        printf("SKIP: %s\n", reason);
        return 77;
    }
    zram_end(&probe);
    struct csv_table *t = csv_table_new();
    int code = run_all(t);
    int r = write_results(t);
    csv_table_free(t);
    return children_stop_signal() ? 128 + children_stop_signal() : code ? code : r;
}
