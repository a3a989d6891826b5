/* half_hot - does a heat source find what is cold, and leave what is hot? Prints lines of figures.
 *
 *   half_hot SOURCE STRIPE [check]   SOURCE: damon, scan, scan+probe
 *                                    STRIPE: pages, hot and cold ones by turns; or: scattered
 *
 * A child touches all of 64 MiB for four seconds, and for as long as DAMON needs for 20 of its intervals: once
 * in each it cuts its regions in two, and it begins with one. Then it touches every second stripe only: half
 * of that by writing, half by reading. Scattered: then every tenth page only, picked at random, by reading.
 * Cold is what is offered within ten seconds from then on, with the default cold age; probes count as offered.
 * With `check`: 90 % of the cold pages and at most 5 % of the hot ones, else exit code 1; and of what was
 * offered, probes apart, at most 5 % may have come back, or the governor would slow down. Exit code 75 in place
 * of 1: this says nothing, for the machine was away for a tenth of those ten seconds, or so slow that the cold
 * age was less than five of DAMON's intervals, with which the daemon would not have taken DAMON
 * (daemon/source.c).
 *
 * TIMES=N: all these seconds, the cold age with them, N times as long. On an emulated machine a fault takes
 * ten times what it takes elsewhere, and what is asked by faults is asked as much more slowly.
 *
 * With DAMON the child ends each pass by forgetting its TLB: see forget_tlb().
 *
 * Method: damon and scan: the source itself, as the daemon drives it, without a daemon; nothing is taken
 * out. scan+probe has to take pages out to know: process-pagerd and the library, pages leave and come back.
 * There the child times each touch: what a page that is read waited for costs is what those touches of
 * offered pages took that took longer than 5 us; beside it all touches longer than 1 us, with the same of
 * the time before memory was watched. What the source costs the machine is CPU time. */
#include "half_hot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/clock.h"
#include "heat/damon.h"
#include "heat/heat.h"
#include "process_pager.h"
#include "sys/uffd.h"

#define NR_PAGES 16384u
#define WARM_MS 4000u
#define WARM_MS_MAX 12000u
#define WARM_INTERVALS 20u
#define INTERVALS_PER_COLD_AGE 5u
#define COLD_MS 10000u
#define COLD_AGE_MS 5000u
#define TICK_MS 50u
#define AWAY_MS 200u /* a tick that is so late was not waiting for its turn: there was no machine */
#define RUNS_MAX 512u
#define WAITS_MAX 65536u
#define SLOW_NS 1000u
#define WAIT_NS 5000u
#define FORGOTTEN_PAGES 64u /* Linux flushes at most 33 one by one */
#define SKIPPED 77

enum phase { PHASE_STARTING, PHASE_ALL, PHASE_HALF, PHASE_NR, PHASE_FAILED };

/* What child and parent share. */
static struct shared {
    _Atomic int phase;
    int error;
    char reason[200];
    _Atomic uint64_t slow_ns[PHASE_NR]; /* of touches longer than SLOW_NS */
    struct { uint32_t page, ns; } waits[WAITS_MAX]; /* touches longer than WAIT_NS when half was cold */
    _Atomic uint32_t nr_waits;
} *shared;

static unsigned char *memory;
static unsigned stripe; /* 0: scattered */
static bool was_offered[NR_PAGES];
static struct heat *heat;
static const struct heat_ops *ops; /* NULL: through the daemon */
static struct damon_watcher *watcher; /* NULL: not DAMON */
static uint64_t interval_us_sum, nr_intervals; /* how long DAMON's intervals took, at each tick */
static const char *socket_path;
static unsigned char *forgotten; /* DAMON: pages that nobody needs */
static uint64_t times = 1, away_ms; /* away: how long the machine was not there, by late ticks */

void die(const char *what, int error)
{
    fprintf(stderr, "half_hot: %s: %s\n", what, strerror(error < 0 ? -error : error));
    exit(2);
}

/* ---- what is hot */

static bool is_hot(size_t page)
{
    if (!stripe)
        return (page * 0x9e3779b97f4a7c15 >> 40) % 10 == 0;
    return page / stripe % 2 == 0;
}

static bool is_written(size_t page)
{
    if (!stripe)
        return !is_hot(page) && page % 2;
    return page / (stripe / 2 ? stripe / 2 : 1) % 2 == 0;
}

static void touch(size_t page)
{
    volatile unsigned char *p = memory + pages_to_bytes(page);
    if (is_written(page))
        (*p)++;
    else
        (void)*p;
}

/* ---- the child */

static void watch_alone(void)
{
    uint64_t offered;
    int uffd = uffd_open(-1);
    uint64_t wanted = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED;
    int r = uffd < 0 ? uffd : uffd_handshake(uffd, wanted, &offered);
    if (r == 0)
        r = uffd_register(uffd, (uintptr_t)memory, pages_to_bytes(NR_PAGES), UFFD_WATCH);
    if (r)
        die("userfaultfd", r);
    atomic_store(&shared->phase, PHASE_ALL);
}

/* When DAMON clears the bit that says "touched", x86 does not flush the TLB, so it sees no touch before the
 * entry has gone. A pass over stripes touches more pages than a processor's TLB holds (scattered: about as
 * many), so it has; but an emulated one holds them all, and DAMON would see next to nothing of a child that
 * is alone on its CPU: docs/heat.md. So each pass ends with what else happens by itself. A right taken from
 * many pages flushes everything. */
static void forget_tlb(void)
{
    int r = mprotect(forgotten, pages_to_bytes(FORGOTTEN_PAGES), PROT_READ);
    if (r == 0)
        r = mprotect(forgotten, pages_to_bytes(FORGOTTEN_PAGES), PROT_READ | PROT_WRITE);
    if (r)
        die("mprotect", errno);
    memset(forgotten, 1, pages_to_bytes(FORGOTTEN_PAGES));
}

static struct pp_pager *watch_with_library(void)
{
    struct pp_config config = PP_CONFIG_INIT;
    struct pp_pager *pager = NULL;
    config.socket_path = socket_path;
    int r = pp_open(&config, &pager);
    if (r == 0)
        r = pp_register(pager, memory, pages_to_bytes(NR_PAGES));
    if (r == 0)
        r = pp_start(pager);
    if (r == 0)
        return pager;
    shared->error = r;
    (void)snprintf(shared->reason, sizeof shared->reason, "%s", pager ? pp_error(pager) : "");
    atomic_store(&shared->phase, PHASE_FAILED);
    _exit(1);
}

static size_t stat_index(const char *name)
{
    size_t i = 0;
    while (strcmp(pp_stats_name(i), name))
        i++;
    return i;
}

/* How many ticks of the time-stamp counter a microsecond has. */
static uint64_t ticks_per_us(void)
{
    uint64_t begin_ns = now_ns(), begin = __rdtsc();
    while (now_ns() < begin_ns + 20000000)
        ;
    return (__rdtsc() - begin) * 1000 / (now_ns() - begin_ns);
}

static void note_slow(size_t page, uint64_t ns, enum phase phase)
{
    atomic_fetch_add_explicit(&shared->slow_ns[phase], ns, memory_order_relaxed);
    uint32_t nr = atomic_load_explicit(&shared->nr_waits, memory_order_relaxed);
    if (phase != PHASE_HALF || ns < WAIT_NS || nr == WAITS_MAX)
        return;
    shared->waits[nr].page = (uint32_t)page;
    shared->waits[nr].ns = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
    atomic_store_explicit(&shared->nr_waits, nr + 1, memory_order_release);
}

static void child(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    memset(memory, 1, pages_to_bytes(NR_PAGES));
    struct pp_pager *pager = NULL;
    if (ops)
        watch_alone();
    else
        pager = watch_with_library();
    size_t tracked = stat_index("pages_tracked");
    uint64_t per_us = ticks_per_us();
    for (;;) {
        enum phase now = (enum phase)atomic_load(&shared->phase);
        uint64_t last = __rdtsc();
        for (size_t i = 0; i < NR_PAGES; i++) {
            if (now == PHASE_HALF && !is_hot(i))
                continue;
            touch(i);
            uint64_t at = __rdtsc(), ticks = at - last;
            if (ticks * 1000 > SLOW_NS * per_us)
                note_slow(i, ticks * 1000 / per_us, now);
            last = at;
        }
        if (pager && now == PHASE_STARTING && pp_stats_value(pager, tracked))
            atomic_store(&shared->phase, PHASE_ALL);
        if (forgotten)
            forget_tlb();
        usleep(1000);
    }
}

/* ---- what is offered */

static void on_offered(page_number first, uint32_t nr_pages)
{
    for (uint32_t k = 0; k < nr_pages; k++)
        if (first + k - page_of((uintptr_t)memory) < NR_PAGES)
            was_offered[first + k - page_of((uintptr_t)memory)] = true;
}

static void take_offers(uint64_t now_ms)
{
    struct heat_run runs[RUNS_MAX];
    size_t nr;
    if (!ops) {
        daemon_poll(on_offered);
        return;
    }
    if (watcher) {
        interval_us_sum += damon_watcher_aggregation_us(watcher);
        nr_intervals++;
    }
    uint64_t begin_ns = cost_of_tick(0);
    while (ops->tick(heat, now_ms))
        ;
    while ((nr = ops->pick(heat, now_ms, SIZE_MAX, runs, RUNS_MAX)) > 0)
        for (size_t i = 0; i < nr; i++)
            on_offered(runs[i].first, runs[i].nr_pages);
    (void)cost_of_tick(begin_ns);
}

static unsigned nr_pages(bool hot, bool only_offered)
{
    unsigned nr = 0;
    for (size_t i = 0; i < NR_PAGES; i++)
        nr += (was_offered[i] || !only_offered) && is_hot(i) == hot;
    return nr;
}

/* When 90 % of the cold ones had been offered, in ms from the start; 0: not yet. */
static uint64_t run(uint64_t ms)
{
    uint64_t begin_ms = now_ns() / NS_PER_MS, now_ms, found_ms = 0, last_ms = begin_ms;
    ms *= times;
    for (; (now_ms = now_ns() / NS_PER_MS) < begin_ms + ms; last_ms = now_ms) {
        away_ms += now_ms - last_ms > AWAY_MS ? now_ms - last_ms : 0;
        take_offers(now_ms);
        if (!found_ms && nr_pages(false, true) >= nr_pages(false, false) * 9 / 10)
            found_ms = now_ms - begin_ms;
        usleep(TICK_MS * 1000);
    }
    return found_ms;
}

/* ---- figures */

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void print_price(uint64_t young_ms)
{
    static uint32_t ns[WAITS_MAX];
    uint32_t nr_waits = atomic_load(&shared->nr_waits), nr = 0;
    uint64_t sum_ns = 0;
    for (uint32_t i = 0; i < nr_waits; i++) {
        uint32_t page = shared->waits[i].page;
        if (!was_offered[page] || is_written(page))
            continue;
        ns[nr++] = shared->waits[i].ns;
        sum_ns += shared->waits[i].ns;
    }
    qsort(ns, nr, sizeof ns[0], compare);
    printf("price: %u touches of pages that are read and were offered waited, %.1f us in the middle, %.1f "
           "at most, %.2f ms in all: %.3f %% of the time\n",
           nr, nr ? ns[nr / 2] / 1e3 : 0, nr ? ns[nr - 1] / 1e3 : 0, (double)sum_ns / 1e6,
           (double)sum_ns / 1e4 / (double)(COLD_MS * times));
    printf("touches longer than 1 us: %.3f %% of the time; %.3f %% before memory was watched\n",
           (double)atomic_load(&shared->slow_ns[PHASE_HALF]) / 1e4 / (double)(COLD_MS * times),
           (double)atomic_load(&shared->slow_ns[PHASE_STARTING]) / 1e4 / (double)young_ms);
}

static void begin_source(const char *name, struct heat_client *client)
{
    uint64_t nr_regions_min = getenv("REGIONS_MIN") ? strtoull(getenv("REGIONS_MIN"), NULL, 10) : 100;
    const struct damon_attrs attrs = { .sample_us = 5000, .aggr_us = 100000, .update_us = 1000000,
                                       .nr_regions_min = nr_regions_min, .nr_regions_max = 1000 };
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/pagemap", (int)client->pid);
    client->pagemap_fd = open(path, O_RDONLY | O_CLOEXEC);
    int r = ops == &heat_damon_ops ? damon_watcher_start(DAMON_ROOT, &attrs, &watcher) : 0;
    client->watcher = watcher;
    if (r == 0)
        r = ops->create(client, &heat);
    page_number first = page_of((uintptr_t)memory);
    if (r == 0)
        r = ops->add(heat, first, first + NR_PAGES);
    if (r)
        die(name, r);
}

/* 4 s are 40 of DAMON's intervals as they should be; where they take longer DAMON has seen less. */
static uint64_t longer_warm_ms(void)
{
    uint64_t ms = watcher ? damon_watcher_aggregation_us(watcher) / 1000 * WARM_INTERVALS : 0;
    return ms <= WARM_MS ? 0 : (ms < WARM_MS_MAX ? ms : WARM_MS_MAX) - WARM_MS;
}

static uint64_t interval_ms(void)
{
    return nr_intervals ? interval_us_sum / nr_intervals / 1000 : 0;
}

static void end_source(void)
{
    if (watcher)
        printf("an aggregation interval took %llu ms\n", (unsigned long long)interval_ms());
    ops->destroy(heat);
    damon_watcher_stop(watcher);
}

/* What the test needs and does not have here is a skip; anything else is a failure. */
static void end_failed(void)
{
    daemon_end();
    bool is_skip = shared->error == -EPERM || shared->error == -EACCES || shared->error == -EOPNOTSUPP;
    printf("%s%s\n", is_skip ? "SKIP: " : "", shared->reason);
    exit(is_skip ? SKIPPED : 2);
}

int main(int argc, char **argv)
{
    bool is_scattered = argc > 2 && !strcmp(argv[2], "scattered");
    if (argc < 3 || ((stripe = (unsigned)atoi(argv[2])) == 0 && !is_scattered))
        die("usage: half_hot damon|scan|scan+probe STRIPE|scattered [check]", EINVAL);
    bool is_damon = !strcmp(argv[1], "damon");
    ops = is_damon ? &heat_damon_ops : !strcmp(argv[1], "scan") ? &heat_scan_ops : NULL;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memory = mmap(NULL, pages_to_bytes(NR_PAGES), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                  -1, 0);
    if (is_damon)
        forgotten = mmap(NULL, pages_to_bytes(FORGOTTEN_PAGES), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || memory == MAP_FAILED || forgotten == MAP_FAILED)
        die("mmap", ENOMEM);
    (void)madvise(memory, pages_to_bytes(NR_PAGES), MADV_NOHUGEPAGE);
    char cold_age[32];
    times = getenv("TIMES") && atoi(getenv("TIMES")) > 0 ? (uint64_t)atoi(getenv("TIMES")) : 1;
    (void)snprintf(cold_age, sizeof cold_age, "%llums", (unsigned long long)(COLD_AGE_MS * times));
    if (!ops)
        socket_path = daemon_begin((const char *[]){ "--heat", "scan", "--probe", "on", "--cold-age",
                                                     cold_age, NULL });
    uint64_t begin_ms = now_ns() / NS_PER_MS;
    struct heat_client client = { .pid = fork(), .cold_age_ms = COLD_AGE_MS * times };
    if (client.pid == 0)
        child();
    while (atomic_load(&shared->phase) == PHASE_STARTING)
        usleep(10000);
    if (atomic_load(&shared->phase) == PHASE_FAILED)
        end_failed();
    uint64_t young_ms = now_ns() / NS_PER_MS - begin_ms;
    if (ops)
        begin_source(argv[1], &client);

    (void)run(WARM_MS);
    (void)run(longer_warm_ms());
    unsigned too_early = nr_pages(false, true) + nr_pages(true, true);
    memset(was_offered, 0, sizeof was_offered);
    away_ms = interval_us_sum = nr_intervals = 0;
    atomic_store(&shared->phase, PHASE_HALF);
    cost_begin(ops ? 0 : daemon_pid());
    uint64_t found_ms = run(COLD_MS);
    cost_print();
    kill(client.pid, SIGKILL);
    (void)waitpid(client.pid, NULL, 0);

    double cold = 100.0 * nr_pages(false, true) / nr_pages(false, false);
    double hot = 100.0 * nr_pages(true, true) / nr_pages(true, false);
    printf("%s, %s%s%s: %.1f %% of the cold pages (90 %% after %.1f s), %.1f %% of the "
           "hot ones; %u while all was hot\n",
           argv[1], stripe ? "stripes of " : "", argv[2], stripe ? " pages" : "", cold,
           (double)found_ms / 1000, hot, too_early);
    uint64_t nr_offered = 0, nr_returned = 0;
    if (away_ms || times > 1)
        printf("all times %llu times as long; the machine was away for %llu ms\n", (unsigned long long)times,
               (unsigned long long)away_ms);
    if (ops) {
        end_source();
    } else {
        print_price(young_ms);
        if (!daemon_sum(&nr_offered, &nr_returned))
            die("the daemon did not tell of the session's end", ETIMEDOUT);
        printf("the governor heard of %llu returns of %llu pages\n", (unsigned long long)nr_returned,
               (unsigned long long)nr_offered);
        daemon_end();
    }
    bool is_good = cold >= 90 && hot <= 5 && too_early <= NR_PAGES / 20 &&
                   nr_returned * 20 <= nr_offered;
    if (argc <= 3 || is_good)
        return 0;
    bool is_too_slow = interval_ms() * INTERVALS_PER_COLD_AGE > COLD_AGE_MS * times;
    return away_ms >= COLD_MS * times / 10 || is_too_slow ? EX_TEMPFAIL : 1;
}
