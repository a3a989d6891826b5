/* stall_plot.c - see stall_plot.h. */
#include "stall_plot.h"

#include <errno.h>
#include <stdio.h>

#include "draw.h"
#include "files.h"
#include "plots.h"
#include "templates.h"

static const struct {
    const char *phase, *title;
} columns[] = { { "random_paced", "paced" }, { "random", "back to back" } };
#define COLUMNS_NR (sizeof columns / sizeof *columns)

static const char *const colours[SUBJECT_ARMS_NR] = {
    [SUBJECT_PAGER] = COLOUR_BLUE, [SUBJECT_ZRAM] = COLOUR_ORANGE, [SUBJECT_DIRECT] = COLOUR_GREEN
};

static int find_prefix(const char *results_dir, const struct stall_run *run, char ret_prefix[PATH_MAX])
{
    int n = snprintf(ret_prefix, PATH_MAX, "%s/touches/%s-%u-%s-%u", results_dir, run->load, run->nr_threads,
                     subject_arm_names[run->arm], run->repeat);
    return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int stall_run_prefix(const char *results_dir, const struct stall_run *run, char ret_prefix[PATH_MAX])
{
    char folder[PATH_MAX];
    if (snprintf(folder, sizeof folder, "%s/touches", results_dir) >= (int)sizeof folder)
        return -ENAMETOOLONG;
    int r = folder_make(folder);
    return r ? r : find_prefix(results_dir, run, ret_prefix);
}

static void put_arm(struct script *s, struct draw_curves *curves, const char *results_dir,
                    const struct stall_plot *plot, const char *phase, struct stall_run run)
{
    struct results_touches touches = { .n = 0 };
    for (run.repeat = 0; run.repeat < plot->nr_repeats; run.repeat++) {
        char prefix[PATH_MAX], path[PATH_MAX + 32];
        if (find_prefix(results_dir, &run, prefix))
            continue;
        (void)snprintf(path, sizeof path, "%s-%s.csv", prefix, phase);
        (void)results_touches_add(&touches, path); /* a run that failed is a run less */
    }
    draw_put_curve(s, curves, &touches);
    results_touches_free(&touches);
}

static void fill(struct script *s, const char *results_dir, const struct stall_plot *plot)
{
    struct draw_curves curves;
    s->title = "Touches of pages that are out, at random";
    s->subtitle = "The share that took longer than the time below, all runs together. Lower is better.";
    for (unsigned arm = 0; arm < SUBJECT_ARMS_NR; arm++)
        if (plot->has_arm[arm])
            s->series[s->nr_series++] = (struct script_series){ .title = subject_arm_names[arm],
                                                                .colour = colours[arm],
                                                                .point = POINT_DISC };
    draw_begin_curves(s, &curves);
    for (unsigned load = 0; load < plot->nr_loads; load++)
        for (unsigned c = 0; c < COLUMNS_NR; c++)
            for (unsigned arm = 0; arm < SUBJECT_ARMS_NR; arm++)
                if (plot->has_arm[arm])
                    put_arm(s, &curves, results_dir, plot, columns[c].phase,
                            (struct stall_run){ plot->loads[load], plot->nr_threads, arm, 0 });
    draw_end_curves(s, &curves);
    draw_begin_panels(s, plot->nr_loads * COLUMNS_NR);
    for (unsigned p = 0; p < plot->nr_loads * COLUMNS_NR; p++) {
        char title[96];
        (void)snprintf(title, sizeof title, "%s, %u thread%s, %s", plot->loads[p / COLUMNS_NR],
                       plot->nr_threads, plot->nr_threads == 1 ? "" : "s", columns[p % COLUMNS_NR].title);
        draw_title_panel(s, p + 1, title, false);
    }
}

int stall_plot_draw(const char *results_dir, const struct stall_plot *plot)
{
    char folder[PATH_MAX], name[32];
    if (snprintf(folder, sizeof folder, "%s/plots", results_dir) >= (int)sizeof folder)
        return -ENAMETOOLONG;
    (void)snprintf(name, sizeof name, "touches-%u", plot->nr_threads);
    int r = folder_make(folder);
    if (r)
        return r;
    struct script s;
    script_begin(&s, name, text_cdf_gp);
    fill(&s, results_dir, plot);
    r = script_end(&s, folder);
    if (r == 0 && !plots_can_draw())
        fprintf(stderr, "stall: no gnuplot (package \"gnuplot-nox\"): %s/%s.gp is not drawn; continuing\n",
                folder, name);
    else if (r == 0)
        r = plots_draw(folder, name);
    return r;
}
