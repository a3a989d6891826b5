/* interactive_burst.c - a program that somebody uses: short bursts of work over all of its memory,
 * then a pause to think. One unit is one page touched. */
#include "common/pace.h"
#include "common/run.h"

static uint64_t active_ns = 100 * 1000 * 1000, idle_ns = 400 * 1000 * 1000;
static double idle_jitter = 0;

static const struct option_row options[] = {
    {"active", OPTION_TIME, &active_ns, 1e6, 1e12, NULL, "length of a burst"},
    {"idle", OPTION_TIME, &idle_ns, 0, 1e12, NULL, "pause between bursts"},
    {"idle-jitter", OPTION_DOUBLE, &idle_jitter, 0, 1, NULL, "pauses vary by this fraction"},
};

/* Sweeps over its part for as long as a burst lasts, and goes on there in the next. A burst's time
 * counts from when it should have begun: a late wake-up and a slow last touch are in it. */
static void work(struct worker *w)
{
    const struct run *run = w->run;
    const struct pages *region = &run->region;
    size_t at = 0;
    do {
        uint64_t start_ns = pace_now_ns();
        uint64_t end_ns = start_ns + active_ns;
        if (end_ns > run->deadline_ns)
            end_ns = run->deadline_ns;
        w->toucher.last_ns = start_ns;
        while (w->toucher.last_ns < end_ns) {
            pages_touch(region, w->first_page + at, &w->toucher);
            at = at + 1 < w->nr_pages ? at + 1 : 0;
        }
        latency_record(&w->periods, w->toucher.last_ns - start_ns);
    } while (run_idle(w, idle_ns, idle_jitter));
    w->units = (double)w->toucher.nr_touches;
}

int main(int argc, char **argv)
{
    static const struct workload workload = {
        .name = "interactive_burst",
        .about = "Sweeps over a region in bursts, idle between them.",
        .unit = "touches",
        .period = "burst",
        .options = options,
        .nr_options = sizeof(options) / sizeof(options[0]),
        .work = work,
    };
    struct settings defaults = run_defaults();
    defaults.region_bytes = 256u << 20;
    return run_workload(&workload, defaults, argc, argv);
}
