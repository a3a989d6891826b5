/* draw.h - what goes into each picture: rows or panels, series, data, notes. Each function fills a
 * script that was begun for its template. */
#ifndef BENCH_DRAW_H
#define BENCH_DRAW_H

#include "results.h"
#include "script.h"

typedef void draw_plot(struct script *s, const struct results *results);

draw_plot draw_throughput, draw_elapsed, draw_missing, draw_restore, draw_activity, draw_churn;
draw_plot draw_cpu, draw_saved;
draw_plot draw_cpu_vs_throughput, draw_savings_vs_throughput;
draw_plot draw_memory, draw_touches;

/* ---- shared by them ------------------------------------------------------------------------- */

#define DRAW_COLOURS 6u
extern const char *const draw_workload_colours[DRAW_COLOURS];
extern const char *const draw_arm_colours[RESULTS_ARM_NR];
/* "#0072b2" as gnuplot's number; a top byte on it would be transparency. */
unsigned draw_colour_number(const char *colour);

/* A row with a workload's name, and below it how many runs there are, or what is wrong with them.
 */
struct script_row *draw_add_row(struct script *s, const struct results *results,
                                const char *workload);
/* Panels, two beside each other, and at least one; p counts from 1. */
void draw_begin_panels(struct script *s, size_t n);
void draw_title_panel(struct script *s, size_t p, const char *title, bool is_invalid);
/* Of touches, the share that took longer: with text_cdf_gp, a curve a series, all of one panel after
 * the other; axes and a note when they are there. */
struct draw_curves {
    double least_ns, most_ns, least_share;
};
void draw_begin_curves(struct script *s, struct draw_curves *c);
void draw_put_curve(struct script *s, struct draw_curves *c, const struct results_touches *touches);
void draw_end_curves(struct script *s, const struct draw_curves *c);
/* Without a row there is no place for an axis: then one that says that there is nothing. */
void draw_need_row(struct script *s);
/* Notes: which runs are not in the picture, or are in it and don't count. Of one workload, or all.
 */
void draw_note_verdicts(struct script *s, const struct results *results, const char *only);
/* Says so where none of the workloads that ran has anything to save. */
void draw_note_no_saving(struct script *s, const struct results *results);

typedef void draw_format(double value, char *ret_text, size_t size);
draw_format draw_format_ratio, draw_format_pct;
/* "0.998 (0.991..1.004)" and the unit; of one run without the brackets, of none "". */
void draw_tell_spread(const struct results_spread *spread, draw_format *format, const char *unit,
                      char *ret_text, size_t size);

/* What is drawn in one colour. */
struct draw_series {
    const char *title, *colour;
    enum script_point point;
    results_value *value;
    const char *name; /* for value() */
};

void draw_widen(double value, double *least, double *most);
bool draw_is_churn(const char *workload);
/* The arms that a saving is known of; the pager always, to say n/a. Returns how many. */
size_t draw_saving_arms(const struct results *results, enum results_arm ret_arms[2]);

#endif
