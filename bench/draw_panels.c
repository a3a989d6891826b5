/* draw_panels.c - a small plot a workload: memory over time, and how long touches took. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "draw.h"

#define PANEL_HEIGHT 230.0
#define TAIL_TOUCHES 10 /* a share that fewer touches make up is not drawn */

void draw_begin_panels(struct script *s, size_t n)
{
    FILE *out = script_data(s);
    size_t columns = n > 1 ? 2 : 1, lines = n > 0 ? (n + columns - 1) / columns : 1;
    fprintf(out, "nr_panels = %zu\ncolumns = %zu\nlines = %zu\n", n > 0 ? n : 1, columns, lines);
    fprintf(out, "array panel_titles[%zu]\narray panel_colours[%zu]\n", n > 0 ? n : 1,
            n > 0 ? n : 1);
    if (n == 0)
        fputs("panel_titles[1] = 'nothing to show'; panel_colours[1] = '" COLOUR_INK "'\n", out);
    s->body_height = PANEL_HEIGHT * (double)lines;
}

void draw_title_panel(struct script *s, size_t p, const char *title, bool is_invalid)
{
    FILE *out = script_data(s);
    fprintf(out, "panel_titles[%zu] = ", p);
    script_quote(out, title);
    fprintf(out, "; panel_colours[%zu] = '%s'\n", p, is_invalid ? COLOUR_INVALID : COLOUR_INK);
}

/* One a workload. */
static void put_panels(struct script *s, const struct results *results, bool has_churn,
                       const char *const *details)
{
    size_t n = 0;
    for (size_t w = 0; w < results->nr_workloads; w++)
        n += has_churn || !draw_is_churn(results->workloads[w]);
    draw_begin_panels(s, n);
    for (size_t w = 0, p = 1; w < results->nr_workloads; w++) {
        const char *workload = results->workloads[w];
        if (!has_churn && draw_is_churn(workload))
            continue;
        struct results_tally tally = results_tally(results, workload);
        char title[192];
        snprintf(title, sizeof(title), "%s%s%s%s", workload, details[w][0] ? ", " : "", details[w],
                 tally.invalid > 0 ? " - INVALID" : "");
        draw_title_panel(s, p++, title, tally.invalid > 0);
    }
}

/* Seconds and MiB of one file, in three sums: the target's own, with the store, with the rest. */
struct memory_span {
    double begin, end, window_begin, window_end, most;
};

static bool put_memory(FILE *out, const char *path, bool is_stacked, struct memory_span *span)
{
    struct csv_table *t;
    size_t count = 0;
    bool has_window = isfinite(span->window_begin); /* that of the arm read before, the pager's */
    if (csv_table_read(path, &t) < 0)
        return false;
    for (size_t r = 0; r < csv_table_rows(t); r++) {
        double ms, target, paid, rings = 0, blocks = 0, in_window = 0;
        if (!csv_table_get_number(t, r, "time_ms", &ms) ||
            !csv_table_get_number(t, r, "paid_kib", &paid) ||
            !csv_table_get_number(t, r, "target_pss_kib", &target))
            continue; /* the line that the writer had not ended */
        (void)csv_table_get_number(t, r, "target_pager_map_pss_kib", &rings);
        (void)csv_table_get_number(t, r, "daemon_memfd_blocks_kib", &blocks);
        (void)csv_table_get_number(t, r, "is_in_window", &in_window);
        double own = (target - rings) / 1024;
        if (is_stacked)
            fprintf(out, "%.3f %.4f %.4f %.4f\n", ms / 1e3, own, own + blocks / 1024, paid / 1024);
        else
            fprintf(out, "%.3f %.4f\n", ms / 1e3, paid / 1024);
        draw_widen(ms / 1e3, &span->begin, &span->end);
        if (in_window > 0 && !has_window)
            draw_widen(ms / 1e3, &span->window_begin, &span->window_end);
        span->most = paid / 1024 > span->most ? paid / 1024 : span->most;
        count++;
    }
    csv_table_free(t);
    return count > 0;
}

struct memory_data {
    char *text;
    size_t size;
    FILE *out;
};

static void memory_begin(struct memory_data *m)
{
    m->out = open_memstream(&m->text, &m->size);
    if (!m->out)
        abort(); /* as csv.c */
}

static void memory_end(struct memory_data *m, FILE *out, const char *block)
{
    fclose(m->out);
    fprintf(out, "$%s << END\n%sEND\n", block, m->text);
    free(m->text);
}

static void put_span(FILE *out, size_t p, const struct memory_span *span)
{
    bool is_known = span->end > span->begin;
    fprintf(out,
            "panel_begins[%zu] = %g; panel_ends[%zu] = %g; panel_tops[%zu] = %g; "
            "window_begins[%zu] = %g; window_ends[%zu] = %g\n",
            p, is_known ? span->begin : 0, p, is_known ? span->end : 1, p,
            span->most > 0 ? span->most * 1.1 : 1, p,
            isfinite(span->window_begin) ? span->window_begin : 0, p,
            isfinite(span->window_end) ? span->window_end : 0);
}

void draw_memory(struct script *s, const struct results *results)
{
    static const struct {
        const char *title, *colour;
    } parts[] = {{"target", COLOUR_SKY},
                 {"store", COLOUR_BLUE},
                 {"rest of the pager", COLOUR_PURPLE},
                 {"baseline", COLOUR_INK},
                 {"zram arm, all", COLOUR_ORANGE}};
    char details[RESULTS_WORKLOADS_MAX][48] = {""};
    const char *texts[RESULTS_WORKLOADS_MAX];
    struct memory_data memory, baseline, zram;
    FILE *out = script_data(s);
    s->title = "Memory over time";
    s->subtitle =
        "What the pager arm pays: the target's own, the store, and the rest of the pager on top; "
        "the baseline as a line.";
    s->x_label = "seconds since the measured part began";
    s->y_label = "MiB";
    for (size_t i = 0; i < (results->has_arm[RESULTS_ZRAM] ? 5u : 4u); i++)
        s->series[s->nr_series++] = (struct script_series){
            .title = parts[i].title, .colour = parts[i].colour, .point = POINT_SQUARE};
    memory_begin(&memory);
    memory_begin(&baseline);
    memory_begin(&zram);
    size_t nr = results->nr_workloads > 0 ? results->nr_workloads : 1, p = 1;
    fprintf(out,
            "array panel_begins[%zu]\narray panel_ends[%zu]\narray panel_tops[%zu]\n"
            "array window_begins[%zu]\narray window_ends[%zu]\n",
            nr, nr, nr, nr, nr);
    for (size_t w = 0; w < results->nr_workloads; w++) {
        struct memory_span span = {INFINITY, -INFINITY, INFINITY, -INFINITY, 0};
        char path[PATH_MAX];
        size_t row;
        texts[w] = details[w];
        if (draw_is_churn(results->workloads[w]))
            continue;
        if (results_typical_row(results, results->workloads[w], &row)) {
            snprintf(details[w], sizeof(details[w]), "run %s",
                     csv_table_get(results->rows, row, "run"));
            results_path(results, row, RESULTS_PAGER, "memory.csv", path, sizeof(path));
            (void)put_memory(memory.out, path, true, &span); /* an empty panel says it */
            results_path(results, row, RESULTS_BASELINE, "memory.csv", path, sizeof(path));
            (void)put_memory(baseline.out, path, false, &span);
            results_path(results, row, RESULTS_ZRAM, "memory.csv", path, sizeof(path));
            (void)put_memory(zram.out, path, false, &span);
        } else {
            snprintf(details[w], sizeof(details[w]), "no samples");
        }
        fputs("NaN NaN NaN NaN\n\n\n", memory.out);
        fputs("NaN NaN\n\n\n", baseline.out);
        fputs("NaN NaN\n\n\n", zram.out);
        put_span(out, p++, &span);
    }
    if (p == 1) {
        struct memory_span none = {0};
        fputs("NaN NaN NaN NaN\n", memory.out);
        fputs("NaN NaN\n", baseline.out);
        fputs("NaN NaN\n", zram.out);
        put_span(out, p, &none);
    }
    memory_end(&memory, out, "memory");
    memory_end(&baseline, out, "baseline");
    memory_end(&zram, out, "zram");
    put_panels(s, results, false, texts);
    script_note(
        s, "One run each: the one whose saving is the median. Dotted lines: where the measured "
           "part begins and ends; after it all bytes are checked, which brings every page back.");
    draw_note_verdicts(s, results, NULL);
}

void draw_begin_curves(struct script *s, struct draw_curves *c)
{
    *c = (struct draw_curves){INFINITY, -INFINITY, 1};
    s->x_label = "a touch took longer than (logarithmic)";
    s->y_label = "share of touches";
    fputs("# ns, share above\n$touches << END\n", script_data(s));
}

/* The share above each bucket; only as far as enough touches make it up. */
void draw_put_curve(struct script *s, struct draw_curves *c, const struct results_touches *touches)
{
    FILE *out = script_data(s);
    double above = touches->n;
    for (size_t i = 0; i < touches->nr_buckets; i++) {
        const struct results_bucket *bucket = &touches->buckets[i];
        above -= bucket->count;
        if (bucket->upper_ns < 1)
            continue; /* no place for it on a log axis; its touches are counted */
        if (above < TAIL_TOUCHES)
            break;
        fprintf(out, "%.10g %.10g\n", bucket->upper_ns, above / touches->n);
        draw_widen(bucket->upper_ns, &c->least_ns, &c->most_ns);
        c->least_share = above / touches->n < c->least_share ? above / touches->n : c->least_share;
    }
    fputs("NaN NaN\n\n\n", out);
}

void draw_end_curves(struct script *s, const struct draw_curves *c)
{
    fputs("END\n", script_data(s));
    s->is_log_x = true;
    s->x_unit = "ns";
    s->x_min = 100;
    s->x_max = 1e6;
    if (c->most_ns > 0)
        script_log_range(c->least_ns, c->most_ns, &s->x_min, &s->x_max);
    double low, high;
    script_log_range(c->least_share < 0.1 ? c->least_share : 0.1, 1, &low, &high);
    fprintf(script_marks(s), "set logscale y\nset yrange [%g:1]\nset ytics ('all' 1", low / 1.06);
    for (int exponent = (int)rint(log10(low)); exponent < 0; exponent++) {
        char text[32];
        script_format_tic(pow(10, -exponent), "", text, sizeof(text));
        fprintf(script_marks(s), ", '1 in %s' 1e%d", text, exponent);
    }
    fputs(")\n", script_marks(s));
    script_note(s,
                "A curve ends where fewer than %d touches are left: beyond, there is nothing to be "
                "said.",
                TAIL_TOUCHES);
}

void draw_touches(struct script *s, const struct results *results)
{
    char details[RESULTS_WORKLOADS_MAX][48] = {""};
    const char *texts[RESULTS_WORKLOADS_MAX];
    struct draw_curves curves;
    bool is_shown[RESULTS_ARM_NR] = {false}, has_any = false;
    for (enum results_arm arm = 0; arm < RESULTS_ARM_NR; arm++)
        has_any = (is_shown[arm] = results->has_arm[arm]) || has_any;
    is_shown[RESULTS_BASELINE] = is_shown[RESULTS_BASELINE] || !has_any; /* something to plot */
    s->title = "Touches as the client felt them";
    s->subtitle =
        "Of all touches in the measured part of all runs, the share that took longer than the time "
        "below. Lower is better.";
    draw_begin_curves(s, &curves);
    for (enum results_arm arm = 0; arm < RESULTS_ARM_NR; arm++) {
        if (is_shown[arm])
            s->series[s->nr_series++] = (struct script_series){.title = results_arm_names[arm],
                                                               .colour = draw_arm_colours[arm],
                                                               .point = POINT_DISC};
    }
    for (size_t w = 0; w < results->nr_workloads; w++) {
        double n = INFINITY;
        for (enum results_arm arm = 0; arm < RESULTS_ARM_NR; arm++) {
            if (!is_shown[arm])
                continue;
            struct results_touches touches = results_touches(results, results->workloads[w], arm);
            draw_put_curve(s, &curves, &touches);
            n = touches.n < n ? touches.n : n;
            results_touches_free(&touches);
        }
        char text[32];
        script_format_count(isfinite(n) ? n : 0, text, sizeof(text));
        snprintf(details[w], sizeof(details[w]), "n >= %s", text);
        texts[w] = details[w];
    }
    if (results->nr_workloads == 0)
        fputs("NaN NaN\n", script_data(s));
    script_note(s,
                "All runs that count taken together. n is of the arm with the fewest touches.");
    draw_end_curves(s, &curves);
    put_panels(s, results, true, texts);
    draw_note_verdicts(s, results, NULL);
}
