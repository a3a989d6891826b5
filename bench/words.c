/* words.c - one plain sentence for each workload, see digest.h. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "aggregate.h"
#include "digest.h"
#include "values.h"

struct text {
    char *at;
    size_t room;
};

static void say(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text->at, text->room, format, arguments);
    va_end(arguments);
    size_t used = n < 0 ? 0 : (size_t)n < text->room ? (size_t)n : text->room - 1;
    text->at += used;
    text->room -= used;
}

/* What a period of this workload is, with its article. */
static const char *period_words(const struct csv_table *t, const char *workload)
{
    static const char *const words[][2] = {
        {"pass", "a pass"}, {"burst", "a burst"}, {"batch", "a batch of touches"}, {"op", "a map"}};
    for (size_t r = 0; r < csv_table_rows(t); r++) {
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            if (strcmp(csv_table_get(t, r, "workload"), workload) == 0 &&
                strcmp(csv_table_get(t, r, "period"), words[i][0]) == 0)
                return words[i][1];
        }
    }
    return "a period";
}

static void say_cost(struct text *text, const struct csv_table *t, const char *workload,
                     enum arm_kind kind)
{
    struct aggregate ratio = values_of_arm(t, workload, "units_per_sec_ratio_%s_vs_baseline", kind);
    struct aggregate period =
        values_of_arm(t, workload, "period_mean_ns_ratio_%s_vs_baseline", kind);
    struct aggregate cpu = values_of_arm(t, workload, "%s_window_cpu_pct", kind);
    const char *what = period_words(t, workload);
    if (ratio.n == 0)
        say(text, "what it cost was not measured");
    else if (ratio.p50 >= 0.9995)
        say(text, "cost no throughput (%.3f of the baseline's)", ratio.p50);
    else
        say(text, "cost %.1f %% of the throughput (%.3f of the baseline's)", 100 * (1 - ratio.p50),
            ratio.p50);
    if (ratio.n > 1)
        say(text, ", %.3f to %.3f over %zu runs", ratio.min, ratio.max, ratio.n);
    if (period.n > 0 && fabs(period.p50 - 1) < 0.0005)
        say(text, "; %s took as long", what);
    else if (period.n > 0 && period.p50 >= 2)
        say(text, "; %s took %.1f times as long", what, period.p50);
    else if (period.n > 0)
        say(text, "; %s took %.1f %% %s", what, 100 * fabs(period.p50 - 1),
            period.p50 > 1 ? "longer" : "less");
    if (cpu.n > 0)
        say(text, "; its threads used %.2f %% of one CPU", cpu.p50);
}

static void say_saved(struct text *text, const struct csv_table *t, const char *workload,
                      enum arm_kind kind)
{
    struct aggregate mib = values_saved(t, workload, "steady_mib", kind);
    struct aggregate pct = values_saved(t, workload, "steady_pct", kind);
    struct aggregate paid = aggregate_of(t, workload, "baseline_memory_paid_steady_mib");
    if (values_is_churn(workload))
        say(text, "; these maps do not live long enough for anything to be saved");
    else if (mib.n == 0 || paid.n == 0)
        say(text, "; what it saved was not measured");
    else if (mib.p50 < 0)
        say(text, "; it saved nothing and used %.1f MiB more, net", -mib.p50);
    else
        say(text, "; it saved %.1f of %.1f MiB (%.1f %%), net", mib.p50, paid.p50, pct.p50);
}

void digest_sentence(const struct csv_table *t, const char *workload, char *ret_text, size_t size)
{
    struct text text = {.at = ret_text, .room = size};
    struct values_tally tally = values_tally(t, workload);
    say(&text, "%s: ", workload);
    if (tally.invalid > 0)
        say(&text, "INVALID, %u of %u runs read wrong bytes. ", tally.invalid, tally.total);
    if (tally.total == tally.invalid + tally.failed) {
        say(&text, "no run of it is a result.");
        return;
    }
    for (enum arm_kind kind = ARM_PAGER; kind < ARM_NR; kind++) {
        if (values_of_arm(t, workload, "%s_units_per_sec", kind).n == 0)
            continue;
        say(&text, kind == ARM_PAGER ? "The pager " : " zram, in its place, ");
        say_cost(&text, t, workload, kind);
        say_saved(&text, t, workload, kind);
        say(&text, ".");
    }
}
