/* draw_points.c - a point a run: what was got against what it cost. */
#include <math.h>
#include <string.h>

#include "draw.h"

struct scatter {
    double x_least, x_most, y_least, y_most;
    bool has_invalid;
};

static void put_point(struct script *s, struct scatter *at, double x, double y, bool is_invalid,
                      enum script_point point, const char *colour)
{
    draw_widen(x, &at->x_least, &at->x_most);
    draw_widen(y, &at->y_least, &at->y_most);
    at->has_invalid = at->has_invalid || is_invalid;
    fprintf(script_data(s), "%.10g %.10g %d 0x%06x\n", x, y,
            is_invalid ? (int)POINT_CROSS : (int)point,
            draw_colour_number(is_invalid ? COLOUR_INVALID : colour));
}

static void finish_scatter(struct script *s, const struct results *results, struct scatter *at)
{
    fputs("NaN NaN NaN NaN\nEND\n", script_data(s));
    if (at->has_invalid)
        s->series[s->nr_series++] = (struct script_series){
            .title = "invalid run", .colour = COLOUR_INVALID, .point = POINT_CROSS};
    draw_note_verdicts(s, results, NULL);
    s->body_height = 380;
}

static void put_line_at_1(struct script *s, const char *from, const char *to)
{
    fprintf(script_marks(s),
            "set arrow from %s to %s nohead linewidth 1.2 linecolor rgb '" COLOUR_GREY "' back\n",
            from, to);
}

void draw_cpu_vs_throughput(struct script *s, const struct results *results)
{
    static const enum script_point points[] = {POINT_DISC,    POINT_SQUARE, POINT_TRIANGLE,
                                               POINT_DIAMOND, 11,           15};
    struct scatter at = {.x_least = 0, .x_most = 0.5, .y_least = 1, .y_most = 1};
    s->title = "The pager's CPU time against throughput";
    s->subtitle =
        "A point a run. Low and on the line at 1 costs nothing; far right costs CPU time, below "
        "the line costs the workload.";
    s->x_label = "CPU time of all pager threads, percent of one CPU over the session";
    s->y_label = "units per second, pager / baseline";
    fputs("# CPU %, ratio, mark, colour\n$points << END\n", script_data(s));
    for (size_t w = 0; w < results->nr_workloads && w < DRAW_COLOURS; w++) {
        s->series[s->nr_series++] = (struct script_series){
            .title = results->workloads[w],
            .colour = draw_workload_colours[w],
            .point = points[w],
            .is_invalid = results_tally(results, results->workloads[w]).invalid > 0};
        for (size_t r = 0; r < csv_table_rows(results->rows); r++) {
            double x, y;
            if (strcmp(csv_table_get(results->rows, r, "workload"), results->workloads[w]) == 0 &&
                results_verdict(results, r) != RESULTS_FAILED &&
                results_cell(results, r, "pager_daemon_cpu_pct_total", &x) &&
                results_cell(results, r, "units_per_sec_ratio_pager_vs_baseline", &y))
                put_point(s, &at, x, y, results_verdict(results, r) == RESULTS_INVALID, points[w],
                          draw_workload_colours[w]);
        }
    }
    finish_scatter(s, results, &at);
    double low, high;
    s->x_min = 0;
    s->x_max = at.x_most * 1.06;
    script_linear_range(at.y_least, at.y_most, 0.1, &low, &high);
    fprintf(script_marks(s), "set yrange [%.6g:%.6g]\n", low, high);
    put_line_at_1(s, "graph 0, first 1", "graph 1, first 1");
}

void draw_savings_vs_throughput(struct script *s, const struct results *results)
{
    enum results_arm arms[2];
    size_t nr_arms = draw_saving_arms(results, arms), colour = 0;
    struct scatter at = {.x_least = 1, .x_most = 1, .y_least = 0, .y_most = 0};
    s->title = "What is saved against what it costs";
    s->subtitle =
        "A point a run. The baseline is where the lines cross; up is memory saved, left of it is "
        "throughput lost.";
    s->x_label = "units per second, arm / baseline";
    s->y_label = "net memory saved, percent";
    fputs("# ratio, saved %, mark, colour\n$points << END\n", script_data(s));
    put_point(s, &at, 1, 0, false, POINT_DIAMOND, COLOUR_INK);
    for (size_t w = 0; w < results->nr_workloads && colour < DRAW_COLOURS; w++) {
        if (draw_is_churn(results->workloads[w]))
            continue;
        s->series[s->nr_series++] = (struct script_series){
            .title = results->workloads[w],
            .colour = draw_workload_colours[colour],
            .point = POINT_SQUARE,
            .is_invalid = results_tally(results, results->workloads[w]).invalid > 0};
        for (size_t i = 0; i < nr_arms; i++) {
            char column[96];
            snprintf(column, sizeof(column), "units_per_sec_ratio_%s_vs_baseline",
                     results_arm_names[arms[i]]);
            for (size_t r = 0; r < csv_table_rows(results->rows); r++) {
                double x, y;
                if (strcmp(csv_table_get(results->rows, r, "workload"), results->workloads[w]) ==
                        0 &&
                    results_verdict(results, r) != RESULTS_FAILED &&
                    results_cell(results, r, column, &x) &&
                    results_saved_pct(results, r, results_arm_names[arms[i]], &y))
                    put_point(s, &at, x, y, results_verdict(results, r) == RESULTS_INVALID,
                              arms[i] == RESULTS_PAGER ? POINT_DISC : POINT_CIRCLE_OPEN,
                              draw_workload_colours[colour]);
            }
        }
        colour++;
    }
    finish_scatter(s, results, &at);
    if (nr_arms > 1)
        script_note(s, "Filled: pager. Open: zram. Black: the baseline.");
    draw_note_no_saving(s, results);
    double low, high;
    script_linear_range(at.x_least, at.x_most, 0.1, &s->x_min, &s->x_max);
    script_linear_range(at.y_least, at.y_most, 4, &low, &high);
    fprintf(script_marks(s), "set yrange [%.6g:%.6g]\n", low, high);
    put_line_at_1(s, "first 1, graph 0", "first 1, graph 1");
    put_line_at_1(s, "graph 0, first 0", "graph 1, first 0");
}
