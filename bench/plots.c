/* plots.c - the list of pictures; writes the scripts and has gnuplot draw them. */
#include "plots.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "common/pace.h"
#include "draw.h"
#include "files.h"
#include "templates.h"

#define GNUPLOT_PATIENCE_NS UINT64_C(60000000000)

const struct plots_picture plots_pictures[] = {
    {"throughput_ratio_by_workload",
     "Impact on each workload: units per second against the baseline."},
    {"net_memory_saved_by_workload",
     "Net memory saved, everything that the pager itself uses counted."},
    {"savings_vs_throughput", "Memory saved against throughput, a point a run."},
    {"memory_over_time", "Memory over the time of one run of each workload."},
    {"client_touch_latency_cdf", "How long touches took, as the client felt them."},
    {"fault_missing_latency_p95_p99",
     "Service of missing-page faults, and slow touches beside it."},
    {"restore_latency_p95_p99", "Bringing pages back, and slow touches beside it."},
    {"pager_daemon_cpu_breakdown", "CPU time of the pager's threads."},
    {"pager_cpu_vs_throughput_ratio", "CPU time against throughput, a point a run."},
    {"pager_activity_counts", "Pages taken out, stored, missed and brought back."},
    {"mmap_churn_range_ops_vs_faults", "mmap_churn by itself: calls for ranges against faults."},
    {"elapsed_ratio_by_workload", "Elapsed time against the baseline."},
};
const size_t plots_nr_pictures = sizeof(plots_pictures) / sizeof(plots_pictures[0]);

static const struct {
    draw_plot *draw;
    const char *template_text;
} ways[] = {
    {draw_throughput, text_dots_gp},
    {draw_saved, text_bars_gp},
    {draw_savings_vs_throughput, text_scatter_gp},
    {draw_memory, text_memory_gp},
    {draw_touches, text_cdf_gp},
    {draw_missing, text_dots_gp},
    {draw_restore, text_dots_gp},
    {draw_cpu, text_bars_gp},
    {draw_cpu_vs_throughput, text_scatter_gp},
    {draw_activity, text_dots_gp},
    {draw_churn, text_dots_gp},
    {draw_elapsed, text_dots_gp},
};
_Static_assert(sizeof(ways) / sizeof(ways[0]) == sizeof(plots_pictures) / sizeof(plots_pictures[0]),
               "each picture has a way to be drawn");

bool plots_can_draw(void)
{
    const char *path = getenv("PATH");
    char *copy = strdup(path ? path : "");
    bool found = false;
    for (char *folder, *rest = copy; copy && !found && (folder = strsep(&rest, ":")) != NULL;) {
        char probe[PATH_MAX];
        snprintf(probe, sizeof(probe), "%s/gnuplot", folder);
        found = access(probe, X_OK) == 0;
    }
    free(copy);
    return found;
}

int plots_draw(const char *folder, const char *name)
{
    char script[128];
    snprintf(script, sizeof(script), "%s.gp", name);
    char *argv[] = {"gnuplot", script, NULL};
    struct child_spec spec = {.argv = argv, .folder = folder, .end_signal = SIGTERM};
    struct child child;
    int code = 0, r = child_start(&spec, &child);
    if (r < 0)
        return r;
    if (child_wait_until(&child, pace_now_ns() + GNUPLOT_PATIENCE_NS, &code) != CHILD_ENDED) {
        (void)child_end(&child, 0);
        return children_stop_signal() ? -EINTR : -ETIMEDOUT;
    }
    return code == 0 ? 0 : -EIO;
}

int plots_write(const char *results_dir)
{
    char folder[PATH_MAX];
    struct results results;
    int r = results_read(results_dir, &results), failed = 0;
    if (r < 0)
        return r;
    r = snprintf(folder, sizeof(folder), "%s/plots", results_dir) < (int)sizeof(folder)
            ? folder_make(folder)
            : -ENAMETOOLONG;
    bool is_drawn = plots_can_draw();
    if (!is_drawn)
        fputs("ab-repeats: no gnuplot (package \"gnuplot-nox\"): no pictures, only their scripts; "
              "continuing\n",
              stderr);
    for (size_t i = 0; i < plots_nr_pictures && r == 0 && children_stop_signal() == 0; i++) {
        struct script s;
        script_begin(&s, plots_pictures[i].name, ways[i].template_text);
        ways[i].draw(&s, &results);
        r = script_end(&s, folder);
        int drawn = r == 0 && is_drawn ? plots_draw(folder, plots_pictures[i].name) : 0;
        if (drawn < 0) {
            fprintf(stderr, "ab-repeats: plots/%s.gp: %s; continuing\n", plots_pictures[i].name,
                    strerror(-drawn));
            failed = failed ? failed : drawn;
        }
    }
    results_free(&results);
    return r < 0 ? r : failed;
}
