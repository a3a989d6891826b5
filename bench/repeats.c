/* repeats.c - ab-repeats: the A/B as often as it takes to see the spread, with zram as a third arm
 * if asked for; what all runs say together, and pictures of it. Arms alternate and their order
 * turns round every run. What is finished is kept whatever comes: a failing run, Ctrl-C, a kill. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "common/options.h"
#include "digest.h"
#include "files.h"
#include "manifest.h"
#include "places.h"
#include "progress.h"
#include "rows.h"
#include "runs.h"
#include "summary.h"
#include "trial.h"
#include "zram.h"

#define PROGRAM "ab-repeats"
#define RUNS_MAX 1000
#define DURATION_SEC_MAX 86400
#define SEED_MAX 1e14 /* manifest and tables carry 15 digits */
#define RESULTS_BASE "workloads/results/process-pager-ab-repeats"

static const char *const peer_choices[] = {"none", "zram", NULL};

struct plan {
    uint64_t nr_runs, seed, zram_bytes;
    double duration_sec, warm_up_sec; /* below 0: as the profile has it */
    unsigned profile_index, peer;
    const char *only, *results_dir, *results_base, *daemon_path, *workloads_dir, *gnu_time_path;
    bool is_drawing;
    /* from here on found out */
    const struct profile *profile;
    struct rows_run run;
    bool has_row[ROWS_MAX];
    size_t nr_rows;
    struct trial_plan trial;
    struct places places;
    struct utsname kernel;
    struct manifest manifest;
    struct progress progress;
    uint64_t run_now, nr_rows_done;
    char results_found[PATH_MAX], check_path[PATH_MAX + 16], command_line[2048];
};

/* ---- reading the plan ----------------------------------------------------------------------- */

static enum options_result read_options(struct plan *p, int argc, char **argv)
{
    const struct option_row table_rows[] = {
        {"runs", OPTION_UINT, &p->nr_runs, 1, RUNS_MAX, NULL,
         "how often; the order of the arms turns round every time"},
        {"duration-sec", OPTION_DOUBLE, &p->duration_sec, 0.01, DURATION_SEC_MAX, NULL,
         "measured part of each arm; else 10, with coldtail 180"},
        {"only", OPTION_STRING, &p->only, 0, 0, NULL, "these rows, as a,b (see above)"},
        {"profile", OPTION_CHOICE, &p->profile_index, 0, 0, profile_names, "published or coldtail"},
        {"peer", OPTION_CHOICE, &p->peer, 0, 0, peer_choices,
         "zram: a third arm, MADV_PAGEOUT onto zram (root)"},
        {"seed", OPTION_UINT, &p->seed, 0, SEED_MAX, NULL, "of the first run; then one more each"},
        {"results-dir", OPTION_STRING, &p->results_dir, 0, 0, NULL,
         "where the files go; else a folder of its own in --results-base"},
        {"results-base", OPTION_STRING, &p->results_base, 0, 0, NULL, "where such folders go"},
        {"plots", OPTION_FLAG, &p->is_drawing, 0, 0, NULL, "draw at the end; on or off"},
    };
    const struct option_row more_rows[] = {
        {"cold-age", OPTION_STRING, &p->trial.cold_age, 0, 0, NULL, "for process-pagerd, as 5s"},
        {"heat", OPTION_STRING, &p->trial.heat, 0, 0, NULL, "for process-pagerd: auto, damon, scan"},
        {"daemon-args", OPTION_STRING, &p->trial.daemon_args, 0, 0, NULL,
         "more options for process-pagerd, in one word"},
        {"row-args", OPTION_LIST, &p->trial.row_args, 0, 0, NULL,
         "ROW=OPTIONS or all=OPTIONS for a workload, in one word; may be repeated"},
        {"warm-up-sec", OPTION_DOUBLE, &p->warm_up_sec, 0, DURATION_SEC_MAX, NULL,
         "of the measured part; else 0, with coldtail 30"},
        {"zram-size", OPTION_SIZE, &p->zram_bytes, 1 << 20, 1e13, NULL,
         "of the swap device of --peer zram"},
        {"daemon", OPTION_STRING, &p->daemon_path, 0, 0, NULL,
         "path of process-pagerd; else looked for beside this program"},
        {"workloads-dir", OPTION_STRING, &p->workloads_dir, 0, 0, NULL,
         "folder of the workloads; else looked for beside this program"},
        {"gnu-time", OPTION_STRING, &p->gnu_time_path, 0, 0, NULL, "path of GNU time"},
    };
    struct option_table table = {
        .program = PROGRAM,
        .about =
            "       " PROGRAM " aggregate DIR   works the results of a folder out again\n"
            "       " PROGRAM " plot DIR        draws them again\n\n"
            "Runs workloads without and with process-pager, again and again, and says what all\n"
            "runs say together. Rows: interactive_burst, anon_streamer, random_touch_heap,\n"
            "mmap_churn, and by name only half_idle_heap. With --profile coldtail: the first\n"
            "three with pauses that vary, interactive_burst_regular, by name only mmap_churn.",
        .rows = {table_rows, more_rows},
        .nr_rows = {sizeof(table_rows) / sizeof(table_rows[0]),
                    sizeof(more_rows) / sizeof(more_rows[0])},
    };
    return options_parse(&table, argc, argv);
}

/* False: one line was written. */
static bool makes_sense(struct plan *p)
{
    const struct profile *profile = p->profile = &profiles[p->profile_index];
    p->run = (struct rows_run){
        .duration_sec = p->duration_sec < 0 ? profile->duration_sec : p->duration_sec,
        .warm_up_sec = p->warm_up_sec < 0 ? profile->warm_up_sec : p->warm_up_sec,
        .seed = p->seed,
    };
    if (p->run.duration_sec < profile->duration_sec_min) {
        fprintf(stderr,
                PROGRAM ": --duration-sec %g: --profile %s wants %g or more: %g are warm-up, and "
                        "memory has to be cold for a while\n",
                p->run.duration_sec, profile->name, profile->duration_sec_min,
                profile->warm_up_sec);
        return false;
    }
    if (p->run.warm_up_sec >= p->run.duration_sec) {
        fprintf(stderr, PROGRAM ": --warm-up-sec %g leaves nothing of --duration-sec %g\n",
                p->run.warm_up_sec, p->run.duration_sec);
        return false;
    }
    if (!rows_choose(profile, p->only, PROGRAM, p->has_row) ||
        !rows_args_make_sense(profile, &p->trial.row_args, PROGRAM))
        return false;
    for (size_t i = 0; i < ROWS_MAX; i++)
        p->nr_rows += p->has_row[i];
    return true;
}

/* As it was typed: the script says how it was called, and what it added is left out again. */
static void join_command(struct plan *p, int argc, char **argv)
{
    const char *script = getenv("PP_CALLED_AS");
    bool is_added = script && argc > 2 && strcmp(argv[1], "--results-base") == 0;
    size_t used =
        (size_t)snprintf(p->command_line, sizeof(p->command_line), "%s", script ? script : argv[0]);
    for (int i = is_added ? 3 : 1; i < argc && used < sizeof(p->command_line); i++) {
        const char *quote = argv[i][strcspn(argv[i], " \t'\"$;&|*")] ? "'" : "";
        int n = snprintf(p->command_line + used, sizeof(p->command_line) - used, " %s%s%s", quote,
                         argv[i], quote);
        used += n > 0 ? (size_t)n : 0;
    }
}

/* ---- before the first run ------------------------------------------------------------------- */

static int make_results_folder(struct plan *p)
{
    char path[PATH_MAX + 16];
    int n = p->results_dir ? snprintf(p->results_found, PATH_MAX, "%s", p->results_dir)
                           : snprintf(p->results_found, PATH_MAX, "%s/%s", p->results_base,
                                      p->manifest.run_id);
    int r = n >= PATH_MAX - 128 ? -ENAMETOOLONG : folder_make(p->results_found);
    if (r < 0) {
        fprintf(stderr, PROGRAM ": %s: %s\n", p->results_found, strerror(-r));
        return EXIT_SYSTEM;
    }
    snprintf(path, sizeof(path), "%s/manifest.json", p->results_found);
    if (access(path, F_OK) == 0) {
        fprintf(stderr,
                PROGRAM ": %s: has the results of an earlier run; say another --results-dir\n",
                p->results_found);
        return EXIT_USAGE;
    }
    snprintf(p->check_path, sizeof(p->check_path), "%s/check.txt", p->results_found);
    return 0;
}

/* Whether the third arm can be run at all, before an hour has gone into the other two. */
static int check_peer(const struct plan *p)
{
    struct zram probe;
    char reason[160] = "", path[PATH_MAX + 16];
    int r = zram_begin(&probe, p->zram_bytes, reason, sizeof(reason));
    if (r < 0) {
        fprintf(stderr, PROGRAM ": --peer zram: %s\n", *reason ? reason : strerror(-r));
        return EXIT_NO_DAEMON;
    }
    struct arm_args args = trial_daemon_args(&p->trial);
    arm_args_add_words(&args, "--evict-by pageout");
    snprintf(path, sizeof(path), "%s/check-zram.txt", p->results_found);
    int code = places_check(&p->places, &args, path);
    arm_args_free(&args);
    zram_end(&probe);
    return code;
}

static int check_machine(const struct plan *p)
{
    /* Also without a third arm: swap that a killed run left would be in all of ours. */
    int r = zram_recover();
    if (r < 0) {
        fprintf(stderr, PROGRAM ": the zram device of an earlier run: %s\n", strerror(-r));
        return EXIT_NO_DAEMON;
    }
    struct arm_args args = trial_daemon_args(&p->trial);
    int code = places_check(&p->places, &args, p->check_path);
    arm_args_free(&args);
    return code == 0 && p->trial.has_arm[ARM_ZRAM] ? check_peer(p) : code;
}

static void on_arm(void *context, const struct row *row, enum arm_kind kind)
{
    struct plan *p = context;
    progress_arm(&p->progress, p->run_now, row->name, arm_names[kind]);
}

static void on_beat(void *context)
{
    progress_beat(&((struct plan *)context)->progress);
}

static void on_arm_end(void *context)
{
    progress_arm_end(&((struct plan *)context)->progress);
}

/* 0, or an exit code after one line. */
static int prepare(struct plan *p)
{
    struct places_wish wish = {
        .program = PROGRAM,
        .daemon_path = p->daemon_path,
        .workloads_dir = p->workloads_dir,
        .gnu_time_path = p->gnu_time_path,
        .needs_daemon = true,
    };
    if (!places_find(&wish, &p->places))
        return EXIT_NO_DAEMON;
    bool has_zram = strcmp(peer_choices[p->peer], "zram") == 0;
    (void)uname(&p->kernel); /* cannot fail with a right pointer */
    p->trial.program = PROGRAM;
    p->trial.places = &p->places;
    p->trial.kernel = p->kernel.release;
    p->trial.has_arm[ARM_BASELINE] = p->trial.has_arm[ARM_PAGER] = true;
    p->trial.has_arm[ARM_ZRAM] = has_zram;
    p->trial.zram_bytes = p->zram_bytes;
    p->trial.on_arm = on_arm;
    p->trial.on_beat = on_beat;
    p->trial.on_arm_end = on_arm_end;
    p->trial.context = p;
    p->progress = progress_new(p->nr_runs, (size_t)p->nr_runs * p->nr_rows * (has_zram ? 3 : 2),
                               p->run.duration_sec);
    p->manifest = (struct manifest){
        .command_line = p->command_line,
        .check_path = p->check_path,
        .profile = p->profile,
        .has_row = p->has_row,
        .plan = &p->trial,
        .run = p->run,
        .nr_runs = p->nr_runs,
        .start = time(NULL),
    };
    manifest_run_id(p->manifest.start, p->manifest.run_id);
    int code = make_results_folder(p);
    return code ? code : check_machine(p);
}

/* ---- the runs ------------------------------------------------------------------------------- */

static int complain(const char *path, int r)
{
    fprintf(stderr, PROGRAM ": %s: %s\n", path, strerror(-r));
    return EXIT_SYSTEM;
}

static int write_run(const char *folder, const struct csv_table *table)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/comparison.csv", folder);
    int r = csv_table_write(table, path);
    if (r < 0)
        return complain(path, r);
    snprintf(path, sizeof(path), "%s/summary.txt", folder);
    FILE *out = fopen(path, "w");
    if (!out)
        return complain(path, -errno);
    summary_write(out, table);
    r = file_close(out);
    return r < 0 ? complain(path, r) : 0;
}

/* Wrong bytes weigh more than an arm that did not run, and that more than nothing. */
static int worse(int a, int b)
{
    if (a == EXIT_WRONG || b == EXIT_WRONG)
        return EXIT_WRONG;
    return a ? a : b;
}

/* All rows once. Each finished row is written at once: a kill loses the one that runs. */
static int run_once(struct plan *p, uint64_t repeat)
{
    char folder[PATH_MAX + 32], row_folder[PATH_MAX + 96];
    struct csv_table *table = csv_table_new();
    int worst = 0;
    p->run_now = repeat + 1;
    runs_folder(p->results_found, repeat + 1, folder, sizeof(folder));
    for (size_t i = 0; i < ROWS_MAX && children_stop_signal() == 0; i++) {
        const struct row *row = &p->profile->rows[i];
        if (!p->has_row[i])
            continue;
        snprintf(row_folder, sizeof(row_folder), "%s/%s", folder, row->name);
        struct trial trial = {.row = row, .repeat = repeat, .run = p->run, .folder = row_folder};
        trial.run.seed += repeat;
        int code = trial_run(&p->trial, &trial, table);
        if (children_stop_signal() != 0)
            break;
        p->nr_rows_done++;
        worst = worse(worst, worse(code, write_run(folder, table)));
    }
    csv_table_free(table);
    return worst;
}

static bool is_coloured(void)
{
    const char *no_color = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) == 1 && !(no_color && *no_color);
}

static int print_summary(const char *results_dir)
{
    struct csv_table *t;
    if (runs_read(results_dir, &t) < 0)
        return EXIT_SYSTEM;
    digest_write(stdout, results_dir, t, is_coloured());
    csv_table_free(t);
    return 0;
}

static int run_all(struct plan *p)
{
    int worst = 0;
    int r = manifest_write(&p->manifest, p->results_found, 0, 0, false);
    if (r < 0)
        return complain(p->results_found, r);
    for (uint64_t repeat = 0; repeat < p->nr_runs && children_stop_signal() == 0; repeat++) {
        worst = worse(worst, run_once(p, repeat));
        if (children_stop_signal() == 0 && runs_aggregate(p->results_found) < 0)
            worst = worse(worst, EXIT_SYSTEM);
    }
    progress_clear(&p->progress);
    int signal = children_stop_signal();
    r = manifest_write(&p->manifest, p->results_found, time(NULL), p->nr_rows_done, signal == 0);
    if (r < 0)
        worst = worse(worst, complain(p->results_found, r));
    if (runs_aggregate(p->results_found) < 0)
        worst = worse(worst, EXIT_SYSTEM);
    (void)print_summary(p->results_found); /* the folder has it, too */
    if (signal != 0)
        fprintf(stderr, PROGRAM ": stopped by a signal; what was finished is worked out; `" PROGRAM
                                " plot` draws it\n");
    else if (p->is_drawing && runs_plot(p->results_found) < 0)
        fprintf(stderr, PROGRAM ": no pictures; continuing\n");
    printf("\nfiles in %s\n", p->results_found);
    return signal ? 128 + signal : worst;
}

/* ---- aggregate DIR, plot DIR ---------------------------------------------------------------- */

static int on_folder(const char *what, int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, PROGRAM " %s: wants one folder of results (see --help)\n", what);
        return EXIT_USAGE;
    }
    struct stat st = {.st_mode = S_IFDIR};
    int r = stat(argv[2], &st) != 0 || access(argv[2], R_OK | X_OK) != 0 ? errno : 0;
    if (r == 0 || r == EACCES)
        r = S_ISDIR(st.st_mode) ? r : ENOTDIR;
    if (r != 0) {
        fprintf(stderr, PROGRAM " %s: %s: %s\n", what, argv[2], strerror(r));
        return EXIT_USAGE;
    }
    struct csv_table *t;
    if (runs_read(argv[2], &t) < 0) {
        fprintf(stderr, PROGRAM " %s: %s: neither runs/ nor all_runs_long.csv is there\n", what,
                argv[2]);
        return EXIT_USAGE;
    }
    csv_table_free(t);
    if (strcmp(what, "plot") == 0)
        return runs_plot(argv[2]) < 0 ? EXIT_SYSTEM : 0;
    return runs_aggregate(argv[2]) < 0 ? EXIT_SYSTEM : print_summary(argv[2]);
}

int main(int argc, char **argv)
{
    static struct plan plan = {
        .nr_runs = 5,
        .seed = 1,
        .zram_bytes = UINT64_C(2) << 30,
        .duration_sec = -1,
        .warm_up_sec = -1,
        .results_base = RESULTS_BASE,
        .gnu_time_path = GNU_TIME_PATH,
        .is_drawing = true,
    };
    if (argc > 1 && (strcmp(argv[1], "aggregate") == 0 || strcmp(argv[1], "plot") == 0))
        return on_folder(argv[1], argc, argv);
    switch (read_options(&plan, argc, argv)) {
    case OPTIONS_DONE: return 0;
    case OPTIONS_BAD: return EXIT_USAGE;
    case OPTIONS_RUN: break;
    }
    if (!makes_sense(&plan))
        return EXIT_USAGE;
    join_command(&plan, argc, argv);
    children_catch_signals();
    int code = prepare(&plan);
    return code ? code : run_all(&plan);
}
