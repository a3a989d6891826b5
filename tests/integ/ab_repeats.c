/* ab_repeats - the repeated A/B leaves what it promises, where it promises it, and nothing else.
 * Method: tiny comparisons with real workloads and a real daemon; looked at are the files, the
 * numbers that tell whether bytes were checked while pages were out, what a failing row, a missing
 * GNU time and Ctrl-C do, and that no process and no swap device stays. */
#include "command.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX 32u
#define SMALL "all=--idle 200ms --region 4M", "--cold-age", "20ms", "--plots", "off"
#define INTERRUPTED (128 + SIGINT)

static char program[512];

/* ---- files */

static const char *in_results(const char *results, const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", results, name);
    return path;
}

static char *read_text(const char *path)
{
    static char texts[4][1 << 18];
    static unsigned next;
    char *text = texts[next++ % 4];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
    size_t used = 0;
    for (ssize_t n; used < sizeof texts[0] - 1 &&
                    (n = read(fd, text + used, sizeof texts[0] - 1 - used)) > 0;)
        used += (size_t)n;
    close(fd);
    text[used] = 0;
    return text;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void remove_results(const char *results)
{
    CHECK_EQ(nftw(results, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* The cell of a column in row `row` (from 1) of a CSV text; "" where there is none. */
static const char *cell(const char *text, unsigned row, const char *column)
{
    static char cells[8][256];
    static unsigned next;
    char *ret = cells[next++ % 8];
    const char *line = text, *name = text;
    size_t length = strlen(column);
    unsigned index = 0;
    *ret = 0;
    for (; *name && *name != '\n'; index++) {
        size_t n = strcspn(name, ",\n");
        if (n == length && strncmp(name, column, n) == 0)
            break;
        name += n + (name[n] == ',');
    }
    for (unsigned i = 0; i < row && line; i++)
        line = (line = strchr(line, '\n')) ? line + 1 : NULL;
    for (unsigned i = 0; i < index && line; i++) {
        line += strcspn(line, ",\n");
        line = *line == ',' ? line + 1 : NULL;
    }
    if (line)
        (void)snprintf(ret, sizeof cells[0], "%.*s", (int)strcspn(line, ",\n"), line);
    return ret;
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

/* ---- runs */

/* Words end with NULL; what it says goes to the files out and err of the test's directory. */
static pid_t start(const char *const words[])
{
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)dup2(open(test_path("out"), O_WRONLY | O_CREAT | O_TRUNC, 0644), 1);
    (void)dup2(open(test_path("err"), O_WRONLY | O_CREAT | O_TRUNC, 0644), 2);
    (void)unsetenv("PP_MUTANT");
    execv(program, (char *const *)words);
    _exit(127);
}

static int wait_for(pid_t pid, unsigned seconds)
{
    int status;
    uint64_t deadline_ms = test_now_ms() + test_limit_ms(seconds * 1000);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (test_now_ms() > deadline_ms) {
            (void)kill(pid, SIGTERM);
            test_fail(__FILE__, __LINE__, "not over after %u s:\n%s", seconds,
                      read_text(test_path("err")));
        }
        test_nap_us(2000);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* We adopt what a child leaves behind, so it would be here. What is ending may take a moment. */
static void nothing_runs(void)
{
    int status;
    pid_t pid;
    uint64_t deadline_ms = test_now_ms() + test_limit_ms(10000);
    while ((pid = waitpid(-1, &status, WNOHANG)) >= 0) {
        CHECK(test_now_ms() < deadline_ms);
        test_nap_us(pid ? 0 : 2000);
    }
    CHECK_EQ(errno, ECHILD);
}

/* ---- what is shown */

static void layout(const char *results)
{
    static const char *const files[] = {
        "manifest.json", "all_runs_long.csv", "aggregate.csv", "aggregate_summary.txt",
        "runs/run-001/comparison.csv", "runs/run-001/summary.txt",
    };
    static const char *const raw[] = { "workload.json", "workload.stderr", "memory.csv",
                                       "touch_latency.csv" };
    static const char *const of_daemon[] = { "daemon.csv", "daemon.log" };
    static const char *const arms[] = { "anon_streamer/baseline", "anon_streamer/pager",
                                        "interactive_burst/baseline", "interactive_burst/pager" };
    char name[128];
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
        (void)read_text(in_results(results, files[i]));
    for (unsigned arm = 0; arm < 4; arm++) {
        for (unsigned i = 0; i < sizeof raw / sizeof *raw; i++) {
            (void)snprintf(name, sizeof name, "runs/run-001/%s/%s", arms[arm], raw[i]);
            CHECK(exists(in_results(results, name)));
        }
        for (unsigned i = 0; i < 2; i++) {
            (void)snprintf(name, sizeof name, "runs/run-001/%s/%s", arms[arm], of_daemon[i]);
            CHECK_EQ(exists(in_results(results, name)), arm % 2);
        }
    }
    CHECK(strncmp(read_text(in_results(results, "runs/run-001/anon_streamer/pager/touch_latency.csv")),
                  "upper_ns,count\n", 15) == 0);
    CHECK(!exists(in_results(results, "all_runs_long.csv.new")));
}

static void numbers(const char *results)
{
    const char *text = read_text(in_results(results, "all_runs_long.csv"));
    CHECK(strncmp(text, "run,", 4) == 0);
    static const char *const published[] = {
        "units_per_sec_ratio_pager_vs_baseline", "elapsed_ms_ratio_pager_vs_baseline",
        "pager_daemon_cpu_pct_total", "pager_bg_cpu_pct", "pager_fault_cpu_pct",
        "pager_fault_missing_p95_ns", "pager_fault_missing_p99_ns", "pager_restore_wall_p95_ns",
        "pager_restore_wall_p99_ns", "pager_compress_success", "pager_faults_missing",
        "pager_restore_success", "pager_client_evict_success", "pager_range_add_msgs",
        "pager_range_del_msgs", "pager_pages_tracked_peak", "pager_process_madvise_unsupported",
    };
    for (unsigned row = 1; row <= 2; row++) {
        CHECK(strcmp(cell(text, row, "run"), "1") == 0);
        CHECK(strcmp(cell(text, row, "verdict"), "OK") == 0);
        CHECK(strcmp(cell(text, row, "verify_errors"), "0") == 0);
        CHECK(atof(cell(text, row, "baseline_pages_checked")) >= 1024);
        CHECK(atof(cell(text, row, "pager_pages_checked")) >= 1024);
        CHECK(atof(cell(text, row, "pager_client_evict_success")) > 0); /* checked while out */
        for (unsigned i = 0; i < sizeof published / sizeof *published; i++)
            if (!*cell(text, row, published[i]))
                test_fail(__FILE__, __LINE__, "row %u has no %s", row, published[i]);
        if (exists("/usr/bin/time")) {
            CHECK(atof(cell(text, row, "baseline_time_max_rss_kib")) > 1000);
            CHECK(atof(cell(text, row, "pager_time_minor_faults")) > 100);
            CHECK(*cell(text, row, "pager_time_cpu_pct") && *cell(text, row, "pager_time_major_faults"));
        }
    }
    text = read_text(in_results(results, "manifest.json"));
    CHECK(strstr(text, "\"complete\"") && strstr(text, "\"heat_source\"") &&
          strstr(text, "\"idle\":\t\"200ms\""));
    text = read_text(in_results(results, "aggregate.csv"));
    CHECK(strstr(text, "\nanon_streamer,units_per_sec_ratio_pager_vs_baseline,1,"));
    CHECK(strstr(text, "\ninteractive_burst,pager_client_evict_success,1,"));
    CHECK(strstr(read_text(in_results(results, "aggregate_summary.txt")), "\nanon_streamer: The pager "));
}

/* The second row's pages were brought back by their own threads, in a session beside that of the process. */
static void direct_numbers(const char *results)
{
    const char *text = read_text(in_results(results, "all_runs_long.csv"));
    CHECK(strcmp(cell(text, 2, "workload"), "anon_streamer") == 0);
    CHECK_EQ(atoi(cell(text, 1, "pager_direct_restores")), 0);
    CHECK(atoi(cell(text, 2, "pager_direct_restores")) > 0);
    CHECK(atoi(cell(text, 2, "pager_fault_missing_n")) > 0);
    CHECK(atof(cell(text, 2, "pager_fault_missing_max_ns")) > atof(cell(text, 2, "pager_restore_wall_max_ns")));
    CHECK(!*cell(text, 1, "pager_touch_out_n") && *cell(text, 2, "pager_touch_out_n"));
    text = read_text(in_results(results, "runs/run-001/anon_streamer/pager/workload.json"));
    CHECK(strstr(text, "\"direct\": true"));
}

/* Worked out again from the runs alone, it is the same. */
static void aggregate_again(const char *results)
{
    static const char *const files[] = { "all_runs_long.csv", "aggregate.csv", "aggregate_summary.txt" };
    static char before[3][1 << 18];
    for (unsigned i = 0; i < 3; i++) {
        strcpy(before[i], read_text(in_results(results, files[i])));
        CHECK_EQ(unlink(in_results(results, files[i])), 0);
    }
    CHECK_EQ(wait_for(start((const char *[]){ program, "aggregate", results, NULL }), 10), 0);
    for (unsigned i = 0; i < 3; i++)
        CHECK(strcmp(before[i], read_text(in_results(results, files[i]))) == 0);
}

static void one_run(const char *results)
{
    test_case("one run of two rows");
    pid_t pid = start((const char *[]){ program, "--runs", "1", "--duration-sec", "1", "--only",
                                        "interactive_burst,anon_streamer", "--results-dir", results,
                                        "--row-args", "anon_streamer=--direct --tell-out",
                                        "--row-args", SMALL, NULL });
    CHECK_EQ(wait_for(pid, 60), 0);
    nothing_runs();
    layout(results);
    numbers(results);
    direct_numbers(results);
    test_case("aggregate");
    aggregate_again(results);
    test_case("a folder that has results");
    pid = start((const char *[]){ program, "--results-dir", results, NULL });
    CHECK_EQ(wait_for(pid, 10), 64);
    CHECK_EQ(count(read_text(test_path("err")), "\n"), 1);
    remove_results(results);
}

/* The workload refuses to run: the row says so, the other one is a result, GNU time's cells are empty
 * and that is said once. */
static void a_failing_row(const char *results)
{
    test_case("a failing row, and no GNU time");
    pid_t pid = start((const char *[]){
        program, "--runs", "2", "--duration-sec", "0.2", "--only", "anon_streamer,mmap_churn",
        "--results-dir", results, "--gnu-time", "/nonexistent/time", "--row-args",
        "mmap_churn=--frob", "--row-args", "anon_streamer=--region 1M", "--plots", "off", NULL });
    CHECK(wait_for(pid, 60) != 0);
    nothing_runs();
    const char *text = read_text(in_results(results, "all_runs_long.csv"));
    CHECK(strcmp(cell(text, 4, "run"), "2") == 0);
    CHECK(strcmp(cell(text, 1, "verdict"), "OK") == 0 && strcmp(cell(text, 3, "verdict"), "OK") == 0);
    CHECK(strcmp(cell(text, 2, "verdict"), "FAILED") == 0 && strstr(cell(text, 2, "reason"), "--frob"));
    CHECK(strcmp(cell(text, 2, "units_per_sec_ratio_pager_vs_baseline"), "") == 0);
    CHECK(strstr(text, "baseline_time_max_rss_kib"));
    CHECK(strcmp(cell(text, 1, "baseline_time_max_rss_kib"), "") == 0);
    CHECK(strcmp(cell(text, 1, "pager_time_minor_faults"), "") == 0);
    CHECK_EQ(count(read_text(test_path("err")), "/nonexistent/time"), 1);
    CHECK(strstr(read_text(in_results(results, "manifest.json")), "\"complete\""));
    text = read_text(in_results(results, "aggregate.csv"));
    CHECK(!strstr(text, "mmap_churn,") && strstr(text, "anon_streamer,baseline_units_per_sec,2,"));
    remove_results(results);
}

static void wait_for_file(const char *path, pid_t pid)
{
    uint64_t deadline_ms = test_now_ms() + test_limit_ms(20000);
    while (!exists(path)) {
        if (test_now_ms() > deadline_ms) {
            (void)kill(pid, SIGTERM);
            test_fail(__FILE__, __LINE__, "no %s:\n%s", path, read_text(test_path("err")));
        }
        test_nap_us(2000);
    }
}

/* In the middle of an arm, long before the end. */
static void ctrl_c(const char *results)
{
    test_case("Ctrl-C");
    char swaps[4096];
    strncpy(swaps, read_text("/proc/swaps"), sizeof swaps - 1);
    pid_t pid = start((const char *[]){ program, "--runs", "50", "--duration-sec", "0.4", "--only",
                                        "anon_streamer", "--results-dir", results, "--row-args",
                                        SMALL, NULL });
    wait_for_file(in_results(results, "runs/run-002/anon_streamer/pager/daemon.log"), pid);
    CHECK_EQ(kill(pid, SIGINT), 0);
    CHECK_EQ(wait_for(pid, 10), INTERRUPTED);
    nothing_runs();
    CHECK(strstr(read_text(in_results(results, "manifest.json")), "\"cut short\""));
    CHECK(strstr(read_text(in_results(results, "aggregate.csv")),
                 "\nanon_streamer,units_per_sec_ratio_pager_vs_baseline,1,"));
    CHECK(strstr(read_text(in_results(results, "aggregate_summary.txt")), "CUT SHORT"));
    CHECK(!exists(in_results(results, "runs/run-002/comparison.csv")));
    CHECK(strcmp(swaps, read_text("/proc/swaps")) == 0);
    test_case("aggregate of a folder cut short");
    aggregate_again(results);
    remove_results(results);
}

/* Killed outright: daemon, GNU time and the workload below it end by themselves, long before the
 * workload would have; what was finished is there. */
static void kill_outright(const char *results)
{
    test_case("SIGKILL");
    pid_t pid = start((const char *[]){ program, "--runs", "50", "--duration-sec", "30", "--only",
                                        "anon_streamer", "--results-dir", results, "--row-args",
                                        SMALL, NULL });
    wait_for_file(in_results(results, "runs/run-001/anon_streamer/baseline/workload.stderr"), pid);
    test_nap_us(4000 * 1000); /* the workload has read its options and works */
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(wait_for(pid, 10), 128 + SIGKILL);
    nothing_runs();
    CHECK(strstr(read_text(in_results(results, "manifest.json")), "\"cut short\""));
    remove_results(results);
}

/* What is asked for and cannot be: one line, and the code for it, before anything is run. */
static void bad_requests(const char *results)
{
    test_case("what cannot be");
    CHECK_EQ(mkdir(results, 0755), 0);
    CHECK_EQ(wait_for(start((const char *[]){ program, "plot", results, NULL }), 10), 64);
    CHECK_EQ(count(read_text(test_path("err")), "\n"), 1);
    CHECK_EQ(wait_for(start((const char *[]){ program, "aggregate", program, NULL }), 10), 64);
    CHECK(strstr(read_text(test_path("err")), "Not a directory"));
    CHECK_EQ(wait_for(start((const char *[]){ program, "--workloads-dir", "/nonexistent",
                                              "--results-dir", results, NULL }), 10), 69);
    CHECK_EQ(count(read_text(test_path("err")), "\n"), 1);
    CHECK_EQ(wait_for(start((const char *[]){ program, "--daemon", "/nonexistent", "--results-dir",
                                              results, NULL }), 10), 69);
    CHECK_EQ(count(read_text(test_path("err")), "\n"), 1);
    remove_results(results);
}

/* While the device is there: afterwards it is not, and page-cluster is as it was. */
static void ctrl_c_with_zram(const char *results)
{
    char cluster[16], swaps[4096];
    test_case("Ctrl-C in the arm with zram");
    strncpy(swaps, read_text("/proc/swaps"), sizeof swaps - 1);
    strncpy(cluster, read_text("/proc/sys/vm/page-cluster"), sizeof cluster - 1);
    pid_t pid = start((const char *[]){ program, "--runs", "50", "--duration-sec", "0.4", "--only",
                                        "anon_streamer", "--results-dir", results, "--peer", "zram",
                                        "--row-args", SMALL, NULL });
    /* run 1 ends with zram, run 2 begins with it */
    wait_for_file(in_results(results, "runs/run-002/anon_streamer/zram/workload.stderr"), pid);
    CHECK(strstr(read_text("/proc/swaps"), "/zram"));
    CHECK_EQ(kill(pid, SIGINT), 0);
    CHECK_EQ(wait_for(pid, 20), INTERRUPTED);
    nothing_runs();
    CHECK(strcmp(swaps, read_text("/proc/swaps")) == 0);
    CHECK(strcmp(cluster, read_text("/proc/sys/vm/page-cluster")) == 0);
    const char *text = read_text(in_results(results, "all_runs_long.csv"));
    CHECK(strcmp(cell(text, 1, "verdict"), "OK") == 0);
    CHECK(atof(cell(text, 1, "zram_pages_checked")) >= 1024);
    CHECK(atof(cell(text, 1, "zram_client_evict_success")) > 0);
    CHECK_EQ(atoi(cell(text, 1, "zram_compress_success")), 0); /* the kernel's way, not ours */
    CHECK(atoi(cell(text, 1, "pager_compress_success")) > 0);
    CHECK(*cell(text, 1, "units_per_sec_ratio_zram_vs_baseline"));
    remove_results(results);
}

static bool has_zram(void)
{
    static struct command c;
    command_run(&c, 0, (const char *const[]){ program_path("process-pagerd"), "--help", NULL });
    return geteuid() == 0 && exists("/sys/class/zram-control/hot_add") && strstr(c.out, "--evict-by");
}

int main(void)
{
    test_begin("the repeated A/B leaves what it promises and nothing else", 110);
    (void)snprintf(program, sizeof program, "%s", program_path("bench/ab-repeats"));
    char results[128];
    (void)snprintf(results, sizeof results, "%s", test_path("results"));
    one_run(results);
    a_failing_row(results);
    ctrl_c(results);
    kill_outright(results);
    bad_requests(results);
    if (has_zram())
        ctrl_c_with_zram(results);
    return test_end();
}
