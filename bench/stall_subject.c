/* stall_subject.c - see stall_subject.h. What is timed is one load between two readings of the clock, alike in
 * every arm. Before each phase everything leaves again. A phase of touches in order or at random without a
 * pause takes all pages, so that there are enough for a p99.9. */
#include "stall_subject.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/latency.h"
#include "common/options.h"
#include "common/pace.h"
#include "common/rng.h"
#include "files.h"
#include "process_pager.h"
#include "stages.h"
#include "stall_flood.h"

#define SETTLE_NS 300000000u /* between eviction and touches: the daemon's last work is over */
#define BESIDE_BYTES ((size_t)16 << 20)

const char *const stall_phases[] = { "random_paced", "random", "order_paced", "order", NULL };

struct toucher {
    pthread_t thread;
    const struct stall *stall;
    unsigned index;
    struct latency latency;
    struct stages stages;
    uint64_t nr, wrong;
};

struct stall {
    struct subject s;
    const struct stall_spec *spec;
    uint32_t *order; /* all pages; each thread takes a piece */
    uint64_t nr_each, pause_ns;
    pthread_barrier_t begin;
    struct toucher touchers[STALL_THREADS_MAX];
    /* The memory that leaves beside them. */
    unsigned char *beside;
    pthread_t evictor;
    _Atomic bool is_over;
    _Atomic uint64_t nr_evicted;
    struct flood flood;
};

static void spin(uint64_t ns)
{
    for (uint64_t end_ns = pace_now_ns() + ns; pace_now_ns() < end_ns;)
        ;
}

static void touch(struct toucher *t, uint64_t page)
{
    const struct subject *s = &t->stall->s;
    const unsigned char *at = s->memory + page * CONTENT_PAGE_BYTES;
    uint64_t begin_ns = pace_now_ns();
    (void)*(const volatile unsigned char *)at;
    uint64_t end_ns = pace_now_ns();
    latency_record(&t->latency, end_ns - begin_ns);
    stages_record(&t->stages, begin_ns, end_ns);
    t->wrong += !content_stamp_is(&s->content, page, 1, at);
}

static void *touch_piece(void *argument)
{
    struct toucher *t = argument;
    struct stall *st = (struct stall *)t->stall;
    const uint32_t *piece = st->order + t->index * (st->s.nr_pages / st->spec->nr_threads);
    pthread_barrier_wait(&st->begin);
    for (; t->nr < st->nr_each; t->nr++) {
        touch(t, piece[t->nr]);
        if (st->pause_ns)
            spin(st->pause_ns);
    }
    return NULL;
}

/* ---- eviction beside the touches: the same pages leave and are written again, as fast as it goes */

static void *evict_beside(void *argument)
{
    struct stall *st = argument;
    while (!atomic_load(&st->is_over)) {
        if (subject_evict(&st->s, st->beside, BESIDE_BYTES))
            break;
        atomic_fetch_add(&st->nr_evicted, BESIDE_BYTES / CONTENT_PAGE_BYTES);
        for (size_t at = 0; at < BESIDE_BYTES && !atomic_load(&st->is_over); at += CONTENT_PAGE_BYTES)
            st->beside[at]++;
    }
    return NULL;
}

static int prepare_beside(struct stall *st)
{
    st->beside = mmap(NULL, BESIDE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (st->beside == MAP_FAILED)
        return -ENOMEM;
    (void)madvise(st->beside, BESIDE_BYTES, MADV_NOHUGEPAGE);
    for (uint64_t i = 0; i < BESIDE_BYTES / CONTENT_PAGE_BYTES; i++)
        content_fill(&st->s.content, st->s.nr_pages + i, 1, st->beside + i * CONTENT_PAGE_BYTES);
    return st->s.pager ? subject_register(&st->s, st->beside, BESIDE_BYTES) : 0;
}

/* ---- phases */

static void shuffle(struct stall *st, bool is_random)
{
    struct rng r = rng_new(st->spec->subject.seed, 2);
    if (is_random)
        rng_order(&r, st->order, st->s.nr_pages);
    for (uint64_t i = 0; !is_random && i < st->s.nr_pages; i++)
        st->order[i] = (uint32_t)i;
}

static void say_named(const char *phase, const char *what, double value)
{
    char name[64];
    snprintf(name, sizeof name, "%s_%s", phase, what);
    subject_say(name, value);
}

static int write_touches(const char *prefix, const char *phase, const struct latency *l)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s-%s.csv", prefix, phase) >= (int)sizeof path)
        return -ENAMETOOLONG;
    FILE *f = fopen(path, "we");
    if (!f)
        return -errno;
    latency_write_csv(l, f);
    return file_close(f);
}

static int say_phase(struct stall *st, const char *phase, uint64_t elapsed_ns, uint64_t own_ns,
                     uint64_t daemon_ns)
{
    static struct latency all;
    memset(&all, 0, sizeof all);
    double nr = 0;
    struct stages *stages[STALL_THREADS_MAX];
    for (unsigned i = 0; i < st->spec->nr_threads; i++) {
        stages[i] = &st->touchers[i].stages;
        latency_merge(&all, &st->touchers[i].latency);
        nr += (double)st->touchers[i].nr;
        st->s.wrong += st->touchers[i].wrong;
    }
    static const struct {
        const char *name;
        unsigned per_mille;
    } which[] = { { "p50_ns", 500 }, { "p95_ns", 950 }, { "p99_ns", 990 }, { "p999_ns", 999 } };
    for (size_t i = 0; i < sizeof which / sizeof *which; i++)
        if (which[i].per_mille < 999 || nr >= LATENCY_P999_MIN)
            say_named(phase, which[i].name, (double)latency_percentile_ns(&all, 0, which[i].per_mille));
    say_named(phase, "max_ns", (double)all.max_ns);
    stages_say(phase, stages, (unsigned)st->spec->nr_threads);
    say_named(phase, "n", nr);
    say_named(phase, "pages_per_s", nr / ((double)elapsed_ns / 1e9));
    say_named(phase, "target_cpu_us_per_page", (double)own_ns / 1e3 / nr);
    say_named(phase, "daemon_cpu_us_per_page", (double)daemon_ns / 1e3 / nr);
    return st->spec->touches_prefix ? write_touches(st->spec->touches_prefix, phase, &all) : 0;
}

static int run_phase(struct stall *st, const char *phase)
{
    bool is_paced = strstr(phase, "paced");
    shuffle(st, strstr(phase, "random"));
    int r = subject_evict(&st->s, st->s.memory, st->s.spec->bytes);
    if (r)
        return r;
    pace_sleep_until_ns(pace_now_ns() + SETTLE_NS);
    say_named(phase, "present", (double)subject_count_present(&st->s));

    st->pause_ns = is_paced ? st->spec->subject.pause_ns : 0;
    uint64_t nr_each = st->s.nr_pages / st->spec->nr_threads;
    st->nr_each = is_paced ? st->spec->subject.nr_paced / st->spec->nr_threads : nr_each;
    if (st->nr_each > nr_each)
        st->nr_each = nr_each;
    pthread_barrier_init(&st->begin, NULL, (unsigned)st->spec->nr_threads + 1);
    for (unsigned i = 0; i < st->spec->nr_threads; i++) {
        st->touchers[i] = (struct toucher){ .stall = st, .index = i };
        r = pthread_create(&st->touchers[i].thread, NULL, touch_piece, &st->touchers[i]);
        if (r)
            return -r; /* the process ends */
    }
    atomic_store(&st->is_over, false);
    uint64_t nr_evicted = atomic_load(&st->nr_evicted);
    if (st->spec->is_evicting && (r = pthread_create(&st->evictor, NULL, evict_beside, st)))
        return -r;
    uint64_t own_ns = subject_cpu_ns(), daemon_ns = subject_daemon_cpu_ns(&st->s);
    uint64_t nr_flooded = st->spec->is_flooded ? flood_nr_touched(&st->flood) : 0;
    uint64_t begin_ns = pace_now_ns();
    pthread_barrier_wait(&st->begin);
    for (unsigned i = 0; i < st->spec->nr_threads; i++)
        pthread_join(st->touchers[i].thread, NULL);
    uint64_t elapsed_ns = pace_now_ns() - begin_ns;
    if (st->spec->is_flooded)
        nr_flooded = flood_nr_touched(&st->flood) - nr_flooded;
    atomic_store(&st->is_over, true);
    own_ns = subject_cpu_ns() - own_ns;
    daemon_ns = subject_daemon_cpu_ns(&st->s) - daemon_ns;
    if (st->spec->is_evicting)
        pthread_join(st->evictor, NULL);
    pthread_barrier_destroy(&st->begin);
    r = say_phase(st, phase, elapsed_ns, own_ns, daemon_ns);
    say_named(phase, "evicted_beside", (double)(atomic_load(&st->nr_evicted) - nr_evicted));
    say_named(phase, "flood_per_s", (double)nr_flooded / ((double)elapsed_ns / 1e9));
    return r;
}

int stall_run(const struct stall_spec *spec)
{
    static struct stall st;
    st.spec = spec;
    st.s.spec = &spec->subject;
    int r = spec->is_flooded ? flood_begin(&st.flood, &spec->subject) : 0;
    if (r == 0)
        r = subject_prepare(&st.s);
    st.order = malloc(st.s.nr_pages * sizeof *st.order);
    if (r == 0 && !st.order)
        r = -ENOMEM;
    if (r == 0 && spec->subject.arm != SUBJECT_ZRAM)
        r = subject_start_pager(&st.s);
    if (r == 0 && spec->is_evicting)
        r = prepare_beside(&st);
    for (size_t i = 0; r == 0 && stall_phases[i]; i++)
        r = run_phase(&st, stall_phases[i]);
    int flooded = spec->is_flooded && r == 0 ? flood_end(&st.flood) : 0;
    if (r) {
        fprintf(stderr, "%s: %s\n", subject_arm_names[spec->subject.arm], strerror(-r));
        return EXIT_SYSTEM;
    }
    subject_check_all(&st.s);
    if (st.s.pager) {
        r = pp_stop(st.s.pager);
        subject_check_all(&st.s);
        st.s.pager = pp_close(st.s.pager);
    }
    subject_say("wrong", (double)st.s.wrong);
    free(st.order);
    free(st.s.order);
    return st.s.wrong || r ? EXIT_WRONG : flooded;
}
