/* half_hot - does a heat source find what is cold, and leave what is hot? Prints a line of figures.
 *
 *   half_hot SOURCE STRIPE [check]   SOURCE: damon, scan; STRIPE: pages, hot and cold ones by turns
 *
 * A child touches all of 64 MiB for four seconds, then every second stripe only: half of that by
 * writing, half by reading. Cold is what is offered within ten seconds from then on, with the default
 * cold age. With `check`: 90 % of the cold pages and at most 5 % of the hot ones, else exit code 1.
 *
 * Method: the source itself, as the daemon drives it, without a daemon; nothing is taken out. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "heat/damon.h"
#include "heat/heat.h"
#include "sys/uffd.h"

#define NR_PAGES 16384u
#define WARM_MS 4000u
#define COLD_MS 10000u
#define COLD_AGE_MS 5000u
#define TICK_MS 50u
#define RUNS_MAX 512u

enum phase { PHASE_STARTING, PHASE_ALL, PHASE_HALF };

static _Atomic int *phase;
static unsigned char *memory;
static unsigned stripe;
static bool was_offered[NR_PAGES];
static struct heat *heat;
static const struct heat_ops *ops;

static void die(const char *what, int error)
{
    fprintf(stderr, "half_hot: %s: %s\n", what, strerror(error < 0 ? -error : error));
    exit(2);
}

static bool is_hot(size_t page)
{
    return page / stripe % 2 == 0;
}

static void touch(size_t page)
{
    volatile unsigned char *p = memory + pages_to_bytes(page);
    if (page / (stripe / 2 ? stripe / 2 : 1) % 2 == 0)
        (*p)++;
    else
        (void)*p;
}

static void child(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    uint64_t offered;
    int uffd = uffd_open(-1);
    uint64_t wanted = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED;
    int r = uffd < 0 ? uffd : uffd_handshake(uffd, wanted, &offered);
    memset(memory, 1, pages_to_bytes(NR_PAGES));
    if (r == 0)
        r = uffd_register(uffd, (uintptr_t)memory, pages_to_bytes(NR_PAGES), UFFD_WATCH);
    if (r)
        die("userfaultfd", r);
    atomic_store(phase, PHASE_ALL);
    for (;;) {
        bool is_all = atomic_load(phase) == PHASE_ALL;
        for (size_t i = 0; i < NR_PAGES; i++)
            if (is_all || is_hot(i))
                touch(i);
        usleep(1000);
    }
}

static void take_offers(uint64_t now_ms)
{
    struct heat_run runs[RUNS_MAX];
    size_t nr;
    while ((nr = ops->pick(heat, now_ms, SIZE_MAX, runs, RUNS_MAX)) > 0)
        for (size_t i = 0; i < nr; i++)
            for (uint32_t k = 0; k < runs[i].nr_pages; k++)
                was_offered[runs[i].first + k - page_of((uintptr_t)memory)] = true;
}

static unsigned nr_offered(bool hot)
{
    unsigned nr = 0;
    for (size_t i = 0; i < NR_PAGES; i++)
        nr += was_offered[i] && is_hot(i) == hot;
    return nr;
}

/* When 90 % of the cold ones had been offered, in ms from the start; 0: not yet. */
static uint64_t run(uint64_t ms)
{
    uint64_t begin_ms = now_ns() / NS_PER_MS, now_ms, found_ms = 0;
    while ((now_ms = now_ns() / NS_PER_MS) < begin_ms + ms) {
        while (ops->tick(heat, now_ms))
            ;
        take_offers(now_ms);
        if (!found_ms && nr_offered(false) >= NR_PAGES / 2 * 9 / 10)
            found_ms = now_ms - begin_ms;
        usleep(TICK_MS * 1000);
    }
    return found_ms;
}

int main(int argc, char **argv)
{
    if (argc < 3 || (stripe = (unsigned)atoi(argv[2])) == 0)
        die("usage: half_hot SOURCE STRIPE [check]", 0);
    bool is_damon = !strcmp(argv[1], "damon");
    ops = is_damon ? &heat_damon_ops : &heat_scan_ops;
    phase = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memory = mmap(NULL, pages_to_bytes(NR_PAGES), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                  -1, 0);
    if (phase == MAP_FAILED || memory == MAP_FAILED)
        die("mmap", ENOMEM);
    (void)madvise(memory, pages_to_bytes(NR_PAGES), MADV_NOHUGEPAGE);
    pid_t pid = fork();
    if (pid == 0)
        child();
    while (atomic_load(phase) == PHASE_STARTING)
        usleep(10000);

    uint64_t nr_regions_min = getenv("REGIONS_MIN") ? strtoull(getenv("REGIONS_MIN"), NULL, 10) : 100;
    const struct damon_attrs attrs = { .sample_us = 5000, .aggr_us = 100000, .update_us = 1000000,
                                       .nr_regions_min = nr_regions_min, .nr_regions_max = 1000 };
    struct heat_client client = { .pid = pid, .cold_age_ms = COLD_AGE_MS };
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/pagemap", (int)pid);
    client.pagemap_fd = open(path, O_RDONLY | O_CLOEXEC);
    int r = is_damon ? damon_watcher_start(DAMON_ROOT, &attrs, &client.watcher) : 0;
    if (r == 0)
        r = ops->create(&client, &heat);
    page_number first = page_of((uintptr_t)memory);
    if (r == 0)
        r = ops->add(heat, first, first + NR_PAGES);
    if (r)
        die(argv[1], r);
    (void)run(WARM_MS);
    unsigned too_early = nr_offered(false) + nr_offered(true);
    memset(was_offered, 0, sizeof was_offered);
    atomic_store(phase, PHASE_HALF);
    uint64_t found_ms = run(COLD_MS);
    if (is_damon)
        printf("an aggregation interval took %.0f ms\n",
               (double)damon_watcher_aggregation_us(client.watcher) / 1000);
    ops->destroy(heat);
    damon_watcher_stop(client.watcher);
    kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);

    double cold = 200.0 * nr_offered(false) / NR_PAGES, hot = 200.0 * nr_offered(true) / NR_PAGES;
    printf("%s, stripes of %u pages: %.1f %% of the cold pages (90 %% after %.1f s), %.1f %% of the "
           "hot ones; %u while all was hot\n",
           argv[1], stripe, cold, (double)found_ms / 1000, hot, too_early);
    bool is_good = cold >= 90 && hot <= 5 && too_early <= NR_PAGES / 20;
    return argc > 3 && !is_good;
}
