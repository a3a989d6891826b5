/* summary.c - three tables: what it cost and saved, what a touch felt, what the pager did. */
#include "summary.h"

#include <stdbool.h>
#include <string.h>

#include "compare.h"

#define VALUES_MAX 1000u

struct spread summary_spread(const struct csv_table *t, const char *workload, const char *column)
{
    double values[VALUES_MAX];
    size_t count = 0;
    for (size_t r = 0; r < csv_table_rows(t) && count < VALUES_MAX; r++) {
        if (strcmp(csv_table_get(t, r, "workload"), workload) == 0 &&
            compare_is_result(t, r) && csv_table_get_number(t, r, column, &values[count]))
            count++;
    }
    return spread_of(values, count);
}

/* ---- cells ---------------------------------------------------------------------------------- */

/* "0.998" or, of more than one repeat, "0.998 (0.991-1.004)"; "-" when there is none. */
static void put_spread(FILE *out, int width, struct spread s, int digits)
{
    char text[64] = "-";
    if (s.count == 1)
        snprintf(text, sizeof(text), "%.*f", digits, s.median);
    else if (s.count > 1)
        snprintf(text, sizeof(text), "%.*f (%.*f..%.*f)", digits, s.median, digits, s.min, digits,
                 s.max);
    fprintf(out, " %*s", width, text);
}

static void put_median(FILE *out, int width, struct spread s, double divisor, int digits)
{
    if (s.count > 0)
        fprintf(out, " %*.*f", width, digits, s.median / divisor);
    else
        fprintf(out, " %*s", width, "-");
}

/* Over all rows, invalid ones first of all. */
static double sum_errors(const struct csv_table *t, const char *workload)
{
    double sum = 0, value;
    for (size_t r = 0; r < csv_table_rows(t); r++) {
        if (strcmp(csv_table_get(t, r, "workload"), workload) == 0 &&
            csv_table_get_number(t, r, "verify_errors", &value))
            sum += value;
    }
    return sum;
}

/* ---- tables --------------------------------------------------------------------------------- */

static void write_outcome(FILE *out, const struct csv_table *t, const struct csv_names *names,
                          bool has_repeats)
{
    int wide = has_repeats ? 22 : 8;
    fprintf(out, "%-18s %*s %*s %*s %8s %8s %8s\n", "", wide, "through-", wide, "net MiB", wide,
            "net MiB", "net %", "pager", "verify");
    fprintf(out, "%-18s %*s %*s %*s %8s %8s %8s\n", "workload", wide, "put", wide, "average", wide,
            "steady", "steady", "CPU %", "errors");
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->names[i];
        fprintf(out, "%-18s", name);
        put_spread(out, wide, summary_spread(t, name, "units_per_sec_ratio_pager_vs_baseline"), 3);
        put_spread(out, wide, summary_spread(t, name, "net_memory_saved_avg_mib"), 1);
        put_spread(out, wide, summary_spread(t, name, "net_memory_saved_steady_mib"), 1);
        put_median(out, 8, summary_spread(t, name, "net_memory_saved_steady_pct"), 1, 1);
        put_median(out, 8, summary_spread(t, name, "pager_window_cpu_pct"), 1, 2);
        fprintf(out, " %8.0f\n", sum_errors(t, name));
    }
}

static void write_touches(FILE *out, const struct csv_table *t, const struct csv_names *names)
{
    static const struct {
        const char *column;
        double divisor;
        int width, digits;
    } cells[] = {
        {"touch_p50_ns", 1e3, 7, 2},          {"touch_p99_ns", 1e3, 7, 2},
        {"touch_p999_ns", 1e3, 8, 1},         {"touch_over_1us_n", 1, 8, 0},
        {"touch_over_1us_p50_ns", 1e3, 8, 1}, {"touch_over_1us_p99_ns", 1e3, 9, 1},
        {"touch_over_1us_max_ns", 1e3, 9, 0},
    };
    fprintf(out, "\n%-28s %24s | %37s\n", "a touch, in us", "all", "those above 1 us");
    fprintf(out, "%-28s %7s %7s %8s %8s %8s %9s %9s\n", "workload", "p50", "p99", "p99.9",
            "how many", "p50", "p99", "max");
    for (size_t i = 0; i < 2 * names->count; i++) {
        const char *arm = i % 2 ? "pager" : "baseline";
        fprintf(out, "%-18s %-9s", i % 2 ? "" : names->names[i / 2], arm);
        for (size_t c = 0; c < sizeof(cells) / sizeof(cells[0]); c++) {
            char column[64];
            snprintf(column, sizeof(column), "%s_%s", arm, cells[c].column);
            put_median(out, cells[c].width, summary_spread(t, names->names[i / 2], column),
                       cells[c].divisor, cells[c].digits);
        }
        fputc('\n', out);
    }
}

static void write_activity(FILE *out, const struct csv_table *t, const struct csv_names *names)
{
    fprintf(out, "\n%-18s %9s %9s %9s %9s %12s %12s\n", "what the pager did", "evicted", "stored",
            "faults", "restored", "missing p99", "restore p99");
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->names[i];
        fprintf(out, "%-18s", name);
        put_median(out, 9, summary_spread(t, name, "pager_client_evict_success"), 1, 0);
        put_median(out, 9, summary_spread(t, name, "pager_compress_success"), 1, 0);
        put_median(out, 9, summary_spread(t, name, "pager_faults_missing"), 1, 0);
        put_median(out, 9, summary_spread(t, name, "pager_restore_success"), 1, 0);
        put_median(out, 9, summary_spread(t, name, "pager_fault_missing_p99_ns"), 1e3, 1);
        fputs(" us", out);
        put_median(out, 9, summary_spread(t, name, "pager_restore_wall_p99_ns"), 1e3, 1);
        fputs(" us\n", out);
    }
    fputs("(over the whole session: the checking of all bytes at the end is in it)\n", out);
}

static void write_verdicts(FILE *out, const struct csv_table *t)
{
    for (size_t r = 0; r < csv_table_rows(t); r++) {
        const char *verdict = csv_table_get(t, r, "verdict");
        if (strcmp(verdict, "OK") != 0)
            fprintf(out, "%s: %s repeat %s %s\n", verdict, csv_table_get(t, r, "workload"),
                    csv_table_get(t, r, "repeat"), csv_table_get(t, r, "reason"));
    }
}

void summary_write(FILE *out, const struct csv_table *t)
{
    struct csv_names names = csv_table_names(t, "workload");
    bool has_repeats = csv_table_rows(t) > names.count;
    write_outcome(out, t, &names, has_repeats);
    write_touches(out, t, &names);
    write_activity(out, t, &names);
    write_verdicts(out, t);
}

void summary_write_saved(FILE *out, const struct csv_table *t, const char *workload)
{
    struct spread mib = summary_spread(t, workload, "net_memory_saved_steady_mib");
    struct spread paid = summary_spread(t, workload, "baseline_memory_paid_steady_mib");
    struct spread pct = summary_spread(t, workload, "net_memory_saved_steady_pct");
    if (mib.count == 0)
        fprintf(out, "%s: nothing was measured", workload);
    else
        fprintf(out, "%s: %.0f MiB of %.0f saved net (%.1f %%), the pager's own memory counted",
                workload, mib.median, paid.median, pct.median);
}
