/* ab.c - the honest A/B: each workload without the pager and with it, in turns, the same seed, the
 * same sampling, GNU time round both; memory counted net. Writes comparison.csv, summary.txt and
 * everything raw below the results folder, and the summary to the terminal. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "arm.h"
#include "child.h"
#include "commit.h"
#include "common/options.h"
#include "common/pace.h"
#include "compare.h"
#include "files.h"
#include "summary.h"

#define DURATION_SEC_MAX 86400
#define REPEATS_MAX 100
/* The demo is to be over in two minutes: five rows of two arms, and about 1.5 s beside each. */
#define DEMO_SEC 5.5
#define DEMO_HALF_IDLE_SEC 18.0 /* cold age 5 s, taking out 256 MiB, and a steady quarter */
#define CHECK_PATIENCE_NS UINT64_C(20000000000)

struct row {
    const char *name, *program, *args;
    double demo_sec;
    bool is_default;
};

static const struct row rows[] = {
    {"interactive_burst", "interactive_burst", "", DEMO_SEC, true},
    {"anon_streamer", "anon_streamer", "", DEMO_SEC, true},
    {"random_touch_heap", "random_touch_heap", "", DEMO_SEC, true},
    {"mmap_churn", "mmap_churn", "", DEMO_SEC, true},
    {"half_idle_heap", "random_touch_heap", "--content heap --hot-fraction 0.5 --hot-probability 1",
     DEMO_HALF_IDLE_SEC, false},
};
#define NR_ROWS (sizeof(rows) / sizeof(rows[0]))

enum arms_choice { ARMS_BOTH, ARMS_BASELINE, ARMS_PAGER };
static const char *const arms_choices[] = {"both", "baseline", "pager", NULL};

struct plan {
    double duration_sec; /* 0: 20, or the demo's */
    uint64_t repeats, seed;
    const char *only, *results_dir, *cold_age, *daemon_path, *workloads_dir;
    const char *daemon_args;
    struct option_list row_args;
    unsigned arms; /* enum arms_choice */
    bool is_demo;
    /* from here on found out */
    bool has_row[NR_ROWS];
    bool has_gnu_time;
    char daemon_found[PATH_MAX], workloads_found[PATH_MAX], results_found[PATH_MAX];
    struct utsname kernel;
};

/* ---- reading the plan ----------------------------------------------------------------------- */

static enum options_result read_options(struct plan *p, int argc, char **argv)
{
    const struct option_row table_rows[] = {
        {"duration-sec", OPTION_DOUBLE, &p->duration_sec, 0, DURATION_SEC_MAX, NULL,
         "measured part of each arm; 0: 20, or what the demo takes"},
        {"only", OPTION_STRING, &p->only, 0, 0, NULL, "these rows, as a,b (see below)"},
        {"results-dir", OPTION_STRING, &p->results_dir, 0, 0, NULL,
         "where the files go; else workloads/results/process-pager-ab/<now>"},
        {"repeats", OPTION_UINT, &p->repeats, 1, REPEATS_MAX, NULL,
         "of each row; the arms change places every time"},
        {"seed", OPTION_UINT, &p->seed, 0, 0x1p63, NULL, "of the first repeat; then one more each"},
        {"cold-age", OPTION_STRING, &p->cold_age, 0, 0, NULL, "for process-pagerd, as 5s"},
        {"daemon-args", OPTION_STRING, &p->daemon_args, 0, 0, NULL,
         "more options for process-pagerd, in one word"},
        {"row-args", OPTION_LIST, &p->row_args, 0, 0, NULL,
         "ROW=OPTIONS or all=OPTIONS for a workload, in one word; may be repeated"},
        {"arms", OPTION_CHOICE, &p->arms, 0, 0, arms_choices, "both, baseline or pager"},
        {"demo", OPTION_FLAG, &p->is_demo, 0, 0, NULL, "all five rows in under two minutes"},
        {"daemon", OPTION_STRING, &p->daemon_path, 0, 0, NULL,
         "path of process-pagerd; else looked for beside this program"},
        {"workloads-dir", OPTION_STRING, &p->workloads_dir, 0, 0, NULL,
         "folder of the workloads; else looked for beside this program"},
    };
    struct option_table table = {
        .program = "ab",
        .about = "Runs workloads without and with process-pager and compares. Rows: "
                 "interactive_burst,\nanon_streamer, random_touch_heap, mmap_churn (these four "
                 "unless --only says otherwise)\nand half_idle_heap.",
        .rows = {table_rows},
        .nr_rows = {sizeof(table_rows) / sizeof(table_rows[0])},
    };
    return options_parse(&table, argc, argv);
}

static bool name_is(const char *name, const char *text, size_t length)
{
    return strlen(name) == length && strncmp(name, text, length) == 0;
}

/* Marks the rows of a comma list. False: one line was written about a name that is none. */
static bool choose_rows(struct plan *p)
{
    for (size_t i = 0; i < NR_ROWS; i++)
        p->has_row[i] = !p->only && (rows[i].is_default || p->is_demo);
    for (const char *at = p->only; at && *at;) {
        size_t length = strcspn(at, ",");
        bool is_known = false;
        for (size_t i = 0; i < NR_ROWS; i++) {
            if (name_is(rows[i].name, at, length))
                p->has_row[i] = is_known = true;
        }
        if (!is_known) {
            fprintf(stderr, "ab: --only %.*s: no such row (see --help)\n", (int)length, at);
            return false;
        }
        at += length + (at[length] == ',');
    }
    for (size_t i = 0; i < p->row_args.count; i++) {
        const char *item = p->row_args.items[i];
        size_t length = strcspn(item, "=");
        bool is_known = name_is("all", item, length);
        for (size_t r = 0; r < NR_ROWS; r++)
            is_known = is_known || name_is(rows[r].name, item, length);
        if (!is_known || item[length] != '=') {
            fprintf(stderr, "ab: --row-args %s: wants ROW=OPTIONS (see --help)\n", item);
            return false;
        }
    }
    return true;
}

/* ---- finding programs and places ------------------------------------------------------------ */

/* The first of the candidates below the folder of this program that is there. */
static bool find_beside(const char *const *candidates, const char *want, char *ret_path)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length < 0)
        return false;
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    for (; *candidates; candidates++) {
        char found[PATH_MAX], probe[2 * PATH_MAX];
        snprintf(probe, sizeof(probe), "%s/%s/%s", self, *candidates, want);
        if (access(probe, X_OK) != 0 || !realpath(probe, found))
            continue;
        snprintf(ret_path, PATH_MAX, "%s", found);
        return true;
    }
    return false;
}

static bool find_programs(struct plan *p)
{
    static const char *const daemon_places[] = {"../src", "..", ".", "../../sbin", NULL};
    static const char *const workload_places[] = {"../workloads", ".", NULL};
    char probe[PATH_MAX];
    if (p->daemon_path)
        snprintf(p->daemon_found, PATH_MAX, "%s", p->daemon_path);
    else if (p->arms != ARMS_BASELINE &&
             !find_beside(daemon_places, "process-pagerd", p->daemon_found)) {
        fprintf(stderr, "ab: process-pagerd is not beside this program: build it, or say --daemon "
                        "PATH\n");
        return false;
    }
    if (p->workloads_dir) {
        snprintf(p->workloads_found, PATH_MAX, "%s", p->workloads_dir);
    } else if (find_beside(workload_places, "anon_streamer", probe)) {
        *strrchr(probe, '/') = '\0';
        snprintf(p->workloads_found, PATH_MAX, "%s", probe);
    } else {
        fprintf(stderr, "ab: the workloads are not beside this program: build them, or say "
                        "--workloads-dir PATH\n");
        return false;
    }
    p->has_gnu_time = access(GNU_TIME_PATH, X_OK) == 0;
    if (!p->has_gnu_time)
        fprintf(stderr, "ab: no %s (package \"time\"): its columns stay empty; continuing\n",
                GNU_TIME_PATH);
    return true;
}

static bool make_results_folder(struct plan *p)
{
    if (p->results_dir) {
        snprintf(p->results_found, PATH_MAX, "%s", p->results_dir);
    } else {
        time_t now = time(NULL);
        struct tm local;
        char stamp[32];
        strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", localtime_r(&now, &local));
        snprintf(p->results_found, PATH_MAX, "workloads/results/process-pager-ab/%s", stamp);
    }
    int r = folder_make(p->results_found);
    if (r < 0)
        fprintf(stderr, "ab: %s: %s\n", p->results_found, strerror(-r));
    return r == 0;
}

/* Asks the daemon whether this machine can do it, before anything is measured. */
static int check_machine(const struct plan *p)
{
    char log[PATH_MAX];
    int code = 0;
    if (p->arms == ARMS_BASELINE)
        return 0;
    if (snprintf(log, sizeof(log), "%s/check.txt", p->results_found) >= (int)sizeof(log))
        return EXIT_SYSTEM;
    struct arm_args args = {.count = 0};
    arm_args_add(&args, p->daemon_found);
    arm_args_add(&args, "--check");
    struct child_spec spec = {
        .argv = args.words, .stdout_path = log, .stderr_path = log, .end_signal = SIGTERM};
    struct child child = {.pid = 0};
    int r = child_start(&spec, &child);
    arm_args_free(&args);
    if (r < 0 ||
        child_wait_until(&child, pace_now_ns() + CHECK_PATIENCE_NS, &code) != CHILD_ENDED) {
        (void)child_end(&child, CHECK_PATIENCE_NS);
        fprintf(stderr, "ab: %s --check: did not end\n", p->daemon_found);
        return EXIT_SYSTEM;
    }
    if (code != 0) {
        char *text = file_read(log);
        fprintf(stderr, "%s", text ? text : "");
        free(text);
    }
    return code;
}

/* ---- running -------------------------------------------------------------------------------- */

static double row_duration_sec(const struct plan *p, const struct row *row)
{
    if (p->duration_sec > 0)
        return p->duration_sec;
    return p->is_demo ? row->demo_sec : 20;
}

static struct arm_args workload_args(const struct plan *p, const struct row *row, uint64_t repeat)
{
    struct arm_args args = {.count = 0};
    char text[64];
    snprintf(text, sizeof(text), "--duration-sec %g --seed %llu", row_duration_sec(p, row),
             (unsigned long long)(p->seed + repeat));
    arm_args_add_words(&args, text);
    arm_args_add_words(&args, row->args);
    for (size_t i = 0; i < p->row_args.count; i++) {
        const char *item = p->row_args.items[i];
        size_t length = strcspn(item, "=");
        if (name_is("all", item, length) || name_is(row->name, item, length))
            arm_args_add_words(&args, item + length + 1);
    }
    return args;
}

static int run_arm(const struct plan *p, const struct row *row, uint64_t repeat, enum arm_kind kind,
                   struct arm_result *ret_result)
{
    char folder[2 * PATH_MAX], program[2 * PATH_MAX];
    snprintf(folder, sizeof(folder), "%s/raw/%s/repeat-%03llu-%s", p->results_found, row->name,
             (unsigned long long)repeat + 1, arm_names[kind]);
    snprintf(program, sizeof(program), "%s/%s", p->workloads_found, row->program);
    struct arm_args args = workload_args(p, row, repeat), daemon_args = {.count = 0};
    if (p->cold_age) {
        arm_args_add(&daemon_args, "--cold-age");
        arm_args_add(&daemon_args, p->cold_age);
    }
    arm_args_add_words(&daemon_args, p->daemon_args);
    fprintf(stderr, "%s %llu/%llu %s, %g s\n", row->name, (unsigned long long)repeat + 1,
            (unsigned long long)p->repeats, arm_names[kind], row_duration_sec(p, row));
    struct arm_spec spec = {
        .kind = kind,
        .workload_path = program,
        .daemon_path = p->daemon_found,
        .workload_args = &args,
        .daemon_args = &daemon_args,
        .folder = folder,
        .duration_sec = row_duration_sec(p, row),
        .has_gnu_time = p->has_gnu_time,
    };
    int code = arm_run(&spec, ret_result);
    if (code != 0)
        fprintf(stderr, "ab: %s %s: %s\n", row->name, arm_names[kind], ret_result->problem);
    arm_args_free(&args);
    arm_args_free(&daemon_args);
    return code;
}

static void set_identity(const struct plan *p, const struct row *row, uint64_t repeat,
                         enum arm_kind first, struct csv_table *t)
{
    struct arm_args args = workload_args(p, row, repeat);
    char text[400] = "";
    for (size_t i = 0; i < args.count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used, "%s%s", i ? " " : "", args.words[i]);
    }
    arm_args_free(&args);
    csv_table_set(t, "workload", "%s", row->name);
    csv_table_set(t, "repeat", "%llu", (unsigned long long)repeat + 1);
    csv_table_set(t, "first_arm", "%s", arm_names[first]);
    csv_table_set(t, "commit", "%s", PP_COMMIT);
    csv_table_set(t, "kernel", "%s", p->kernel.release);
    csv_table_set(t, "workload_args", "%s", text);
    csv_table_set(t, "daemon_args", "%s%s%s%s", p->cold_age ? "--cold-age " : "",
                  p->cold_age ? p->cold_age : "", p->cold_age && p->daemon_args ? " " : "",
                  p->daemon_args ? p->daemon_args : "");
}

/* Both arms of one row, in the order of this repeat. */
static int run_row(const struct plan *p, const struct row *row, uint64_t repeat,
                   struct csv_table *table)
{
    struct arm_result results[ARM_NR] = {0};
    bool has_run[ARM_NR] = {false};
    enum arm_kind first = repeat % 2 ? ARM_PAGER : ARM_BASELINE;
    int code = 0;
    for (unsigned i = 0; i < ARM_NR && children_stop_signal() == 0; i++) {
        enum arm_kind kind = i ? (first == ARM_PAGER ? ARM_BASELINE : ARM_PAGER) : first;
        bool is_wanted = p->arms == ARMS_BOTH || (p->arms == ARMS_PAGER) == (kind == ARM_PAGER);
        if (!is_wanted)
            continue;
        (void)run_arm(p, row, repeat, kind, &results[kind]); /* the row's verdict has it */
        has_run[kind] = true;
    }
    if (children_stop_signal() == 0) {
        csv_table_add_row(table);
        set_identity(p, row, repeat, first, table);
        code = compare_arms(table, has_run[ARM_BASELINE] ? &results[ARM_BASELINE] : NULL,
                            has_run[ARM_PAGER] ? &results[ARM_PAGER] : NULL);
    }
    arm_result_free(&results[ARM_BASELINE]);
    arm_result_free(&results[ARM_PAGER]);
    return code;
}

/* ---- the results ---------------------------------------------------------------------------- */

static void write_all(const struct plan *p, const struct csv_table *table, FILE *out)
{
    fprintf(out, "process-pager %s, Linux %s, %ld CPUs, cold age %s\n\n", PP_COMMIT,
            p->kernel.release, sysconf(_SC_NPROCESSORS_ONLN),
            p->cold_age ? p->cold_age : "as the daemon has it");
    summary_write(out, table);
}

static int write_results(const struct plan *p, const struct csv_table *table)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/comparison.csv", p->results_found);
    int r = csv_table_write(table, path);
    snprintf(path, sizeof(path), "%s/summary.txt", p->results_found);
    FILE *file = r == 0 ? fopen(path, "w") : NULL;
    if (!file) {
        fprintf(stderr, "ab: %s: %s\n", path, strerror(errno));
        return EXIT_SYSTEM;
    }
    write_all(p, table, file);
    fclose(file);
    putchar('\n');
    write_all(p, table, stdout);
    putchar('\n');
    if (p->is_demo) {
        summary_write_saved(stdout, table, "half_idle_heap");
        fputs("; ", stdout);
    }
    printf("files in %s\n", p->results_found);
    return 0;
}

static int run_plan(const struct plan *p)
{
    struct csv_table *table = csv_table_new();
    int worst = 0;
    for (uint64_t repeat = 0; repeat < p->repeats; repeat++) {
        for (size_t i = 0; i < NR_ROWS && children_stop_signal() == 0; i++) {
            int code = p->has_row[i] ? run_row(p, &rows[i], repeat, table) : 0;
            worst = worst == 0 || code == EXIT_WRONG ? (code ? code : worst) : worst;
        }
    }
    if (children_stop_signal() != 0)
        fprintf(stderr, "ab: stopped by a signal; what was measured is in %s\n", p->results_found);
    int r = csv_table_rows(table) > 0 ? write_results(p, table) : 0;
    csv_table_free(table);
    if (children_stop_signal() != 0)
        return 128 + children_stop_signal();
    return worst ? worst : r;
}

int main(int argc, char **argv)
{
    struct plan plan = {.repeats = 1, .seed = 1};
    switch (read_options(&plan, argc, argv)) {
    case OPTIONS_DONE: return 0;
    case OPTIONS_BAD: return EXIT_USAGE;
    case OPTIONS_RUN: break;
    }
    if (!choose_rows(&plan))
        return EXIT_USAGE;
    if (!find_programs(&plan))
        return EXIT_NO_DAEMON;
    if (!make_results_folder(&plan))
        return EXIT_SYSTEM;
    (void)uname(&plan.kernel); /* cannot fail with a right pointer */
    children_catch_signals();
    int code = check_machine(&plan);
    return code ? code : run_plan(&plan);
}
