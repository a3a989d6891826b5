/* arm.c - daemon up, workload up, sample until it ends, daemon down, read what they wrote. */
#include "arm.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "common/json.h"
#include "common/options.h"
#include "common/pace.h"
#include "files.h"
#include "zram.h"

#define SAMPLE_EVERY_NS UINT64_C(500000000)
#define DAEMON_READY_NS UINT64_C(10000000000)
#define DAEMON_END_NS UINT64_C(10000000000)
#define LOOK_AGAIN_NS UINT64_C(10000000)
/* First touch, and bringing back and checking everything at the end, on a slow machine. */
#define OVERTIME_SEC 120

const char *const arm_names[ARM_NR] = {"baseline", "pager", "zram"};

/* ---- words ---------------------------------------------------------------------------------- */

void arm_args_add(struct arm_args *args, const char *word)
{
    char *copy = args->count < ARM_ARGS_MAX ? strdup(word) : NULL;
    if (!copy) {
        fprintf(stderr, "%s: more than %u words in a command\n", program_invocation_short_name,
                ARM_ARGS_MAX);
        exit(EXIT_USAGE); /* nothing has been started yet */
    }
    args->words[args->count++] = copy;
}

void arm_args_add_words(struct arm_args *args, const char *text)
{
    char *copy = strdup(text ? text : "");
    for (char *word, *rest = copy; (word = strsep(&rest, " \t\n")) != NULL;) {
        if (*word)
            arm_args_add(args, word);
    }
    free(copy);
}

void arm_args_free(struct arm_args *args)
{
    for (size_t i = 0; i < args->count; i++)
        free(args->words[i]);
    *args = (struct arm_args){.count = 0};
}

/* ---- what an arm has while it runs ---------------------------------------------------------- */

struct arm {
    const struct arm_spec *spec;
    struct arm_result *result;
    char folder_temp[64]; /* of the socket; "" when there is none */
    char socket_path[96];
    struct child daemon, workload;
    struct zram zram;
};

static void in_folder(const struct arm_spec *spec, const char *name, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s", spec->folder, name);
}

static void fail(struct arm *arm, int code, const char *what, const char *detail)
{
    arm->result->exit_code = code;
    snprintf(arm->result->problem, sizeof(arm->result->problem), "%s: %s", what, detail);
}

/* ---- the daemon ----------------------------------------------------------------------------- */

static bool wait_for_socket(struct arm *arm, const char *log_path)
{
    uint64_t until_ns = pace_now_ns() + DAEMON_READY_NS;
    int code = 0;
    char line[160];
    while (pace_now_ns() < until_ns) {
        struct stat st;
        if (stat(arm->socket_path, &st) == 0)
            return true;
        switch (child_wait_until(&arm->daemon, pace_now_ns() + LOOK_AGAIN_NS, &code)) {
        case CHILD_RUNS: break;
        case CHILD_ENDED:
            file_last_line(log_path, line, sizeof(line));
            fail(arm, code ? code : EXIT_NO_DAEMON, "process-pagerd ended", line);
            return false;
        case CHILD_INTERRUPTED:
            fail(arm, EXIT_NO_DAEMON, "process-pagerd", "interrupted");
            return false;
        }
    }
    fail(arm, EXIT_NO_DAEMON, "process-pagerd", "no socket within 10 s");
    return false;
}

static bool start_daemon(struct arm *arm)
{
    const struct arm_spec *spec = arm->spec;
    char csv_path[PATH_MAX], log_path[PATH_MAX];
    in_folder(spec, "daemon.csv", csv_path);
    in_folder(spec, "daemon.log", log_path);
    snprintf(arm->folder_temp, sizeof(arm->folder_temp), "/tmp/process-pager-ab.XXXXXX");
    if (!mkdtemp(arm->folder_temp)) {
        fail(arm, EXIT_SYSTEM, arm->folder_temp, strerror(errno));
        arm->folder_temp[0] = '\0';
        return false;
    }
    snprintf(arm->socket_path, sizeof(arm->socket_path), "%s/pager.sock", arm->folder_temp);

    struct arm_args args = {.count = 0};
    arm_args_add(&args, spec->daemon_path);
    arm_args_add(&args, "--socket");
    arm_args_add(&args, arm->socket_path);
    arm_args_add(&args, "--csv");
    arm_args_add(&args, csv_path);
    if (spec->kind == ARM_ZRAM)
        arm_args_add_words(&args, "--evict-by pageout");
    for (size_t i = 0; i < spec->daemon_args->count; i++)
        arm_args_add(&args, spec->daemon_args->words[i]);
    struct child_spec child = {.argv = args.words,
                               .stdout_path = log_path,
                               .stderr_path = log_path,
                               .end_signal = SIGTERM};
    int r = child_start(&child, &arm->daemon);
    arm_args_free(&args);
    if (r < 0) {
        fail(arm, EXIT_SYSTEM, spec->daemon_path, strerror(-r));
        return false;
    }
    return wait_for_socket(arm, log_path);
}

static bool start_zram(struct arm *arm)
{
    char reason[160] = "";
    int r = zram_begin(&arm->zram, arm->spec->zram_bytes, reason, sizeof(reason));
    if (r < 0)
        fail(arm, EXIT_SYSTEM, "zram", reason);
    return r == 0;
}

static void remove_temp(const struct arm *arm)
{
    if (!arm->folder_temp[0])
        return;
    DIR *dir = opendir(arm->folder_temp);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), entry->d_name, 0); /* "." and ".." refuse, which is right */
    if (dir)
        closedir(dir);
    if (rmdir(arm->folder_temp) != 0)
        fprintf(stderr, "%s: %s: %s; left behind\n", program_invocation_short_name,
                arm->folder_temp, strerror(errno));
}

/* ---- the workload --------------------------------------------------------------------------- */

static bool start_workload(struct arm *arm)
{
    const struct arm_spec *spec = arm->spec;
    char time_path[PATH_MAX], json_path[PATH_MAX], touch_path[PATH_MAX], stderr_path[PATH_MAX];
    in_folder(spec, "gnu_time.txt", time_path);
    in_folder(spec, "touch_latency.csv", touch_path);
    in_folder(spec, "workload.json", json_path);
    in_folder(spec, "workload.stderr", stderr_path);
    struct arm_args args = {.count = 0};
    if (spec->gnu_time_path) {
        arm_args_add(&args, spec->gnu_time_path);
        arm_args_add(&args, "-v");
        arm_args_add(&args, "-o");
        arm_args_add(&args, time_path);
    }
    arm_args_add(&args, spec->workload_path);
    for (size_t i = 0; i < spec->workload_args->count; i++)
        arm_args_add(&args, spec->workload_args->words[i]);
    arm_args_add(&args, "--json");
    arm_args_add(&args, json_path);
    arm_args_add(&args, "--touch-latency");
    arm_args_add(&args, touch_path);
    arm_args_add(&args, "--end-with-parent"); /* GNU time's child does not get our death signal */
    if (spec->kind != ARM_BASELINE) {
        arm_args_add(&args, "--use-process-pager");
        arm_args_add(&args, "--socket");
        arm_args_add(&args, arm->socket_path);
    }
    /* GNU time ignores SIGINT and stays to reap the workload. */
    struct child_spec child = {
        .argv = args.words, .stderr_path = stderr_path, .end_signal = SIGINT};
    int r = child_start(&child, &arm->workload);
    arm_args_free(&args);
    if (r < 0)
        fail(arm, EXIT_SYSTEM, spec->workload_path, strerror(-r));
    return r == 0;
}

/* The process whose parent is `parent`; 0: none yet. */
static pid_t find_child_of(pid_t parent)
{
    DIR *proc = opendir("/proc");
    pid_t found = 0;
    struct dirent *entry;
    while (proc && found == 0 && (entry = readdir(proc)) != NULL) {
        char path[300], text[512];
        int pid = atoi(entry->d_name), its_parent;
        if (pid <= 0)
            continue;
        snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        size_t length = fread(text, 1, sizeof(text) - 1, file);
        fclose(file);
        text[length] = '\0';
        const char *behind_name = strrchr(text, ')');
        if (behind_name && sscanf(behind_name + 1, " %*c %d", &its_parent) == 1 &&
            its_parent == parent)
            found = pid;
    }
    if (proc)
        closedir(proc);
    return found;
}

/* Samples at a steady beat until the workload has ended. */
static void watch_workload(struct arm *arm)
{
    uint64_t limit_ns = pace_now_ns() + (uint64_t)((arm->spec->duration_sec + OVERTIME_SEC) * 1e9);
    uint64_t next_ns = pace_now_ns();
    pid_t target = arm->spec->gnu_time_path ? 0 : arm->workload.pid;
    for (;;) {
        int code = 0;
        uint64_t beat_ns = target ? SAMPLE_EVERY_NS : LOOK_AGAIN_NS, now_ns = pace_now_ns();
        next_ns += beat_ns;
        if (next_ns < now_ns) /* the machine stood still: beats that were missed are not made up */
            next_ns = now_ns + beat_ns;
        switch (child_wait_until(&arm->workload, next_ns, &code)) {
        case CHILD_RUNS: break;
        case CHILD_ENDED:
            if (code != 0) {
                char path[PATH_MAX], line[160];
                in_folder(arm->spec, "workload.stderr", path);
                file_last_line(path, line, sizeof(line));
                fail(arm, code, "workload failed", line);
            }
            return;
        case CHILD_INTERRUPTED: fail(arm, EXIT_SYSTEM, "workload", "interrupted"); return;
        }
        if (pace_now_ns() > limit_ns) {
            fail(arm, EXIT_SYSTEM, "workload", "did not end; given up");
            return;
        }
        struct memory_sample sample;
        if (!target) {
            target = find_child_of(arm->workload.pid);
            continue;
        }
        if (memory_sample(target, arm->daemon.pid, &sample) == 0) {
            sample.is_zram = arm->spec->kind == ARM_ZRAM;
            sample.zram_used_kib = sample.is_zram ? zram_used_kib(&arm->zram) : 0;
            memory_series_add(&arm->result->memory, &sample);
        }
        if (arm->spec->on_beat)
            arm->spec->on_beat(arm->spec->context);
    }
}

/* ---- what they wrote ------------------------------------------------------------------------ */

static void read_results(struct arm *arm)
{
    const struct arm_spec *spec = arm->spec;
    struct arm_result *result = arm->result;
    char path[PATH_MAX], pid_text[24] = "";
    uint64_t pid;
    in_folder(spec, "workload.json", path);
    result->json = file_read(path);
    if (result->json && json_find_uint(result->json, "pid", &pid)) {
        snprintf(pid_text, sizeof(pid_text), "%llu", (unsigned long long)pid);
        (void)json_find_uint(result->json, "window_start_ns", &result->window_start_ns);
        (void)json_find_uint(result->json, "warm_up_end_ns", &result->warm_up_end_ns);
        (void)json_find_uint(result->json, "window_end_ns", &result->window_end_ns);
    } else if (result->exit_code == 0) {
        fail(arm, EXIT_SYSTEM, "workload.json", "no result");
    }
    in_folder(spec, "gnu_time.txt", path);
    char *time_text = spec->gnu_time_path ? file_read(path) : NULL;
    result->has_time = time_text && gnu_time_parse(time_text, &result->time);
    free(time_text);
    if (spec->kind != ARM_BASELINE) {
        in_folder(spec, "daemon.csv", path);
        /* With direct ranges a process has a session more, which has none of them. */
        result->has_session =
            csv_row_read(path, "pid", pid_text, "range_add_msgs", &result->session) == 0;
        if (!result->has_session && result->exit_code == 0)
            fail(arm, EXIT_SYSTEM, "daemon.csv", "no row for the workload");
    }
    in_folder(spec, "memory.csv", path);
    int r =
        memory_series_write(&result->memory, result->window_start_ns, result->window_end_ns, path);
    if (r < 0)
        fprintf(stderr, "%s: %s: %s; continuing\n", program_invocation_short_name, path,
                strerror(-r));
}

int arm_run(const struct arm_spec *spec, struct arm_result *ret_result)
{
    struct arm arm = {.spec = spec, .result = ret_result, .zram = {.id = -1}};
    *ret_result = (struct arm_result){.exit_code = 0};
    int r = folder_make(spec->folder);
    if (r < 0)
        fail(&arm, EXIT_SYSTEM, spec->folder, strerror(-r));
    else if ((spec->kind != ARM_ZRAM || start_zram(&arm)) &&
             (spec->kind == ARM_BASELINE || start_daemon(&arm)) && start_workload(&arm))
        watch_workload(&arm);
    (void)child_end(&arm.workload, DAEMON_END_NS); /* only still there when something went wrong */
    int code = child_end(&arm.daemon, DAEMON_END_NS);
    if (code != 0 && ret_result->exit_code == 0)
        fail(&arm, EXIT_SYSTEM, "process-pagerd", "did not end in order after SIGTERM");
    zram_end(&arm.zram);
    remove_temp(&arm);
    if (children_stop_signal() != 0)
        return 128 + children_stop_signal();
    if (r == 0)
        read_results(&arm);
    return ret_result->exit_code;
}

void arm_result_free(struct arm_result *result)
{
    free(result->json);
    memory_series_free(&result->memory);
    if (result->has_session)
        csv_row_free(&result->session);
    *result = (struct arm_result){.exit_code = 0};
}
