/* compare.c - ratios, memory, touches, GNU time, and the session's numbers. */
#include "compare.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"

/* ---- fields that each arm has --------------------------------------------------------------- */

/* A value that is not known is NAN, and its cell empty. */
static void set_cell(struct csv_table *t, const char *column, int digits, double value)
{
    if (isnan(value))
        csv_table_set(t, column, "%s", "");
    else
        csv_table_set(t, column, "%.*g", digits, value);
}

static void set_for_arm(struct csv_table *t, enum arm_kind kind, const char *name, double value)
{
    char column[112];
    snprintf(column, sizeof(column), "%s_%s", arm_names[kind], name);
    set_cell(t, column, 9, value);
}

static void copy_field(struct csv_table *t, const struct arm_result *const arms[ARM_NR],
                       const char *field, const char *name)
{
    for (enum arm_kind kind = 0; kind < ARM_NR; kind++) {
        double value;
        if (!arms[kind] || !arms[kind]->json || !json_find_number(arms[kind]->json, field, &value))
            value = NAN;
        set_for_arm(t, kind, name, value);
    }
}

/* prefix_p50_ns and so on, called `name` in the table. */
static void copy_latency(struct csv_table *t, const struct arm_result *const arms[ARM_NR],
                         const char *prefix, const char *name)
{
    static const char *const suffixes[] = {"p50_ns", "p95_ns", "p99_ns", "p999_ns", "max_ns", "n"};
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        char field[96], column[96];
        snprintf(field, sizeof(field), "%s_%s", prefix, suffixes[i]);
        snprintf(column, sizeof(column), "%s_%s", name, suffixes[i]);
        copy_field(t, arms, field, column);
    }
}

static void set_ratio(struct csv_table *t, const struct arm_result *const arms[ARM_NR],
                      const char *field)
{
    double base, pager;
    char column[112];
    snprintf(column, sizeof(column), "%s_ratio_pager_vs_baseline", field);
    if (arms[ARM_BASELINE] && arms[ARM_PAGER] && arms[ARM_BASELINE]->json &&
        arms[ARM_PAGER]->json && json_find_number(arms[ARM_BASELINE]->json, field, &base) &&
        json_find_number(arms[ARM_PAGER]->json, field, &pager) && base > 0)
        csv_table_set(t, column, "%.6f", pager / base);
    else
        csv_table_set(t, column, "%s", "");
}

static void set_gnu_time(struct csv_table *t, enum arm_kind kind, const struct arm_result *arm)
{
    static const struct gnu_time none;
    bool is_known = arm && arm->has_time;
    const struct gnu_time *g = is_known ? &arm->time : &none;
    const struct {
        const char *name;
        double value;
    } cells[] = {
        {"time_cpu_pct", g->cpu_pct},
        {"time_elapsed_sec", g->elapsed_sec},
        {"time_user_sec", g->user_sec},
        {"time_system_sec", g->system_sec},
        {"time_minor_faults", (double)g->minor_faults},
        {"time_major_faults", (double)g->major_faults},
        {"time_max_rss_kib", (double)g->max_rss_kib},
    };
    for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++)
        set_for_arm(t, kind, cells[i].name, is_known ? cells[i].value : NAN);
}

/* ---- memory --------------------------------------------------------------------------------- */

enum span { SPAN_AVERAGE, SPAN_STEADY /* the last quarter of the measured part */ };

/* NAN: not known. */
static double paid_mib(const struct arm_result *arm, enum span span)
{
    double mib;
    if (!arm)
        return NAN;
    uint64_t start_ns = arm->window_start_ns, end_ns = arm->window_end_ns;
    if (span == SPAN_STEADY)
        start_ns = end_ns - (end_ns - start_ns) / 4;
    return memory_series_mean_mib(&arm->memory, start_ns, end_ns, &mib) ? mib : NAN;
}

static void set_memory(struct csv_table *t, const struct arm_result *const arms[ARM_NR],
                       enum span span)
{
    const char *const name = span == SPAN_AVERAGE ? "avg" : "steady";
    double paid[ARM_NR];
    char column[64];
    snprintf(column, sizeof(column), "memory_paid_%s_mib", name);
    for (enum arm_kind kind = 0; kind < ARM_NR; kind++) {
        paid[kind] = paid_mib(arms[kind], span);
        set_for_arm(t, kind, column, paid[kind]);
    }
    double saved = paid[ARM_BASELINE] - paid[ARM_PAGER];
    snprintf(column, sizeof(column), "net_memory_saved_%s_mib", name);
    set_cell(t, column, 6, saved);
    snprintf(column, sizeof(column), "net_memory_saved_%s_pct", name);
    set_cell(t, column, 6, 100 * saved / paid[ARM_BASELINE]);
}

/* Parts of what is paid in the pager's arm, as means over the steady part, to see where it goes. */
static void set_memory_parts(struct csv_table *t, const struct arm_result *pager)
{
    uint64_t start_ns = pager->window_end_ns - (pager->window_end_ns - pager->window_start_ns) / 4;
    double daemon = 0, blocks = 0, rings = 0, cost = 0;
    size_t count = 0;
    for (size_t i = 0; i < pager->memory.count; i++) {
        const struct memory_sample *s = &pager->memory.samples[i];
        if (s->time_ns < start_ns || s->time_ns > pager->window_end_ns)
            continue;
        daemon += (double)(s->daemon.pss_kib - s->daemon.memfd_pss_kib);
        blocks += (double)s->store_blocks_kib;
        rings += (double)(s->target.pager_pss_kib - s->target.store_pss_kib);
        cost += (double)s->cost_us;
        count++;
    }
    if (count == 0)
        return;
    double mib = (double)count * 1024;
    csv_table_set(t, "pager_daemon_pss_without_memfds_steady_mib", "%.3f", daemon / mib);
    csv_table_set(t, "pager_daemon_memfd_blocks_steady_mib", "%.3f", blocks / mib);
    csv_table_set(t, "pager_target_ring_maps_pss_steady_mib", "%.3f", rings / mib);
    csv_table_set(t, "pager_sample_cost_us", "%.0f", cost / (double)count);
}

/* ---- the session ---------------------------------------------------------------------------- */

void compare_column_name(const char *export_name, char *ret_name, size_t size)
{
    static const char *const suffixes[] = {"_p50", "_p95", "_p99", "_p999", "_max", "_n"};
    size_t length = strlen(export_name);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        size_t tail = strlen(suffixes[i]);
        if (length < tail + 3 || strcmp(export_name + length - tail, suffixes[i]) != 0 ||
            strncmp(export_name + length - tail - 3, "_ns", 3) != 0)
            continue;
        snprintf(ret_name, size, "%.*s%s%s", (int)(length - tail - 3), export_name, suffixes[i],
                 strcmp(suffixes[i], "_n") == 0 ? "" : "_ns");
        return;
    }
    snprintf(ret_name, size, "%s", export_name);
}

/* Percent of the session's wall time. */
static void set_cpu(struct csv_table *t, const struct csv_row *session)
{
    double wall_ns = csv_row_number(session, "wall_ms") * 1e6;
    double daemon = csv_row_number(session, "daemon_cpu_ns");
    double agent = csv_row_number(session, "agent_cpu_ns");
    double porter = csv_row_number(session, "porter_cpu_ns");
    double fault = csv_row_number(session, "agent_fault_cpu_ns");
    double total = daemon + agent + porter;
    if (wall_ns <= 0)
        return;
    csv_table_set(t, "pager_daemon_cpu_pct_total", "%.3f", 100 * total / wall_ns);
    csv_table_set(t, "pager_bg_cpu_pct", "%.3f",
                  100 * (total > fault ? total - fault : 0) / wall_ns);
    csv_table_set(t, "pager_fault_cpu_pct", "%.3f", 100 * fault / wall_ns);
    csv_table_set(t, "pager_daemon_process_cpu_pct", "%.3f", 100 * daemon / wall_ns);
    csv_table_set(t, "pager_agent_cpu_pct", "%.3f", 100 * agent / wall_ns);
    csv_table_set(t, "pager_porter_cpu_pct", "%.3f", 100 * porter / wall_ns);
}

/* The same total over the measured part alone: the session also holds the checking of all bytes
 * afterwards, which brings every page back. */
static void set_window_cpu(struct csv_table *t, const struct arm_result *pager)
{
    const struct memory_sample *first = NULL, *last = NULL;
    for (size_t i = 0; i < pager->memory.count; i++) {
        const struct memory_sample *s = &pager->memory.samples[i];
        if (s->time_ns < pager->window_start_ns || s->time_ns > pager->window_end_ns)
            continue;
        first = first ? first : s;
        last = s;
    }
    double agent, porter, window_ns = (double)(pager->window_end_ns - pager->window_start_ns);
    if (!pager->json || !first || last == first ||
        !json_find_number(pager->json, "pager_agent_cpu_ns", &agent) ||
        !json_find_number(pager->json, "pager_porter_cpu_ns", &porter))
        return;
    double daemon_pct = 100 * (double)(last->daemon_cpu_ms - first->daemon_cpu_ms) * 1e6 /
                        (double)(last->time_ns - first->time_ns);
    csv_table_set(t, "pager_window_cpu_pct", "%.3f",
                  daemon_pct + 100 * (agent + porter) / window_ns);
}

static void copy_session(struct csv_table *t, const struct csv_row *session)
{
    for (size_t i = 0; i < session->count; i++) {
        char name[96], column[112];
        compare_column_name(session->names[i], name, sizeof(name));
        snprintf(column, sizeof(column), "pager_%s", name);
        csv_table_set(t, column, "%s", session->values[i]);
    }
}

/* ---- the row -------------------------------------------------------------------------------- */

static void set_what_ran(struct csv_table *t, const struct arm_result *const arms[ARM_NR])
{
    static const char *const texts[] = {"content", "unit", "period"};
    static const char *const numbers[] = {"duration_sec", "workers", "seed", "region_bytes"};
    const struct arm_result *arm = arms[ARM_BASELINE] ? arms[ARM_BASELINE] : arms[ARM_PAGER];
    char text[64];
    double number;
    for (size_t i = 0; arm->json && i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (json_find_string(arm->json, texts[i], text, sizeof(text)))
            csv_table_set(t, texts[i], "%s", text);
    }
    for (size_t i = 0; arm->json && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (json_find_number(arm->json, numbers[i], &number))
            csv_table_set(t, numbers[i], "%.15g", number);
    }
}

/* OK, UNCHECKED (the bytes were not looked at) or INVALID with the reason. */
static int set_verdict(struct csv_table *t, const struct arm_result *const arms[ARM_NR])
{
    int code = 0;
    double errors = 0, checked_least = 1;
    const char *problem = "";
    for (enum arm_kind kind = 0; kind < ARM_NR; kind++) {
        double value;
        if (!arms[kind])
            continue;
        if (arms[kind]->json && json_find_number(arms[kind]->json, "verify_errors", &value))
            errors += value;
        if (!arms[kind]->json || !json_find_number(arms[kind]->json, "pages_checked", &value))
            value = 0;
        checked_least = value < checked_least ? value : checked_least;
        if (arms[kind]->exit_code != 0 && code == 0) {
            code = arms[kind]->exit_code;
            problem = arms[kind]->problem;
        }
    }
    if (errors > 0)
        code = 1;
    csv_table_set(t, "verify_errors", "%.0f", errors);
    csv_table_set(t, "verdict", "%s",
                  code != 0            ? "INVALID"
                  : checked_least == 0 ? "UNCHECKED"
                                       : "OK");
    csv_table_set(t, "problem", "%s", problem);
    return code;
}

int compare_arms(struct csv_table *table, const struct arm_result *baseline,
                 const struct arm_result *pager)
{
    const struct arm_result *const arms[ARM_NR] = {baseline, pager};
    int code = set_verdict(table, arms);
    set_what_ran(table, arms);
    set_ratio(table, arms, "units_per_sec");
    set_ratio(table, arms, "elapsed_ms");
    copy_field(table, arms, "units_per_sec", "units_per_sec");
    copy_field(table, arms, "units_missed", "units_missed");
    copy_field(table, arms, "elapsed_ms", "elapsed_ms");
    set_memory(table, arms, SPAN_AVERAGE);
    set_memory(table, arms, SPAN_STEADY);
    copy_field(table, arms, "verify_errors", "verify_errors");
    copy_field(table, arms, "pages_checked", "pages_checked");
    copy_latency(table, arms, "touch", "touch");
    copy_latency(table, arms, "touch_over_1us", "touch_over_1us");
    copy_latency(table, arms, "period", "period");
    set_gnu_time(table, ARM_BASELINE, baseline);
    set_gnu_time(table, ARM_PAGER, pager);
    if (pager && pager->has_session) {
        set_memory_parts(table, pager);
        set_cpu(table, &pager->session);
        set_window_cpu(table, pager);
        copy_session(table, &pager->session);
    }
    return code;
}
