/* probe.c - see probe.h. */
#include "heat/probe.h"

#include <string.h>

#define SAMPLE_PAGES 4u
#define SAMPLE_PAGES_HOT 2u /* where "hot" is expected */
#define WAVE_PAGES_MIN 16u  /* k of the rule of three, at least */
#define SLOW 2u             /* prompt answers in a row that end it */
#define BAR_SHIFT_MAX 6u /* 16 cold ages between two questions ... */
#define BAR_MS_MAX 80000u
#define NR_EARLY 8u      /* ... or a half, so often, where there is money; then ... */
#define EARLY_MS_MAX 20000u
#define EARLY_SHIFT_MAX 3u /* ... up to four */
/* A wait for the sample: the daemon reads returns four times a second at least. */
#define SAMPLE_MS_MAX 250u
#define SAMPLE_MS_MIN 100u
/* Of one thread's time; what is not spent is kept for two seconds: 0.48 % of any ten. */
#define EARN_NS_PER_MS 4000
#define EARN_NS_PER_MS_MAX 100000
#define PURSE_MS_MAX 2000
/* Until it is measured: a touch of a staged page took 13.8 us, on another CPU's account up to 54
 * (docs/design.md, section 15). */
#define RETURN_NS 30000u
#define RETURN_NS_MIN 5000u
#define RETURN_NS_MAX 500000u
#define SHARE_LEAST 16u /* per mille: what never came back yet may, and all of it at once */

enum probe_wave { WAVE_SAMPLE, WAVE_REST, WAVE_AGAIN };

/* ---- cells and pages */

static uint32_t cell_pages(const struct page_set *s, unsigned cell)
{
    return (uint32_t)(s->words[cell / 4] >> cell % 4 * PROBE_CELL_PAGES) & 0xffffu;
}

static uint32_t cells_with(const struct page_set *s)
{
    uint32_t cells = 0;
    for (unsigned i = 0; i < PROBE_CELLS; i++)
        cells |= cell_pages(s, i) ? 1u << i : 0;
    return cells;
}

static uint32_t nr_in_cells(const struct page_set *s, uint32_t cells)
{
    uint32_t nr = 0;
    for (unsigned i = 0; i < PROBE_CELLS; i++)
        nr += cells >> i & 1 ? (uint32_t)__builtin_popcount(cell_pages(s, i)) : 0;
    return nr;
}

static uint32_t count(uint32_t cells)
{
    return (uint32_t)__builtin_popcount(cells);
}

static uint32_t nth_bit(uint32_t bits, uint32_t n)
{
    while (n--)
        bits &= bits - 1;
    return (uint32_t)__builtin_ctz(bits);
}

static uint64_t next_random(struct probe_purse *p)
{
    p->seed ^= p->seed << 13;
    p->seed ^= p->seed >> 7;
    p->seed ^= p->seed << 17;
    return p->seed >> 11;
}

/* ---- the purse */

void probe_purse_init(struct probe_purse *p, uint64_t cold_age_ms)
{
    *p = (struct probe_purse){ .cold_age_ms = cold_age_ms,
                               .ns = PURSE_MS_MAX * EARN_NS_PER_MS, .earn_ns_per_ms = EARN_NS_PER_MS,
                               .return_ns = RETURN_NS, .share = { 1000, 1000, 1000 },
                               .seed = 0x9e3779b97f4a7c15 };
}

static int64_t purse_ns_max(const struct probe_purse *p)
{
    return PURSE_MS_MAX * p->earn_ns_per_ms;
}

void probe_purse_set_income(struct probe_purse *p, uint64_t ns_per_ms)
{
    p->earn_ns_per_ms = ns_per_ms < EARN_NS_PER_MS_MAX ? (int64_t)ns_per_ms : EARN_NS_PER_MS_MAX;
}

void probe_purse_earn(struct probe_purse *p, uint64_t now_ms)
{
    uint64_t ms = p->earned_ms && now_ms > p->earned_ms ? now_ms - p->earned_ms : 0;
    p->earned_ms = now_ms;
    p->ns += (int64_t)(ms < 1000000 ? ms : 1000000) * p->earn_ns_per_ms;
    if (p->ns > purse_ns_max(p))
        p->ns = purse_ns_max(p);
}

void probe_purse_set_return_ns(struct probe_purse *p, uint64_t ns)
{
    p->return_ns = ns < RETURN_NS_MIN ? RETURN_NS_MIN : ns < RETURN_NS_MAX ? ns : RETURN_NS_MAX;
}

/* Pays nr probes of a wave in advance, as many as are likely to come back: the share of such waves lately,
 * or less where this one's forerunners say so (who has seen none of n come back expects one in n + 2). */
static bool prepay(struct probe_region *r, struct probe_purse *p, uint32_t nr, enum probe_wave wave)
{
    uint32_t nr_asked = page_set_count(&r->asked), nr_back = page_set_count(&r->back);
    uint32_t share = (nr_back + 1) * 1000 / (nr_asked + 2);
    if (wave == WAVE_SAMPLE || share > p->share[wave])
        share = p->share[wave];
    int64_t ns = (int64_t)(nr * p->return_ns * share / 1000);
    int64_t least_ns = ns < purse_ns_max(p) ? ns : purse_ns_max(p); /* else what it can't hold is never asked */
    if (p->is_shut || p->ns < least_ns)
        return false;
    p->ns -= ns;
    r->prepaid_ns += ns;
    return true;
}

/* Returns have been paid one by one, so what was paid in advance comes back. */
static void refund(struct probe_region *r, struct probe_purse *p)
{
    p->ns += r->prepaid_ns;
    r->prepaid_ns = 0;
}

struct wave_sum {
    uint32_t nr_asked, nr_back; /* nr_back <= nr_asked: some of it may be an earlier wave's */
};

static struct wave_sum wave_sum(const struct probe_region *r)
{
    uint32_t nr_asked = page_set_count(&r->asked), nr_back = page_set_count(&r->back);
    struct wave_sum sum = {
        .nr_asked = nr_asked > r->nr_asked_before ? nr_asked - r->nr_asked_before : 0,
        .nr_back = nr_back > r->nr_back_before ? nr_back - r->nr_back_before : 0,
    };
    sum.nr_back = sum.nr_back < sum.nr_asked ? sum.nr_back : sum.nr_asked;
    return sum;
}

/* The wave is over: what has been learnt holds for the next. */
static void settle(struct probe_region *r, struct probe_purse *p, enum probe_wave wave)
{
    struct wave_sum sum = wave_sum(r);
    refund(r, p);
    if (sum.nr_asked) {
        uint32_t share = (p->share[wave] * 7 + sum.nr_back * 1000 / sum.nr_asked) / 8;
        p->share[wave] = share < SHARE_LEAST ? SHARE_LEAST : share;
    }
    r->nr_asked_before = (uint16_t)page_set_count(&r->asked);
    r->nr_back_before = (uint16_t)page_set_count(&r->back);
}

/* ---- waves */

static uint64_t sample_ms(const struct probe_purse *p)
{
    uint64_t ms = p->cold_age_ms / 20;
    return ms < SAMPLE_MS_MIN ? SAMPLE_MS_MIN : ms < SAMPLE_MS_MAX ? ms : SAMPLE_MS_MAX;
}

static uint64_t watch_ms(const struct probe_purse *p)
{
    return p->cold_age_ms / 2;
}

/* How long the answer to this wave is waited for: the first and the third want to know what is hot, which
 * comes back as soon as it did before; the second what is cold. */
static uint64_t wait_ms(const struct probe_region *r, const struct probe_purse *p)
{
    return r->state == PROBE_ASKS || r->slow ? watch_ms(p) : sample_ms(p);
}

/* Idle pages of a cell into the wave, until `wanted` of it have been asked or there are no more. */
static void choose_in_cell(struct probe_region *r, struct probe_purse *p, struct page_set *wave,
                           const struct page_set *idle, unsigned cell, uint32_t wanted)
{
    uint32_t asked = cell_pages(&r->asked, cell), left = cell_pages(idle, cell) & ~asked;
    for (uint32_t nr = count(asked); nr < wanted && left; nr++) {
        uint32_t bit = nth_bit(left, (uint32_t)(next_random(p) % count(left)));
        left &= ~(1u << bit);
        page_set_add(wave, cell * PROBE_CELL_PAGES + bit);
    }
}

/* Each of these cells gets pages asked until there are per_cell, or 16 in all of them together. `more`:
 * beside those that have been asked. */
static void choose(struct probe_region *r, struct probe_purse *p, struct page_set *wave,
                   const struct page_set *idle, uint32_t cells, uint32_t more)
{
    uint32_t nr = count(cells), per_cell = nr ? (WAVE_PAGES_MIN + nr - 1) / nr : 0;
    for (unsigned i = 0; i < PROBE_CELLS; i++)
        if (cells >> i & 1)
            choose_in_cell(r, p, wave, idle, i, per_cell + more * count(cell_pages(&r->asked, i)));
}

static void send(struct probe_region *r, const struct page_set *wave, uint64_t now_ms)
{
    r->to_send = *wave;
    r->sent_ms = now_ms;
}

static bool is_sent(const struct probe_region *r)
{
    return page_set_count(&r->to_send) == 0;
}

/* A few cells, one out of each of so many equal parts; which, is left to chance: stripes have a habit, too. */
static void begin(struct probe_region *r, struct probe_purse *p, const struct probe_sight *s,
                  uint64_t now_ms)
{
    uint32_t cells = r->in_question, nr = count(cells);
    uint32_t nr_wanted = r->hot ? SAMPLE_PAGES_HOT : SAMPLE_PAGES;
    nr_wanted = nr_wanted < nr ? nr_wanted : nr;
    if (!prepay(r, p, nr_wanted, WAVE_SAMPLE))
        return;
    struct page_set wave = { { 0 } };
    for (uint32_t i = 0; i < nr_wanted; i++) {
        uint32_t first = i * nr / nr_wanted, end = (i + 1) * nr / nr_wanted;
        uint32_t n = first + (uint32_t)(next_random(p) % (end - first));
        choose_in_cell(r, p, &wave, &s->idle, nth_bit(cells, n), 1);
    }
    r->nr_asked_before = r->nr_back_before = 0;
    r->is_joined = false;
    r->state = PROBE_SAMPLES;
    send(r, &wave, now_ms);
}

/* ---- answers */

/* Half a cold age, doubled so often; a longer one ends after most_ms. */
static uint64_t pause_ms(const struct probe_purse *p, uint32_t nr_doubled, uint64_t most_ms)
{
    uint64_t least_ms = p->cold_age_ms / 2, ms = least_ms << nr_doubled;
    return ms <= most_ms ? ms : least_ms > most_ms ? least_ms : most_ms;
}

static void bar(struct probe_region *r, const struct probe_purse *p, uint64_t now_ms)
{
    uint32_t nr_times = r->shift < BAR_SHIFT_MAX ? r->shift : BAR_SHIFT_MAX;
    r->bar_ms = now_ms + pause_ms(p, nr_times ? nr_times - 1 : 0, BAR_MS_MAX);
}

/* What was never asked, or not found hot, does not wait for what was. */
static uint64_t again_ms(const struct probe_region *r, const struct probe_purse *p, uint32_t cells)
{
    bool is_known = !(cells & ~r->hot) && r->shift > NR_EARLY;
    uint32_t nr_more = is_known ? r->shift - NR_EARLY : 0;
    return r->hot_ms + pause_ms(p, nr_more < EARLY_SHIFT_MAX ? nr_more : EARLY_SHIFT_MAX, EARLY_MS_MAX);
}

static void set_hot(struct probe_region *r, const struct probe_purse *p, uint32_t cells,
                    uint64_t now_ms)
{
    r->hot |= cells;
    r->read |= cells;
    r->open &= ~cells;
    r->hot_ms = now_ms;
    r->shift = (uint8_t)(r->shift < PROBE_SHIFT_MAX ? r->shift + 1u : PROBE_SHIFT_MAX);
    bar(r, p, now_ms);
}

static void rest(struct probe_region *r)
{
    for (unsigned i = 0; i < PROBE_CELLS; i++)
        if (r->hot >> i & 1)
            r->late.words[i / 4] |= (uint64_t)(cell_pages(&r->asked, i) & ~cell_pages(&r->back, i))
                                    << i % 4 * PROBE_CELL_PAGES;
    r->state = PROBE_RESTS;
    r->due_ms = 0;
    memset(&r->to_send, 0, sizeof r->to_send);
    memset(&r->asked, 0, sizeof r->asked);
    memset(&r->back, 0, sizeof r->back);
}

/* What was in question is read: the whole sample is back; or, where that takes its time, some of it. */
static void answer_hot(struct probe_region *r, struct probe_purse *p, uint64_t now_ms)
{
    settle(r, p, WAVE_SAMPLE);
    if (r->slow && now_ms <= r->sent_ms + sample_ms(p))
        r->slow--;
    set_hot(r, p, r->in_question, now_ms);
    r->closed |= r->in_question;
    rest(r);
}

/* What the third wave foretells of nr pages. False: the returns can't be paid yet. */
static bool pay_ahead(const struct probe_region *r, struct probe_purse *p, uint32_t nr)
{
    struct wave_sum sum = wave_sum(r);
    if (!sum.nr_back)
        return true;
    int64_t ns = (int64_t)(p->return_ns * nr * sum.nr_back / sum.nr_asked);
    if (p->ns < (ns < purse_ns_max(p) / 2 ? ns : purse_ns_max(p) / 2)) /* else it might never be enough */
        return false;
    p->ns -= ns;
    return true;
}

/* All that could be waited for has been. False: at another time. */
static bool answer(struct probe_region *r, struct probe_purse *p, const struct probe_sight *s,
                   uint64_t now_ms)
{
    uint32_t hot = cells_with(&r->back), quiet = 0;
    for (unsigned i = 0; i < PROBE_CELLS; i++)
        if (cell_pages(&r->asked, i) & cell_pages(&s->out, i))
            quiet |= 1u << i;
    quiet &= ~hot;
    if (r->state == PROBE_CONFIRMS && !pay_ahead(r, p, nr_in_cells(&s->idle, quiet)))
        return false;
    settle(r, p, r->state == PROBE_CONFIRMS ? WAVE_AGAIN : WAVE_REST);
    r->hot &= ~quiet;
    r->read &= ~quiet;
    if (hot)
        set_hot(r, p, hot, now_ms);
    else if (!r->hot)
        r->shift = r->slow = 0;
    if (!hot && !quiet) /* none of them has left: no answer */
        bar(r, p, now_ms);
    r->open |= quiet;
    r->open_until_ms = now_ms + p->cold_age_ms;
    rest(r);
    return true;
}

/* ---- what a look means */

/* Somebody has touched a probe and we have not been told, or before we are. */
static void see_returns(struct probe_region *r, struct probe_purse *p, const struct probe_sight *s,
                        uint64_t now_ms)
{
    for (unsigned w = 0; w < 8; w++) {
        r->late.words[w] &= s->out.words[w];
        uint64_t back = r->asked.words[w] & ~r->back.words[w] & ~s->out.words[w] & ~s->stays.words[w];
        for (; back; back &= back - 1)
            (void)probe_on_return(r, p, w * 64 + (uint32_t)__builtin_ctzll(back), now_ms);
    }
}

static void look_at_rest(struct probe_region *r, struct probe_purse *p, const struct probe_sight *s,
                         uint64_t now_ms)
{
    r->due_ms = 0;
    uint32_t cells = cells_with(&s->idle) & ~r->open;
    if (nr_in_cells(&s->idle, cells) < PROBE_FROM_PAGES) {
        if (now_ms >= r->bar_ms) {
            r->hot = r->read = 0;
            r->shift = r->shift < NR_EARLY ? r->shift : NR_EARLY;
        }
        r->closed = r->hot;
        return;
    }
    r->closed = ~r->open;
    uint64_t early_ms = again_ms(r, p, cells);
    r->due_ms = r->hot_ms && early_ms > now_ms ? early_ms : 0;
    bool is_early = r->hot_ms && now_ms >= early_ms && p->ns >= purse_ns_max(p) / 2;
    if (now_ms < r->bar_ms && !is_early)
        return;
    r->in_question = cells;
    begin(r, p, s, now_ms);
}

/* Not all of the sample is back: a page of every cell that is in question. */
static void look_at_sample(struct probe_region *r, struct probe_purse *p, const struct probe_sight *s,
                           uint64_t now_ms)
{
    struct page_set wave = { { 0 } };
    settle(r, p, WAVE_SAMPLE);
    if (r->slow && r->hot && page_set_count(&r->back)) {
        answer_hot(r, p, now_ms);
        return;
    }
    r->due_ms = now_ms + sample_ms(p);
    choose(r, p, &wave, &s->idle, r->in_question, 0);
    uint32_t nr = page_set_count(&wave);
    if (!prepay(r, p, nr, WAVE_REST))
        return;
    r->state = PROBE_ASKS;
    if (nr)
        send(r, &wave, now_ms);
}

/* Cells that have become idle since join a question while its second wave is waited for, once, and all wait
 * anew: else those pages of a chunk that were written until now wait until the others have been answered for. */
static bool join(struct probe_region *r, struct probe_purse *p, const struct probe_sight *s, uint64_t now_ms)
{
    uint32_t cells = cells_with(&s->idle) & ~r->open & ~r->in_question;
    if (r->is_joined || nr_in_cells(&s->idle, cells) < PROBE_FROM_PAGES)
        return false;
    struct page_set wave = { { 0 } };
    choose(r, p, &wave, &s->idle, cells, 0);
    if (!prepay(r, p, page_set_count(&wave), WAVE_REST))
        return false;
    r->in_question |= cells;
    r->is_joined = true;
    send(r, &wave, now_ms);
    return true;
}

/* The answer; or another page of each quiet cell first, where others were not. */
static void look_at_answers(struct probe_region *r, struct probe_purse *p, const struct probe_sight *s,
                            uint64_t now_ms)
{
    uint32_t hot = cells_with(&r->back);
    if (r->state == PROBE_ASKS && hot) {
        struct page_set wave = { { 0 } };
        settle(r, p, WAVE_REST);
        choose(r, p, &wave, &s->idle, cells_with(&r->asked) & ~hot, 1);
        uint32_t nr = page_set_count(&wave);
        r->due_ms = now_ms + sample_ms(p);
        if (!prepay(r, p, nr, WAVE_AGAIN))
            return;
        r->state = PROBE_CONFIRMS;
        if (nr) {
            send(r, &wave, now_ms);
            return;
        }
    }
    if (!answer(r, p, s, now_ms))
        r->due_ms = now_ms + sample_ms(p);
}

/* What would come back at once has: the rest of what was paid for this wave is free for others. True: nothing
 * more is to be waited for. */
static bool is_over(struct probe_region *r, struct probe_purse *p, uint64_t now_ms)
{
    if (!is_sent(r) || now_ms < r->due_ms)
        return false;
    if (!r->slow)
        refund(r, p);
    if (now_ms >= r->sent_ms + wait_ms(r, p))
        return true;
    r->due_ms = r->sent_ms + wait_ms(r, p);
    return false;
}

void probe_look(struct probe_region *r, struct probe_purse *p, const struct probe_sight *s,
                uint64_t now_ms)
{
    see_returns(r, p, s, now_ms);
    if (now_ms >= r->open_until_ms)
        r->open = 0;
    r->closed = ~r->open;
    switch ((enum probe_state)r->state) {
    case PROBE_RESTS:
        break;
    case PROBE_SAMPLES:
        if (is_over(r, p, now_ms))
            look_at_sample(r, p, s, now_ms);
        break;
    case PROBE_ASKS:
        if (is_sent(r) && !join(r, p, s, now_ms) && is_over(r, p, now_ms))
            look_at_answers(r, p, s, now_ms);
        break;
    case PROBE_CONFIRMS:
        if (is_over(r, p, now_ms))
            look_at_answers(r, p, s, now_ms);
        break;
    }
    if (r->state == PROBE_RESTS)
        look_at_rest(r, p, s, now_ms);
}

int probe_next(struct probe_region *r, const struct probe_purse *p, uint64_t now_ms)
{
    for (unsigned w = 0; w < 8; w++) {
        if (!r->to_send.words[w])
            continue;
        uint32_t page = w * 64 + (uint32_t)__builtin_ctzll(r->to_send.words[w]);
        page_set_remove(&r->to_send, page);
        page_set_add(&r->asked, page);
        r->sent_ms = now_ms;
        r->due_ms = now_ms + sample_ms(p);
        return (int)page;
    }
    return -1;
}

/* ---- returns */

/* A page that was given free is back soon: what of its cell has not left yet stays. */
static void on_ordinary_return(struct probe_region *r, const struct probe_purse *p, uint32_t page,
                               uint64_t now_ms)
{
    uint32_t cell = 1u << page / PROBE_CELL_PAGES;
    if (now_ms >= r->open_until_ms + p->cold_age_ms)
        return;
    r->hot |= cell;
    r->open &= ~cell;
    r->closed |= cell;
    r->hot_ms = now_ms;
    r->slow = SLOW;
    if (now_ms >= r->bar_ms)
        bar(r, p, now_ms);
}

static void pay(struct probe_purse *p)
{
    p->ns -= (int64_t)p->return_ns;
    p->spent_ns += p->return_ns;
    p->nr_returns++;
}

bool probe_on_return(struct probe_region *r, struct probe_purse *p, uint32_t page, uint64_t now_ms)
{
    bool is_late = page_set_has(&r->late, page);
    if (!page_set_has(&r->asked, page) && !is_late) {
        on_ordinary_return(r, p, page, now_ms);
        return false;
    }
    if (page_set_has(&r->back, page))
        return true;
    pay(p);
    if (is_late) {
        page_set_remove(&r->late, page);
        return true;
    }
    page_set_add(&r->back, page);
    r->hot_ms = now_ms;
    if (now_ms > r->sent_ms + sample_ms(p))
        r->slow = SLOW;
    if (r->state == PROBE_SAMPLES && is_sent(r) &&
        page_set_count(&r->back) == page_set_count(&r->asked))
        answer_hot(r, p, now_ms);
    return true;
}

void probe_on_refused(struct probe_region *r, uint32_t page)
{
    page_set_remove(&r->asked, page);
    page_set_remove(&r->back, page);
}
