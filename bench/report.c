/* report.c - see report.h. The page is well formed as XML too, so that a test can read it with an
 * ordinary parser. */
#include "report.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cJSON.h>

#include "draw.h"
#include "files.h"
#include "files.h"
#include "html.h"
#include "meanings.h"
#include "plots.h"
#include "results.h"
#include "script.h"
#include "templates.h"

#define MANIFEST_DEPTH_MAX 6 /* deeper, it is shown as the JSON it is */

struct page {
    FILE *out;
    const char *folder;
    const struct results *results;
    cJSON *manifest; /* NULL: there is none that can be read */
};

/* ---- pieces --------------------------------------------------------------------------------- */

/* The format is ours and may hold markup; texts of others go through html_text(). */
static void put(const struct page *page, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void put(const struct page *page, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(page->out, format, arguments);
    va_end(arguments);
}

static void put_element(const struct page *page, const char *name, const char *text)
{
    put(page, "<%s>", name);
    html_text(page->out, text);
    put(page, "</%s>", name);
}

static void put_heading(const struct page *page, const char *id, const char *text)
{
    put(page, "\n<h2 id=\"%s\">", id);
    html_text(page->out, text);
    put(page, "</h2>\n");
}

static void begin_table(const struct page *page, const char *const *heads, size_t count)
{
    put(page, "<div class=\"wide\"><table>\n<thead><tr>");
    for (size_t i = 0; i < count; i++)
        put_element(page, "th", heads[i]);
    put(page, "</tr></thead>\n<tbody>\n");
}

static void end_table(const struct page *page)
{
    put(page, "</tbody></table></div>\n");
}

static void begin_row(const struct page *page, const char *workload, const char *label)
{
    struct results_tally tally = results_tally(page->results, workload);
    put(page, "%s", tally.invalid > 0 ? "<tr class=\"invalid\">" : "<tr>");
    put_element(page, "td", label);
}

/* The median, and below it, where there are several runs, the least and the largest. */
static void put_spread(const struct page *page, const char *workload, results_value *value,
                       const char *name, draw_format *format)
{
    /* A time of zero is none: nothing happened that could be timed. */
    struct results_spread spread =
        format == script_format_ns ? results_spread_positive(page->results, workload, value, name)
                                   : results_spread(page->results, workload, value, name);
    char median[32], min[32], max[32];
    if (spread.n == 0) {
        put_element(page, "td", "n/a");
        return;
    }
    format(spread.median, median, sizeof(median));
    format(spread.min, min, sizeof(min));
    format(spread.max, max, sizeof(max));
    put(page, "<td>%s", median);
    if (spread.n > 1)
        put(page, "<br /><small>%s..%s</small>", min, max);
    put(page, "</td>");
}

static void put_runs(const struct page *page, const char *workload)
{
    struct results_tally tally = results_tally(page->results, workload);
    char text[96];
    snprintf(text, sizeof(text), "%zu of %zu", tally.total - tally.failed - tally.invalid,
             tally.total);
    put_element(page, "td", text);
}

/* "INVALID in 1 run", and so on: what the numbers beside it are worth. */
static void put_verdict(const struct page *page, const char *workload)
{
    struct results_tally tally = results_tally(page->results, workload);
    char text[128] = "";
    size_t used = 0;
    const struct {
        const char *word;
        size_t count;
    } parts[] = {
        {"INVALID", tally.invalid}, {"failed", tally.failed}, {"not checked", tally.unchecked}};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].count > 0)
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s: %zu run%s",
                                     used ? ", " : "", parts[i].word, parts[i].count,
                                     parts[i].count == 1 ? "" : "s");
    }
    put_element(page, "td", used ? text : "OK");
}

/* ---- what ran ------------------------------------------------------------------------------- */

static void put_json(const struct page *page, const cJSON *item, int depth);

static void put_json_fields(const struct page *page, const cJSON *object, int depth)
{
    put(page, "<table class=\"text\">\n");
    for (const cJSON *field = object->child; field; field = field->next) {
        put(page, "<tr>");
        put_element(page, "th", field->string ? field->string : "");
        put(page, "<td>");
        put_json(page, field, depth + 1);
        put(page, "</td></tr>\n");
    }
    put(page, "</table>");
}

static void put_json(const struct page *page, const cJSON *item, int depth)
{
    if (cJSON_IsString(item)) {
        html_text(page->out, item->valuestring);
    } else if (cJSON_IsObject(item) && item->child && depth < MANIFEST_DEPTH_MAX) {
        put_json_fields(page, item, depth);
    } else if (cJSON_IsArray(item) && item->child && depth < MANIFEST_DEPTH_MAX) {
        for (const cJSON *part = item->child; part; part = part->next) {
            put_json(page, part, depth + 1);
            put(page, "%s", part->next && !cJSON_IsObject(part) ? ", " : "");
        }
    } else {
        char *text = cJSON_PrintUnformatted(item);
        html_text(page->out, text ? text : "");
        cJSON_free(text);
    }
}

static const char *manifest_text(const struct page *page, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(page->manifest, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static void put_manifest(const struct page *page)
{
    put_heading(page, "manifest", "What ran, and where");
    if (page->manifest)
        put_json_fields(page, page->manifest, 0);
    else
        put(page, "<p class=\"warning\">There is no manifest.json that can be read: what these "
                  "numbers were measured on is not known.</p>");
    put(page, "\n");
}

/* What a reader must know before the first number. */
static void put_warnings(const struct page *page)
{
    const char *state = manifest_text(page, "state");
    size_t invalid = 0, failed = 0;
    for (size_t i = 0; i < page->results->nr_workloads; i++) {
        struct results_tally tally = results_tally(page->results, page->results->workloads[i]);
        invalid += tally.invalid;
        failed += tally.failed;
    }
    if (state[0] && strcmp(state, "complete") != 0 && strcmp(state, "finished") != 0) {
        put(page, "<p class=\"warning\">Not the whole of what was planned; the state is: ");
        html_text(page->out, state);
        put(page, ".</p>\n");
    }
    if (invalid > 0)
        put(page,
            "<p class=\"warning\">INVALID: wrong bytes were read in %zu run%s (red below). No "
            "number of such a run is a result.</p>\n",
            invalid, invalid == 1 ? "" : "s");
    if (failed > 0)
        put(page, "<p class=\"warning\">%zu run%s failed and %s left out everywhere.</p>\n", failed,
            failed == 1 ? "" : "s", failed == 1 ? "is" : "are");
}

/* ---- tables --------------------------------------------------------------------------------- */

struct cell {
    const char *head;
    results_value *value;
    const char *name;
    draw_format *format;
    bool is_zram; /* only where that arm was run */
};

static void put_cells(const struct page *page, const struct cell *cells, size_t count,
                      bool is_churn_table)
{
    const char *heads[16] = {"workload", "runs that count"};
    size_t nr_heads = 2;
    for (size_t c = 0; c < count; c++) {
        if (!cells[c].is_zram || page->results->has_arm[RESULTS_ZRAM])
            heads[nr_heads++] = cells[c].head;
    }
    heads[nr_heads++] = "verdict";
    begin_table(page, heads, nr_heads);
    for (size_t w = 0; w < page->results->nr_workloads; w++) {
        const char *workload = page->results->workloads[w];
        if (draw_is_churn(workload) != is_churn_table)
            continue;
        begin_row(page, workload, workload);
        put_runs(page, workload);
        for (size_t c = 0; c < count; c++) {
            if (!cells[c].is_zram || page->results->has_arm[RESULTS_ZRAM])
                put_spread(page, workload, cells[c].value, cells[c].name, cells[c].format);
        }
        put_verdict(page, workload);
        put(page, "</tr>\n");
    }
    end_table(page);
}

static const struct cell outcome_cells[] = {
    {"throughput, pager / baseline", results_cell, "units_per_sec_ratio_pager_vs_baseline",
     draw_format_ratio, false},
    {"throughput, zram / baseline", results_cell, "units_per_sec_ratio_zram_vs_baseline",
     draw_format_ratio, true},
    {"net saved, %", results_saved_pct, "pager", draw_format_pct, false},
    {"net saved, MiB", results_saved_mib, "pager", draw_format_pct, false},
    {"zram saved, %", results_saved_pct, "zram", draw_format_pct, true},
    {"pager CPU %, measured part", results_cell, "pager_window_cpu_pct", draw_format_pct, false},
    {"pager CPU %, session", results_cell, "pager_daemon_cpu_pct_total", draw_format_pct, false},
};
static const struct cell churn_cells[] = {
    {"maps/s, pager / baseline", results_cell, "units_per_sec_ratio_pager_vs_baseline",
     draw_format_ratio, false},
    {"maps/s, zram / baseline", results_cell, "units_per_sec_ratio_zram_vs_baseline",
     draw_format_ratio, true},
    {"ranges added", results_cell, "pager_range_add_msgs", script_format_count, false},
    {"ranges deleted", results_cell, "pager_range_del_msgs", script_format_count, false},
    {"missing faults", results_cell, "pager_faults_missing", script_format_count, false},
    {"pages tracked, peak", results_cell, "pager_pages_tracked_peak", script_format_count, false},
    {"pager CPU %, session", results_cell, "pager_daemon_cpu_pct_total", draw_format_pct, false},
    {"of it on faults", results_cell, "pager_fault_cpu_pct", draw_format_pct, false},
};
static const struct cell activity_cells[] = {
    {"pages taken out", results_cell, "pager_client_evict_success", script_format_count, false},
    {"stored", results_cell, "pager_compress_success", script_format_count, false},
    {"missing faults", results_cell, "pager_faults_missing", script_format_count, false},
    {"brought back", results_cell, "pager_restore_success", script_format_count, false},
    {"fault p95", results_cell, "pager_fault_missing_p95_ns", script_format_ns, false},
    {"fault p99", results_cell, "pager_fault_missing_p99_ns", script_format_ns, false},
    {"restore p95", results_cell, "pager_restore_wall_p95_ns", script_format_ns, false},
    {"restore p99", results_cell, "pager_restore_wall_p99_ns", script_format_ns, false},
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void put_touch_table(const struct page *page)
{
    static const char *const heads[] = {
        "workload",  "arm",    "touches", "p50", "p99", "p99.9", "above 1 µs: how many",
        "their p99", "longest"};
    static const struct {
        const char *name;
        draw_format *format;
    } cells[] = {
        {"touch_n", script_format_count},
        {"touch_p50_ns", script_format_ns},
        {"touch_p99_ns", script_format_ns},
        {"touch_p999_ns", script_format_ns},
        {"touch_over_1us_n", script_format_count},
        {"touch_over_1us_p99_ns", script_format_ns},
        {"touch_over_1us_max_ns", script_format_ns},
    };
    begin_table(page, heads, COUNT(heads));
    for (size_t w = 0; w < page->results->nr_workloads; w++) {
        for (enum results_arm arm = 0; arm < RESULTS_ARM_NR; arm++) {
            if (!page->results->has_arm[arm])
                continue;
            begin_row(page, page->results->workloads[w], page->results->workloads[w]);
            put_element(page, "td", results_arm_names[arm]);
            for (size_t c = 0; c < COUNT(cells); c++) {
                char column[96];
                snprintf(column, sizeof(column), "%s_%s", results_arm_names[arm], cells[c].name);
                put_spread(page, page->results->workloads[w], results_cell, column,
                           cells[c].format);
            }
            put(page, "</tr>\n");
        }
    }
    end_table(page);
}

static void put_outcome(const struct page *page)
{
    put_heading(page, "outcome", "What came of it");
    put(page, "<p>Medians of the runs that count; below them the least and the largest.</p>\n");
    put_cells(page, outcome_cells, COUNT(outcome_cells), false);
    put(page,
        "<h3>" RESULTS_CHURN "</h3>\n<p>By itself: its mappings live for milliseconds, and there "
        "is nothing in it to be saved. It is in no saving and no total.</p>\n");
    put_cells(page, churn_cells, COUNT(churn_cells), true);
    put(page, "<h3>Touches, as the client felt them</h3>\n");
    put_touch_table(page);
    put(page,
        "<h3>What the pager did</h3>\n<p>Over the whole session, the checking of all bytes at its "
        "end included; that brings every page back.</p>\n");
    put_cells(page, activity_cells, COUNT(activity_cells), false);
}

static void put_problems(const struct page *page)
{
    static const char *const heads[] = {"workload", "run", "verdict", "wrong pages", "why"};
    const struct csv_table *rows = page->results->rows;
    bool has_any = false;
    for (size_t r = 0; r < csv_table_rows(rows); r++) {
        enum results_verdict verdict = results_verdict(page->results, r);
        if (verdict == RESULTS_COUNTS)
            continue;
        if (!has_any) {
            put(page, "<h3>Runs that do not count</h3>\n");
            begin_table(page, heads, COUNT(heads));
        }
        has_any = true;
        put(page, "%s", verdict == RESULTS_INVALID ? "<tr class=\"invalid\">" : "<tr>");
        put_element(page, "td", csv_table_get(rows, r, "workload"));
        put_element(page, "td", csv_table_get(rows, r, "run"));
        put_element(page, "td", csv_table_get(rows, r, "verdict"));
        put_element(page, "td", csv_table_get(rows, r, "verify_errors"));
        put_element(page, "td", csv_table_get(rows, r, "problem"));
        put(page, "</tr>\n");
    }
    if (has_any)
        end_table(page);
}

/* ---- pictures ------------------------------------------------------------------------------- */

static bool put_picture(const struct page *page, const struct plots_picture *picture)
{
    char path[PATH_MAX], prefix[128];
    if (snprintf(path, sizeof(path), "%s/plots/%s.svg", page->folder, picture->name) >=
        (int)sizeof(path))
        return false;
    char *svg = file_read(path);
    if (!svg || !strstr(svg, "</svg>")) {
        free(svg);
        return false;
    }
    snprintf(prefix, sizeof(prefix), "%s-", picture->name);
    put(page, "<figure id=\"%s\">\n<div class=\"wide\">", picture->name);
    (void)html_svg(page->out, svg, prefix, picture->caption); /* just looked: there is one */
    put(page, "</div>\n<figcaption>");
    html_text(page->out, picture->caption);
    put(page, " <code>plots/%s.gp</code></figcaption>\n</figure>\n", picture->name);
    free(svg);
    return true;
}

static void put_pictures(const struct page *page)
{
    size_t missing = 0;
    put_heading(page, "plots", "Plots");
    put(page, "<p>Lines run from the least run to the largest. Where an axis is logarithmic, a "
              "zero has no place on it and is told as n/a.</p>\n");
    for (size_t i = 0; i < plots_nr_pictures; i++)
        missing += !put_picture(page, &plots_pictures[i]);
    if (missing > 0)
        put(page,
            "<p class=\"warning\">%zu of %zu plots were not drawn: was gnuplot (gnuplot-nox) "
            "there? Their scripts are in plots/.</p>\n",
            missing, plots_nr_pictures);
}

/* ---- meanings, limits, everything ----------------------------------------------------------- */

static void put_meanings(const struct page *page)
{
    put_heading(page, "meanings", "What the metrics mean");
    put(page, "<table class=\"text\">\n");
    for (size_t i = 0; i < meanings_count; i++) {
        put(page, "<tr>");
        put_element(page, "th", meanings[i].name);
        put_element(page, "td", meanings[i].text);
        put(page, "</tr>\n");
    }
    put(page, "</table>\n");
}

static void put_limits(const struct page *page)
{
    put_heading(page, "limits", "Limits");
    put(page, "<ul>\n");
    for (size_t i = 0; i < limits_count; i++) {
        put_element(page, "li", limits[i]);
        put(page, "\n");
    }
    put(page, "</ul>\n");
}

/* All that was aggregated, as it stands in aggregate.csv. */
static void put_aggregate(const struct page *page)
{
    static const char *const columns[] = {"workload", "metric", "n",    "min",    "p50",
                                          "p95",      "max",    "mean", "stddev", "iqr"};
    char path[PATH_MAX];
    struct csv_table *table = NULL;
    put_heading(page, "aggregate", "Every metric");
    if (snprintf(path, sizeof(path), "%s/aggregate.csv", page->folder) >= (int)sizeof(path) ||
        csv_table_read(path, &table) < 0) {
        put(page, "<p>There is no aggregate.csv.</p>\n");
        return;
    }
    put(page, "<p>The whole of aggregate.csv; not printed on paper.</p>\n"
              "<details><summary>Show it</summary>\n");
    begin_table(page, columns, COUNT(columns));
    for (size_t r = 0; r < csv_table_rows(table); r++) {
        const char *workload = csv_table_get(table, r, "workload");
        begin_row(page, workload, workload);
        for (size_t c = 1; c < COUNT(columns); c++)
            put_element(page, "td", csv_table_get(table, r, columns[c]));
        put(page, "</tr>\n");
    }
    end_table(page);
    put(page, "</details>\n");
    csv_table_free(table);
}

/* ---- the page ------------------------------------------------------------------------------- */

static void put_page(const struct page *page)
{
    static const struct {
        const char *id, *text;
    } parts[] = {
        {"outcome", "What came of it"}, {"plots", "Plots"},       {"meanings", "Meanings"},
        {"limits", "Limits"},           {"manifest", "What ran"}, {"aggregate", "Every metric"},
    };
    const char *run_id = manifest_text(page, "run_id");
    put(page,
        "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n"
        "<meta charset=\"utf-8\" />\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\n<title>");
    put(page, "process-pager A/B ");
    html_text(page->out, run_id);
    put(page, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<h1>process-pager A/B ",
        text_report_css);
    html_text(page->out, run_id);
    put(page, "</h1>\n<p>");
    html_text(page->out, manifest_text(page, "command_line"));
    put(page, "</p>\n<nav><ul>\n");
    for (size_t i = 0; i < COUNT(parts); i++)
        put(page, "<li><a href=\"#%s\">%s</a></li>\n", parts[i].id, parts[i].text);
    put(page, "</ul></nav>\n");
    put_warnings(page);
    put_outcome(page);
    put_problems(page);
    put_pictures(page);
    put_meanings(page);
    put_limits(page);
    put_manifest(page);
    put_aggregate(page);
    put(page, "</body>\n</html>\n");
}

static cJSON *read_manifest(const char *folder)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/manifest.json", folder) >= (int)sizeof(path))
        return NULL;
    char *text = file_read(path);
    cJSON *manifest = text ? cJSON_Parse(text) : NULL;
    free(text);
    return manifest;
}

int report_write(const char *results_dir)
{
    char path[PATH_MAX];
    struct results results;
    if (snprintf(path, sizeof(path), "%s/report.html", results_dir) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    int r = results_read(results_dir, &results);
    if (r < 0)
        return r;
    struct page page = {.out = fopen(path, "w"), .folder = results_dir, .results = &results};
    if (page.out) {
        page.manifest = read_manifest(results_dir);
        put_page(&page);
        cJSON_Delete(page.manifest);
        r = file_close(page.out);
    } else {
        r = -errno;
    }
    results_free(&results);
    return r;
}
