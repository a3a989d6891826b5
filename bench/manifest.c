/* manifest.c - see manifest.h. What cannot be found out is null. */
#include "manifest.h"

#include <cJSON.h>
#include <errno.h>
#include <gnu/libc-version.h>
#include <limits.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "commit.h"
#include "files.h"

/* ---- small things --------------------------------------------------------------------------- */

static void format_time(time_t when, const char *format, char *ret_text, size_t size)
{
    struct tm utc;
    strftime(ret_text, size, format, gmtime_r(&when, &utc));
}

void manifest_run_id(time_t when, char ret_run_id[MANIFEST_RUN_ID_CHARS])
{
    format_time(when, "%Y%m%d-%H%M%S", ret_run_id, MANIFEST_RUN_ID_CHARS);
}

static void put_text(cJSON *to, const char *name, const char *text)
{
    if (text && *text)
        cJSON_AddStringToObject(to, name, text);
    else
        cJSON_AddNullToObject(to, name);
}

static void put_time(cJSON *to, const char *name, time_t when)
{
    char text[32] = "";
    if (when)
        format_time(when, "%Y-%m-%dT%H:%M:%SZ", text, sizeof(text));
    put_text(to, name, text);
}

static void cut_line(char *text)
{
    text[strcspn(text, "\n")] = '\0';
}

/* The first line of a file, as a string. */
static void put_file(cJSON *to, const char *name, const char *path)
{
    char *text = file_read(path);
    if (text)
        cut_line(text);
    put_text(to, name, text);
    free(text);
}

/* What stands behind `label` and blanks, a colon or a tab, in its line of a file. */
static void put_labelled(cJSON *to, const char *name, const char *path, const char *label)
{
    char *text = file_read(path);
    char *at = text ? strstr(text, label) : NULL;
    if (at) {
        at += strlen(label);
        at += strspn(at, " \t:");
        cut_line(at);
    }
    put_text(to, name, at);
    free(text);
}

/* The first line that a program prints about its version. */
static void put_program_version(cJSON *to, const char *name, const char *command)
{
    char line[160] = "";
    FILE *in = popen(command, "r");
    if (in && fgets(line, sizeof(line), in))
        cut_line(line);
    if (in)
        (void)pclose(in); /* a program that is not there has printed nothing */
    put_text(to, name, line);
}

/* ---- the machine ---------------------------------------------------------------------------- */

static void put_machine(cJSON *to)
{
    struct utsname u;
    cJSON *cpu = cJSON_AddObjectToObject(to, "cpu"), *swap = cJSON_AddArrayToObject(to, "swap");
    (void)uname(&u); /* cannot fail with a right pointer */
    put_text(to, "kernel", u.release);
    put_text(to, "architecture", u.machine);
    put_labelled(cpu, "model", "/proc/cpuinfo", "model name");
    cJSON_AddNumberToObject(cpu, "count", (double)sysconf(_SC_NPROCESSORS_ONLN));
    put_labelled(to, "memory", "/proc/meminfo", "MemTotal");
    put_file(to, "load_before", "/proc/loadavg");
    put_file(to, "transparent_hugepages", "/sys/kernel/mm/transparent_hugepage/enabled");
    put_file(to, "vm.swappiness", "/proc/sys/vm/swappiness");
    put_file(to, "vm.page-cluster", "/proc/sys/vm/page-cluster");
    cJSON_AddBoolToObject(to, "has_zram", access("/sys/class/zram-control/hot_add", F_OK) == 0);
    char *text = file_read("/proc/swaps"), *rest = text;
    (void)strsep(&rest, "\n"); /* the head */
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (*line)
            cJSON_AddItemToArray(swap, cJSON_CreateString(line));
    }
    free(text);
}

static void put_versions(cJSON *to, const struct manifest *m)
{
    char command[PATH_MAX + 48];
    cJSON *versions = cJSON_AddObjectToObject(to, "versions");
    put_text(versions, "process-pager", PP_VERSION);
    put_text(versions, "gcc", __VERSION__);
    put_text(versions, "libc", gnu_get_libc_version());
    put_text(versions, "liblz4", LZ4_versionString());
    put_text(versions, "libcjson", cJSON_Version());
    put_program_version(versions, "gnuplot", "gnuplot --version 2>/dev/null");
    snprintf(command, sizeof(command), "'%s' --version 2>/dev/null",
             m->plan->places->gnu_time_path ? m->plan->places->gnu_time_path : "/nonexistent");
    put_program_version(versions, "gnu_time", command);
}

/* "... heat source scan, eviction by ..." */
static void put_heat_source(cJSON *to, const char *check_path)
{
    static const char label[] = "heat source ";
    char *text = file_read(check_path);
    char *at = text ? strstr(text, label) : NULL;
    if (at) {
        at += sizeof(label) - 1;
        at[strcspn(at, ",\n")] = '\0';
    }
    put_text(to, "heat_source", at);
    free(text);
}

/* ---- what is run ---------------------------------------------------------------------------- */

/* "--name value" becomes "name": "value"; what comes later counts, as for the program. */
static void put_parameters(cJSON *to, const struct arm_args *args)
{
    for (size_t i = 0; i < args->count; i++) {
        const char *name = args->words[i];
        if (strncmp(name, "--", 2) != 0)
            continue;
        const char *value = i + 1 < args->count && strncmp(args->words[i + 1], "--", 2) != 0
                                ? args->words[i + 1]
                                : "on";
        cJSON_DeleteItemFromObject(to, name + 2);
        put_text(to, name + 2, value);
    }
}

static void put_rows(cJSON *to, const struct manifest *m)
{
    cJSON *rows = cJSON_AddArrayToObject(to, "workloads");
    for (size_t i = 0; i < m->profile->nr_rows; i++) {
        const struct row *row = &m->profile->rows[i];
        if (!m->has_row[i])
            continue;
        struct arm_args args = rows_args(row, &m->plan->row_args, &m->run);
        cJSON *one = cJSON_CreateObject();
        cJSON_AddItemToArray(rows, one);
        put_text(one, "name", row->name);
        put_text(one, "program", row->program);
        put_parameters(cJSON_AddObjectToObject(one, "parameters"), &args);
        arm_args_free(&args);
    }
}

static void put_arms(cJSON *to, const struct trial_plan *plan)
{
    cJSON *arms = cJSON_AddArrayToObject(to, "arms");
    for (enum arm_kind kind = 0; kind < ARM_NR; kind++) {
        if (plan->has_arm[kind])
            cJSON_AddItemToArray(arms, cJSON_CreateString(arm_names[kind]));
    }
    struct arm_args args = trial_daemon_args(plan);
    cJSON *options = cJSON_AddArrayToObject(to, "daemon_args");
    for (size_t i = 0; i < args.count; i++)
        cJSON_AddItemToArray(options, cJSON_CreateString(args.words[i]));
    arm_args_free(&args);
    if (!plan->has_arm[ARM_ZRAM])
        return;
    cJSON *zram = cJSON_AddObjectToObject(to, "zram");
    cJSON_AddNumberToObject(zram, "disksize_bytes", (double)plan->zram_bytes);
    put_text(zram, "comp_algorithm", "lz4");
    put_text(zram, "vm.page-cluster", "0");
    put_text(zram, "daemon_args", "--evict-by pageout");
}

int manifest_write(const struct manifest *m, const char *results_dir, time_t end, uint64_t nr_rows,
                   bool is_complete)
{
    char path[PATH_MAX + 32], new_path[PATH_MAX + 40];
    cJSON *to = cJSON_CreateObject();
    put_text(to, "run_id", m->run_id);
    put_text(to, "state", is_complete ? "complete" : "cut short");
    put_time(to, "start", m->start);
    put_time(to, "end", end);
    put_text(to, "command_line", m->command_line);
    put_text(to, "commit", PP_COMMIT);
    put_text(to, "profile", m->profile->name);
    cJSON_AddNumberToObject(to, "runs", (double)m->nr_runs);
    cJSON_AddNumberToObject(to, "finished_rows", (double)nr_rows);
    cJSON_AddNumberToObject(to, "duration_sec", m->run.duration_sec);
    cJSON_AddNumberToObject(to, "warm_up_sec", m->run.warm_up_sec);
    cJSON_AddNumberToObject(to, "seed", (double)m->run.seed);
    put_arms(to, m->plan);
    put_heat_source(to, m->check_path);
    put_rows(to, m);
    put_machine(to);
    put_versions(to, m);
    char *text = cJSON_Print(to);
    cJSON_Delete(to);
    snprintf(path, sizeof(path), "%s/manifest.json", results_dir);
    /* Beside the first one, and then in its place: a full disk must not cost what was known. */
    snprintf(new_path, sizeof(new_path), "%s.new", path);
    FILE *out = text ? fopen(new_path, "w") : NULL;
    int r = out ? 0 : text ? -errno : -ENOMEM;
    if (out) {
        fprintf(out, "%s\n", text);
        r = file_close(out);
        if (r == 0 && rename(new_path, path) != 0)
            r = -errno;
        if (r < 0)
            (void)unlink(new_path);
    }
    free(text);
    return r;
}

/* ---- for people ----------------------------------------------------------------------------- */

static const char *text_of(const cJSON *from, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(from, name));
    return text ? text : "?";
}

static double number_of(const cJSON *from, const char *name)
{
    const cJSON *item = cJSON_GetObjectItem(from, name);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

void manifest_write_headline(FILE *out, const char *results_dir)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/manifest.json", results_dir);
    char *text = file_read(path);
    cJSON *from = text ? cJSON_Parse(text) : NULL;
    free(text);
    if (!from)
        return;
    const cJSON *cpu = cJSON_GetObjectItem(from, "cpu");
    fprintf(out, "%s: process-pager %s, Linux %s, %.0f CPUs (%s)\n", text_of(from, "run_id"),
            text_of(from, "commit"), text_of(from, "kernel"), number_of(cpu, "count"),
            text_of(cpu, "model"));
    fprintf(out, "profile %s, %.0f run%s of %g s", text_of(from, "profile"),
            number_of(from, "runs"), number_of(from, "runs") == 1 ? "" : "s",
            number_of(from, "duration_sec"));
    if (number_of(from, "warm_up_sec") > 0)
        fprintf(out, " of which %g s are warm-up", number_of(from, "warm_up_sec"));
    fprintf(out, ", seed %.0f%s\n", number_of(from, "seed"),
            strcmp(text_of(from, "state"), "complete") == 0 ? "" : "; CUT SHORT");
    cJSON_Delete(from);
}
