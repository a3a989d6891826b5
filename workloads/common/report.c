/* report.c - sums the workers up and writes them down. */
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "json.h"
#include "pager.h"

struct totals {
    double units, warm_up_units, units_asked;
    uint64_t nr_touches, verify_errors, pages_checked, end_ns;
    unsigned failures;
    struct latency touches, warm_up_touches, out_touches, periods, warm_up_periods;
};

static void sum_up(const struct run *run, const struct worker *workers, struct totals *ret_sum)
{
    *ret_sum = (struct totals){.end_ns = run->start_ns};
    for (uint64_t i = 0; i < run->settings.workers; i++) {
        const struct worker *w = &workers[i];
        ret_sum->units += w->units;
        ret_sum->warm_up_units += w->warm_up_units;
        ret_sum->units_asked += w->units_asked;
        ret_sum->nr_touches += w->toucher.nr_touches;
        ret_sum->verify_errors += w->toucher.verify_errors;
        ret_sum->pages_checked += w->toucher.pages_checked;
        ret_sum->failures += w->failure != 0;
        if (w->end_ns > ret_sum->end_ns)
            ret_sum->end_ns = w->end_ns;
        latency_merge(&ret_sum->touches, &w->toucher.touches);
        latency_merge(&ret_sum->warm_up_touches, &w->toucher.warm_up_touches);
        latency_merge(&ret_sum->out_touches, &w->toucher.out_touches);
        latency_merge(&ret_sum->periods, &w->periods);
        latency_merge(&ret_sum->warm_up_periods, &w->warm_up_periods);
    }
}

static void put_value(struct json *j, const char *name, const char *suffix, bool is_known,
                      double value)
{
    char field[64];
    snprintf(field, sizeof(field), "%s_%s", name, suffix);
    if (is_known)
        json_uint(j, field, (uint64_t)value);
    else
        json_null(j, field);
}

/* name_p50_ns, _p95_ns, _p99_ns, _p999_ns, _max_ns, _n of the values from from_ns up, and of all of
 * them _mean_ns; null where there are too few to say. */
static void put_latency(struct json *j, const char *name, const struct latency *l, uint64_t from_ns)
{
    static const struct {
        const char *suffix;
        unsigned per_mille;
        uint64_t needs;
    } points[] = {
        {"p50", 500, 1}, {"p95", 950, 1}, {"p99", 990, 1}, {"p999", 999, LATENCY_P999_MIN}};
    uint64_t count = latency_count(l, from_ns);
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        char suffix[16];
        snprintf(suffix, sizeof(suffix), "%s_ns", points[i].suffix);
        put_value(j, name, suffix, count >= points[i].needs,
                  (double)latency_percentile_ns(l, from_ns, points[i].per_mille));
    }
    put_value(j, name, "max_ns", count > 0, (double)l->max_ns);
    if (from_ns == 0)
        put_value(j, name, "mean_ns", count > 0, (double)l->sum_ns / (double)count);
    put_value(j, name, "n", true, (double)count);
}

static void put_asked(struct json *j, const struct run *run)
{
    const struct settings *s = &run->settings;
    json_string(j, "workload", run->workload->name);
    json_uint(j, "pid", (uint64_t)getpid());
    json_double(j, "duration_sec", s->duration_sec);
    json_double(j, "warm_up_sec", s->warm_up_sec);
    json_uint(j, "workers", s->workers);
    json_uint(j, "seed", s->seed);
    json_string(j, "content", content_kind_name((enum content_kind)s->content));
    json_double(j, "write_fraction", s->write_fraction);
    json_uint(j, "region_bytes", s->region_bytes);
    json_bool(j, "use_process_pager", s->use_pager);
    json_bool(j, "direct", s->use_pager && s->is_direct);
    json_bool(j, "verify", s->is_checking);
}

/* The same with the warm-up, when there was one. Changes the sums. */
static void put_with_warm_up(struct json *j, struct totals *sum, double elapsed_sec)
{
    latency_merge(&sum->touches, &sum->warm_up_touches);
    latency_merge(&sum->periods, &sum->warm_up_periods);
    json_double(j, "units_per_sec_with_warm_up", sum->units / elapsed_sec);
    put_latency(j, "touch_with_warm_up", &sum->touches, 0);
    put_latency(j, "touch_over_1us_with_warm_up", &sum->touches, LATENCY_SLOW_NS);
    put_latency(j, "period_with_warm_up", &sum->periods, 0);
}

int report_write(const struct run *run, const struct worker *workers,
                 const struct pager_stats *stats, FILE *out)
{
    struct totals *sum = malloc(sizeof(*sum)); /* five histograms: 24 KiB */
    if (!sum)
        return EXIT_SYSTEM;
    sum_up(run, workers, sum);
    double elapsed_sec = (double)(sum->end_ns - run->start_ns) / 1e9;
    double counted_sec = elapsed_sec - run->settings.warm_up_sec;

    struct json json;
    json_begin(&json, out);
    put_asked(&json, run);
    json_string(&json, "unit", run->workload->unit);
    json_double(&json, "units", sum->units);
    json_double(&json, "units_per_sec", (sum->units - sum->warm_up_units) / counted_sec);
    json_double(&json, "units_missed", fmax(0, floor(sum->units_asked) - sum->units));
    json_double(&json, "elapsed_ms", elapsed_sec * 1e3);
    json_uint(&json, "window_start_ns", run->start_ns); /* CLOCK_MONOTONIC, for who looks on */
    json_uint(&json, "warm_up_end_ns", run->warm_up_end_ns);
    json_uint(&json, "window_end_ns", sum->end_ns);
    json_uint(&json, "touches", sum->nr_touches);
    put_latency(&json, "touch", &sum->touches, 0);
    put_latency(&json, "touch_over_1us", &sum->touches, LATENCY_SLOW_NS);
    if (run->settings.tells_out)
        put_latency(&json, "touch_out", &sum->out_touches, 0);
    json_string(&json, "period", run->workload->period);
    put_latency(&json, "period", &sum->periods, 0);
    if (run->settings.warm_up_sec > 0)
        put_with_warm_up(&json, sum, elapsed_sec);
    json_uint(&json, "pages_checked", sum->pages_checked);
    json_uint(&json, "verify_errors", sum->verify_errors);
    json_uint(&json, "workers_failed", sum->failures);
    pager_report(stats->at_end, "pager", &json);
    pager_report(stats->at_warm_up_end, "warm_up_pager", &json);
    json_end(&json);

    int code = sum->verify_errors > 0 || sum->failures > 0 ? EXIT_WRONG : 0;
    free(sum);
    return code;
}

void report_write_touches(const struct run *run, const struct worker *workers, FILE *out)
{
    struct latency touches = {.max_ns = 0};
    for (uint64_t i = 0; i < run->settings.workers; i++)
        latency_merge(&touches, &workers[i].toucher.touches);
    latency_write_csv(&touches, out);
}
