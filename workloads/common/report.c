/* report.c - sums the workers up and writes them down. */
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "json.h"
#include "pager.h"

struct totals {
    double units, units_asked;
    uint64_t nr_touches, verify_errors, pages_checked, end_ns;
    unsigned failures;
    struct latency touches, periods;
};

static void sum_up(const struct run *run, const struct worker *workers, struct totals *ret_sum)
{
    *ret_sum = (struct totals){.end_ns = run->start_ns};
    for (uint64_t i = 0; i < run->settings.workers; i++) {
        const struct worker *w = &workers[i];
        ret_sum->units += w->units;
        ret_sum->units_asked += w->units_asked;
        ret_sum->nr_touches += w->toucher.nr_touches;
        ret_sum->verify_errors += w->toucher.verify_errors;
        ret_sum->pages_checked += w->toucher.pages_checked;
        ret_sum->failures += w->failure != 0;
        if (w->end_ns > ret_sum->end_ns)
            ret_sum->end_ns = w->end_ns;
        latency_merge(&ret_sum->touches, &w->toucher.touches);
        latency_merge(&ret_sum->periods, &w->periods);
    }
}

/* name_p50_ns, _p95_ns, _p99_ns, _p999_ns, _max_ns, _n of the values from from_ns up; null where
 * there are too few to say. */
static void put_latency(struct json *j, const char *name, const struct latency *l, uint64_t from_ns)
{
    static const struct {
        const char *suffix;
        unsigned per_mille;
        uint64_t needs;
    } points[] = {
        {"p50", 500, 1}, {"p95", 950, 1}, {"p99", 990, 1}, {"p999", 999, LATENCY_P999_MIN}};
    uint64_t count = latency_count(l, from_ns);
    char field[64];
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        snprintf(field, sizeof(field), "%s_%s_ns", name, points[i].suffix);
        if (count >= points[i].needs)
            json_uint(j, field, latency_percentile_ns(l, from_ns, points[i].per_mille));
        else
            json_null(j, field);
    }
    snprintf(field, sizeof(field), "%s_max_ns", name);
    if (count > 0)
        json_uint(j, field, l->max_ns);
    else
        json_null(j, field);
    snprintf(field, sizeof(field), "%s_n", name);
    json_uint(j, field, count);
}

static void put_asked(struct json *j, const struct run *run)
{
    const struct settings *s = &run->settings;
    json_string(j, "workload", run->workload->name);
    json_uint(j, "pid", (uint64_t)getpid());
    json_double(j, "duration_sec", s->duration_sec);
    json_uint(j, "workers", s->workers);
    json_uint(j, "seed", s->seed);
    json_string(j, "content", content_kind_name((enum content_kind)s->content));
    json_double(j, "write_fraction", s->write_fraction);
    json_uint(j, "region_bytes", s->region_bytes);
    json_bool(j, "use_process_pager", s->use_pager);
    json_bool(j, "verify", s->is_checking);
}

int report_write(const struct run *run, const struct worker *workers, const uint64_t *pager_stats,
                 FILE *out)
{
    struct totals *sum = malloc(sizeof(*sum)); /* two histograms: 10 KiB */
    if (!sum)
        return EXIT_SYSTEM;
    sum_up(run, workers, sum);
    double elapsed_sec = (double)(sum->end_ns - run->start_ns) / 1e9;

    struct json json;
    json_begin(&json, out);
    put_asked(&json, run);
    json_string(&json, "unit", run->workload->unit);
    json_double(&json, "units", sum->units);
    json_double(&json, "units_per_sec", sum->units / elapsed_sec);
    json_double(&json, "units_missed", fmax(0, floor(sum->units_asked) - sum->units));
    json_double(&json, "elapsed_ms", elapsed_sec * 1e3);
    json_uint(&json, "window_start_ns", run->start_ns); /* CLOCK_MONOTONIC, for who looks on */
    json_uint(&json, "window_end_ns", sum->end_ns);
    json_uint(&json, "touches", sum->nr_touches);
    put_latency(&json, "touch", &sum->touches, 0);
    put_latency(&json, "touch_over_1us", &sum->touches, LATENCY_SLOW_NS);
    json_string(&json, "period", run->workload->period);
    put_latency(&json, "period", &sum->periods, 0);
    json_uint(&json, "pages_checked", sum->pages_checked);
    json_uint(&json, "verify_errors", sum->verify_errors);
    json_uint(&json, "workers_failed", sum->failures);
    pager_report(pager_stats, &json);
    json_end(&json);

    int code = sum->verify_errors > 0 || sum->failures > 0 ? EXIT_WRONG : 0;
    free(sum);
    return code;
}
