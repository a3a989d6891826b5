/* interactive_burst.c - a program that somebody uses: short bursts of work over all of its memory,
 * then a pause to think. A burst lasts for a time, or for one sweep over all pages. One unit is one
 * page touched. */
#include "common/pace.h"
#include "common/run.h"

static uint64_t active_ns = 100 * 1000 * 1000, idle_ns = 400 * 1000 * 1000;
static double idle_jitter = 0;
static unsigned burst = 0;

enum { BURST_TIME, BURST_SWEEP };
static const char *const burst_choices[] = {"time", "sweep", NULL};

static const struct option_row options[] = {
    {"active", OPTION_TIME, &active_ns, 1e6, 1e12, NULL, "length of a burst"},
    {"burst", OPTION_CHOICE, &burst, 0, 0, burst_choices,
     "what a burst is: time (as --active says) or sweep (each page once)"},
    {"idle", OPTION_TIME, &idle_ns, 0, 1e12, NULL, "pause between bursts"},
    {"idle-jitter", OPTION_DOUBLE, &idle_jitter, 0, 1, NULL, "pauses vary by this fraction"},
};

/* Sweeps over its part for as long as a burst lasts, and goes on there in the next. A burst's time
 * counts from when it should have begun: a late wake-up and a slow last touch are in it. */
static void burst_for_a_time(struct worker *w, size_t *at)
{
    uint64_t start_ns = pace_now_ns(), end_ns = start_ns + active_ns;
    if (end_ns > w->run->deadline_ns)
        end_ns = w->run->deadline_ns;
    w->toucher.last_ns = start_ns;
    while (w->toucher.last_ns < end_ns) {
        pages_touch(&w->run->region, w->first_page + *at, &w->toucher);
        *at = *at + 1 < w->nr_pages ? *at + 1 : 0;
    }
    run_period(w, w->toucher.last_ns, w->toucher.last_ns - start_ns);
}

/* Each page of its part once. A sweep that the deadline cuts short is no period. */
static void burst_for_a_sweep(struct worker *w)
{
    uint64_t start_ns = pace_now_ns();
    size_t at = 0;
    w->toucher.last_ns = start_ns;
    while (at < w->nr_pages && w->toucher.last_ns < w->run->deadline_ns)
        pages_touch(&w->run->region, w->first_page + at++, &w->toucher);
    if (at == w->nr_pages)
        run_period(w, w->toucher.last_ns, w->toucher.last_ns - start_ns);
}

static void work(struct worker *w)
{
    size_t at = 0;
    do {
        if (burst == BURST_SWEEP)
            burst_for_a_sweep(w);
        else
            burst_for_a_time(w, &at);
    } while (run_idle(w, idle_ns, idle_jitter));
    w->units = (double)w->toucher.nr_touches;
    w->warm_up_units = (double)w->toucher.nr_warm_up_touches;
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
