/* mmap_churn.c - a program whose memory does not live long: map, (register,) touch every page,
 * (unregister,) unmap, at a steady rate. One unit is one such map. The checking of all its bytes
 * stands between touching and giving back and is not part of the op's time. */
#include <errno.h>
#include <sys/mman.h>

#include "common/pace.h"
#include "common/pager.h"
#include "common/run.h"

static double ops_per_sec = 300;
static uint64_t map_bytes = 512 << 10;

static const struct option_row options[] = {
    {"ops-per-sec", OPTION_DOUBLE, &ops_per_sec, 0.1, 1e6, NULL, "maps asked for, in total"},
    {"map", OPTION_SIZE, &map_bytes, 4096, 0x1p40, NULL, "size of one map"},
};

/* Pages that were never written must read as zeros, then hold version 1. */
static int churn_once(struct worker *w, struct pages *map)
{
    struct pp_pager *pager = w->run->pager;
    size_t bytes = map->count * CONTENT_PAGE_BYTES;
    uint64_t start_ns = pace_now_ns();
    map->base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map->base == MAP_FAILED) {
        map->base = NULL;
        return -errno;
    }
    int r = pager_register(pager, map->base, bytes, w->run->settings.is_direct);
    for (size_t i = 0; r == 0 && i < map->count; i++)
        pages_touch(map, i, &w->toucher);
    uint64_t touched_ns = pace_now_ns();
    for (size_t i = 0; r == 0 && w->toucher.is_checking && i < map->count; i++)
        pages_check(map, i, &w->toucher);
    uint64_t checked_ns = pace_now_ns();
    if (r == 0)
        r = pager_unregister(pager, map->base, bytes);
    (void)munmap(map->base, bytes); /* our own whole map: cannot fail */
    map->base = NULL;
    uint64_t end_ns = pace_now_ns();
    run_period(w, end_ns, (end_ns - checked_ns) + (touched_ns - start_ns));
    return r;
}

static void work(struct worker *w)
{
    const struct run *run = w->run;
    double rate = ops_per_sec / (double)run->settings.workers;
    struct pace pace = pace_new(rate, run->start_ns);
    struct pages map;
    uint64_t nr_maps = 0, id_stride = map_bytes / CONTENT_PAGE_BYTES;
    uint64_t now_ns = pace_now_ns();
    while (w->failure == 0 && now_ns < run->deadline_ns) {
        uint64_t due = pace_take_due(&pace, now_ns);
        for (; due > 0 && w->failure == 0 && now_ns < run->deadline_ns; due--) {
            uint64_t number = nr_maps++ * run->settings.workers + w->index;
            w->failure =
                pages_new(&run->region.content, number * id_stride, id_stride, false, &map);
            if (w->failure != 0)
                break;
            w->failure = churn_once(w, &map);
            pages_free(&map);
            now_ns = pace_now_ns();
            w->units += w->failure == 0;
            w->warm_up_units += w->failure == 0 && now_ns < run->warm_up_end_ns;
        }
        uint64_t next_ns = pace_next_ns(&pace, now_ns);
        pace_sleep_until_ns(next_ns < run->deadline_ns ? next_ns : run->deadline_ns);
        now_ns = pace_now_ns();
    }
    w->units_asked = run->settings.duration_sec * rate;
}

int main(int argc, char **argv)
{
    static const struct workload workload = {
        .name = "mmap_churn",
        .about = "Maps, touches and unmaps memory at a steady rate.",
        .unit = "ops",
        .period = "op",
        .options = options,
        .nr_options = sizeof(options) / sizeof(options[0]),
        .work = work,
    };
    struct settings defaults = run_defaults();
    defaults.workers = 1;
    return run_workload(&workload, defaults, argc, argv);
}
