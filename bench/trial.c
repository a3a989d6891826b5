/* trial.c - see trial.h. */
#include "trial.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "child.h"
#include "commit.h"
#include "compare.h"

size_t trial_order(const bool has_arm[ARM_NR], uint64_t repeat, enum arm_kind ret_order[ARM_NR])
{
    enum arm_kind arms[ARM_NR] = {ARM_BASELINE};
    size_t count = 0;
    for (enum arm_kind kind = 0; kind < ARM_NR; kind++) {
        if (has_arm[kind])
            arms[count++] = kind;
    }
    size_t first = count > 2 ? repeat / 2 % count : 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = (first + i) % count;
        ret_order[repeat % 2 ? count - 1 - i : i] = arms[at];
    }
    return count;
}

static void add_option(struct arm_args *args, const char *name, const char *value)
{
    if (value) {
        arm_args_add(args, name);
        arm_args_add(args, value);
    }
}

struct arm_args trial_daemon_args(const struct trial_plan *plan)
{
    struct arm_args args = {.count = 0};
    add_option(&args, "--cold-age", plan->cold_age);
    add_option(&args, "--heat", plan->heat);
    arm_args_add_words(&args, plan->daemon_args);
    return args;
}

static void run_arm(const struct trial_plan *plan, const struct trial *trial, enum arm_kind kind,
                    struct arm_result *ret_result)
{
    char folder[PATH_MAX + 32], program[PATH_MAX + 32];
    snprintf(folder, sizeof(folder), "%s/%s", trial->folder, arm_names[kind]);
    snprintf(program, sizeof(program), "%s/%s", plan->places->workloads, trial->row->program);
    struct arm_args args = rows_args(trial->row, &plan->row_args, &trial->run);
    struct arm_args daemon_args = trial_daemon_args(plan);
    struct arm_spec spec = {
        .kind = kind,
        .workload_path = program,
        .daemon_path = plan->places->daemon,
        .workload_args = &args,
        .daemon_args = &daemon_args,
        .folder = folder,
        .duration_sec = trial->run.duration_sec,
        .gnu_time_path = plan->places->gnu_time_path,
        .zram_bytes = plan->zram_bytes,
        .on_beat = plan->on_beat,
        .context = plan->context,
    };
    if (plan->on_arm)
        plan->on_arm(plan->context, trial->row, kind);
    int code = arm_run(&spec, ret_result);
    if (plan->on_arm_end)
        plan->on_arm_end(plan->context);
    if (code != 0 && children_stop_signal() == 0)
        fprintf(stderr, "%s: %s %s: %s\n", plan->program, trial->row->name, arm_names[kind],
                ret_result->problem);
    arm_args_free(&args);
    arm_args_free(&daemon_args);
}

/* The words in one text, which is cut where it is full. */
static void join(const struct arm_args *args, char *ret_text, size_t size)
{
    size_t used = 0;
    ret_text[0] = '\0';
    for (size_t i = 0; i < args->count && used < size; i++) {
        int n = snprintf(ret_text + used, size - used, "%s%s", i ? " " : "", args->words[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

static void set_identity(const struct trial_plan *plan, const struct trial *trial,
                         const enum arm_kind *order, size_t nr_arms, struct csv_table *t)
{
    char text[480], arms[64] = "";
    struct arm_args args = rows_args(trial->row, &plan->row_args, &trial->run);
    for (size_t i = 0; i < nr_arms; i++) {
        size_t used = strlen(arms);
        snprintf(arms + used, sizeof(arms) - used, "%s%s", i ? " " : "", arm_names[order[i]]);
    }
    csv_table_set(t, "workload", "%s", trial->row->name);
    csv_table_set(t, "repeat", "%llu", (unsigned long long)trial->repeat + 1);
    csv_table_set(t, "first_arm", "%s", arm_names[order[0]]);
    csv_table_set(t, "arm_order", "%s", arms);
    csv_table_set(t, "commit", "%s", PP_COMMIT);
    csv_table_set(t, "kernel", "%s", plan->kernel);
    join(&args, text, sizeof(text));
    arm_args_free(&args);
    csv_table_set(t, "workload_args", "%s", text);
    args = trial_daemon_args(plan);
    join(&args, text, sizeof(text));
    arm_args_free(&args);
    csv_table_set(t, "daemon_args", "%s", text);
}

int trial_run(const struct trial_plan *plan, const struct trial *trial, struct csv_table *table)
{
    struct arm_result results[ARM_NR] = {0};
    const struct arm_result *arms[ARM_NR] = {NULL};
    enum arm_kind order[ARM_NR];
    size_t nr_arms = trial_order(plan->has_arm, trial->repeat, order);
    for (size_t i = 0; i < nr_arms && children_stop_signal() == 0; i++) {
        run_arm(plan, trial, order[i], &results[order[i]]);
        arms[order[i]] = &results[order[i]];
    }
    int code = 128 + children_stop_signal();
    if (children_stop_signal() == 0) {
        csv_table_add_row(table);
        set_identity(plan, trial, order, nr_arms, table);
        code = compare_arms(table, arms);
    }
    for (enum arm_kind kind = 0; kind < ARM_NR; kind++)
        arm_result_free(&results[kind]);
    return code;
}
