/* budget.c - see budget.h. */
#include "policy/budget.h"

#include <math.h>

#include "base/pagesize.h"

#define NS_PER_S 1000000000.0
#define PPM 1000000.0

/* What is aimed at: the rest is for what the list does not know, and for the returns of what left before
 * it did. */
#define AIM 0.8
/* What may be lost within 60 s if all that is out and will be wanted back came back now. */
#define BOUND 0.95
/* However much the other waits take, so much of the budget is for returns: else nothing would be out,
 * and nothing would be learnt. */
#define AIM_LEAST 0.1
#define AGE_FIRST 4u                /* 4 s, until the list is worth something */
#define AGE_FIRST_FOR_MS 10000u     /* less than it only after so long */
#define GAIN_LEAST 1.1              /* for which another age is taken, ... */
#define GAIN_LEAST_SPARE 1.04       /* ... and where there is something to spare */
#define SPARE 0.5                   /* of what is aimed at: less is used */
#define GAIN_LEAST_PAGES 64.0       /* 256 KiB */
/* So much less out is taken for an age at which so many fewer would be wanted back: most of what comes back
 * soon is a small part of what is idle. */
#define THRIFT_OUT (31.0 / 32)
#define THRIFT_RETURNS 0.75
#define THRIFT_RETURNS_LEAST 64.0   /* a minute: 3 ms of it */
#define MOST_HALF_LIFE_MS 120000.0  /* of reused_most */
#define MEAN_MS 30000.0             /* of idle and other_share */
#define COST_FIRST_NS 30000.0       /* between 10 us on one CPU and 50 us on two (docs/figures.md) */
#define COST_LEAST_NS 1000.0        /* also where all is brought back ahead of a fault */
#define COST_FIRST_NR 64.0
#define COST_NR_MAX 4096.0          /* the cost is that of about so many faults */
#define RESIDENT_SLACK 32u          /* it begins this part below the target, and ends two below */
#define WORKING_SET_AGE 12u         /* 64 s: touched in the last minute */
#define WORKING_SET_LEAST 256u      /* pages: a share of less says nothing */
/* The meter runs back at the budget's own rate. It pauses above half a second's share, and holds two. */
#define METER_PAUSE_S 0.5
#define METER_MAX_S 2.0
/* What is left is less than so many times what the last two seconds have taken, and the list knows of
 * nothing like that. */
#define RECENT_HALT 3
#define NEWS 1.25
/* Of the budget, for write-protection; and of that, while the purse is empty. */
#define PROTECT_SHARE 4u
#define PROTECT_EMPTY_SHARE 8u

void budget_init(struct budget *b, const struct budget_limits *limits, uint64_t now_ms)
{
    *b = (struct budget){ .limits = *limits, .second = now_ms / 1000,
                          .meter_ms = now_ms, .age = AGE_FIRST,
                          .out_max = limits->kind == BUDGET_RESIDENT ? 0 : UINT64_MAX,
                          .cost_ns = COST_FIRST_NS, .nr_costed = COST_FIRST_NR };
}

/* ---- the last 60 seconds */

static unsigned slot_of(const struct budget *b)
{
    return (unsigned)(b->second % BUDGET_SECONDS);
}

static void clear_slot(struct budget *b)
{
    unsigned at = slot_of(b);
    b->lost_sum_ns -= b->lost_ns[at];
    b->life_sum_ns -= b->life_ns[at];
    b->returned_sum -= b->returned[at];
    b->lost_ns[at] = b->life_ns[at] = b->returned[at] = 0;
    for (unsigned i = 0; i < AGES_NR; i++) {
        b->reused_sum[i] -= b->reused[i][at];
        b->reused[i][at] = 0;
    }
}

static void go_on_to(struct budget *b, uint64_t now_ms)
{
    uint64_t second = now_ms / 1000;
    for (unsigned i = 0; i < BUDGET_SECONDS && b->second < second; i++) {
        b->second++;
        clear_slot(b);
    }
    b->second = second > b->second ? second : b->second;
}

static double allowance_ns(const struct budget *b)
{
    return (double)b->limits.slowdown_ppm / PPM * (double)b->life_sum_ns;
}

static void run_meter(struct budget *b, uint64_t now_ms, uint64_t lost_ns)
{
    double second_ns = allowance_ns(b) / BUDGET_SECONDS;
    double elapsed_s = (double)(now_ms - b->meter_ms) / 1000;
    b->meter_ns = fmax(0, b->meter_ns - elapsed_s * second_ns) + (double)lost_ns;
    b->meter_ns = fmin(b->meter_ns, METER_MAX_S * second_ns);
    b->meter_ms = now_ms;
}

void budget_on_waited(struct budget *b, uint64_t now_ms, uint64_t waited_ns)
{
    uint64_t lost_ns = waited_ns > b->waited_ns ? waited_ns - b->waited_ns : 0;
    go_on_to(b, now_ms);
    b->lost_ns[slot_of(b)] += lost_ns;
    b->lost_sum_ns += lost_ns;
    b->waited_ns += lost_ns;
    run_meter(b, now_ms, lost_ns);
}

/* Before we came the process lived, and lost nothing to us. */
static void begin_life(struct budget *b, uint64_t nr_threads)
{
    for (unsigned i = 0; i < BUDGET_SECONDS; i++)
        b->life_ns[i] = nr_threads * (uint64_t)NS_PER_S;
    b->life_ns[slot_of(b)] = 0;
    b->life_sum_ns = (BUDGET_SECONDS - 1) * nr_threads * (uint64_t)NS_PER_S;
}

static void note_counts(struct budget *b, const struct budget_sample *s)
{
    unsigned at = slot_of(b);
    uint64_t life_ns = s->nr_threads * s->elapsed_ms * 1000000u;
    b->life_ns[at] += life_ns;
    b->life_sum_ns += life_ns;
    b->returned[at] += s->nr_returns;
    b->returned_sum += s->nr_returns;
    for (unsigned i = 0; i < AGES_NR; i++) {
        b->reused[i][at] += (uint32_t)s->nr_reused[i];
        b->reused_sum[i] += (uint32_t)s->nr_reused[i];
    }
}

static double fade_of(const struct budget_sample *s)
{
    return exp2(-(double)s->elapsed_ms / MOST_HALF_LIFE_MS);
}

static void note_means(struct budget *b, const struct budget_sample *s)
{
    double weight = fmin(1, (double)s->elapsed_ms / fmin(MEAN_MS, (double)b->observed_ms));
    double fade = fade_of(s);
    for (unsigned i = 0; i < AGES_NR; i++) {
        b->idle[i] += ((double)(s->nr_there[i] + s->nr_barred[i] + s->nr_out[i]) - b->idle[i]) * weight;
        b->reused_most[i] = fmax((double)b->reused_sum[i], b->reused_most[i] * fade);
    }
    double life_ns = (double)(s->nr_threads * s->elapsed_ms) * 1e6;
    if (life_ns > 0)
        b->other_share += ((double)s->other_wait_ns / life_ns - b->other_share) * weight;
    if (s->nr_faults) {
        b->nr_costed += (double)s->nr_faults;
        b->cost_ns += ((double)s->fault_wait_ns / (double)s->nr_faults - b->cost_ns) *
                      (double)s->nr_faults / b->nr_costed;
        b->nr_costed = fmin(b->nr_costed, COST_NR_MAX);
        b->cost_ns = fmax(b->cost_ns, COST_LEAST_NS);
    }
    uint64_t all = s->nr_pages_there + s->nr_out[0];
    uint64_t idle = s->nr_there[WORKING_SET_AGE] + s->nr_barred[WORKING_SET_AGE] + s->nr_out[WORKING_SET_AGE];
    b->working_set = all > idle + WORKING_SET_LEAST ? all - idle : WORKING_SET_LEAST;
}

/* ---- the price list */

static double promotion_allowance(const struct budget *b)
{
    return (double)b->limits.promotion_ppm / PPM * (double)b->working_set;
}

bool budget_has_spare(const struct budget *b)
{
    bool is_within = !b->limits.promotion_ppm ||
                     (double)b->returned_sum < SPARE * AIM * promotion_allowance(b);
    return b->limits.kind == BUDGET_SLOWDOWN && is_within &&
           (double)b->lost_sum_ns < SPARE * AIM * allowance_ns(b);
}

/* How many returns in 60 s are aimed at. */
static double returns_wanted(const struct budget *b)
{
    double all_ns = allowance_ns(b);
    double ns = fmax(AIM * all_ns - b->other_share * (double)b->life_sum_ns, AIM_LEAST * all_ns);
    double nr = ns / b->cost_ns;
    return b->limits.promotion_ppm ? fmin(nr, AIM * promotion_allowance(b)) : nr;
}

/* Which part of the pages of this age may be out. */
static double share_of(const struct budget *b, unsigned i, double returns)
{
    return b->reused_most[i] > returns ? returns / b->reused_most[i] : 1;
}

/* Pages of this age that may be out. */
static double out_at(const struct budget *b, unsigned i, double returns)
{
    return b->idle[i] * share_of(b, i, returns);
}

/* The oldest that keeps nearly as many out as can be, if it spares returns; else this one. */
static unsigned thriftier(const struct budget *b, unsigned age, double returns, double most_out)
{
    unsigned older = AGES_NR - 1;
    while (older > age && out_at(b, older, returns) < most_out * THRIFT_OUT)
        older--;
    double now = b->reused_most[age], then = b->reused_most[older];
    return then <= now * THRIFT_RETURNS && now - then >= THRIFT_RETURNS_LEAST ? older : age;
}

static void choose_age(struct budget *b, const struct budget_sample *s)
{
    double returns = returns_wanted(b);
    bool is_first = b->observed_ms - b->started_ms < AGE_FIRST_FOR_MS;
    unsigned first = is_first ? b->age : 0, best = b->age;
    for (unsigned i = first; i < AGES_NR; i++)
        if (out_at(b, i, returns) > out_at(b, best, returns))
            best = i;
    double gain = budget_has_spare(b) && !b->is_thrifty ? GAIN_LEAST_SPARE : GAIN_LEAST;
    double most_out = out_at(b, best, returns);
    if (most_out > out_at(b, b->age, returns) * gain + GAIN_LEAST_PAGES) {
        b->age = best;
        b->is_thrifty = false;
    }
    if (b->reused_most[best] - b->reused_most[b->age] < THRIFT_RETURNS_LEAST)
        b->is_thrifty = false; /* it spares nothing any more */
    unsigned older = is_first ? b->age : thriftier(b, b->age, returns, most_out);
    b->is_thrifty |= older != b->age;
    b->age = older;
    double share = share_of(b, b->age, returns), most = b->reused_most[b->age];
    b->out_max = share < 1 ? (uint64_t)(share * (double)(s->nr_there[b->age] + s->nr_out[b->age]))
                           : UINT64_MAX;
    double chance = fmin(1, most / fmax(1, b->idle[b->age]));
    b->return_chance = share < 1 ? fmax(chance, b->return_chance * fade_of(s)) : 0;
}

/* ---- a target of memory: the oldest first, as far as it takes */

static void choose_for_resident(struct budget *b, const struct budget_sample *s)
{
    uint64_t slack = b->limits.resident_bytes / RESIDENT_SLACK;
    uint64_t enough = b->limits.resident_bytes - 2 * slack;
    if (s->resident_bytes > enough + slack)
        b->is_over = true;
    else if (s->resident_bytes <= enough)
        b->is_over = false;
    b->out_max = 0;
    if (!b->is_over)
        return;
    uint64_t excess = bytes_to_pages(s->resident_bytes - enough);
    b->age = AGES_NR - 1;
    while (b->age && s->nr_there[b->age] < excess)
        b->age--;
    b->out_max = s->nr_pages_out + excess;
}

/* ---- the choice */

void budget_on_sample(struct budget *b, uint64_t now_ms, const struct budget_sample *sample)
{
    go_on_to(b, now_ms);
    if (!b->observed_ms)
        begin_life(b, sample->nr_threads);
    b->observed_ms += sample->elapsed_ms ? sample->elapsed_ms : 1;
    if (sample->is_starting)
        b->started_ms = b->observed_ms;
    note_counts(b, sample);
    note_means(b, sample);
    switch (b->limits.kind) {
    case BUDGET_SLOWDOWN:
        choose_age(b, sample);
        return;
    case BUDGET_RESIDENT:
        choose_for_resident(b, sample);
        return;
    case BUDGET_COLD_AGE:
        return;
    }
}

enum choose_advice budget_pace(const struct budget *b)
{
    if (b->limits.kind != BUDGET_SLOWDOWN)
        return CHOOSE_RISE;
    double all_ns = allowance_ns(b);
    double recent_ns = (double)(b->lost_ns[slot_of(b)] +
                                b->lost_ns[(b->second + BUDGET_SECONDS - 1) % BUDGET_SECONDS]);
    double left_ns = all_ns - (double)b->lost_sum_ns;
    bool is_news = recent_ns > b->reused_most[b->age] * b->cost_ns * NEWS;
    if (left_ns <= 0 || (is_news && left_ns < recent_ns * RECENT_HALT))
        return CHOOSE_HALT;
    return b->meter_ns > METER_PAUSE_S * all_ns / BUDGET_SECONDS ? CHOOSE_PAUSE : CHOOSE_RISE;
}

uint64_t budget_cold_age_ms(const struct budget *b)
{
    return ages_ms[b->age];
}

/* Where not all of an age may be out, those that are may be just those that are wanted next. */
uint64_t budget_out_max(const struct budget *b)
{
    if (b->return_chance <= 0)
        return b->out_max;
    double returns = (BOUND * allowance_ns(b) - (double)b->lost_sum_ns) / b->cost_ns;
    if (b->limits.promotion_ppm)
        returns = fmin(returns, BOUND * promotion_allowance(b) - (double)b->returned_sum);
    double nr = fmax(0, returns) / b->return_chance;
    return nr < (double)b->out_max ? (uint64_t)nr : b->out_max;
}

uint64_t budget_slowdown_ppm(const struct budget *b)
{
    return b->life_sum_ns ? (uint64_t)((double)b->lost_sum_ns / (double)b->life_sum_ns * PPM) : 0;
}

uint64_t budget_promotion_ppm(const struct budget *b)
{
    return b->working_set ? (uint64_t)((double)b->returned_sum / (double)b->working_set * PPM) : 0;
}

uint64_t budget_first_rate(const struct budget *b)
{
    return b->limits.kind == BUDGET_SLOWDOWN
               ? (uint64_t)(allowance_ns(b) / (RECENT_HALT + 1) / b->cost_ns)
               : UINT64_MAX;
}

uint64_t budget_protects_per_s(const struct budget *b, uint64_t fault_ns)
{
    double ns_per_s = allowance_ns(b) / BUDGET_SECONDS / PROTECT_SHARE;
    if ((double)b->lost_sum_ns >= allowance_ns(b))
        ns_per_s /= PROTECT_EMPTY_SHARE;
    return (uint64_t)(ns_per_s / (double)fault_ns);
}
