/* draw_dots.c - rows of dots: ratios, latencies and counts. The median of the runs, a line from the
 * least to the largest, each run as a small mark. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "draw.h"

#define LINE_HEIGHT 19.0 /* of a series in a row */

/* ---- rows of dots --------------------------------------------------------------------------- */

struct dots {
    struct script *script;
    const struct results *results;
    draw_format *format;
    bool is_log;
    double least, most; /* of all values seen */
    char *runs, *spreads;
    size_t runs_size, spreads_size;
    FILE *runs_out, *spreads_out;
};

static void dots_begin(struct dots *d)
{
    d->least = INFINITY;
    d->most = -INFINITY;
    d->runs_out = open_memstream(&d->runs, &d->runs_size);
    d->spreads_out = open_memstream(&d->spreads, &d->spreads_size);
    if (!d->runs_out || !d->spreads_out)
        abort(); /* as csv.c */
}

static void dots_saw(struct dots *d, double value)
{
    d->least = value < d->least ? value : d->least;
    d->most = value > d->most ? value : d->most;
}

/* Each run of a workload by itself; small, and invalid ones as crosses. */
static void put_runs(struct dots *d, const struct draw_series *series, const char *workload,
                     double y, bool is_single, bool is_invalid)
{
    const char *colour = is_invalid ? COLOUR_INVALID : series->colour;
    for (size_t r = 0; r < csv_table_rows(d->results->rows); r++) {
        enum results_verdict verdict = results_verdict(d->results, r);
        double value;
        if (strcmp(csv_table_get(d->results->rows, r, "workload"), workload) != 0 ||
            verdict == RESULTS_FAILED || !series->value(d->results, r, series->name, &value) ||
            (d->is_log && value <= 0) || (is_single && verdict == RESULTS_COUNTS))
            continue;
        dots_saw(d, value);
        if (verdict == RESULTS_INVALID)
            fprintf(d->runs_out, "%g %.10g %d 0x%06x\n", y, value, (int)POINT_CROSS,
                    draw_colour_number(COLOUR_INVALID));
        else
            fprintf(d->runs_out, "%g %.10g %d 0x90%06x\n", y, value, (int)POINT_DISC,
                    draw_colour_number(colour));
    }
}

static void put_not_known(struct dots *d, const struct results_spread *spread, double y)
{
    FILE *out = script_marks(d->script);
    fputs("set label ", out);
    script_quote(out, spread->zeros > 0 ? "n/a (zero in every run)" : "n/a");
    fprintf(out, " at graph 0.008, first %g left front font 'sans-serif,10.5' textcolor rgb '%s'\n",
            y, COLOUR_GREY);
}

/* Series i of n on the line of a workload in row `row`. */
static void put_dots(struct dots *d, const struct draw_series *series, const char *workload,
                     size_t row, size_t i, size_t n)
{
    struct script_row *its_row = &d->script->rows[row];
    double y = script_line_y(row, i, n);
    struct results_spread spread =
        d->is_log ? results_spread_positive(d->results, workload, series->value, series->name)
                  : results_spread(d->results, workload, series->value, series->name);
    char *text = its_row->values[i];
    put_runs(d, series, workload, y, spread.n == 1, its_row->is_invalid);
    draw_tell_spread(&spread, d->format, "", text, sizeof(its_row->values[i]));
    its_row->nr_values = n;
    if (spread.n == 0) {
        put_not_known(d, &spread, y);
        return;
    }
    if (d->is_log && spread.zeros > 0) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(its_row->values[i]) - used, "; zero (n/a) in %zu of %zu",
                 spread.zeros, spread.zeros + spread.n);
    }
    dots_saw(d, spread.min);
    dots_saw(d, spread.max);
    fprintf(d->spreads_out, "%g %.10g %.10g %.10g 0x%06x\n", y, spread.median, spread.min,
            spread.max, draw_colour_number(its_row->is_invalid ? COLOUR_INVALID : series->colour));
}

/* A block of data may not be empty, and two empty lines part one from the next. */
static void dots_end_series(struct dots *d)
{
    fputs("NaN NaN NaN NaN\n\n\n", d->runs_out);
    fputs("NaN NaN NaN NaN NaN\n\n\n", d->spreads_out);
}

static void dots_end(struct dots *d)
{
    FILE *out = script_data(d->script);
    fclose(d->runs_out);
    fclose(d->spreads_out);
    fprintf(out, "# line, a run, mark, colour\n$runs << END\n%sEND\n", d->runs);
    fprintf(out, "# line, median, least, largest, colour\n$spread << END\n%sEND\n", d->spreads);
    free(d->runs);
    free(d->spreads);
}

/* A workload a row, and all series in each. */
static void fill_dots(struct script *s, const struct results *results, draw_format *format,
                      bool is_log, const struct draw_series *series, size_t nr_series,
                      struct dots *ret)
{
    struct dots d = {.script = s, .results = results, .format = format, .is_log = is_log};
    dots_begin(&d);
    for (size_t w = 0; w < results->nr_workloads; w++)
        draw_add_row(s, results, results->workloads[w]);
    for (size_t i = 0; i < nr_series; i++) {
        s->series[s->nr_series++] = (struct script_series){
            .title = series[i].title, .colour = series[i].colour, .point = series[i].point};
        for (size_t w = 0; w < results->nr_workloads; w++)
            put_dots(&d, &series[i], results->workloads[w], w, i, nr_series);
        dots_end_series(&d);
    }
    dots_end(&d);
    draw_need_row(s);
    double lines = (double)nr_series * LINE_HEIGHT + 10;
    s->row_height = lines > s->row_height ? lines : s->row_height;
    draw_note_verdicts(s, results, NULL);
    *ret = d;
}

/* ---- ratios --------------------------------------------------------------------------------- */

static void draw_ratio(struct script *s, const struct results *results, const char *column)
{
    char names[2][96];
    struct draw_series series[2];
    size_t n = 0;
    for (enum results_arm arm = RESULTS_PAGER; arm < RESULTS_ARM_NR; arm++) {
        if (!results->has_arm[arm] && (arm != RESULTS_PAGER || results->has_arm[RESULTS_ZRAM]))
            continue; /* one line there must be, to say n/a on */
        snprintf(names[n], sizeof(names[n]), "%s_ratio_%s_vs_baseline", column,
                 results_arm_names[arm]);
        series[n] = (struct draw_series){
            .title = arm == RESULTS_PAGER ? "pager / baseline" : "zram / baseline",
            .colour = draw_arm_colours[arm],
            .point = arm == RESULTS_PAGER ? POINT_DISC : POINT_SQUARE,
            .value = results_cell,
            .name = names[n],
        };
        n++;
    }
    struct dots d;
    fill_dots(s, results, draw_format_ratio, false, series, n, &d);
    double least = d.least < 1 ? d.least : 1, most = d.most > 1 ? d.most : 1;
    script_linear_range(least, most, 0.1, &s->x_min, &s->x_max);
    fputs("set arrow from 1, graph 0 to 1, graph 1 nohead linewidth 1.4 linecolor rgb "
          "'" COLOUR_GREY "' back\n",
          script_marks(s));
    s->value_title = "median (least..largest)";
}

void draw_throughput(struct script *s, const struct results *results)
{
    s->title = "Throughput against the baseline";
    s->subtitle =
        "Units per second with the pager, divided by those of the same run without; median of the "
        "runs, least to largest.";
    s->x_label = "ratio of units per second (1: no change; below 1: slower than the baseline)";
    draw_ratio(s, results, "units_per_sec");
}

void draw_elapsed(struct script *s, const struct results *results)
{
    s->title = "Elapsed time against the baseline";
    s->subtitle =
        "Near 1 by construction: the workloads run for a fixed time. Farther from it, a run could "
        "not be ended in time.";
    s->x_label = "ratio of elapsed ms";
    draw_ratio(s, results, "elapsed_ms");
}

/* ---- latencies ------------------------------------------------------------------------------ */

/* With what the client felt beside it: the pager's clock starts when it reads the fault, and does
 * not see how long that waited. */
static void draw_latency(struct script *s, const struct results *results, const char *p95,
                         const char *p99, const char *what95, const char *what99)
{
    struct draw_series series[4] = {
        {what95, COLOUR_SKY, POINT_TRIANGLE, results_cell, p95},
        {what99, COLOUR_BLUE, POINT_DISC, results_cell, p99},
        {"slow touches, p99: pager", COLOUR_GREEN, POINT_DIAMOND, results_cell,
         "pager_touch_over_1us_p99_ns"},
        {"slow touches, p99: baseline", COLOUR_INK, POINT_DIAMOND_OPEN, results_cell,
         "baseline_touch_over_1us_p99_ns"},
    };
    struct dots d;
    fill_dots(s, results, script_format_ns, true, series, 4, &d);
    s->is_log_x = true;
    s->x_unit = "ns";
    s->x_label = "time (logarithmic)";
    s->value_title = "median (least..largest)";
    s->x_min = 1e3;
    s->x_max = 1e6;
    if (d.most > 0)
        script_log_range(d.least, d.most, &s->x_min, &s->x_max);
    script_note(
        s, "Slow touches: those above 1 µs, as the workload itself timed them, in its measured "
           "part; they include what the machine does to any program. The pager's own times are of "
           "the whole session, the checking of all bytes at its end included.");
}

void draw_missing(struct script *s, const struct results *results)
{
    s->title = "Answering a missing-page fault";
    s->subtitle =
        "From reading the event to the end of the waking call; the wait before the read is only in "
        "what the client felt.";
    draw_latency(s, results, "pager_fault_missing_p95_ns", "pager_fault_missing_p99_ns",
                 "fault p95", "fault p99");
}

void draw_restore(struct script *s, const struct results *results)
{
    s->title = "Bringing a page back";
    s->subtitle = "Decompressing it or moving it back, and putting it in its place.";
    draw_latency(s, results, "pager_restore_wall_p95_ns", "pager_restore_wall_p99_ns",
                 "restore p95", "restore p99");
}

/* ---- counts --------------------------------------------------------------------------------- */

static void finish_counts(struct script *s, const struct dots *d)
{
    s->is_log_x = true;
    s->x_min = 1;
    s->x_max = 1e4;
    s->value_title = "median (least..largest)";
    if (d->most > 0)
        script_log_range(d->least, d->most * 1.01, &s->x_min, &s->x_max);
}

void draw_activity(struct script *s, const struct results *results)
{
    static const struct draw_series series[] = {
        {"pages taken out", COLOUR_BLUE, POINT_DISC, results_cell, "pager_client_evict_success"},
        {"pages stored", COLOUR_ORANGE, POINT_SQUARE, results_cell, "pager_compress_success"},
        {"missing faults", COLOUR_GREEN, POINT_TRIANGLE, results_cell, "pager_faults_missing"},
        {"pages brought back", COLOUR_PURPLE, POINT_DIAMOND, results_cell, "pager_restore_success"},
    };
    struct dots d;
    s->title = "What the pager did";
    s->subtitle =
        "Counts of a whole session, the checking of all bytes at its end included. Faults count "
        "zero pages too.";
    s->x_label = "pages or faults (logarithmic)";
    fill_dots(s, results, script_format_count, true, series, 4, &d);
    finish_counts(s, &d);
}

void draw_churn(struct script *s, const struct results *results)
{
    static const struct {
        const char *label;
        struct draw_series series;
    } rows[] = {
        {"maps made", {"", COLOUR_BLUE, POINT_DISC, results_cell, "pager_range_add_msgs"}},
        {"ranges deleted", {"", COLOUR_BLUE, POINT_DISC, results_cell, "pager_range_del_msgs"}},
        {"missing faults",
         {"", COLOUR_GREEN, POINT_TRIANGLE, results_cell, "pager_faults_missing"}},
        {"pages tracked, peak",
         {"", COLOUR_INK, POINT_DIAMOND, results_cell, "pager_pages_tracked_peak"}},
    };
    size_t nr = sizeof(rows) / sizeof(rows[0]);
    struct dots d = {
        .script = s, .results = results, .format = script_format_count, .is_log = true};
    struct results_tally tally = results_tally(results, RESULTS_CHURN);
    s->title = RESULTS_CHURN ": calls for ranges against faults";
    s->subtitle =
        "Mappings too short-lived to be worth keeping cold: what announcing them costs. In no plot "
        "of savings.";
    s->x_label = "calls, faults or pages in a session (logarithmic)";
    dots_begin(&d);
    for (size_t i = 0; i < nr; i++) {
        struct script_row *row = draw_add_row(s, results, RESULTS_CHURN);
        snprintf(row->label, sizeof(row->label), "%s", i == 0 ? "ranges added" : rows[i].label);
        if (!row->is_invalid)
            row->below[0] = '\0';
        put_dots(&d, &rows[i].series, RESULTS_CHURN, i, 0, 1);
        dots_end_series(&d);
        s->series[s->nr_series++] = (struct script_series){
            .title = "", .colour = rows[i].series.colour, .point = rows[i].series.point};
    }
    dots_end(&d);
    finish_counts(s, &d);
    if (tally.total == 0) {
        script_note(s, RESULTS_CHURN " was not run.");
        return;
    }
    struct results_spread ratio = results_spread(results, RESULTS_CHURN, results_cell,
                                                 "units_per_sec_ratio_pager_vs_baseline");
    char text[96];
    draw_tell_spread(&ratio, draw_format_ratio, "", text, sizeof(text));
    script_note(s, "%zu runs. Maps per second against the baseline: %s.", tally.total,
                text[0] ? text : "n/a");
    draw_note_verdicts(s, results, RESULTS_CHURN);
}
