/* digest.c - the tables; the sentences are in words.c. */
#include "digest.h"

#include <stdlib.h>
#include <string.h>

#include "aggregate.h"
#include "arm.h"
#include "manifest.h"
#include "values.h"

#define RED "\033[31m"
#define PLAIN "\033[0m"
#define LINE_MAX_CHARS 100u

struct digest {
    FILE *out;
    const struct csv_table *t;
    struct csv_names workloads;
    bool has_arm[ARM_NR], has_churn, has_others, has_warm_up, is_coloured;
};

/* ---- cells ---------------------------------------------------------------------------------- */

/* "0.998 (0.991..1.004)"; of one run "0.998"; "-" of none. */
static void put_spread(const struct digest *d, int width, struct aggregate a, int digits)
{
    char text[80] = "-";
    if (a.n == 1)
        snprintf(text, sizeof(text), "%.*f", digits, a.p50);
    else if (a.n > 1)
        snprintf(text, sizeof(text), "%.*f (%.*f..%.*f)", digits, a.p50, digits, a.min, digits,
                 a.max);
    fprintf(d->out, " %*s", width, text);
}

static void put_median(const struct digest *d, int width, struct aggregate a, double divisor,
                       int digits)
{
    if (a.n > 0)
        fprintf(d->out, " %*.*f", width, digits, a.p50 / divisor);
    else
        fprintf(d->out, " %*s", width, "-");
}

/* A latency of 0 is one that never was. */
static void put_us(const struct digest *d, int width, struct aggregate a)
{
    if (a.n > 0 && a.p50 <= 0)
        a.n = 0;
    put_median(d, width, a, 1e3, 1);
}

static void put_red(const struct digest *d, const char *text)
{
    fprintf(d->out, "%s%s%s", d->is_coloured ? RED : "", text, d->is_coloured ? PLAIN : "");
}

/* The end of a line, and before it what keeps the line from being a plain result. */
static void end_line(const struct digest *d, const char *workload)
{
    struct values_tally tally = values_tally(d->t, workload);
    char text[96];
    snprintf(text, sizeof(text), "  INVALID: wrong bytes in %u of %u runs", tally.invalid,
             tally.total);
    if (tally.invalid > 0)
        put_red(d, text);
    if (tally.failed > 0)
        fprintf(d->out, "  %u of %u runs FAILED", tally.failed, tally.total);
    if (tally.unchecked > 0)
        fprintf(d->out, "  UNCHECKED: %u of %u runs", tally.unchecked, tally.total);
    fputc('\n', d->out);
}

/* The workload's name in the first of its lines, and the arm. */
static void put_names(const struct digest *d, const char *workload, enum arm_kind kind,
                      bool is_first)
{
    fprintf(d->out, "%-25s %-8s", is_first ? workload : "", arm_names[kind]);
}

/* ---- tables --------------------------------------------------------------------------------- */

static void write_outcome(const struct digest *d)
{
    fprintf(d->out, "\nWhat it cost and what it saved\n\n%-25s %-8s %3s %22s %22s %24s %7s %7s\n",
            "", "", "", "throughput", "time of a period", "net MiB saved", "net %", "CPU %");
    fprintf(d->out, "%-25s %-8s %3s %22s %22s %24s %7s %7s\n", "workload", "arm", "n",
            "arm / baseline", "arm / baseline", "in the steady state", "", "of one");
    for (size_t w = 0; w < d->workloads.count; w++) {
        const char *name = d->workloads.names[w];
        for (enum arm_kind kind = ARM_PAGER; kind < ARM_NR && !values_is_churn(name); kind++) {
            if (!d->has_arm[kind])
                continue;
            struct aggregate ratio =
                values_of_arm(d->t, name, "units_per_sec_ratio_%s_vs_baseline", kind);
            put_names(d, name, kind, kind == ARM_PAGER);
            fprintf(d->out, " %3zu", ratio.n);
            put_spread(d, 22, ratio, 3);
            put_spread(d, 22,
                       values_of_arm(d->t, name, "period_mean_ns_ratio_%s_vs_baseline", kind), 3);
            put_spread(d, 24, values_saved(d->t, name, "steady_mib", kind), 1);
            put_median(d, 7, values_saved(d->t, name, "steady_pct", kind), 1, 1);
            put_median(d, 7, values_of_arm(d->t, name, "%s_window_cpu_pct", kind), 1, 2);
            end_line(d, name);
        }
    }
}

/* Of the medians: what all workloads together would save, were they to run side by side. */
static void write_total(const struct digest *d)
{
    for (enum arm_kind kind = ARM_PAGER; kind < ARM_NR; kind++) {
        double saved_mib = 0, paid_mib = 0;
        unsigned count = 0;
        for (size_t w = 0; w < d->workloads.count; w++) {
            const char *name = d->workloads.names[w];
            struct aggregate saved = values_saved(d->t, name, "steady_mib", kind);
            struct aggregate paid = aggregate_of(d->t, name, "baseline_memory_paid_steady_mib");
            if (values_is_churn(name) || saved.n == 0 || paid.n == 0)
                continue;
            saved_mib += saved.p50;
            paid_mib += paid.p50;
            count++;
        }
        if (count > 1)
            fprintf(d->out, "%-25s %-8s %.1f of %.1f MiB saved net (%.1f %%)\n",
                    kind == ARM_PAGER ? "all of these" : "", arm_names[kind], saved_mib, paid_mib,
                    100 * saved_mib / paid_mib);
    }
    fputs(
        "CPU: all pager threads over the measured part; with zram the kernel's own work is not in "
        "it.\n",
        d->out);
}

static void write_memory(const struct digest *d)
{
    fprintf(d->out, "\nNet memory, MiB%s\n\n%-25s %-8s %22s %22s %22s",
            d->has_warm_up ? " (averages leave the warm-up out, but for the last column)" : "",
            "workload", "arm", "paid, steady", "saved, steady", "saved, average");
    if (d->has_warm_up)
        fprintf(d->out, " %22s", "with the warm-up");
    fputc('\n', d->out);
    for (size_t w = 0; w < d->workloads.count; w++) {
        const char *name = d->workloads.names[w];
        for (enum arm_kind kind = 0; kind < ARM_NR && !values_is_churn(name); kind++) {
            if (!d->has_arm[kind])
                continue;
            put_names(d, name, kind, kind == ARM_BASELINE);
            put_spread(d, 22, values_of_arm(d->t, name, "%s_memory_paid_steady_mib", kind), 1);
            if (kind != ARM_BASELINE) {
                put_spread(d, 22, values_saved(d->t, name, "steady_mib", kind), 1);
                put_spread(d, 22, values_saved(d->t, name, "avg_mib", kind), 1);
                if (d->has_warm_up)
                    put_spread(d, 22, values_saved(d->t, name, "avg_with_warm_up_mib", kind), 1);
            }
            end_line(d, name);
        }
    }
}

static void write_warm_up(const struct digest *d)
{
    fprintf(d->out, "\nWith the warm-up\n\n%-25s %-8s %22s %22s\n", "workload", "arm", "units/s",
            "arm / baseline");
    for (size_t w = 0; w < d->workloads.count; w++) {
        const char *name = d->workloads.names[w];
        for (enum arm_kind kind = 0; kind < ARM_NR; kind++) {
            if (!d->has_arm[kind])
                continue;
            put_names(d, name, kind, kind == ARM_BASELINE);
            put_spread(d, 22, values_of_arm(d->t, name, "%s_units_per_sec_with_warm_up", kind), 2);
            if (kind != ARM_BASELINE)
                put_spread(d, 22,
                           values_of_arm(d->t, name,
                                         "units_per_sec_with_warm_up_ratio_%s_vs_baseline", kind),
                           3);
            end_line(d, name);
        }
    }
}

static void write_touches(const struct digest *d)
{
    static const char *const columns[] = {"%s_touch_p50_ns", "%s_touch_p99_ns", "%s_touch_p999_ns"};
    static const char *const slow_columns[] = {
        "%s_touch_over_1us_p50_ns", "%s_touch_over_1us_p99_ns", "%s_touch_over_1us_max_ns"};
    fprintf(d->out, "\nA touch as the program feels it, us%*s| those above 1 us\n\n", 28, "");
    fprintf(d->out, "%-25s %-8s %8s %8s %8s %12s | %9s %9s %9s %9s\n", "workload", "arm", "p50",
            "p99", "p99.9", "n", "n", "p50", "p99", "max");
    for (size_t w = 0; w < d->workloads.count; w++) {
        const char *name = d->workloads.names[w];
        for (enum arm_kind kind = 0; kind < ARM_NR; kind++) {
            if (!d->has_arm[kind])
                continue;
            put_names(d, name, kind, kind == ARM_BASELINE);
            for (size_t c = 0; c < 3; c++)
                put_median(d, 8, values_of_arm(d->t, name, columns[c], kind), 1e3, 2);
            put_median(d, 12, values_of_arm(d->t, name, "%s_touch_n", kind), 1, 0);
            fputs(" |", d->out);
            put_median(d, 9, values_of_arm(d->t, name, "%s_touch_over_1us_n", kind), 1, 0);
            for (size_t c = 0; c < 3; c++)
                put_us(d, 9, values_of_arm(d->t, name, slow_columns[c], kind));
            end_line(d, name);
        }
    }
}

/* The columns of the published table, of one workload. */
static void put_activity(const struct digest *d, const char *name)
{
    static const char *const pct[] = {"pager_daemon_cpu_pct_total", "pager_bg_cpu_pct",
                                      "pager_fault_cpu_pct"};
    static const char *const us[] = {"pager_fault_missing_p95_ns", "pager_fault_missing_p99_ns",
                                     "pager_restore_wall_p95_ns", "pager_restore_wall_p99_ns"};
    static const char *const counts[] = {"pager_compress_success", "pager_faults_missing",
                                         "pager_restore_success"};
    fprintf(d->out, "%-25s", name);
    for (size_t i = 0; i < 3; i++)
        put_median(d, 7, aggregate_of(d->t, name, pct[i]), 1, 3);
    for (size_t i = 0; i < 4; i++)
        put_us(d, 8, aggregate_of(d->t, name, us[i]));
    for (size_t i = 0; i < 3; i++)
        put_median(d, 10, aggregate_of(d->t, name, counts[i]), 1, 0);
}

static void put_activity_head(const struct digest *d)
{
    fprintf(d->out, "%-25s %23s %17s %17s\n", "", "pager CPU % of session", "fault, us",
            "restore, us");
    fprintf(d->out, "%-25s %7s %7s %7s %8s %8s %8s %8s %10s %10s %10s", "workload", "total", "bg",
            "fault", "p95", "p99", "p95", "p99", "stored", "faults", "restores");
}

static void write_activity(const struct digest *d)
{
    fputs("\nWhat the pager did (over the session, so the checking of all bytes at the end is in "
          "it)\n\n",
          d->out);
    put_activity_head(d);
    fputc('\n', d->out);
    for (size_t w = 0; w < d->workloads.count; w++) {
        if (values_is_churn(d->workloads.names[w]))
            continue;
        put_activity(d, d->workloads.names[w]);
        end_line(d, d->workloads.names[w]);
    }
}

static void write_churn(const struct digest *d)
{
    fprintf(d->out, "\nmmap_churn: maps that do not live long enough to be saved\n\n");
    fprintf(d->out, "%-25s %-8s %3s %22s %22s %12s\n", "", "arm", "n", "maps/s arm / baseline",
            "time of a map, ratio", "map p99, us");
    for (enum arm_kind kind = 0; kind < ARM_NR; kind++) {
        if (!d->has_arm[kind])
            continue;
        fprintf(d->out, "%-25s %-8s", kind == ARM_BASELINE ? VALUES_CHURN : "", arm_names[kind]);
        fprintf(d->out, " %3zu", values_of_arm(d->t, VALUES_CHURN, "%s_units_per_sec", kind).n);
        if (kind == ARM_BASELINE) {
            fprintf(d->out, " %22s %22s", "1", "1");
        } else {
            put_spread(
                d, 22,
                values_of_arm(d->t, VALUES_CHURN, "units_per_sec_ratio_%s_vs_baseline", kind), 3);
            put_spread(
                d, 22,
                values_of_arm(d->t, VALUES_CHURN, "period_mean_ns_ratio_%s_vs_baseline", kind), 3);
        }
        put_us(d, 12, values_of_arm(d->t, VALUES_CHURN, "%s_period_p99_ns", kind));
        end_line(d, VALUES_CHURN);
    }
    fputc('\n', d->out);
    put_activity_head(d);
    fprintf(d->out, " %9s %9s %9s\n", "adds", "deletes", "tracked");
    put_activity(d, VALUES_CHURN);
    put_median(d, 9, aggregate_of(d->t, VALUES_CHURN, "pager_range_add_msgs"), 1, 0);
    put_median(d, 9, aggregate_of(d->t, VALUES_CHURN, "pager_range_del_msgs"), 1, 0);
    put_median(d, 9, aggregate_of(d->t, VALUES_CHURN, "pager_pages_tracked_peak"), 1, 0);
    fputc('\n', d->out);
}

/* ---- words ---------------------------------------------------------------------------------- */

/* Broken at blanks; later lines begin with two. */
static void put_wrapped(const struct digest *d, const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column > 0 && column + 1 + word > LINE_MAX_CHARS) {
            fputs("\n ", d->out);
            column = 1;
        }
        if (column > 0)
            fputc(' ', d->out);
        if (word == strlen("INVALID,") && strncmp(text, "INVALID,", word) == 0)
            put_red(d, "INVALID,");
        else
            fprintf(d->out, "%.*s", (int)word, text);
        column += word + (column > 0);
        text += word + strspn(text + word, " ");
    }
    fputc('\n', d->out);
}

static void write_sentences(const struct digest *d)
{
    fputs("\nIn words\n\n", d->out);
    for (size_t w = 0; w < d->workloads.count; w++) {
        char text[1024];
        digest_sentence(d->t, d->workloads.names[w], text, sizeof(text));
        put_wrapped(d, text);
    }
}

static void write_verdicts(const struct digest *d)
{
    bool is_first = true;
    for (size_t r = 0; r < csv_table_rows(d->t); r++) {
        const char *verdict = csv_table_get(d->t, r, "verdict");
        if (strcmp(verdict, "OK") == 0)
            continue;
        if (!*verdict)
            verdict = "CUT SHORT";
        if (is_first)
            fputs("\nRows that are not plainly a result (INVALID and FAILED ones are in no number "
                  "above)\n\n",
                  d->out);
        is_first = false;
        if (strcmp(verdict, "INVALID") == 0)
            put_red(d, verdict);
        else
            fputs(verdict, d->out);
        fprintf(d->out, ": run %s %s %s\n", csv_table_get(d->t, r, "run"),
                csv_table_get(d->t, r, "workload"), csv_table_get(d->t, r, "reason"));
    }
}

/* ---- all of it ------------------------------------------------------------------------------ */

void digest_write(FILE *out, const char *results_dir, const struct csv_table *t, bool is_coloured)
{
    struct digest d = {.out = out,
                       .t = t,
                       .workloads = csv_table_names(t, "workload"),
                       .is_coloured = is_coloured};
    for (size_t w = 0; w < d.workloads.count; w++) {
        const char *name = d.workloads.names[w];
        for (enum arm_kind kind = 0; kind < ARM_NR; kind++)
            d.has_arm[kind] =
                d.has_arm[kind] || values_of_arm(t, name, "%s_units_per_sec", kind).n > 0;
        d.has_warm_up =
            d.has_warm_up || aggregate_of(t, name, "baseline_units_per_sec_with_warm_up").n > 0;
        d.has_churn = d.has_churn || values_is_churn(name);
        d.has_others = d.has_others || !values_is_churn(name);
    }
    manifest_write_headline(out, results_dir);
    fputs("Medians over the runs (nearest rank), in brackets the least and the most.\n", out);
    if (csv_table_rows(t) == 0)
        fputs("\nNo run was finished.\n", out);
    if (d.has_others) {
        write_outcome(&d);
        write_total(&d);
        write_memory(&d);
    }
    if (d.has_warm_up)
        write_warm_up(&d);
    if (csv_table_rows(t) > 0)
        write_touches(&d);
    if (d.has_others)
        write_activity(&d);
    if (d.has_churn)
        write_churn(&d);
    if (csv_table_rows(t) > 0)
        write_sentences(&d);
    write_verdicts(&d);
}
