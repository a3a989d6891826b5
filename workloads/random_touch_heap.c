/* random_touch_heap.c - a server with a big heap: touches at random, at a steady rate. With a hot
 * fraction of the pages that gets more than its share of the touches, the rest of the heap is as
 * idle as a real one's. One unit is one page touched. */
#include <math.h>

#include "common/pace.h"
#include "common/run.h"

static double ops_per_sec = 200000;
static double hot_fraction = 1, hot_probability = 1;

static const struct option_row options[] = {
    {"ops-per-sec", OPTION_DOUBLE, &ops_per_sec, 1, 1e9, NULL, "touches asked for, in total"},
    {"hot-fraction", OPTION_DOUBLE, &hot_fraction, 0, 1, NULL, "of the pages are hot"},
    {"hot-probability", OPTION_DOUBLE, &hot_probability, 0, 1, NULL,
     "of a touch to go to a hot page; 1 never touches the others"},
};

/* The hot pages are the first of the worker's part. */
static size_t choose_page(struct worker *w, size_t nr_hot)
{
    bool is_hot = nr_hot == w->nr_pages || hot_probability >= 1 ||
                  rng_unit(&w->toucher.rng) < hot_probability;
    if (is_hot && nr_hot > 0)
        return rng_below(&w->toucher.rng, nr_hot);
    return nr_hot + rng_below(&w->toucher.rng, w->nr_pages - nr_hot);
}

static void work(struct worker *w)
{
    const struct run *run = w->run;
    const struct pages *region = &run->region;
    size_t nr_hot = (size_t)ceil(hot_fraction * (double)w->nr_pages);
    double rate = ops_per_sec / (double)run->settings.workers;
    struct pace pace = pace_new(rate, run->start_ns);
    uint64_t now_ns = pace_now_ns();
    while (now_ns < run->deadline_ns) {
        uint64_t due = pace_take_due(&pace, now_ns);
        uint64_t batch_ns = now_ns;
        w->toucher.last_ns = now_ns;
        for (uint64_t i = 0; i < due && w->toucher.last_ns < run->deadline_ns; i++)
            pages_touch(region, w->first_page + choose_page(w, nr_hot), &w->toucher);
        if (due > 0)
            run_period(w, w->toucher.last_ns, w->toucher.last_ns - batch_ns);
        uint64_t next_ns = pace_next_ns(&pace, w->toucher.last_ns);
        pace_sleep_until_ns(next_ns < run->deadline_ns ? next_ns : run->deadline_ns);
        now_ns = pace_now_ns();
    }
    w->units = (double)w->toucher.nr_touches;
    w->warm_up_units = (double)w->toucher.nr_warm_up_touches;
    w->units_asked = run->settings.duration_sec * rate;
}

int main(int argc, char **argv)
{
    static const struct workload workload = {
        .name = "random_touch_heap",
        .about = "Touches pages of a region at random, at a steady rate.",
        .unit = "ops",
        .period = "batch",
        .options = options,
        .nr_options = sizeof(options) / sizeof(options[0]),
        .work = work,
    };
    struct settings defaults = run_defaults();
    defaults.region_bytes = 512u << 20;
    return run_workload(&workload, defaults, argc, argv);
}
