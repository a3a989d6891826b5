/* scan.c - idle time from written pages: PAGEMAP_SCAN with asynchronous write-protection; and whether what
 * is not written is read, by probing (probe.h).
 *
 * Memory is looked at in chunks of at most 512 pages. Three things are done to a chunk:
 *
 *   a look      which pages are there, which of them were written since they were last protected.
 *               Costs the client nothing and us 7-10 us. Each chunk, every quarter of the cold age; the longer
 *               there has been nothing to see, the more rarely (512 looks a second at 1 GiB of which all was
 *               out were 0.5 % of a CPU).
 *   protection  the written ones are write-protected again. Each costs its next writer 1-2.5 us, once.
 *               That is the price, so it is rationed: it costs a token for each page that will be
 *               written again, as far as we know, out of 2500 a second for a session, 0.25 to 0.6 %
 *               of one CPU at most; with a slowdown out of a quarter of the budget. Chunks take their
 *               turns: one that can't pay is waited for, not passed over, or the first few would take
 *               everything. Where all that was protected has been written again by the next turn, the
 *               turns come more rarely.
 *   a trial     the first thing: 32 of its pages are protected and looked at half a second later.
 *               What became of them is the price of the first protection of all: nothing where all is
 *               idle. Without it a heap of which everything is written paid a fault for each page
 *               twice before we knew better: 4 % of interactive_burst's first ten seconds. What has to
 *               wait for its turn is tried again, for 32 tokens: a process that has filled its memory and
 *               rests is idle, and all that is known is of the filling. A trial lasts for a cold age: what
 *               is not written again within that leaves, so it will not be a fault. It begins 4 s and
 *               a cold age after the last protection, others 8, 16 and 32 s after the end of one.
 *
 * What is read stays, written or not (probe.h). Where all that was written lies among such pages, it is
 * protected as rarely as they are asked, once that was answered twice, and every 16 s at least, or every cold
 * age up to 64 s, or 64 s if it was answered twenty times in a row.
 *
 * What comes back ahead of its use is not protected before somebody has come for it: each first write would
 * cost as much as a page of a burst does. Nobody tells; pages that were offered are there again, and of no
 * touch has been heard.
 *
 * So pages that are not written any more are seen growing old at once, whatever their neighbours do.
 *
 * A page's idle time counts from the protection that covered its last write, rounded down: it is never
 * too large. Pages that are only read look idle. Where many do, a few of them leave as probes first, and
 * what of the chunk is wanted back stays closed; those that slip through the client's feedback tells. */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/point.h"
#include "heat/pages.h"
#include "sys/pagemap_scan.h"

#define LOOK_PAUSE_MS_MAX 2000u
#define DULL_FACTOR 4u   /* where nothing can be learnt, looks are so much rarer, and later in the same ratio */
#define REST_S 16u       /* nothing there for so long in all chunks but so small a part: the process rests */
#define REST_PART 64u
#define HOT_SHIFT_MAX 3u /* where everything is written, turns are up to eight times rarer */
#define TOKENS_PER_S 2500u
#define GOVERNED_SECONDS 4u /* of tokens are saved up: after a burst all of it grows old at once */
/* For probes half of what protection may cost: an eighth of the budget. Where that is less than the 0.4 % of a
 * thread that have been found to do, as much as those, but half of the budget at most. */
#define PROBE_NS_PER_PROTECT 1000u
#define PROBE_NS_PER_PROTECT_MAX 4000u
#define PROBE_NS_PER_MS 4000u
#define READ_FROM 2u /* times in a row that it was found read: one says little of what has just begun to rest */
#define READ_MS_MAX 16000u  /* or a cold age, if that is longer, up to ... */
#define READ_MS_MOST 64000u /* ... and for what has been read for long */
#define TRIAL_PAGES 32u
#define TRIAL_MS 500u
#define TRIAL_PAUSE_MS 4000u /* and a cold age after a protection, or a trial, another; doubled each time */
#define TRIALS_MAX 5u        /* not more, the first or the last protection among them */
#define TRIED_SHARE 8u       /* so much of the price of what has been protected remains, whatever trials say */
#define AHEAD_MS 3000u /* nothing comes back two seconds ahead (client/rhythms.c), and it may be late */
/* A user who asks for a cold age of less asks for speed, not for thrift: no rationing, no probes. */
#define RATIONED_FROM_MS 1000u
/* Our own time: 2 % of one CPU, so that a client with a hundred gigabytes costs no more than that; half
 * of one where nothing is rationed. */
#define OWN_NS_PER_MS 20000u
#define UNRATIONED_NS_PER_MS 500000u
#define TICK_NS_MIN 300000u
#define TICK_NS_MAX 2000000u

/* Looks and turns, on top of what all sources keep. */
struct scan {
    struct heat heat;
    uint64_t look_pause_ms;
    bool is_rationed, is_probing;
    bool has_probes; /* to send: some chunk may have */
    bool has_heard;  /* of a page, since the last round */
    size_t look_cursor, protect_cursor;
    uint64_t tokens_per_s, tokens_max;
    uint64_t tokens; /* in thousandths, so a millisecond gives TOKENS_PER_S */
    uint64_t trial_tokens; /* of these, for trials: half of what comes in, the rest is for who waits */
    uint64_t now_ms; /* of the last tick */
    uint32_t nr_come; /* of the chunk that is looked at: pages that are there again, and we know not why */
    struct probe_purse purse;
    struct pagemap_region regions[CHUNK_PAGES];
};

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

static void set_tokens(struct scan *s, uint64_t per_s)
{
    /* Less would never pay for a chunk, and those behind it wait for it. */
    uint64_t saved = per_s * 1000u * (s->heat.is_governed ? GOVERNED_SECONDS : 1u);
    s->tokens_per_s = per_s;
    s->tokens_max = clamp(saved, CHUNK_PAGES * 1000u, UINT64_MAX);
}

/* Nanoseconds for each millisecond. */
static uint64_t probe_income(uint64_t protects_per_s)
{
    uint64_t share = protects_per_s * PROBE_NS_PER_PROTECT / 1000;
    uint64_t most = protects_per_s * PROBE_NS_PER_PROTECT_MAX / 1000;
    return clamp(PROBE_NS_PER_MS, share, most);
}

static void scan_pace(struct heat *h, const struct heat_pace *pace)
{
    struct scan *s = (struct scan *)h;
    pages_pace(h, pace);
    s->look_pause_ms = clamp(pace->cold_age_ms / 4, 1, LOOK_PAUSE_MS_MAX);
    set_tokens(s, pace->protects_per_s);
    probe_purse_set_income(&s->purse, probe_income(pace->protects_per_s));
    s->purse.is_shut = pace->is_shut;
}

static struct heat *scan_destroy(struct heat *h)
{
    if (!h)
        return NULL;
    pages_free(h);
    free(h);
    return NULL;
}

static int scan_create(const struct heat_client *client, struct heat **ret)
{
    struct scan *s = point_fails(POINT_HEAT) ? NULL : calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    pages_init(&s->heat, client, sizeof *s);
    s->look_pause_ms = clamp(client->cold_age_ms / 4, 1, LOOK_PAUSE_MS_MAX);
    s->is_rationed = client->cold_age_ms >= RATIONED_FROM_MS;
    s->is_probing = client->is_probing && s->is_rationed;
    set_tokens(s, TOKENS_PER_S);
    s->tokens = TOKENS_PER_S * 1000u;
    probe_purse_init(&s->purse, client->cold_age_ms);
    *ret = &s->heat;
    return 0;
}

static void note_region(struct scan *s, struct chunk *c, const struct pagemap_region *r)
{
    uint32_t from = (uint32_t)(page_of(r->start) - c->first);
    uint32_t to = (uint32_t)(page_of(r->end) - c->first);
    bool is_written = pagemap_region_is_written(r);
    if (is_written)
        s->nr_come += pages_nr_offered(c, from, to);
    pages_note(&s->heat, c, from, to, is_written);
    if (!is_written)
        return;
    c->nr_written = (uint16_t)(c->nr_written + to - from);
    for (uint32_t cell = from / PROBE_CELL_PAGES; cell <= (to - 1) / PROBE_CELL_PAGES; cell++)
        c->written_cells |= 1u << cell;
}

/* Where the trial of a chunk is: somewhere else in each, so that no habit of an allocator hides all; and each
 * time, since what an earlier one has found idle may have left. */
static page_number trial_first(const struct chunk *c)
{
    uint32_t room = c->nr > TRIAL_PAGES ? c->nr - TRIAL_PAGES : 0;
    return c->first + (room ? (c->first / CHUNK_PAGES * 37 + c->nr_trials * 3 * TRIAL_PAGES) % (room + 1) : 0);
}

/* Where it ends. */
static page_number trial_end(const struct chunk *c)
{
    page_number end = trial_first(c) + TRIAL_PAGES;
    return end < chunk_end(c) ? end : chunk_end(c);
}

/* The first trial; nothing has been seen of it yet. */
static void try_chunk(struct scan *s, struct chunk *c, uint64_t now_ms)
{
    c->nr_trials = 1;
    (void)pagemap_scan(s->heat.pagemap_fd, trial_first(c), trial_end(c), PAGEMAP_SCAN_PROTECT, s->regions,
                       CHUNK_PAGES);
    c->tried_s = (uint32_t)(now_ms / 1000);
    c->looked_ms = now_ms;
}

static uint32_t nr_within(const struct pagemap_region *r, page_number first, page_number end)
{
    page_number from = page_of(r->start) > first ? page_of(r->start) : first;
    page_number to = page_of(r->end) < end ? page_of(r->end) : end;
    return from < to ? (uint32_t)(to - from) : 0;
}

static uint32_t nr_written_within_trial(const struct scan *s, const struct chunk *c, int nr_regions,
                                        uint32_t *ret_nr_there)
{
    uint32_t nr_written = 0;
    for (int i = 0; i < nr_regions; i++) {
        uint32_t nr = nr_within(&s->regions[i], trial_first(c), trial_end(c));
        *ret_nr_there += nr;
        nr_written += pagemap_region_is_written(&s->regions[i]) ? nr : 0;
    }
    return nr_written;
}

/* Of the pages that a protection would cover, how many will be written again: as many in a hundred as of those
 * in the trial. Some of these may have left meanwhile, and have not been written. */
static uint16_t estimate(const struct scan *s, const struct chunk *c, int nr_regions)
{
    uint32_t nr_there = 0, nr_written = nr_written_within_trial(s, c, nr_regions, &nr_there);
    uint32_t nr_tried = c->nr_tried || c->protected_ms ? c->nr_tried : nr_there;
    if (!c->nr_trials || !nr_tried || nr_written >= nr_tried)
        return c->nr_written;
    uint32_t nr = (uint32_t)c->nr_written * nr_written / nr_tried;
    uint32_t least = c->protected_ms ? c->nr_written / TRIED_SHARE : 0;
    return (uint16_t)(nr > least ? nr : least);
}

/* When a trial but the first is over, rounded up; 0: none is under way. */
static uint64_t trial_end_ms(const struct scan *s, const struct chunk *c)
{
    uint64_t end_ms = ((uint64_t)c->tried_s + 1) * 1000 + s->heat.cold_age_ms;
    return c->nr_tried && c->looked_ms < end_ms ? end_ms : 0;
}

/* What the look says of reads: what is closed, and whether it is asked. */
static void look_at_reads(struct scan *s, struct chunk *c, uint64_t now_ms)
{
    struct probe_sight sight;
    if (!s->is_probing)
        return;
    pages_see(&s->heat, c, &sight);
    bool is_wanted = c->probe || page_set_count(&sight.idle) >= PROBE_FROM_PAGES;
    struct probe_region *r = is_wanted ? pages_probe(&s->heat, c) : NULL;
    if (!r)
        return; /* too few, or no memory: by their writes alone */
    probe_look(r, &s->purse, &sight, now_ms);
    pages_set_closed(&s->heat, c, r->closed);
    s->has_probes |= page_set_count(&r->to_send) > 0;
}

enum look { LOOK, PROTECT, TRY };

/* What is there, into s->regions. What is to be protected is by the call that sees it: all that is written, or
 * in a trial its range, last of all, so that nothing fails after it. Number of regions, or negative. */
static int see(struct scan *s, const struct chunk *c, enum look kind)
{
    page_number first = kind == TRY ? trial_first(c) : kind == LOOK ? chunk_end(c) : c->first;
    page_number end = kind == TRY ? trial_end(c) : chunk_end(c);
    const struct {
        page_number from, to;
        enum pagemap_scan_mode mode;
    } parts[] = { { c->first, first, PAGEMAP_SCAN_LOOK },
                  { end, chunk_end(c), PAGEMAP_SCAN_LOOK },
                  { first, end, PAGEMAP_SCAN_PROTECT } };
    int nr = 0;
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].from == parts[i].to)
            continue;
        int n = pagemap_scan(s->heat.pagemap_fd, parts[i].from, parts[i].to, parts[i].mode, s->regions + nr,
                             CHUNK_PAGES - (size_t)nr);
        if (n < 0)
            return n;
        nr += n;
    }
    return nr;
}

static void set_dull(struct chunk *c, bool is_dull, uint64_t now_ms)
{
    c->dull_s = !is_dull ? 0 : c->dull_s ? c->dull_s : (uint32_t)(now_ms / 1000);
}

/* Takes stock of a chunk. With PROTECT what is written is protected and idle from now on. */
static void look(struct scan *s, struct chunk *c, uint64_t now_ms, enum look kind)
{
    if (kind == TRY) {
        c->nr_trials++;
        c->nr_tried = 0;
    }
    int n = see(s, c, kind);
    pages_look_begin(&s->heat, c, now_ms);
    uint32_t nr_written_before = c->nr_written + c->nr_put_back;
    c->nr_written = c->nr_put_back = 0;
    c->written_cells = 0;
    s->nr_come = 0;
    c->is_looked_at = true;
    set_dull(c, true, now_ms);
    /* An error: not mapped or not registered any more; RANGE_DEL is on its way. */
    if (n < 0 || (n == 0 && !c->pages) || !pages_has_room(&s->heat, c))
        return; /* none there, and there never was; else what is out goes on being counted */
    uint32_t nr_there = 0;
    for (int i = 0; i < n; i++) {
        note_region(s, c, &s->regions[i]);
        nr_there += (uint32_t)(page_of(s->regions[i].end) - page_of(s->regions[i].start));
    }
    if (kind == PROTECT && c->nr_written == c->nr)
        pages_begin_age(c, now_ms);
    pages_look_end(&s->heat, c);
    nr_written_before += s->nr_come; /* as those that we have been told of */
    if (c->protected_ms && c->nr_written > nr_written_before)
        s->heat.ages.nr_rewritten += c->nr_written - nr_written_before;
    if (s->nr_come > nr_there / 2)
        c->hands_off_ms = now_ms + AHEAD_MS;
    look_at_reads(s, c, now_ms);
    set_dull(c, c->nr_written == nr_there && kind == LOOK, now_ms);
    c->nr_to_pay = trial_end_ms(s, c) ? c->nr_written : estimate(s, c, n);
    if (kind == TRY) {
        c->nr_tried = (uint8_t)nr_written_within_trial(s, c, n, &(uint32_t){ 0 });
        c->nr_to_pay = c->nr_written = (uint16_t)(c->nr_written - c->nr_tried);
        c->tried_s = (uint32_t)(now_ms / 1000);
    }
    if (kind != PROTECT)
        return;
    bool is_at_once = now_ms < c->protected_ms + 2 * (s->look_pause_ms << c->hot_shift);
    bool is_hot = c->protected_ms && is_at_once && c->nr_written * 8u >= nr_there * 7u;
    if (!is_hot)
        c->hot_shift = 0;
    else if (c->hot_shift < HOT_SHIFT_MAX)
        c->hot_shift++;
    c->nr_written = c->nr_to_pay = c->nr_tried = 0;
    c->nr_trials = 1; /* it was of all */
    c->tried_s = (uint32_t)(now_ms / 1000);
    c->protected_ms = now_ms;
}

/* It was looked at before, and time has come for what was protected then. */
static bool is_time_for(const struct chunk *c, uint64_t after_ms, uint64_t now_ms)
{
    uint64_t due_ms = c->protected_ms + after_ms;
    return c->looked_ms < due_ms && now_ms >= due_ms;
}

/* Between two looks. Where nothing can be learnt, so much of the time for which that has been so: what is out
 * there is never taken for much younger than it is. But nobody tells of what is there again for the first time,
 * and it is to be found within seconds. */
static uint64_t look_pause_ms(const struct scan *s, const struct chunk *c)
{
    uint64_t least_ms = s->look_pause_ms * DULL_FACTOR;
    if (!c->dull_s)
        return s->look_pause_ms;
    if (!s->is_rationed)
        return least_ms;
    return clamp((c->looked_ms - c->dull_s * UINT64_C(1000)) / DULL_FACTOR, least_ms,
                 LOOK_PAUSE_MS_MAX * DULL_FACTOR);
}

static bool is_look_due(const struct scan *s, const struct chunk *c, uint64_t now_ms)
{
    uint64_t pause_ms = look_pause_ms(s, c);
    if (c->nr_trials && !c->is_looked_at && pause_ms > TRIAL_MS)
        pause_ms = TRIAL_MS;
    uint64_t end_ms = trial_end_ms(s, c);
    bool is_awaited = c->probe && c->probe->due_ms && now_ms >= c->probe->due_ms;
    is_awaited |= end_ms && now_ms >= end_ms;
    is_awaited |= s->is_probing && is_time_for(c, s->heat.cold_age_ms / 2, now_ms); /* it may be asked */
    is_awaited |= c->is_exact && is_time_for(c, s->heat.cold_age_ms, now_ms);       /* all of it may leave */
    return !c->looked_ms || now_ms >= c->looked_ms + pause_ms || is_awaited;
}

/* Looks at what is due. False: the time was up before the round was. */
static bool look_round(struct scan *s, uint64_t now_ms, uint64_t until_ns)
{
    size_t nr_lively = 0;
    s->heat.ages.is_resting = false;
    for (size_t seen = 0; seen < s->heat.nr; seen++) {
        if (s->look_cursor >= s->heat.nr)
            s->look_cursor = 0;
        struct chunk *c = &s->heat.chunks[s->look_cursor];
        if (is_look_due(s, c, now_ms)) {
            if (now_ns() >= until_ns)
                return false;
            if (s->is_rationed && !c->nr_trials)
                try_chunk(s, c, now_ms);
            else
                look(s, c, now_ms, s->is_rationed ? LOOK : PROTECT);
        }
        nr_lively += !c->dull_s || c->nr_written || now_ms / 1000 < c->dull_s + REST_S;
        s->look_cursor++;
    }
    s->heat.ages.is_resting = nr_lively * REST_PART < s->heat.nr && !s->has_heard;
    s->has_heard = false;
    return true;
}

/* A few times only, and for less than what is to be saved. */
static bool is_to_try_again(const struct scan *s, const struct chunk *c, uint64_t now_ms)
{
    if (!c->nr_trials || c->nr_trials >= TRIALS_MAX || trial_end_ms(s, c))
        return false;
    uint64_t pause_ms = (TRIAL_PAUSE_MS << (c->nr_trials - 1)) + s->heat.cold_age_ms;
    return c->nr_to_pay > TRIAL_PAGES * (c->nr_trials + 1u) && now_ms >= c->tried_s * UINT64_C(1000) + pause_ms;
}

/* All that was written is read, as far as is known, and it is not time to see whether it still is: after the
 * time for which probe.c asks no more what it has just found so, but counted from the chunk's own last
 * protection, since other pages of it may be asked all the time. */
static bool is_read(const struct scan *s, const struct chunk *c, uint64_t now_ms)
{
    if (!c->probe || c->probe->shift < READ_FROM || !c->protected_ms || c->written_cells & ~c->probe->read)
        return false;
    bool is_long_known = c->probe->shift >= PROBE_SHIFT_MAX;
    uint64_t most_ms = is_long_known ? READ_MS_MOST : clamp(s->heat.cold_age_ms, READ_MS_MAX, READ_MS_MOST);
    uint64_t pause_ms = clamp((s->heat.cold_age_ms << c->probe->shift) / 4, 0, most_ms);
    return now_ms < c->protected_ms + pause_ms;
}

/* Gives turns as far as the tokens go; the turn stays with the first that can't pay, and behind it only
 * who need not pay is served, and who is dear tried, so that the price is known when it comes to its turn.
 * False: the time was up before the round was. */
static bool protect_round(struct scan *s, uint64_t now_ms, uint64_t until_ns)
{
    size_t at = s->protect_cursor;
    bool is_waiting = false;
    for (size_t seen = 0; seen < s->heat.nr; seen++, at++) {
        if (at >= s->heat.nr)
            at = 0;
        if (!is_waiting)
            s->protect_cursor = at;
        struct chunk *c = &s->heat.chunks[at];
        if (!c->nr_written || now_ms < c->hands_off_ms || is_read(s, c, now_ms) ||
            (c->protected_ms && now_ms < c->protected_ms + (s->look_pause_ms << c->hot_shift)))
            continue;
        uint64_t price = c->nr_to_pay;
        bool is_trial = is_waiting && s->tokens >= TRIAL_PAGES * 1000 &&
                        s->trial_tokens >= TRIAL_PAGES * 1000 && is_to_try_again(s, c, now_ms);
        is_waiting |= price * 1000 > s->tokens;
        if (is_waiting && price && !is_trial)
            continue;
        if (now_ns() >= until_ns)
            return false;
        s->tokens -= (is_trial ? TRIAL_PAGES : price) * 1000;
        s->trial_tokens -= is_trial ? TRIAL_PAGES * 1000 : 0;
        look(s, c, now_ms, is_trial ? TRY : PROTECT);
    }
    return true;
}

static bool scan_tick(struct heat *h, uint64_t now_ms)
{
    struct scan *s = (struct scan *)h;
    uint64_t elapsed_ms = s->now_ms ? now_ms - s->now_ms : 1;
    s->now_ms = now_ms;
    uint64_t income = clamp(elapsed_ms, 0, 1000) * s->tokens_per_s;
    s->tokens = clamp(s->tokens + income, 0, s->tokens_max);
    s->trial_tokens = clamp(s->trial_tokens + income / 2, 0, s->tokens_max);
    s->purse.cold_age_ms = h->cold_age_ms;
    probe_purse_earn(&s->purse, now_ms);
    uint64_t own_ns = s->is_rationed ? OWN_NS_PER_MS : UNRATIONED_NS_PER_MS;
    uint64_t until_ns =
        now_ns() + clamp(clamp(elapsed_ms, 1, 1000) * own_ns, TICK_NS_MIN, TICK_NS_MAX);
    bool is_done = look_round(s, now_ms, until_ns);
    if (s->is_rationed)
        is_done &= protect_round(s, now_ms, until_ns);
    return !is_done;
}

/* ---- what became of pages, and probes */

/* It was out, no look has seen it there again, and it is, not protected. */
static bool is_put_back(const struct chunk *c, page_number page, enum feedback_kind kind)
{
    uint32_t index = (uint32_t)(page - c->first);
    return (kind == FEEDBACK_REFAULT || kind == FEEDBACK_PREFETCHED) && c->pages &&
           pages_nr_offered(c, index, index + 1);
}

static bool scan_feedback(struct heat *h, page_number page, enum feedback_kind kind)
{
    struct scan *s = (struct scan *)h;
    struct chunk *c = pages_chunk(h, page);
    if (c) {
        c->nr_put_back = (uint16_t)(c->nr_put_back + is_put_back(c, page, kind));
        c->dull_s = 0; /* there is something again */
        s->has_heard = true;
        uint64_t soon_ms = s->now_ms + s->look_pause_ms;
        c->hands_off_ms = c->hands_off_ms > soon_ms ? soon_ms : c->hands_off_ms; /* they came, or won't */
    }
    if (!c || !c->probe || !c->pages)
        return pages_feedback(h, page, kind);
    uint32_t index = (uint32_t)(page - c->first);
    bool is_probe = false;
    if (kind == FEEDBACK_REFAULT)
        is_probe = probe_on_return(c->probe, &s->purse, index, s->now_ms);
    else
        probe_on_refused(c->probe, index);
    if (is_probe)
        pages_probe_is_back(h, c, index);
    else
        (void)pages_feedback(h, page, kind);
    pages_set_closed(h, c, c->probe->closed);
    return is_probe;
}

static size_t scan_pick_probes(struct heat *h, uint64_t now_ms, struct heat_run *ret_runs, size_t nr_max)
{
    struct scan *s = (struct scan *)h;
    size_t nr = 0;
    for (size_t i = 0; s->has_probes && i < h->nr; i++) {
        struct chunk *c = &h->chunks[i];
        int index;
        while (c->probe && nr < nr_max && (index = probe_next(c->probe, &s->purse, now_ms)) >= 0) {
            pages_offer_probe(h, c, (uint32_t)index);
            ret_runs[nr++] = (struct heat_run){ .first = c->first + (uint32_t)index, .nr_pages = 1 };
        }
        if (nr == nr_max)
            return nr; /* the rest the next time */
    }
    s->has_probes = false;
    return nr;
}

static void scan_set_return_ns(struct heat *h, uint64_t ns)
{
    probe_purse_set_return_ns(&((struct scan *)h)->purse, ns);
}

const struct heat_ops heat_scan_ops = {
    .name = "scan",
    .knows_writes = true,
    .create = scan_create,
    .destroy = scan_destroy,
    .add = pages_add,
    .remove = pages_remove,
    .tick = scan_tick,
    .feedback = scan_feedback,
    .pace = scan_pace,
    .ages = pages_ages,
    .pick = pages_pick,
    .pick_probes = scan_pick_probes,
    .set_return_ns = scan_set_return_ns,
    .nr_pages = pages_nr,
    .nr_ready = pages_nr_ready,
    .bookkeeping_bytes = pages_bookkeeping_bytes,
};
