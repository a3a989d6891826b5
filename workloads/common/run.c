/* run.c - see run.h. Workers pass two barriers: all pages are filled | the clock runs. */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "pace.h"
#include "pager.h"
#include "report.h"

#define WORKERS_MAX 256
#define DURATION_SEC_MAX 86400
#define REGION_BYTES_MAX 0x1p46
/* Every eighth page is not looked at before the pager stops, so that stopping has pages to bring
 * back; afterwards all are looked at. */
#define LEFT_FOR_STOP 8u
/* Streams of the seed: a worker's touches are i + 1, its pauses that and this. */
#define IDLE_STREAM (UINT64_C(1) << 32)

static const char *const content_choices[] = {"seed", "heap", "text", "random", NULL};

/* ---- threads -------------------------------------------------------------------------------- */

struct crew {
    struct run *run;
    struct worker *workers;
    pthread_barrier_t filled, started;
};

struct hand {
    struct crew *crew;
    struct worker *worker;
};

static void *worker_main(void *argument)
{
    struct hand *hand = argument;
    struct crew *crew = hand->crew;
    struct worker *w = hand->worker;
    pages_fill(&crew->run->region, w->first_page, w->nr_pages);
    pthread_barrier_wait(&crew->filled);
    pthread_barrier_wait(&crew->started);
    if (crew->run->deadline_ns == 0)
        return NULL; /* the pager did not start */
    w->start_ns = pace_now_ns();
    w->toucher.last_ns = w->start_ns;
    w->toucher.warm_up_end_ns = crew->run->warm_up_end_ns;
    crew->run->workload->work(w);
    w->end_ns = pace_now_ns();
    return NULL;
}

bool run_idle(struct worker *w, uint64_t idle_ns, double jitter)
{
    if (jitter > 0)
        idle_ns = (uint64_t)((double)idle_ns * (1 + jitter * (2 * rng_unit(&w->idle_rng) - 1)));
    uint64_t until_ns = pace_now_ns() + idle_ns;
    if (until_ns > w->run->deadline_ns)
        until_ns = w->run->deadline_ns;
    pace_sleep_until_ns(until_ns);
    return until_ns < w->run->deadline_ns;
}

void run_period(struct worker *w, uint64_t end_ns, uint64_t duration_ns)
{
    bool is_warm_up = end_ns < w->run->warm_up_end_ns;
    latency_record(is_warm_up ? &w->warm_up_periods : &w->periods, duration_ns);
}

/* ---- checking ------------------------------------------------------------------------------- */

struct check {
    const struct run *run;
    struct worker *worker;
    bool leave_some; /* the pager still runs */
    pthread_t thread;
};

static void *check_main(void *argument)
{
    struct check *check = argument;
    struct worker *w = check->worker;
    for (size_t i = 0; i < w->nr_pages; i++) {
        size_t index = w->first_page + i;
        if (!check->leave_some || index % LEFT_FOR_STOP != LEFT_FOR_STOP - 1)
            pages_check(&check->run->region, index, &w->toucher);
    }
    return NULL;
}

/* All workers' pages, a thread each: a page coming back is waited for, so one thread would be slow.
 */
static void check_region(const struct run *run, struct worker *workers, bool leave_some)
{
    size_t count = run->settings.workers;
    struct check checks[WORKERS_MAX];
    for (size_t i = 0; i < count; i++) {
        checks[i] = (struct check){.run = run, .worker = &workers[i], .leave_some = leave_some};
        if (pthread_create(&checks[i].thread, NULL, check_main, &checks[i]) != 0) {
            check_main(&checks[i]);
            checks[i].run = NULL;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (checks[i].run)
            pthread_join(checks[i].thread, NULL);
    }
}

/* ---- one run -------------------------------------------------------------------------------- */

static int make_workers(struct run *run, struct worker **ret_workers)
{
    const struct settings *s = &run->settings;
    struct worker *workers = calloc(s->workers, sizeof(*workers));
    if (!workers)
        return -ENOMEM;
    for (unsigned i = 0; i < s->workers; i++) {
        size_t first = run->region.count * i / s->workers;
        size_t next = run->region.count * (i + 1) / s->workers;
        workers[i] = (struct worker){
            .run = run,
            .index = i,
            .first_page = first,
            .nr_pages = next - first,
            .idle_rng = rng_new(s->seed, IDLE_STREAM + i + 1),
            .toucher = {.rng = rng_new(s->seed, i + 1),
                        .write_fraction = s->write_fraction,
                        .pagemap_fd = run->pagemap_fd,
                        .is_checking = s->is_checking},
        };
    }
    *ret_workers = workers;
    return 0;
}

/* After the first touch, before the clock. */
static int start_pager(struct run *run)
{
    if (!run->settings.use_pager)
        return 0;
    run->pager = pager_open(run->settings.socket_path);
    if (!run->pager)
        return -ENOENT;
    int r = 0;
    if (run->region.count > 0)
        r = pager_register(run->pager, run->region.base, run->region.count * CONTENT_PAGE_BYTES,
                           run->settings.is_direct);
    if (r == 0)
        r = pager_start(run->pager);
    return r;
}

/* Fills, starts the pager, works. What the pager had counted when the warm-up ended; NULL without.
 */
static int run_workers(struct run *run, struct worker *workers, uint64_t **ret_warm_up_stats)
{
    unsigned count = (unsigned)run->settings.workers;
    struct crew crew = {.run = run, .workers = workers};
    struct hand hands[WORKERS_MAX];
    pthread_t threads[WORKERS_MAX];
    pthread_barrier_init(&crew.filled, NULL, count + 1);
    pthread_barrier_init(&crew.started, NULL, count + 1);
    for (unsigned i = 0; i < count; i++) {
        hands[i] = (struct hand){.crew = &crew, .worker = &workers[i]};
        int r = pthread_create(&threads[i], NULL, worker_main, &hands[i]);
        if (r != 0) {
            fprintf(stderr, "%s: cannot start worker %u: %s\n", run->workload->name, i,
                    strerror(r));
            exit(EXIT_SYSTEM); /* those that wait at the barrier can't be told otherwise */
        }
    }
    pthread_barrier_wait(&crew.filled);
    int r = start_pager(run);
    if (r == 0) {
        run->start_ns = pace_now_ns();
        run->warm_up_end_ns = run->start_ns + (uint64_t)(run->settings.warm_up_sec * 1e9);
        run->deadline_ns = run->start_ns + (uint64_t)(run->settings.duration_sec * 1e9);
    }
    pthread_barrier_wait(&crew.started);
    if (r == 0 && run->settings.warm_up_sec > 0) {
        pace_sleep_until_ns(run->warm_up_end_ns);
        *ret_warm_up_stats = pager_read_stats(run->pager);
    }
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&crew.filled);
    pthread_barrier_destroy(&crew.started);
    return r;
}

/* The clock has stopped. Checks, takes the pager down in an orderly way, and checks again. */
static int finish(struct run *run, struct worker *workers)
{
    bool is_checking = run->settings.is_checking && run->region.count > 0;
    int r = 0;
    if (is_checking && run->pager)
        check_region(run, workers, true);
    if (run->pager) {
        r = pager_stop(run->pager);
        if (r == 0 && run->region.count > 0)
            r = pager_unregister(run->pager, run->region.base,
                                 run->region.count * CONTENT_PAGE_BYTES);
    }
    if (is_checking)
        check_region(run, workers, false);
    return r;
}

/* "-": stdout, which close_output leaves open. */
static FILE *open_output(const struct run *run, const char *path)
{
    FILE *out = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
    if (!out)
        fprintf(stderr, "%s: %s: %s\n", run->workload->name, path, strerror(errno));
    return out;
}

static bool close_output(const struct run *run, const char *path, FILE *out)
{
    bool is_written = fflush(out) == 0 && !ferror(out);
    if (out != stdout)
        is_written = fclose(out) == 0 && is_written;
    if (!is_written)
        fprintf(stderr, "%s: %s: could not be written\n", run->workload->name, path);
    return is_written;
}

static int write_report(const struct run *run, const struct worker *workers,
                        const struct pager_stats *stats)
{
    const char *path = run->settings.json_path, *touch_path = run->settings.touch_latency_path;
    FILE *out = open_output(run, path);
    if (!out)
        return EXIT_SYSTEM;
    int code = report_write(run, workers, stats, out);
    if (!close_output(run, path, out))
        return EXIT_SYSTEM;
    out = touch_path ? open_output(run, touch_path) : NULL;
    if (out)
        report_write_touches(run, workers, out);
    if (touch_path && (!out || !close_output(run, touch_path, out)))
        return EXIT_SYSTEM;
    return code;
}

static int run_all(struct run *run)
{
    const struct settings *s = &run->settings;
    struct content content = {.kind = (enum content_kind)s->content, .seed = s->seed};
    struct worker *workers = NULL;
    run->pagemap_fd = s->tells_out ? open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) : -1;
    size_t nr_pages = s->region_bytes / CONTENT_PAGE_BYTES;
    int r = nr_pages ? pages_new(&content, 0, nr_pages, true, &run->region) : 0;
    if (r == 0)
        r = make_workers(run, &workers);
    if (r < 0) {
        fprintf(stderr, "%s: no memory for a region of %zu pages\n", run->workload->name, nr_pages);
        pages_free(&run->region);
        return EXIT_SYSTEM;
    }
    run->region.content = content;
    struct pager_stats stats = {.at_end = NULL};
    int code = EXIT_NO_DAEMON;
    if (run_workers(run, workers, &stats.at_warm_up_end) == 0) {
        stats.at_end = pager_read_stats(run->pager);
        r = finish(run, workers);
        code = write_report(run, workers, &stats);
        if (r < 0 && code == 0)
            code = EXIT_WRONG; /* a page is lost, or the pager did not stop */
    }
    free(stats.at_end);
    free(stats.at_warm_up_end);
    pager_close(run->pager);
    if (run->pagemap_fd >= 0)
        close(run->pagemap_fd);
    free(workers);
    pages_free(&run->region);
    return code;
}

static bool settings_make_sense(const struct workload *workload, const struct settings *s)
{
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (sysconf(_SC_PAGESIZE) != CONTENT_PAGE_BYTES)
        fprintf(stderr, "%s: needs a machine with pages of 4 KiB\n", workload->name);
    else if (s->region_bytes > 0 && s->region_bytes / CONTENT_PAGE_BYTES < s->workers)
        fprintf(stderr, "%s: --region is less than a page of 4096 bytes to each of %llu workers\n",
                workload->name, (unsigned long long)s->workers);
    else if (s->region_bytes > memory)
        fprintf(stderr, "%s: --region is more than the %llu MiB of this machine\n", workload->name,
                (unsigned long long)(memory >> 20));
    else if (s->warm_up_sec >= s->duration_sec)
        fprintf(stderr, "%s: --warm-up-sec %g leaves nothing of --duration-sec %g\n",
                workload->name, s->warm_up_sec, s->duration_sec);
    else
        return true;
    return false;
}

struct settings run_defaults(void)
{
    return (struct settings){
        .duration_sec = 20,
        .workers = 4,
        .seed = 1,
        .json_path = "-",
        .is_checking = true,
        .content = CONTENT_SEED,
        .write_fraction = 1,
    };
}

int run_workload(const struct workload *workload, struct settings defaults, int argc, char **argv)
{
    struct run run = {.workload = workload, .settings = defaults};
    struct settings *s = &run.settings;
    const struct option_row common[] = {
        {"duration-sec", OPTION_DOUBLE, &s->duration_sec, 0.01, DURATION_SEC_MAX, NULL,
         "time of the measured part"},
        {"warm-up-sec", OPTION_DOUBLE, &s->warm_up_sec, 0, DURATION_SEC_MAX, NULL,
         "of it at the start, left out of rates and latencies"},
        {"workers", OPTION_UINT, &s->workers, 1, WORKERS_MAX, NULL,
         "threads; region and rate are totals, split over them"},
        {"seed", OPTION_UINT, &s->seed, 0, 0x1p63, NULL, "of content and order"},
        {"json", OPTION_FILE, &s->json_path, 0, 0, NULL, "where the result goes; - is stdout"},
        {"touch-latency", OPTION_STRING, &s->touch_latency_path, 0, 0, NULL,
         "file for the histogram of all touches, as CSV"},
        {"use-process-pager", OPTION_FLAG, &s->use_pager, 0, 0, NULL,
         "let process-pager manage the memory"},
        {"direct", OPTION_FLAG, &s->is_direct, 0, 0, NULL,
         "with it, threads bring back themselves what they touch"},
        {"socket", OPTION_STRING, &s->socket_path, 0, 0, NULL, "process-pagerd's socket"},
        {"content", OPTION_CHOICE, &s->content, 0, 0, content_choices,
         "of the pages: seed, heap, text, random"},
        {"write-fraction", OPTION_DOUBLE, &s->write_fraction, 0, 1, NULL,
         "of touches that also write"},
        {"verify", OPTION_FLAG, &s->is_checking, 0, 0, NULL, "check bytes; on or off"},
        {"tell-out", OPTION_FLAG, &s->tells_out, 0, 0, NULL,
         "time those touches apart that met a page that was out"},
        {"end-with-parent", OPTION_FLAG, &s->ends_with_parent, 0, 0, NULL,
         "take SIGTERM when who started it has gone"},
    };
    const struct option_row region[] = {
        {"region", OPTION_SIZE, &s->region_bytes, 4096, REGION_BYTES_MAX, NULL,
         "memory that is worked on"},
    };
    struct option_table table = {
        .program = workload->name,
        .about = workload->about,
        .rows = {common, workload->options, defaults.region_bytes ? region : NULL},
        .nr_rows = {sizeof(common) / sizeof(common[0]), workload->nr_options,
                    defaults.region_bytes ? sizeof(region) / sizeof(region[0]) : 0},
    };
    switch (options_parse(&table, argc, argv)) {
    case OPTIONS_DONE: return 0;
    case OPTIONS_BAD: return EXIT_USAGE;
    case OPTIONS_RUN: break;
    }
    if (!settings_make_sense(workload, s))
        return EXIT_USAGE;
    if (s->ends_with_parent)
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* cannot fail with a right signal */
    return run_all(&run);
}
