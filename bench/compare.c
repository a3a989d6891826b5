/* compare.c - ratios, memory, touches, GNU time, and the session's numbers. */
#include "compare.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/latency.h"

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

/* The third arm has columns only where it was run. */
static bool has_columns(const struct arm_result *const arms[ARM_NR], enum arm_kind kind)
{
    return kind != ARM_ZRAM || arms[kind];
}

/* NAN: not known. */
static double field_of(const struct arm_result *arm, const char *field)
{
    double value;
    return arm && arm->json && json_find_number(arm->json, field, &value) ? value : NAN;
}

static void copy_field(struct csv_table *t, const struct arm_result *const arms[ARM_NR],
                       const char *field, const char *name)
{
    for (enum arm_kind kind = 0; kind < ARM_NR; kind++) {
        if (has_columns(arms, kind))
            set_for_arm(t, kind, name, field_of(arms[kind], field));
    }
}

/* prefix_p50_ns and so on, called `name` in the table. */
static void copy_latency(struct csv_table *t, const struct arm_result *const arms[ARM_NR],
                         const char *prefix, const char *name)
{
    static const char *const suffixes[] = {"p50_ns", "p95_ns",  "p99_ns", "p999_ns",
                                           "max_ns", "mean_ns", "n"};
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        char field[96], column[96];
        if (strcmp(suffixes[i], "mean_ns") == 0 && strstr(prefix, "over_1us"))
            continue; /* the sum is of all */
        snprintf(field, sizeof(field), "%s_%s", prefix, suffixes[i]);
        snprintf(column, sizeof(column), "%s_%s", name, suffixes[i]);
        copy_field(t, arms, field, column);
    }
}

static void set_ratios(struct csv_table *t, const struct arm_result *const arms[ARM_NR],
                       const char *field)
{
    for (enum arm_kind kind = ARM_PAGER; kind < ARM_NR; kind++) {
        double base = field_of(arms[ARM_BASELINE], field), arm = field_of(arms[kind], field);
        char column[112];
        snprintf(column, sizeof(column), "%s_ratio_%s_vs_baseline", field, arm_names[kind]);
        if (has_columns(arms, kind))
            set_cell(t, column, 7, base > 0 ? arm / base : NAN);
    }
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

enum span { SPAN_AVERAGE, SPAN_WITH_WARM_UP, SPAN_STEADY, SPAN_NR };
static const char *const span_names[SPAN_NR] = {"avg", "avg_with_warm_up", "steady"};

/* Steady: the last quarter of the measured part. */
static uint64_t span_start_ns(const struct arm_result *arm, enum span span)
{
    switch (span) {
    case SPAN_AVERAGE: return arm->warm_up_end_ns;
    case SPAN_WITH_WARM_UP: return arm->window_start_ns;
    case SPAN_STEADY:
    case SPAN_NR: break;
    }
    return arm->window_end_ns - (arm->window_end_ns - arm->warm_up_end_ns) / 4;
}

/* NAN: not known. */
static double paid_mib(const struct arm_result *arm, enum span span)
{
    double mib;
    if (!arm)
        return NAN;
    bool is_known =
        memory_series_mean_mib(&arm->memory, span_start_ns(arm, span), arm->window_end_ns, &mib);
    return is_known ? mib : NAN;
}

/* What an arm saved against the baseline; the pager's columns have the published names. */
static void set_saved(struct csv_table *t, enum arm_kind kind, const char *span, double base_mib,
                      double arm_mib)
{
    const char *prefix = kind == ARM_ZRAM ? "zram_" : "";
    char column[80];
    snprintf(column, sizeof(column), "%snet_memory_saved_%s_mib", prefix, span);
    set_cell(t, column, 6, base_mib - arm_mib);
    snprintf(column, sizeof(column), "%snet_memory_saved_%s_pct", prefix, span);
    set_cell(t, column, 6, 100 * (base_mib - arm_mib) / base_mib);
}

static void set_memory(struct csv_table *t, const struct arm_result *const arms[ARM_NR],
                       enum span span)
{
    double paid[ARM_NR];
    char column[64];
    snprintf(column, sizeof(column), "memory_paid_%s_mib", span_names[span]);
    for (enum arm_kind kind = 0; kind < ARM_NR; kind++) {
        paid[kind] = paid_mib(arms[kind], span);
        if (has_columns(arms, kind))
            set_for_arm(t, kind, column, paid[kind]);
    }
    for (enum arm_kind kind = ARM_PAGER; kind < ARM_NR; kind++) {
        if (has_columns(arms, kind))
            set_saved(t, kind, span_names[span], paid[ARM_BASELINE], paid[kind]);
    }
}

/* Of the target, in the steady state: scanning and moving take huge pages apart. */
static void set_huge_pages(struct csv_table *t, const struct arm_result *const arms[ARM_NR])
{
    for (enum arm_kind kind = 0; kind < ARM_NR; kind++) {
        double mib;
        const struct arm_result *arm = arms[kind];
        bool is_known = arm && memory_series_mean_huge_mib(&arm->memory, span_start_ns(arm, SPAN_STEADY),
                                                           arm->window_end_ns, &mib);
        if (has_columns(arms, kind))
            set_for_arm(t, kind, "anon_huge_pages_steady_mib", is_known ? mib : NAN);
    }
}

/* Parts of what is paid in an arm with a daemon, as means over the steady part, to see where it
 * goes. */
static void set_memory_parts(struct csv_table *t, enum arm_kind kind, const struct arm_result *arm)
{
    uint64_t start_ns = span_start_ns(arm, SPAN_STEADY);
    double daemon = 0, blocks = 0, rings = 0, zram = 0, cost = 0;
    size_t count = 0;
    for (size_t i = 0; i < arm->memory.count; i++) {
        const struct memory_sample *s = &arm->memory.samples[i];
        if (s->time_ns < start_ns || s->time_ns > arm->window_end_ns)
            continue;
        daemon += (double)(s->daemon.pss_kib - s->daemon.memfd_pss_kib);
        blocks += (double)s->store_blocks_kib;
        rings += (double)(s->target.pager_pss_kib - s->target.store_pss_kib);
        zram += (double)s->zram_used_kib;
        cost += (double)s->cost_us;
        count++;
    }
    if (count == 0)
        return;
    double mib = (double)count * 1024;
    set_for_arm(t, kind, "daemon_pss_without_memfds_steady_mib", daemon / mib);
    set_for_arm(t, kind, "daemon_memfd_blocks_steady_mib", blocks / mib);
    set_for_arm(t, kind, "target_ring_maps_pss_steady_mib", rings / mib);
    if (kind == ARM_ZRAM)
        set_for_arm(t, kind, "used_steady_mib", zram / mib);
    set_for_arm(t, kind, "sample_cost_us", cost / (double)count);
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
static void set_cpu(struct csv_table *t, enum arm_kind kind, const struct csv_row *session)
{
    double wall_ns = csv_row_number(session, "wall_ms") * 1e6;
    double daemon = csv_row_number(session, "daemon_cpu_ns");
    double agent = csv_row_number(session, "agent_cpu_ns");
    double porter = csv_row_number(session, "porter_cpu_ns");
    double fault = csv_row_number(session, "agent_fault_cpu_ns");
    double total = daemon + agent + porter;
    if (wall_ns <= 0)
        return;
    set_for_arm(t, kind, "daemon_cpu_pct_total", 100 * total / wall_ns);
    set_for_arm(t, kind, "bg_cpu_pct", 100 * (total > fault ? total - fault : 0) / wall_ns);
    set_for_arm(t, kind, "fault_cpu_pct", 100 * fault / wall_ns);
    set_for_arm(t, kind, "daemon_process_cpu_pct", 100 * daemon / wall_ns);
    set_for_arm(t, kind, "agent_cpu_pct", 100 * agent / wall_ns);
    set_for_arm(t, kind, "porter_cpu_pct", 100 * porter / wall_ns);
}

/* CPU time of the threads inside the target over the measured part. */
static double threads_cpu_ns(const struct arm_result *arm)
{
    static const char *const names[] = {"agent_cpu_ns", "porter_cpu_ns"};
    double sum = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char field[64];
        snprintf(field, sizeof(field), "pager_%s", names[i]);
        sum += field_of(arm, field);
        snprintf(field, sizeof(field), "warm_up_pager_%s", names[i]);
        double before = field_of(arm, field);
        sum -= isnan(before) ? 0 : before;
    }
    return sum;
}

/* The same total over the measured part alone: the session also holds the checking of all bytes
 * afterwards, which brings every page back. */
static void set_window_cpu(struct csv_table *t, enum arm_kind kind, const struct arm_result *arm)
{
    const struct memory_sample *first = NULL, *last = NULL;
    for (size_t i = 0; i < arm->memory.count; i++) {
        const struct memory_sample *s = &arm->memory.samples[i];
        if (s->time_ns < arm->warm_up_end_ns || s->time_ns > arm->window_end_ns)
            continue;
        first = first ? first : s;
        last = s;
    }
    if (!first || last == first)
        return;
    double daemon_pct = 100 * (double)(last->daemon_cpu_ms - first->daemon_cpu_ms) * 1e6 /
                        (double)(last->time_ns - first->time_ns);
    double window_ns = (double)(arm->window_end_ns - arm->warm_up_end_ns);
    set_for_arm(t, kind, "window_cpu_pct", daemon_pct + 100 * threads_cpu_ns(arm) / window_ns);
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* A p99.9 of fewer values than carry one is left empty. */
static bool is_too_few(const struct csv_row *session, const char *name)
{
    char count_name[96];
    if (!ends_with(name, "_p999"))
        return false;
    snprintf(count_name, sizeof(count_name), "%.*s_n", (int)(strlen(name) - strlen("_p999")), name);
    return csv_row_number(session, count_name) < (double)LATENCY_P999_MIN;
}

static void copy_session(struct csv_table *t, enum arm_kind kind, const struct csv_row *session)
{
    for (size_t i = 0; i < session->count; i++) {
        char name[96], column[112];
        compare_column_name(session->names[i], name, sizeof(name));
        snprintf(column, sizeof(column), "%s_%s", arm_names[kind], name);
        csv_table_set(t, column, "%s",
                      is_too_few(session, session->names[i]) ? "" : session->values[i]);
    }
}

/* ---- the row -------------------------------------------------------------------------------- */

static void set_what_ran(struct csv_table *t, const struct arm_result *const arms[ARM_NR])
{
    static const char *const texts[] = {"content", "unit", "period"};
    static const char *const numbers[] = {"duration_sec", "warm_up_sec", "workers", "seed",
                                          "region_bytes"};
    const struct arm_result *arm = NULL;
    for (enum arm_kind kind = 0; kind < ARM_NR && !(arm && arm->json); kind++)
        arm = arms[kind] ? arms[kind] : arm;
    if (!arm || !arm->json)
        return;
    char text[64];
    double number;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (json_find_string(arm->json, texts[i], text, sizeof(text)))
            csv_table_set(t, texts[i], "%s", text);
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (json_find_number(arm->json, numbers[i], &number))
            csv_table_set(t, numbers[i], "%.15g", number);
    }
}

/* OK; UNCHECKED: the bytes were not looked at; INVALID: some were wrong; FAILED: an arm could not
 * be run to its end. With the reason. */
static int set_verdict(struct csv_table *t, const struct arm_result *const arms[ARM_NR])
{
    int code = 0;
    double errors = 0, checked_least = 1;
    char reason[300] = "";
    for (enum arm_kind kind = 0; kind < ARM_NR; kind++) {
        if (!arms[kind])
            continue;
        double its_errors = field_of(arms[kind], "verify_errors");
        double checked = field_of(arms[kind], "pages_checked");
        errors += its_errors > 0 ? its_errors : 0;
        checked_least = !(checked >= checked_least) ? (checked > 0 ? checked : 0) : checked_least;
        if (arms[kind]->exit_code != 0 && code == 0) {
            code = arms[kind]->exit_code;
            snprintf(reason, sizeof(reason), "%s: %s", arm_names[kind], arms[kind]->problem);
        }
    }
    if (errors > 0)
        code = 1;
    csv_table_set(t, "verify_errors", "%.0f", errors);
    csv_table_set(t, "verdict", "%s",
                  errors > 0           ? "INVALID"
                  : code != 0          ? "FAILED"
                  : checked_least == 0 ? "UNCHECKED"
                                       : "OK");
    csv_table_set(t, "reason", "%s", reason);
    return code;
}

bool compare_is_result(const struct csv_table *t, size_t row)
{
    const char *verdict = csv_table_get(t, row, "verdict");
    return strcmp(verdict, "OK") == 0 || strcmp(verdict, "UNCHECKED") == 0;
}

static void set_warm_up(struct csv_table *t, const struct arm_result *const arms[ARM_NR])
{
    copy_field(t, arms, "units_per_sec_with_warm_up", "units_per_sec_with_warm_up");
    set_ratios(t, arms, "units_per_sec_with_warm_up");
    set_memory(t, arms, SPAN_WITH_WARM_UP);
    copy_latency(t, arms, "touch_with_warm_up", "touch_with_warm_up");
    copy_latency(t, arms, "touch_over_1us_with_warm_up", "touch_over_1us_with_warm_up");
    copy_latency(t, arms, "period_with_warm_up", "period_with_warm_up");
}

int compare_arms(struct csv_table *table, const struct arm_result *const arms[ARM_NR])
{
    double warm_up_sec = 0;
    int code = set_verdict(table, arms);
    set_what_ran(table, arms);
    set_ratios(table, arms, "units_per_sec");
    set_ratios(table, arms, "elapsed_ms");
    set_ratios(table, arms, "period_mean_ns");
    copy_field(table, arms, "units_per_sec", "units_per_sec");
    copy_field(table, arms, "units_missed", "units_missed");
    copy_field(table, arms, "elapsed_ms", "elapsed_ms");
    set_memory(table, arms, SPAN_AVERAGE);
    set_memory(table, arms, SPAN_STEADY);
    set_huge_pages(table, arms);
    copy_field(table, arms, "verify_errors", "verify_errors");
    copy_field(table, arms, "pages_checked", "pages_checked");
    copy_latency(table, arms, "touch", "touch");
    copy_latency(table, arms, "touch_over_1us", "touch_over_1us");
    copy_latency(table, arms, "touch_out", "touch_out");
    copy_latency(table, arms, "period", "period");
    if (csv_table_get_number(table, csv_table_rows(table) - 1, "warm_up_sec", &warm_up_sec) &&
        warm_up_sec > 0)
        set_warm_up(table, arms);
    for (enum arm_kind kind = 0; kind < ARM_NR; kind++) {
        if (has_columns(arms, kind))
            set_gnu_time(table, kind, arms[kind]);
    }
    for (enum arm_kind kind = ARM_PAGER; kind < ARM_NR; kind++) {
        if (!arms[kind] || !arms[kind]->has_session)
            continue;
        set_memory_parts(table, kind, arms[kind]);
        set_cpu(table, kind, &arms[kind]->session);
        set_window_cpu(table, kind, arms[kind]);
        copy_session(table, kind, &arms[kind]->session);
    }
    return code;
}
