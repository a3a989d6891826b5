/* anon_streamer.c - a program that streams through its memory: one pass over all pages in order, a
 * pause, the next pass. One unit is one pass over the whole region; fractions count. */
#include "common/pace.h"
#include "common/run.h"

static uint64_t idle_ns = 300 * 1000 * 1000;
static double idle_jitter = 0;

static const struct option_row options[] = {
    {"idle", OPTION_TIME, &idle_ns, 0, 1e12, NULL, "pause between passes"},
    {"idle-jitter", OPTION_DOUBLE, &idle_jitter, 0, 1, NULL, "pauses vary by this fraction"},
};

static void work(struct worker *w)
{
    const struct run *run = w->run;
    const struct pages *region = &run->region;
    do {
        uint64_t start_ns = pace_now_ns();
        size_t at = 0;
        while (at < w->nr_pages && w->toucher.last_ns < run->deadline_ns)
            pages_touch(region, w->first_page + at++, &w->toucher);
        if (at == w->nr_pages)
            run_period(w, w->toucher.last_ns, w->toucher.last_ns - start_ns);
    } while (run_idle(w, idle_ns, idle_jitter));
    w->units = (double)w->toucher.nr_touches / (double)region->count;
    w->warm_up_units = (double)w->toucher.nr_warm_up_touches / (double)region->count;
}

int main(int argc, char **argv)
{
    static const struct workload workload = {
        .name = "anon_streamer",
        .about = "Passes over a region in order, idle between passes.",
        .unit = "passes",
        .period = "pass",
        .options = options,
        .nr_options = sizeof(options) / sizeof(options[0]),
        .work = work,
    };
    struct settings defaults = run_defaults();
    defaults.region_bytes = 512u << 20;
    return run_workload(&workload, defaults, argc, argv);
}
