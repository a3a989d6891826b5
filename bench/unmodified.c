/* unmodified.c - programs that never heard of a pager: as they are, under `process-pager run` with default
 * settings, and beside the kernel's zram at the same saving. Arms take turns, their order turns round every
 * repeat; what is compared is pair by pair; what the programs keep is checked.
 *
 *   redis    values of 1 GiB, 99.9 % of the requests to a tenth of the keys
 *   python   data of 1 GiB, idle, then gone through twice
 *   build    this project's rooms compiled, two at a time
 *   spawn    2,000 processes that do nothing, one after the other: what `run` costs each
 *
 * Files: NAME.csv (a row a run or window; --append adds to what is there), NAME.txt (the table printed). */
#include "unmodified.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commit.h"
#include "common/options.h"
#include "files.h"
#include "pairs.h"

#define NR(list) (sizeof(list) / sizeof *(list))

/* clang-format off */
static const struct pairs_metric metrics[] = {
    { "paid, MiB",              "paid_mib",         1,    PAIRS_RATIO },
    { "saved, %",               "paid_mib",         0,    PAIRS_SAVED },
    { "requests/s",             "requests_per_s",   1,    PAIRS_RATIO },
    { "mean, us",               "mean_ns",          1e-3, PAIRS_RATIO },
    { "p50, us",                "p50_ns",           1e-3, PAIRS_RATIO },
    { "p99, us",                "p99_ns",           1e-3, PAIRS_RATIO },
    { "p99.9, us",              "p999_ns",          1e-3, PAIRS_RATIO },
    { "max, us",                "max_ns",           1e-3, PAIRS_RATIO },
    { "all keys read, s",       "read_all_ms",      1e-3, PAIRS_DIFFERENCE },
    { "wrong values",           "wrong",            1,    PAIRS_DIFFERENCE },
    { "CPU when idle, %",       "idle_cpu_percent", 1,    PAIRS_DIFFERENCE },
    { "first walk, s",          "first_walk_s",     1,    PAIRS_DIFFERENCE },
    { "second walk, s",         "second_walk_s",    1,    PAIRS_DIFFERENCE },
    { "elapsed, s",             "elapsed_s",        1,    PAIRS_RATIO },
    { "CPU, s",                 "cpu_s",            1,    PAIRS_RATIO },
};
/* clang-format on */

static const struct program {
    const char *name;
    int (*run)(struct unmodified *m, struct under *u);
    bool has_zram;
} programs[] = {
    { "redis", unmodified_redis, true },
    { "python", unmodified_python, true },
    { "build", unmodified_build, false },
    { "spawn", unmodified_spawn, false },
};
static const char *const program_names[] = { "redis", "python", "build", "spawn", NULL };

static struct unmodified measured = {
    .bytes = UINT64_C(1) << 30,
    .seed = 1,
    .warm_up_ns = 120 * UINT64_C(1000000000),
    .window_ns = 10 * UINT64_C(1000000000),
    .nr_windows = 3,
    .connections = 10,
    .idle_ns = 120 * UINT64_C(1000000000),
};
static struct {
    unsigned program;
    uint64_t repeats, first_repeat, paid_bytes;
    bool is_appended;
    const char *arms, *results_dir, *daemon_args, *run_args;
} settings = { .repeats = 3, .arms = "plain,pager,zram" };

static const struct option_row rows[] = {
    { "program", OPTION_CHOICE, &settings.program, 0, 0, program_names, "what runs" },
    { "repeats", OPTION_UINT, &settings.repeats, 1, 100, NULL, "of all arms" },
    { "first-repeat", OPTION_UINT, &settings.first_repeat, 0, 1000, NULL, "its number, with --append" },
    { "arms", OPTION_STRING, &settings.arms, 0, 0, NULL, "of plain, pager, zram; commas between" },
    { "append", OPTION_FLAG, &settings.is_appended, 0, 0, NULL, "to the rows that are there" },
    { "results-dir", OPTION_STRING, &settings.results_dir, 0, 0, NULL, "where the files go" },
    { "daemon-args", OPTION_STRING, &settings.daemon_args, 0, 0, NULL, "more options for process-pagerd" },
    { "run-args", OPTION_STRING, &settings.run_args, 0, 0, NULL, "more options for process-pager run" },
    { "paid", OPTION_SIZE, &settings.paid_bytes, 0, 1e12, NULL, "zram: what to aim at where pager is no arm" },
    { "bytes", OPTION_SIZE, &measured.bytes, 1 << 20, 1e12, NULL, "of data: redis, python" },
    { "seed", OPTION_UINT, &measured.seed, 0, 1e15, NULL, "of the data and the requests" },
    { "warm-up", OPTION_TIME, &measured.warm_up_ns, 0, 1e13, NULL, "redis: requests that don't count" },
    { "window", OPTION_TIME, &measured.window_ns, 1e8, 1e13, NULL, "redis: requests count for so long" },
    { "windows", OPTION_UINT, &measured.nr_windows, 1, 1000, NULL, "redis: one after the other" },
    { "turn", OPTION_UINT, &measured.turn, 1, 2, NULL, "redis: of two runs at once (tools/redis-turns)" },
    { "connections", OPTION_UINT, &measured.connections, 1, 256, NULL, "redis: one request each" },
    { "idle", OPTION_TIME, &measured.idle_ns, 0, 1e13, NULL, "python: before memory is looked at" },
    { "source", OPTION_STRING, &measured.source, 0, 0, NULL, "build: this project; else beside this program" },
};

void unmodified_row(struct unmodified *m, const struct under *u, unsigned window)
{
    csv_table_add_row(m->table);
    csv_table_set(m->table, "program", "%s", programs[settings.program].name);
    csv_table_set(m->table, "repeat", "%u", m->repeat);
    csv_table_set(m->table, "window", "%u", window);
    csv_table_set(m->table, "arm", "%s", under_names[u->arm]);
    csv_table_set(m->table, "commit", "%s", PP_COMMIT);
    csv_table_set(m->table, "bytes", "%llu", (unsigned long long)m->bytes);
}

static bool has_arm(enum under_arm arm)
{
    size_t length = strlen(under_names[arm]);
    for (const char *at = settings.arms; (at = strstr(at, under_names[arm])); at += length)
        if ((at == settings.arms || at[-1] == ',') && (at[length] == ',' || !at[length]))
            return arm != UNDER_ZRAM || programs[settings.program].has_zram;
    return false;
}

/* plain pager zram, pager zram plain, and so on: zram always has what the pager saved before it. */
static enum under_arm arm_at(unsigned repeat, unsigned i)
{
    static const enum under_arm orders[2][UNDER_NR] = { { UNDER_PLAIN, UNDER_PAGER, UNDER_ZRAM },
                                                        { UNDER_PAGER, UNDER_ZRAM, UNDER_PLAIN } };
    return orders[repeat % 2][i];
}

/* What the pager counted, over the whole run, stands in the last row of it. */
static void take_session(struct under *u, bool has_row)
{
    static const char *const names[] = { "client_evict_success", "faults_missing", "faults_zero", "fault_wait_ns",
                                         "other_wait_ns", "events_remove", "prefetch_pages", "daemon_cpu_ns",
                                         "agent_cpu_ns", "porter_cpu_ns" };
    for (size_t i = 0; u->has_session && has_row && i < NR(names); i++) {
        const char *value = csv_row_get(&u->session, names[i]);
        csv_table_set(measured.table, names[i], "%s", value ? value : "");
    }
    if (u->has_session)
        csv_row_free(&u->session);
}

static int run_arm(const struct under_places *places, enum under_arm arm)
{
    struct under u = { .arm = arm, .places = places, .seed = measured.seed, .zram_bytes = 3 * measured.bytes };
    fprintf(stderr, "unmodified: %s, %s, repeat %u\n", programs[settings.program].name, under_names[arm],
            measured.repeat);
    int code = under_begin(&u);
    if (code == 0)
        code = programs[settings.program].run(&measured, &u);
    code = under_end(&u, code);
    take_session(&u, code == 0);
    if (code && !children_stop_signal())
        fprintf(stderr, "unmodified: %s: %s\n", under_names[arm], u.problem);
    return code;
}

static int run_all(const struct under_places *places)
{
    int worst = 0;
    measured.paid_kib = settings.paid_bytes / 1024;
    for (unsigned i = 0; i < settings.repeats; i++) {
        measured.repeat = (unsigned)settings.first_repeat + i;
        for (unsigned j = 0; j < UNDER_NR && !children_stop_signal(); j++)
            if (has_arm(arm_at(measured.repeat, j))) {
                int code = run_arm(places, arm_at(measured.repeat, j));
                worst = code > worst ? code : worst;
            }
    }
    return worst;
}

static int write_results(void)
{
    char path[PATH_MAX];
    pairs_print(stdout, measured.table, under_names, metrics, NR(metrics));
    if (!settings.results_dir)
        return 0;
    const char *name = programs[settings.program].name;
    (void)snprintf(path, sizeof path, "%s/%s.csv", settings.results_dir, name);
    int r = csv_table_write(measured.table, path);
    (void)snprintf(path, sizeof path, "%s/%s.txt", settings.results_dir, name);
    FILE *f = r == 0 ? fopen(path, "we") : NULL;
    if (!f) {
        fprintf(stderr, "unmodified: %s: %s\n", path, strerror(r ? -r : errno));
        return EXIT_SYSTEM;
    }
    pairs_print(f, measured.table, under_names, metrics, NR(metrics));
    return file_close(f) ? EXIT_SYSTEM : 0;
}

/* build/bench/unmodified: the programs are in build/, the project is usually around it. */
static void find_places(struct under_places *places)
{
    static char source[PATH_MAX + 8];
    ssize_t n = readlink("/proc/self/exe", places->build, sizeof places->build - 1);
    places->build[n > 0 ? n : 0] = 0;
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(places->build, '/');
        if (slash)
            *slash = 0;
    }
    (void)snprintf(source, sizeof source, "%s/..", places->build);
    measured.source = measured.source ? measured.source : source;
    arm_args_add_words(&places->daemon_args, settings.daemon_args);
    arm_args_add_words(&places->run_args, settings.run_args);
}

static int open_table(void)
{
    char path[PATH_MAX];
    measured.table = csv_table_new();
    if (!settings.results_dir)
        return 0;
    int r = folder_make(settings.results_dir);
    if (r == 0 && settings.is_appended) {
        struct csv_table *before;
        (void)snprintf(path, sizeof path, "%s/%s.csv", settings.results_dir, programs[settings.program].name);
        r = csv_table_read(path, &before);
        if (r == 0) {
            csv_table_free(measured.table);
            measured.table = before;
        }
        r = r == -ENOENT ? 0 : r;
    }
    if (r)
        fprintf(stderr, "unmodified: %s: %s\n", settings.results_dir, strerror(-r));
    return r ? EXIT_SYSTEM : 0;
}

int main(int argc, char **argv)
{
    const struct option_table table = {
        .program = "unmodified",
        .about = "Programs under process-pager run beside themselves without, and beside zram (root only).",
        .rows = { rows },
        .nr_rows = { NR(rows) },
    };
    static struct under_places places;
    switch (options_parse(&table, argc, argv)) {
    case OPTIONS_DONE: return 0;
    case OPTIONS_BAD:  return EXIT_USAGE;
    case OPTIONS_RUN:  break;
    }
    find_places(&places);
    children_catch_signals();
    int code = open_table();
    if (code == 0) {
        code = run_all(&places);
        int r = write_results();
        code = code ? code : r;
    }
    csv_table_free(measured.table);
    arm_args_free(&places.daemon_args);
    arm_args_free(&places.run_args);
    return children_stop_signal() ? 128 + children_stop_signal() : code;
}
