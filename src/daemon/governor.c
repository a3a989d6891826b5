/* governor.c - see governor.h. */
#include "daemon/governor.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "base/clock.h"
#include "daemon/limits.h"
#include "daemon/session.h"
#include "sys/status.h"

#define SAMPLE_MS 1000u
#define STATUS_WAIT_MS 5000u /* for a first look, before it is done without */
/* A sixteenth of the cold age, within these; governed, twice as often at most times, so that 4096 entries of
 * feedback are enough for a burst; who has rested may lose some of its first look. */
#define LOOK_LEAST_MS 1u
#define LOOK_MOST_MS 250u
#define LOOK_GOVERNED_MS 100u
#define LOOK_RESTING_MS 125u /* whatever the cold age: a look more or less is then what costs */
#define OWN_THREADS 2u /* of the client's: agent and porter */
/* A write to a protected page: 1 to 2.5 us (docs/heat.md). */
#define REWRITE_NS 2000u
/* A return from zram: p50 7.4 us paced, 6.4 in a run (docs/figures.md). */
#define PAGEOUT_RETURN_NS 8000u
/* A client's own numbers are believed up to here between two looks, so that no sum runs over. */
#define WAIT_MAX_NS (1000 * NS_PER_S)
#define COUNT_MAX ((uint64_t)1 << 30)

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void governor_init(struct governor *g, const struct config *config)
{
    struct budget_limits limits = config_limits(config);
    *g = (struct governor){ .nr_threads = 1, .given_age_ms = config->cold_age_ms };
    budget_init(&g->budget, &limits, monotonic_ms());
    uint64_t look_ms = config_first_age_ms(config) / 16;
    g->look_ms = look_ms < LOOK_LEAST_MS ? LOOK_LEAST_MS : smaller(look_ms, LOOK_MOST_MS);
}

static uint64_t stat_of(const struct session *s, enum stat_number number)
{
    return stats_get(&s->memory->agent_stats, number);
}

/* How much a counter has grown, which began anew if it has shrunk. */
static uint64_t growth(uint64_t *last, uint64_t now, uint64_t most)
{
    uint64_t nr = now >= *last ? now - *last : now;
    *last = now;
    return smaller(nr, most);
}

static uint64_t nr_out(const struct session *s)
{
    uint64_t nr = stat_of(s, STAT_pages_staged) + stat_of(s, STAT_pages_stored) +
                  stat_of(s, STAT_pages_zero) + stat_of(s, STAT_pages_paged_out);
    return smaller(nr, SESSION_PAGES_MAX);
}

static void look_at_waits(struct session *s, struct heat_ages *ages)
{
    struct governor *g = &s->governor;
    g->sampled_fault_wait_ns += growth(&g->fault_wait_ns, stat_of(s, STAT_fault_wait_ns), WAIT_MAX_NS);
    g->sampled_other_wait_ns += growth(&g->other_wait_ns, stat_of(s, STAT_other_wait_ns), WAIT_MAX_NS);
    uint64_t nr_back = growth(&g->nr_paged_back, stat_of(s, STAT_pageout_returns), COUNT_MAX);
    g->sampled_fault_wait_ns += nr_back * PAGEOUT_RETURN_NS;
    g->sampled_paged_back += nr_back;
    s->heat_ops->ages(s->heat, ages);
    g->sampled_other_wait_ns +=
        growth(&g->nr_rewritten, ages->nr_rewritten, COUNT_MAX) * REWRITE_NS;
}

/* A process that cannot be looked at keeps what was last known: one thread at first. */
static void look_at_process(struct session *s, uint64_t nr_there)
{
    struct governor *g = &s->governor;
    struct process_status status = { .nr_threads = g->nr_threads + OWN_THREADS,
                                     .resident_bytes = pages_to_bytes(nr_there) };
    (void)process_status_read(atomic_load_explicit(&s->status_fd, memory_order_acquire), &status);
    g->nr_threads = status.nr_threads > OWN_THREADS ? status.nr_threads - OWN_THREADS : 1;
    g->resident_bytes = status.resident_bytes;
}

/* From "this age and no more" to "at least this age". */
static void add_up(uint64_t by_age[AGES_NR])
{
    for (unsigned i = AGES_NR - 1; i > 0; i--)
        by_age[i - 1] += by_age[i];
}

static void sample(struct session *s, uint64_t now_ms, const struct heat_ages *ages)
{
    struct governor *g = &s->governor;
    look_at_process(s, ages->nr_pages_there);
    uint64_t nr_faults = growth(&g->nr_faults, stat_of(s, STAT_faults_missing), COUNT_MAX);
    uint64_t nr_restored = growth(&g->nr_restored, stat_of(s, STAT_restore_success), COUNT_MAX);
    struct budget_sample sample = {
        .elapsed_ms = g->sampled_ms ? smaller(now_ms - g->sampled_ms, 60000) : 0,
        .nr_threads = g->nr_threads,
        .fault_wait_ns = g->sampled_fault_wait_ns,
        /* What is brought back ahead of a fault costs nothing then: the price of a return falls. */
        .nr_faults = (nr_faults > nr_restored ? nr_faults : nr_restored) + g->sampled_paged_back,
        .other_wait_ns = g->sampled_other_wait_ns,
        .nr_returns = growth(&g->nr_returned, s->nr_returned, COUNT_MAX),
        .nr_pages_there = ages->nr_pages_there,
        .nr_pages_out = nr_out(s),
        .resident_bytes = g->resident_bytes,
        .is_starting = now_ms < s->grace_until_ms,
    };
    for (unsigned i = 0; i < AGES_NR; i++) {
        sample.nr_there[i] = ages->nr_there[i];
        sample.nr_barred[i] = ages->nr_barred[i];
        sample.nr_out[i] = ages->nr_out[i];
        sample.nr_reused[i] = growth(&g->nr_reused[i], ages->nr_reused[i], COUNT_MAX);
    }
    add_up(sample.nr_there);
    add_up(sample.nr_barred);
    add_up(sample.nr_out);
    add_up(sample.nr_reused);
    budget_on_sample(&g->budget, now_ms, &sample);
    g->sampled_fault_wait_ns = g->sampled_other_wait_ns = g->sampled_paged_back = 0;
    g->sampled_ms = now_ms;
}

/* What was chosen, to those who do it. */
static void steer(struct session *s, uint64_t now_ms)
{
    struct governor *g = &s->governor;
    uint64_t cold_age_ms = budget_cold_age_ms(&g->budget);
    uint64_t protects = g->budget.limits.kind == BUDGET_SLOWDOWN
                            ? budget_protects_per_s(&g->budget, REWRITE_NS)
                            : PROTECTS_UNBOUND;
    struct heat_pace pace = { cold_age_ms, protects, budget_has_spare(&g->budget),
                              !session_may_lose(s, now_ms) };
    s->heat_ops->pace(s->heat, &pace);
}

/* How many threads share a budget is to be known from the first sample on. */
static bool is_known(const struct session *s, uint64_t now_ms)
{
    return s->pid <= 0 || atomic_load_explicit(&s->status_fd, memory_order_acquire) >= 0 ||
           now_ms >= s->born_ms + STATUS_WAIT_MS;
}

void governor_tick(struct session *s, uint64_t now_ms)
{
    struct governor *g = &s->governor;
    struct heat_ages ages;
    uint64_t before_ns = g->sampled_fault_wait_ns + g->sampled_other_wait_ns;
    look_at_waits(s, &ages);
    g->waited_ns += g->sampled_fault_wait_ns + g->sampled_other_wait_ns - before_ns;
    budget_on_waited(&g->budget, now_ms, g->waited_ns);
    bool is_governed = g->budget.limits.kind != BUDGET_COLD_AGE;
    if (!g->sampled_ms && !is_known(s, now_ms))
        return;
    if (!g->sampled_ms || now_ms >= g->sampled_ms + SAMPLE_MS) {
        bool is_first = !g->sampled_ms;
        sample(s, now_ms, &ages);
        if (is_governed)
            steer(s, now_ms);
        if (is_governed && is_first)
            choose_begin_at(&s->choose, budget_first_rate(&g->budget));
    }
    if (!is_governed)
        return;
    g->look_ms = ages.is_resting ? LOOK_RESTING_MS
                                 : smaller(budget_cold_age_ms(&g->budget) / 16, LOOK_GOVERNED_MS);
    choose_advise(&s->choose, budget_pace(&g->budget));
}

uint64_t governor_cold_age_ms(const struct session *s)
{
    const struct governor *g = &s->governor;
    return g->given_age_ms ? g->given_age_ms : budget_cold_age_ms(&g->budget);
}

uint64_t governor_room(const struct session *s)
{
    uint64_t most = budget_out_max(&s->governor.budget), out = nr_out(s) + s->pages_ahead;
    return most == UINT64_MAX ? most : most > out ? most - out : 0;
}
