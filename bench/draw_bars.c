/* draw_bars.c - rows of bars from zero: CPU time by thread, net memory saved. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "draw.h"

/* The agent measures its work on faults in wall time: on a busy machine that may be more than all
 * of its CPU time, and a part is never drawn larger than its whole. */
static bool agent_on_faults(const struct results *results, size_t row, const char *name,
                            double *ret_value)
{
    double agent, fault;
    if (!results_cell(results, row, "pager_agent_cpu_pct", &agent) ||
        !results_cell(results, row, name, &fault))
        return false;
    *ret_value = fault < agent ? fault : agent;
    return true;
}

static bool agent_besides_faults(const struct results *results, size_t row, const char *name,
                                 double *ret_value)
{
    double agent, fault;
    if (!results_cell(results, row, "pager_agent_cpu_pct", &agent) ||
        !agent_on_faults(results, row, name, &fault))
        return false;
    *ret_value = agent - fault;
    return true;
}

static void put_whisker(FILE *out, double y, const struct results_spread *spread)
{
    if (spread->n > 1)
        fprintf(out, "%g %.10g %.10g %.10g\n", y, spread->median, spread->min, spread->max);
}

/* The runs of a workload that are invalid, as crosses at y. */
static void put_crosses(FILE *out, const struct results *results, const char *workload,
                        results_value *value, const char *name, double y, double *least,
                        double *most)
{
    for (size_t r = 0; r < csv_table_rows(results->rows); r++) {
        double x;
        if (strcmp(csv_table_get(results->rows, r, "workload"), workload) != 0 ||
            results_verdict(results, r) != RESULTS_INVALID || !value(results, r, name, &x))
            continue;
        draw_widen(x, least, most);
        fprintf(out, "%g %.10g %d 0x%06x\n", y, x, (int)POINT_CROSS,
                draw_colour_number(COLOUR_INVALID));
    }
}

static void put_na(struct script *s, double y)
{
    fprintf(script_marks(s),
            "set label 'n/a' at graph 0.008, first %g left front font 'sans-serif,10.5' textcolor "
            "rgb '%s'\n",
            y, COLOUR_GREY);
}

void draw_cpu(struct script *s, const struct results *results)
{
    static const struct draw_series parts[] = {
        {"daemon", COLOUR_BLUE, POINT_SQUARE, results_cell, "pager_daemon_process_cpu_pct"},
        {"porter", COLOUR_SKY, POINT_SQUARE, results_cell, "pager_porter_cpu_pct"},
        {"agent, other work", COLOUR_GREEN, POINT_SQUARE, agent_besides_faults,
         "pager_fault_cpu_pct"},
        {"agent, faults and events", COLOUR_ORANGE, POINT_SQUARE, agent_on_faults,
         "pager_fault_cpu_pct"},
    };
    double least = 0, most = 0, ends[SCRIPT_ROWS_MAX] = {0};
    FILE *out = script_data(s);
    s->title = "The pager's CPU time, by thread";
    s->subtitle =
        "Percent of one CPU over the session's wall time. The parts are means, so that they add "
        "up; the line is the least and largest total.";
    s->x_label = "percent of one CPU";
    s->value_title = "total: median (least..largest)";
    for (size_t w = 0; w < results->nr_workloads; w++)
        draw_add_row(s, results, results->workloads[w]);
    fputs("# line, from, to, half the height, colour\n$bars << END\n", out);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        s->series[s->nr_series++] = (struct script_series){
            .title = parts[i].title, .colour = parts[i].colour, .point = parts[i].point};
        for (size_t w = 0; w < results->nr_workloads; w++) {
            struct results_spread spread =
                results_spread(results, results->workloads[w], parts[i].value, parts[i].name);
            if (spread.n == 0)
                continue;
            fprintf(out, "%g %.10g %.10g 0.28 0x%06x\n", script_line_y(w, 0, 1), ends[w],
                    ends[w] + spread.mean,
                    draw_colour_number(s->rows[w].is_invalid ? COLOUR_INVALID : parts[i].colour));
            ends[w] += spread.mean;
            draw_widen(ends[w], &least, &most);
        }
        fputs("NaN NaN NaN NaN NaN\n\n\n", out);
    }
    fputs("END\n# line, median, least, largest\n$whiskers << END\n", out);
    for (size_t w = 0; w < results->nr_workloads; w++) {
        const char *workload = results->workloads[w];
        struct script_row *row = &s->rows[w];
        struct results_spread total =
            results_spread(results, workload, results_cell, "pager_daemon_cpu_pct_total");
        struct results_spread window =
            results_spread(results, workload, results_cell, "pager_window_cpu_pct");
        put_whisker(out, script_line_y(w, 0, 1), &total);
        if (total.n == 0) {
            put_na(s, script_line_y(w, 0, 1));
            continue;
        }
        draw_widen(total.max, &least, &most);
        draw_tell_spread(&total, draw_format_pct, " %", row->values[row->nr_values++],
                         sizeof(row->values[0]));
        if (window.n > 0) {
            char text[32];
            draw_format_pct(window.median, text, sizeof(text));
            snprintf(row->values[row->nr_values++], sizeof(row->values[0]), "measured part: %s %%",
                     text);
        }
    }
    fputs("NaN NaN NaN NaN\nEND\n# line, an invalid run, mark, colour\n$runs << END\n", out);
    for (size_t w = 0; w < results->nr_workloads; w++)
        put_crosses(out, results, results->workloads[w], results_cell, "pager_daemon_cpu_pct_total",
                    script_line_y(w, 0, 1), &least, &most);
    fputs("NaN NaN NaN NaN\nEND\n", out);
    draw_need_row(s);
    s->x_max = most > 0 ? most * 1.06 : 1;
    draw_note_verdicts(s, results, NULL);
}

void draw_saved(struct script *s, const struct results *results)
{
    enum results_arm arms[2];
    size_t nr_arms = draw_saving_arms(results, arms);
    double least = 0, most = 0;
    char *whiskers, *crosses;
    size_t whiskers_size, crosses_size;
    FILE *out = script_data(s), *whiskers_out = open_memstream(&whiskers, &whiskers_size);
    FILE *crosses_out = open_memstream(&crosses, &crosses_size);
    if (!whiskers_out || !crosses_out)
        abort(); /* as csv.c */
    s->title = "Net memory saved";
    s->subtitle =
        "In the steady state (last quarter), all of the pager's own memory counted against it "
        "(zram: all that it uses).";
    s->x_label = "percent of what the baseline pays (below 0: it cost memory)";
    s->value_title = "median (least..largest)";
    for (size_t w = 0; w < results->nr_workloads; w++) {
        if (!draw_is_churn(results->workloads[w]))
            draw_add_row(s, results, results->workloads[w]);
    }
    fputs("# line, from, to, half the height, colour\n$bars << END\n", out);
    for (size_t i = 0; i < nr_arms; i++) {
        const char *arm = results_arm_names[arms[i]];
        s->series[s->nr_series++] = (struct script_series){
            .title = arm, .colour = draw_arm_colours[arms[i]], .point = POINT_SQUARE};
        for (size_t w = 0; w < s->nr_rows; w++) {
            struct script_row *row = &s->rows[w];
            const char *workload = row->label;
            double y = script_line_y(w, i, nr_arms);
            struct results_spread pct = results_spread(results, workload, results_saved_pct, arm);
            struct results_spread mib = results_spread(results, workload, results_saved_mib, arm);
            put_crosses(crosses_out, results, workload, results_saved_pct, arm, y, &least, &most);
            row->nr_values = nr_arms;
            if (pct.n == 0) {
                put_na(s, y);
                continue;
            }
            draw_widen(pct.min, &least, &most);
            draw_widen(pct.max, &least, &most);
            char text[96];
            draw_tell_spread(&pct, draw_format_pct, " %", text, sizeof(text));
            snprintf(row->values[i], sizeof(row->values[i]), "%s, %.*f MiB", text,
                     fabs(mib.median) < 9.95, mib.median);
            fprintf(
                out, "%g 0 %.10g %g 0x%06x\n", y, pct.median, 0.3 / (double)nr_arms,
                draw_colour_number(row->is_invalid ? COLOUR_INVALID : draw_arm_colours[arms[i]]));
            put_whisker(whiskers_out, y, &pct);
        }
        fputs("NaN NaN NaN NaN NaN\n\n\n", out);
    }
    fclose(whiskers_out);
    fclose(crosses_out);
    fprintf(out, "END\n# line, median, least, largest\n$whiskers << END\n%sNaN NaN NaN NaN\nEND\n",
            whiskers);
    fprintf(out, "# line, an invalid run, mark, colour\n$runs << END\n%sNaN NaN NaN NaN\nEND\n",
            crosses);
    free(whiskers);
    free(crosses);
    draw_need_row(s);
    draw_note_no_saving(s, results);
    script_linear_range(least, most, 4, &s->x_min, &s->x_max);
    if (least >= 0 && most >= 4)
        s->x_min = 0;
    fputs("set arrow from 0, graph 0 to 0, graph 1 nohead linewidth 1.4 linecolor rgb "
          "'" COLOUR_GREY "' front\n",
          script_marks(s));
    draw_note_verdicts(s, results, NULL);
}
