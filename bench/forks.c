/* forks.c - what a fork costs the program: with its memory there or out, told of forks or not, and without a
 * pager beside it; arms alternating in one run. Three times from before fork(): to its return in the parent, to
 * its return in the child, and until the child has read all of its memory. Every byte is checked in the parent
 * after the last fork, a stamp a page in each child.
 *
 * Arms: plain, no pager; in, a pager and nothing out; out, all out and left out; drained, all out and brought
 * back before the fork, because no descriptor is free to cover it.
 *
 * Files: forks.csv (a row a run: medians of its forks), forks.txt (the table that is printed). */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "common/options.h"
#include "common/pace.h"
#include "csv.h"
#include "duel.h"
#include "process_pager.h"
#include "spread.h"
#include "subject.h"

#define REPEATS_MAX 50u
#define FORKS_MAX 200u
#define SETTLE_NS 100000000u /* between eviction and fork: the daemon's last work is over */

enum fork_arm { ARM_PLAIN, ARM_IN, ARM_OUT, ARM_DRAINED, ARMS_NR };
static const char *const arm_names[ARMS_NR + 1] = { "plain", "in", "out", "drained", NULL };

static struct {
    uint64_t bytes, repeats, seed, nr_forks;
    const char *results_dir, *daemon_path;
    bool is_subject;
    unsigned fork_arm;
    struct subject_spec subject;
} settings = { .bytes = UINT64_C(64) << 20, .repeats = 5, .seed = 1, .nr_forks = 10 };

static const struct option_row rows[] = {
    { "mib-bytes", OPTION_SIZE, &settings.bytes, 1 << 20, 1e12, NULL, "memory of each run" },
    { "forks", OPTION_UINT, &settings.nr_forks, 1, FORKS_MAX, NULL, "of each run" },
    { "repeats", OPTION_UINT, &settings.repeats, 1, REPEATS_MAX, NULL, "of all arms" },
    { "seed", OPTION_UINT, &settings.seed, 0, 1e15, NULL, "of the content" },
    DUEL_PLACES(settings),
};

/* How this program calls itself for one run. */
static const struct option_row subject_rows[] = {
    { "subject", OPTION_FLAG, &settings.is_subject, 0, 0, NULL, "be measured (internal)" },
    { "fork-arm", OPTION_CHOICE, &settings.fork_arm, 0, 0, arm_names, "(internal)" },
    SUBJECT_ROWS(settings.subject, subject_arm_names),
};

/* ---- the subject */

enum time { PARENT, CHILD, READ, TIMES_NR };
static const char *const time_names[TIMES_NR] = { "parent_us", "child_us", "read_us" };

/* Shared with children; kept apart from what is measured. */
struct told {
    uint64_t child_ns, read_ns, nr_wrong;
};

static void say_median(const char *name, double *values, size_t nr)
{
    subject_say(name, spread_of(values, nr).median);
}

static void read_all(const struct subject *s, struct told *told)
{
    told->child_ns = pace_now_ns();
    for (uint64_t i = 0; i < s->nr_pages; i++)
        told->nr_wrong += !content_stamp_is(&s->content, i, 1, s->memory + i * CONTENT_PAGE_BYTES);
    told->read_ns = pace_now_ns();
}

/* What a fork has left shared leaves only once it has been written. */
static int ready(struct subject *s)
{
    for (uint64_t i = 0; i < s->nr_pages; i++)
        content_fill(&s->content, i, 1, s->memory + i * CONTENT_PAGE_BYTES);
    int r = s->pager ? subject_evict(s, s->memory, s->spec->bytes) : 0;
    if (s->pager && settings.fork_arm == ARM_IN)
        subject_check_all(s); /* back, and ready to leave */
    pace_sleep_until_ns(pace_now_ns() + SETTLE_NS);
    return r;
}

static int time_fork(struct subject *s, struct told *told, double ret_us[TIMES_NR])
{
    struct rlimit limit, none;
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    none = limit;
    none.rlim_cur = 1;
    if (settings.fork_arm == ARM_DRAINED)
        (void)setrlimit(RLIMIT_NOFILE, &none);
    uint64_t begin_ns = pace_now_ns();
    pid_t pid = fork();
    if (pid == 0) {
        read_all(s, told);
        _exit(0);
    }
    uint64_t parent_ns = pace_now_ns();
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
        return -ECHILD;
    ret_us[PARENT] = (double)(parent_ns - begin_ns) / 1e3;
    ret_us[CHILD] = (double)(told->child_ns - begin_ns) / 1e3;
    ret_us[READ] = (double)(told->read_ns - begin_ns) / 1e3;
    return 0;
}

static int time_forks(struct subject *s, struct told *told)
{
    static double us[TIMES_NR][FORKS_MAX];
    int r = 0;
    for (uint64_t i = 0; r == 0 && i < settings.nr_forks; i++) {
        double times[TIMES_NR];
        r = ready(s);
        if (r == 0)
            r = time_fork(s, told, times);
        for (unsigned t = 0; r == 0 && t < TIMES_NR; t++)
            us[t][i] = times[t];
    }
    for (unsigned t = 0; r == 0 && t < TIMES_NR; t++)
        say_median(time_names[t], us[t], settings.nr_forks);
    return r;
}

static int run_subject(void)
{
    settings.subject.bytes = settings.bytes;
    settings.subject.seed = settings.seed;
    struct subject s = { .spec = &settings.subject };
    struct told *told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int r = told == MAP_FAILED ? -ENOMEM : subject_prepare(&s);
    if (r == 0 && settings.fork_arm != ARM_PLAIN)
        r = subject_start_pager(&s);
    if (r == 0)
        r = time_forks(&s, told);
    if (r) {
        fprintf(stderr, "%s: %s\n", arm_names[settings.fork_arm], strerror(-r));
        return EXIT_SYSTEM;
    }
    subject_say("present_pages", (double)subject_count_present(&s));
    subject_check_all(&s);
    s.wrong += told->nr_wrong;
    subject_say("wrong", (double)s.wrong);
    return s.wrong ? EXIT_WRONG : 0;
}

/* ---- the runs and the table */

static int do_run(struct csv_table *t, unsigned arm, unsigned repeat)
{
    char bytes[32], seed[32], forks[32];
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)settings.bytes);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)(settings.seed + repeat));
    snprintf(forks, sizeof forks, "%llu", (unsigned long long)settings.nr_forks);
    char *arguments[] = { "--mib-bytes", bytes, "--seed", seed, "--forks", forks,
                          "--fork-arm", (char *)arm_names[arm], NULL };
    struct duel_spec spec = { .program = "forks",
                              .arm = SUBJECT_PAGER,
                              .daemon_path = settings.daemon_path,
                              .cold_age = "1h" };
    csv_table_add_row(t);
    csv_table_set(t, "repeat", "%u", repeat);
    csv_table_set(t, "fork_arm", "%s", arm_names[arm]);
    csv_table_set(t, "mib", "%llu", (unsigned long long)(settings.bytes >> 20));
    return duel_run(&spec, arguments, t);
}

static void print_table(FILE *f, const struct csv_table *t)
{
    fprintf(f, "us, median [min, max] of %u runs' medians of %u forks, %u MiB\n", (unsigned)settings.repeats,
            (unsigned)settings.nr_forks, (unsigned)(settings.bytes >> 20));
    for (unsigned arm = 0; arm < ARMS_NR; arm++) {
        fprintf(f, "  %-8s", arm_names[arm]);
        for (unsigned i = 0; i < TIMES_NR; i++) {
            double values[REPEATS_MAX];
            size_t nr = 0;
            for (size_t row = 0; row < csv_table_rows(t) && nr < REPEATS_MAX; row++)
                nr += !strcmp(csv_table_get(t, row, "fork_arm"), arm_names[arm]) &&
                      csv_table_get_number(t, row, time_names[i], &values[nr]);
            fprintf(f, " %s", time_names[i]);
            spread_print(f, spread_of(values, nr), 1);
        }
        fprintf(f, "\n");
    }
}

int main(int argc, char **argv)
{
    const struct option_table table = {
        .program = "forks",
        .about = "What a fork costs, with memory there and out, with and without a pager, in one run.",
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
    struct csv_table *t = csv_table_new();
    int code = duel_rounds(t, ARMS_NR, settings.repeats, do_run);
    int r = duel_write("forks", settings.results_dir, t, print_table);
    csv_table_free(t);
    return children_stop_signal() ? 128 + children_stop_signal() : code ? code : r;
}
