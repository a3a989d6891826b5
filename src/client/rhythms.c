/* rhythms.c - memory that is idle and in use by turns comes back shortly before its next turn. A zone
 * is 2 MiB of addresses. Its bursts are known by its faults: those of the burst before say
 * how much of what was out was wanted, and only a zone of which more than half was comes back as a
 * whole. A page that is out is left out, and its fault tells that the burst has come; if it does not
 * come, the zone's pages count as wasted, and the rhythm has to be learned again.
 *
 * How much earlier to begin: the rhythm's own spread (policy/rhythm.h), and the time that all zones
 * which are due soon need together. Zones are looked at a few at a time, and only when the first of
 * them is due. */
#include "client/prefetch.h"

#include "base/clock.h"
#include "client/client.h"

#define LOOK_ZONES 256u     /* of 150 bytes in one go: 5 us */
#define LOOK_EVERY_MS 250u  /* after a burst has begun, before one is due, or while one is late */
#define SOON_MS 2000u       /* what is due within it is worked off together; no zone comes back earlier */
/* A page in a run is 2 to 3 us (docs/prefetch.md), more where the CPUs are wanted by others: the mean of the last
 * zones, and a half more. */
#define PAGE_NS_FIRST 4000u
#define PAGE_NS_MAX 50000u
#define PAUSE_MIN_MS 20u
#define GROUP_ZONES 16u /* 32 MiB */
#define CHECK_EVERY 16u /* bursts, after which each zone says again how much of it is wanted */

uint32_t rhythms_now_ms(void)
{
    uint32_t now = (uint32_t)(now_ns() / NS_PER_MS);
    return now ? now : 1;
}

/* A burst begins after a pause of half the cold age: what leaves has been idle for longer. */
static uint32_t pause_ms(const struct agent *a)
{
    uint64_t ms = a->session.cold_age_ns / NS_PER_MS / 2;
    return ms < PAUSE_MIN_MS ? PAUSE_MIN_MS : (uint32_t)ms;
}

static page_number zone_first(page_number page)
{
    return page / ZONE_PAGES * ZONE_PAGES;
}

/* The page's zone; what another one at this place had learned is forgotten. */
static struct zone *zone_of(struct agent *a, page_number page)
{
    struct rhythms *r = &a->prefetch.rhythms;
    uint32_t at = (uint32_t)(page / ZONE_PAGES % ZONES_NR);
    struct zone *z = &r->zones[at];
    if (z->first != zone_first(page)) {
        if (r->working == at + 1)
            r->working = 0;
        *z = (struct zone){ .first = zone_first(page) };
    }
    return z;
}

static uint32_t nr_out_in(const struct agent *a, const struct zone *z)
{
    uint32_t nr = 0;
    struct leaf_walk walk = leaf_walk_begin(&a->pg.table, z->first, z->first + ZONE_PAGES);
    for (const struct page_leaf *leaf; (leaf = leaf_walk_next(&a->pg.table, &walk));)
        nr += leaf->nr_out;
    return nr;
}

static uint16_t count_up(uint16_t count, unsigned by)
{
    return (uint16_t)(count + by < UINT16_MAX ? count + by : UINT16_MAX);
}

static bool was_wanted(const struct zone *z)
{
    return 2u * z->nr_back > z->nr_out;
}

/* The agent's clock has another pace now, which it gets at a tick: one that comes when the old pace says so is
 * too late, or one of hundreds. */
static void set_next(struct agent *a, uint32_t at_ms)
{
    a->prefetch.rhythms.next_ms = at_ms;
    a->next_tick_ns = 0;
}

static void look_within(struct agent *a, uint32_t in_ms)
{
    uint32_t at_ms = rhythms_now_ms() + in_ms, next_ms = a->prefetch.rhythms.next_ms;
    if (!next_ms || (int32_t)(at_ms - next_ms) < 0)
        set_next(a, at_ms ? at_ms : 1);
}

/* ---- what faults tell */

/* The burst that the zone was brought back for has come. */
static void on_expected(struct agent *a, struct zone *z)
{
    uint32_t at = z->window.at;
    z->is_expected = false;
    (void)window_passed(a, &z->window, z->window.nr);
    z->window.at = at; /* it came early: what is still to come back goes on, and is not told of */
    rhythm_on_hit(&z->rhythm);
}

static void on_touch(struct agent *a, struct zone *z, uint32_t nr_out)
{
    struct activity *activity = &a->prefetch.rhythms.activity;
    uint32_t idle_ms = pause_ms(a);
    activity_on_touch(activity, rhythms_now_ms(), idle_ms);
    if (rhythm_on_touch(&z->rhythm, activity, idle_ms)) {
        z->nr_out = (uint16_t)nr_out; /* 513 at most */
        z->nr_back = 0;
        look_within(a, LOOK_EVERY_MS);
    }
    z->nr_back = count_up(z->nr_back, 1);
}

/* Those between it and the next that has left out a page of its own. */
static void call_followers(struct agent *a, const struct zone *leader)
{
    struct rhythms *r = &a->prefetch.rhythms;
    uint32_t i = (uint32_t)(leader - r->zones) + 1;
    for (; i % GROUP_ZONES && !(r->zones[i].is_expected && !r->zones[i].is_follower); i++) {
        struct zone *z = &r->zones[i];
        if (!z->is_expected)
            continue;
        on_expected(a, z);
        on_touch(a, z, 0);
    }
}

bool rhythms_on_fault(struct agent *a, page_number page)
{
    struct zone *z = zone_of(a, page);
    if (!z->is_expected) {
        on_touch(a, z, nr_out_in(a, z) + 1);
        return false;
    }
    on_expected(a, z);
    on_touch(a, z, z->window.nr_left_out);
    if (!z->is_follower)
        call_followers(a, z);
    return true;
}

void rhythms_on_used(struct agent *a, page_number page, unsigned nr)
{
    struct zone *z = zone_of(a, page);
    z->nr_back = count_up(z->nr_back, nr);
}

void rhythms_forget(struct agent *a)
{
    struct rhythms *r = &a->prefetch.rhythms;
    if (r->working) {
        struct window *w = &r->zones[r->working - 1].window;
        w->at = w->nr;
    }
    r->working = 0;
}

/* ---- what is due */

static bool is_due(const struct rhythms *r, uint32_t ready_ms, uint32_t now_ms)
{
    return (int32_t)(ready_ms - r->lead_ms - now_ms) <= 0;
}

/* Nobody has come. */
static void give_up_waiting(struct agent *a, struct zone *z)
{
    z->is_expected = false;
    window_wasted(a, &z->window);
    rhythm_on_miss(&z->rhythm);
}

static void note_soon(struct rhythms *r, uint32_t ready_ms, uint32_t now_ms, unsigned nr_pages)
{
    if (!r->earliest_ms || (int32_t)(ready_ms - r->earliest_ms) < 0)
        r->earliest_ms = ready_ms ? ready_ms : 1;
    if ((int32_t)(ready_ms - now_ms) < (int32_t)SOON_MS)
        r->nr_soon += nr_pages;
}

/* The zone's leader: the last one of its group before it that has left out a page, if it is due with it. */
static bool has_leader(const struct rhythms *r, const struct zone *z)
{
    const struct zone *leader = z;
    do {
        if ((leader - r->zones) % GROUP_ZONES == 0)
            return false;
        leader--;
    } while (!leader->is_expected || leader->is_follower);
    bool is_near = leader->first + (page_number)(z - leader) * ZONE_PAGES == z->first; /* no other's place */
    int32_t apart_ms = (int32_t)(z->expected_ms - leader->expected_ms);
    return is_near && apart_ms <= (int32_t)z->margin_ms && -apart_ms <= (int32_t)z->margin_ms;
}

/* The fault of a page that is left out costs what a hundred pages of a burst do. So mostly the first zone of a
 * group leaves one out for all that are due with it; now and then each leaves out two, some in each burst. */
static void leave_out(const struct rhythms *r, struct zone *z)
{
    bool is_check = (++z->nr_bursts + (uint32_t)(z - r->zones)) % CHECK_EVERY == 0;
    z->is_follower = !is_check && has_leader(r, z);
    if (z->is_follower)
        z->window.leave_from = ZONE_PAGES;
    else if (is_check)
        z->window.leave_every = ZONE_PAGES / 2;
}

/* True: it is to come back now. */
static bool look_at(struct agent *a, struct zone *z, uint32_t now_ms)
{
    struct rhythms *r = &a->prefetch.rhythms;
    if (z->is_expected) {
        r->nr_expected++;
        uint32_t until_ms = z->expected_ms + z->margin_ms + z->rhythm.lag_ms + rhythm_patience_ms(&z->rhythm);
        if ((int32_t)(now_ms - until_ms) > 0)
            give_up_waiting(a, z);
        return false;
    }
    uint32_t begin_ms, margin_ms;
    if (!was_wanted(z) || !rhythm_predict(&z->rhythm, &r->activity, &begin_ms, &margin_ms))
        return false;
    if ((int32_t)(begin_ms + margin_ms - now_ms) < 0)
        return false; /* it did not come, and nothing was brought back for it */
    uint32_t ready_ms = begin_ms - margin_ms;
    bool is_now = is_due(r, ready_ms, now_ms);
    uint32_t nr_out = nr_out_in(a, z);
    if (is_now && !nr_out)
        return false;
    note_soon(r, ready_ms, now_ms, nr_out); /* what is all there may have left by then */
    if (!is_now)
        return false;
    z->is_expected = true;
    z->expected_ms = begin_ms;
    z->margin_ms = margin_ms;
    window_begin(&z->window, z->first, 1, ZONE_PAGES);
    leave_out(r, z);
    stats_add(a->pg.stats, STAT_prefetch_bursts, 1);
    return true;
}

/* All zones have been looked at: when again, and how long they will need. */
static void end_look(struct agent *a, uint32_t now_ms)
{
    struct rhythms *r = &a->prefetch.rhythms;
    uint64_t page_ns = r->page_ns ? r->page_ns : PAGE_NS_FIRST;
    uint64_t lead_ms = (uint64_t)r->nr_soon * (page_ns + page_ns / 2) / NS_PER_MS;
    r->lead_ms = lead_ms < SOON_MS ? (uint32_t)lead_ms : SOON_MS;
    r->is_looking = false;
    set_next(a, 0); /* nothing is expected: when the next burst begins */
    if (r->nr_expected)
        look_within(a, LOOK_EVERY_MS);
    if (!r->earliest_ms)
        return;
    int32_t left = (int32_t)(r->earliest_ms - now_ms), lead = (int32_t)r->lead_ms;
    if (left > (int32_t)SOON_MS)
        look_within(a, (uint32_t)left - SOON_MS); /* how much will be due is not known yet */
    else if (left - lead > (int32_t)LOOK_EVERY_MS)
        look_within(a, LOOK_EVERY_MS); /* more may leave until then, and need more time */
    else
        look_within(a, left > lead ? (uint32_t)(left - lead) : 1);
}

static void begin_look(struct rhythms *r)
{
    r->is_looking = true;
    r->at = r->earliest_ms = r->nr_soon = r->nr_expected = 0;
}

static void zone_is_back(struct rhythms *r)
{
    if (r->nr_working < ZONE_PAGES / 2)
        return;
    uint64_t page_ns = (now_ns() - r->working_ns) / r->nr_working;
    page_ns = page_ns < PAGE_NS_MAX ? page_ns : PAGE_NS_MAX;
    uint32_t before_ns = r->page_ns ? r->page_ns : PAGE_NS_FIRST;
    r->page_ns = before_ns - before_ns / 8 + (uint32_t)page_ns / 8;
}

struct window *rhythms_window(struct agent *a)
{
    struct rhythms *r = &a->prefetch.rhythms;
    if (r->working && window_has_work(&r->zones[r->working - 1].window))
        return &r->zones[r->working - 1].window;
    if (r->working)
        zone_is_back(r);
    r->working = 0;
    if (!r->next_ms)
        return NULL;
    uint32_t now_ms = rhythms_now_ms();
    if (!r->is_looking) {
        if ((int32_t)(now_ms - r->next_ms) < 0)
            return NULL;
        begin_look(r);
    }
    for (unsigned i = 0; i < LOOK_ZONES && r->at < ZONES_NR; i++) {
        uint32_t at = r->at++;
        if (!look_at(a, &r->zones[at], now_ms))
            continue;
        r->working = at + 1;
        r->working_ns = now_ns();
        r->nr_working = nr_out_in(a, &r->zones[at]);
        return &r->zones[at].window;
    }
    if (r->at == ZONES_NR)
        end_look(a, now_ms);
    return NULL;
}
