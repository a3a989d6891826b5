/* ab.c - the honest A/B: each workload without the pager and with it, in turns, the same seed, the
 * same sampling, GNU time round both; memory counted net. Writes comparison.csv, summary.txt and
 * everything raw below the results folder, and the summary to the terminal. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "commit.h"
#include "common/options.h"
#include "files.h"
#include "places.h"
#include "rows.h"
#include "summary.h"
#include "trial.h"

#define DURATION_SEC_MAX 86400
#define REPEATS_MAX 100
/* The demo is to be over in two minutes: five rows of two arms, and about 1.5 s beside each. */
#define DEMO_SEC 5.5
#define DEMO_HALF_IDLE_SEC 18.0 /* cold age 5 s, taking out 256 MiB, and a steady quarter */
#define HALF_IDLE "half_idle_heap"

static const struct profile *const profile = &profiles[PROFILE_PUBLISHED];

enum arms_choice { ARMS_BOTH, ARMS_BASELINE, ARMS_PAGER };
static const char *const arms_choices[] = {"both", "baseline", "pager", NULL};

struct plan {
    double duration_sec; /* 0: 20, or the demo's */
    uint64_t repeats, seed;
    const char *only, *results_dir, *daemon_path, *workloads_dir;
    unsigned arms; /* enum arms_choice */
    bool is_demo;
    /* from here on found out */
    struct trial_plan trial;
    struct places places;
    bool has_row[ROWS_MAX];
    char results_found[PATH_MAX];
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
        {"cold-age", OPTION_STRING, &p->trial.cold_age, 0, 0, NULL, "for process-pagerd, as 5s"},
        {"heat", OPTION_STRING, &p->trial.heat, 0, 0, NULL, "for process-pagerd: auto, damon, scan"},
        {"daemon-args", OPTION_STRING, &p->trial.daemon_args, 0, 0, NULL,
         "more options for process-pagerd, in one word"},
        {"row-args", OPTION_LIST, &p->trial.row_args, 0, 0, NULL,
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
    if (p->arms == ARMS_BASELINE)
        return 0;
    if (snprintf(log, sizeof(log), "%s/check.txt", p->results_found) >= (int)sizeof(log))
        return EXIT_SYSTEM;
    struct arm_args args = trial_daemon_args(&p->trial);
    int code = places_check(&p->places, &args, log);
    arm_args_free(&args);
    return code;
}

/* ---- running -------------------------------------------------------------------------------- */

static double row_duration_sec(const struct plan *p, const struct row *row)
{
    if (p->duration_sec > 0)
        return p->duration_sec;
    if (!p->is_demo)
        return 20;
    return strcmp(row->name, HALF_IDLE) == 0 ? DEMO_HALF_IDLE_SEC : DEMO_SEC;
}

struct now {
    const struct plan *plan;
    uint64_t repeat;
};

static void say_arm(void *context, const struct row *row, enum arm_kind kind)
{
    const struct now *now = context;
    fprintf(stderr, "%s %llu/%llu %s, %g s\n", row->name, (unsigned long long)now->repeat + 1,
            (unsigned long long)now->plan->repeats, arm_names[kind],
            row_duration_sec(now->plan, row));
}

/* Both arms of one row, in the order of this repeat. */
static int run_row(struct plan *p, const struct row *row, uint64_t repeat, struct csv_table *table)
{
    char folder[PATH_MAX + 96];
    struct now now = {.plan = p, .repeat = repeat};
    snprintf(folder, sizeof(folder), "%s/raw/%s/repeat-%03llu", p->results_found, row->name,
             (unsigned long long)repeat + 1);
    struct trial trial = {
        .row = row,
        .repeat = repeat,
        .run = {.duration_sec = row_duration_sec(p, row), .seed = p->seed + repeat},
        .folder = folder,
    };
    p->trial.on_arm = say_arm;
    p->trial.context = &now;
    return trial_run(&p->trial, &trial, table);
}

/* ---- the results ---------------------------------------------------------------------------- */

static void write_all(const struct plan *p, const struct csv_table *table, FILE *out)
{
    fprintf(out, "process-pager %s, Linux %s, %ld CPUs, cold age %s\n\n", PP_COMMIT,
            p->kernel.release, sysconf(_SC_NPROCESSORS_ONLN),
            p->trial.cold_age ? p->trial.cold_age : "as the daemon has it");
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
        summary_write_saved(stdout, table, HALF_IDLE);
        fputs("; ", stdout);
    }
    printf("files in %s\n", p->results_found);
    return 0;
}

static int run_plan(struct plan *p)
{
    struct csv_table *table = csv_table_new();
    int worst = 0;
    for (uint64_t repeat = 0; repeat < p->repeats; repeat++) {
        for (size_t i = 0; i < ROWS_MAX && children_stop_signal() == 0; i++) {
            int code = p->has_row[i] ? run_row(p, &profile->rows[i], repeat, table) : 0;
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

/* Fills in what the trials need. 0, or an exit code after one line. */
static int prepare(struct plan *p)
{
    if (!rows_choose(profile, p->only, "ab", p->has_row) ||
        !rows_args_make_sense(profile, &p->trial.row_args, "ab"))
        return EXIT_USAGE;
    for (size_t i = 0; p->is_demo && !p->only && i < profile->nr_rows; i++)
        p->has_row[i] = true;
    struct places_wish wish = {
        .program = "ab",
        .daemon_path = p->daemon_path,
        .workloads_dir = p->workloads_dir,
        .gnu_time_path = GNU_TIME_PATH,
        .needs_daemon = p->arms != ARMS_BASELINE,
    };
    if (!places_find(&wish, &p->places))
        return EXIT_NO_DAEMON;
    if (!make_results_folder(p))
        return EXIT_SYSTEM;
    (void)uname(&p->kernel); /* cannot fail with a right pointer */
    p->trial.program = "ab";
    p->trial.places = &p->places;
    p->trial.kernel = p->kernel.release;
    p->trial.has_arm[ARM_BASELINE] = p->arms != ARMS_PAGER;
    p->trial.has_arm[ARM_PAGER] = p->arms != ARMS_BASELINE;
    return 0;
}

int main(int argc, char **argv)
{
    struct plan plan = {.repeats = 1, .seed = 1};
    switch (read_options(&plan, argc, argv)) {
    case OPTIONS_DONE: return 0;
    case OPTIONS_BAD: return EXIT_USAGE;
    case OPTIONS_RUN: break;
    }
    int code = prepare(&plan);
    if (code != 0)
        return code;
    children_catch_signals();
    code = check_machine(&plan);
    return code ? code : run_plan(&plan);
}
