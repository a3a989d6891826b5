/* agent.c - the loop of the agent thread: the one reader, mover and installer.
 *
 * Each round, in order: messages of the kernel, faults, then one bounded piece of everything else
 * (answers of the daemon, a slice of a command, a run of eviction), so that a fault waits for at most
 * one such piece, 10-20 us. It sleeps only when there is nothing to do. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "base/point.h"
#include "client/client.h"
#include "client/sleep.h"
#include "sys/limits.h"

#define DRAIN_SLICE 16u       /* pages of a drain between two looks for faults */
#define OLD_STORE_SLICE 16u   /* pages of an old store, at most once a millisecond: 64 MiB/s */
#define STORED_BATCH 64       /* answers of the daemon between two looks for faults */
#define GIVEN_UP_BELL 512u    /* places that wait to be taken: 2 MiB that the daemon could give back */
#define SPINS_BEFORE_NAP 64   /* EAGAIN: yields before we sleep for a moment */
#define NAP_NS 50000l
#define NAP_SHIFT_MAX 7u      /* without memory: naps of up to 6 ms */
#define TICK_MAX_NS NS_PER_S
#define JOIN_TICK_NS (100 * NS_PER_MS) /* without a daemon: how often we look for one */
#define RECLAIM_PATIENCE_NS (100 * NS_PER_MS) /* with mappings that change all the time */
/* A daemon that answers nothing for so long is not waited for any more, as at pp_start(). */
#define DAEMON_PATIENCE_NS (5 * NS_PER_S)
/* When we look again whether what was refused can be managed. What the kernel refuses it may only refuse for
 * now: in a child of fork() a mapping is registered still until our parent's porter has closed what the fork's
 * event brought. So that is after a second the first time, then after twice as long. */
#define REFUSED_FOR_MIN_NS NS_PER_S
#define REFUSED_FOR_MAX_NS (60 * NS_PER_S)
/* As often as the daemon reads what it is told, at most: 4 wakes a second while pages are paged out. */
#define RETURNS_PAUSE_MAX_NS (250 * NS_PER_MS)
#define RETURNS_PIECES_MAX 4096u /* a look: 8 GiB, 3 us for each 2 MiB that are out */
#define FOLLOW_TIMEOUT_NS (10 * NS_PER_MS) /* without a fault: evict on whatever CPU is free */
/* Buffers within 4 MiB: 448 staging + 448 raw + 64 landing pages are 3.75 MiB. */
#define BUFFER_SLOTS_MIN 448u

/* ---- what the pager tells us while it works */

void agent_on_unwatched(void *context, page_number first, page_number end)
{
    session_announce(context, MSG_RANGE_DEL, first, end);
}

bool agent_on_feedback_run(struct agent *a, enum feedback_kind kind, page_number first, uint32_t nr)
{
    struct feedback_entry entry = feedback_make(kind, first, nr);
    return !a->is_joined || ring_put(&a->session.feedback, &entry) == 0;
}

bool agent_on_feedback(void *context, enum feedback_kind kind, page_number page)
{
    return agent_on_feedback_run(context, kind, page, 1);
}

/* ---- one piece of each kind of work; true: there was some */

static bool take_answers(struct agent *a, struct pp_pager *pp)
{
    bool any = false;
    uint32_t slot;
    while (ring_take(&a->pg.from_porter, &slot) == 1) {
        pager_on_freed(&a->pg, slot);
        any = true;
    }
    /* A whole run at least: moving one page costs half of what moving 64 does. */
    const struct staging *st = &a->pg.staging;
    if (any && st->nr_used + MOVE_RUN_MAX <= st->limit)
        a->is_staging_full = false;
    if (!a->is_joined)
        return any;
    struct stored_entry e;
    int r = 0;
    for (int i = 0; i < STORED_BATCH && (r = ring_take(&a->session.stored, &e)) == 1; i++) {
        any = a->silence.has_answered = true;
        r = pager_on_stored(&a->pg, &e);
        if (r)
            break;
    }
    if (r == 0 && !squeeze_answers(a, &any))
        r = -EPROTO;
    uint32_t broken = atomic_load_explicit(&pp->porter->broken, memory_order_acquire);
    if (r < 0 || broken == a->session_number)
        session_lost(a, pp, "the daemon broke the protocol");
    else if (a->pg.nr_give_back)
        pager_give_back(&a->pg);
    return any;
}

static void tell_given_up(struct agent *a)
{
    if (!a->is_joined || !a->pg.nr_give_up)
        return;
    if (a->forks.nr && !mutant_is(MUTANT_FORK_GIVES_UP_EARLY))
        return; /* a child may be reading there */
    struct session *s = &a->session;
    while (a->pg.nr_give_up) {
        struct given_up_entry e = { .place = a->pg.give_up[a->pg.nr_give_up - 1] };
        if (ring_put(&s->given_up, &e))
            break;
        point_kills(POINT_GIVEN_UP_TOLD);
        a->pg.nr_give_up--;
    }
    if (a->pg.nr_give_up || ring_room(&s->given_up) < RING_GIVEN_UP_NR - GIVEN_UP_BELL)
        doorbell_ring(&s->memory->daemon_bell, s->daemon_bell);
}

/* Direct: nothing before touching threads can bring it back. */
bool agent_may_evict(const struct agent *a)
{
    bool is_ready = !a->pg.direct || atomic_load(&a->pg.direct->uffd) >= 0;
    return a->is_joined && is_ready && !a->is_frozen && !a->is_held && !a->is_staging_full &&
           !a->session.is_dry_run;
}

/* A run of what may leave, the way this daemon wants it. Returns how many pages have been dealt with. */
static unsigned evict_run(struct agent *a, page_number first, uint32_t nr, bool if_unwritten)
{
    if (now_ns() - a->last_fault_ns > FOLLOW_TIMEOUT_NS)
        follow_nobody();
    urgent_leave(a);
    if (a->session.is_pageout)
        return pager_page_out(&a->pg, first, nr, if_unwritten);
    unsigned looked;
    enum evict_result r = pager_evict(&a->pg, first, nr, if_unwritten, &looked);
    a->is_staging_full = r == EVICT_FULL; /* until the porter has freed some */
    return looked;
}

static bool evict_piece(struct agent *a, struct pp_pager *pp)
{
    if (!agent_may_evict(a))
        return false;
    struct candidate_entry *c = &a->candidate;
    if (!c->nr_pages) {
        int r = ring_take(&a->session.candidates, c);
        if (r < 0)
            session_lost(a, pp, "the daemon broke the protocol");
        if (r != 1) {
            c->nr_pages = 0;
            return false;
        }
        if (c->nr_pages > LOOK_PAGES || c->first >> 35) {
            c->nr_pages = 0;
            return true; /* a hint about nothing of ours */
        }
    }
    unsigned looked = evict_run(a, c->first, c->nr_pages, c->flags & CANDIDATE_IF_UNWRITTEN);
    c->first += looked;
    c->nr_pages -= looked < c->nr_pages ? looked : c->nr_pages;
    return true;
}

/* ---- ranges that the agent takes on */

/* False: just now it can't be. */
static bool watch_range(struct agent *a, struct interval *range)
{
    int r = pager_watch(&a->pg, range->first, range->end);
    if (r == -EAGAIN)
        return false;
    if (intervals_set(&a->pg.managed, range->first, range->end, 0))
        return true; /* full: asked again at the next tick */
    range->tag |= 1;
    if (r == -ENOENT)
        a->pg.has_gaps = true; /* rewatch() looks at what of it is mapped */
    if (r)
        return true; /* or refused, and counted */
    stats_add(a->pg.stats, STAT_ranges_watched, 1);
    session_announce(a, MSG_RANGE_ADD, range->first, range->end);
    return true;
}

/* Watches what of the gap is mapped and can be paged; what is not mapped yet is asked again. Returns
 * where to go on; *ret_again: just now it could not. */
static page_number rewatch_gap(struct agent *a, page_number at, page_number end, bool *ret_again)
{
    struct maps_vma vma;
    if (maps_find(&a->pg.maps, page_address(at), &vma) || page_of(vma.start) >= end) {
        a->pg.has_gaps = true;
        return end;
    }
    page_number first = page_of(vma.start) > at ? page_of(vma.start) : at;
    page_number stop = page_of(vma.end) < end ? page_of(vma.end) : end;
    a->pg.has_gaps |= first > at;
    int r = pager_watch(&a->pg, first, stop);
    if (r == 0)
        session_announce(a, MSG_RANGE_ADD, first, stop);
    a->pg.has_gaps |= r == -EAGAIN || r == -ENOENT;
    *ret_again |= r == -EAGAIN;
    return stop;
}

/* The gaps of managed intervals that overlap [first, end), each as a whole: what is armed in part can't be
 * moved by mremap. False: something can't be watched just now. */
static bool rewatch_between(struct agent *a, page_number first, page_number end)
{
    bool must_again = false;
    for (uint32_t i = intervals_from(&a->pg.managed, first);
         i < a->pg.managed.nr && a->pg.managed.items[i].first < end; i++) {
        struct interval *m = &a->pg.managed.items[i];
        for (page_number at = m->first; at < m->end;) {
            struct interval *w = intervals_find(&a->pg.watched, at);
            if (w) {
                at = w->end;
                continue;
            }
            uint32_t next = intervals_from(&a->pg.watched, at);
            page_number gap_end = next < a->pg.watched.nr && a->pg.watched.items[next].first < m->end
                                      ? a->pg.watched.items[next].first
                                      : m->end;
            at = rewatch_gap(a, at, gap_end, &must_again);
        }
    }
    return !must_again;
}

/* Ranges that have grown old enough become known to the kernel. False: not all of them just now. */
static bool adopt_ranges(struct agent *a, struct pp_pager *pp, uint64_t now)
{
    if (a->is_frozen || pthread_mutex_trylock(&pp->ranges_lock))
        return false; /* an application thread holds it, perhaps in a fault that waits for us */
    bool is_done = true;
    for (uint32_t i = 0; i < pp->ranges.nr; i++) {
        struct interval *range = &pp->ranges.items[i];
        bool is_adopted = range->tag & 1;
        uint64_t born_ns = range->tag & ~UINT64_C(1); /* 0: reclaimed by hand, so old enough */
        if (!is_adopted && (!born_ns || now >= born_ns + a->session.cold_age_ns))
            is_done &= watch_range(a, range);
    }
    pthread_mutex_unlock(&pp->ranges_lock);
    return is_done;
}

/* The same, and what was newly mapped where managed intervals overlap [first, end). */
static bool adopt_between(struct agent *a, struct pp_pager *pp, page_number first, page_number end)
{
    bool is_done = adopt_ranges(a, pp, now_ns());
    if (a->pg.has_gaps)
        is_done &= rewatch_between(a, first, end);
    return is_done;
}

bool agent_adopt_all(struct agent *a, struct pp_pager *pp)
{
    if (a->is_frozen || pthread_mutex_trylock(&pp->ranges_lock))
        return false;
    for (uint32_t i = 0; i < pp->ranges.nr; i++)
        if (!(pp->ranges.items[i].tag & 1))
            pp->ranges.items[i].tag = range_tag(0, false);
    pthread_mutex_unlock(&pp->ranges_lock);
    return adopt_between(a, pp, 0, (page_number)-1);
}

void agent_nap(const struct agent *a, unsigned shift)
{
    struct timespec t = { .tv_nsec = NAP_NS << (shift < NAP_SHIFT_MAX ? shift : NAP_SHIFT_MAX) };
    (void)ppoll(&(struct pollfd){ .fd = a->pg.uffd, .events = POLLIN }, 1, &t, NULL);
}

/* ---- commands of application threads */

static void command_finish(struct pp_pager *pp, int result)
{
    pp->command.result = result;
    atomic_store_explicit(&pp->command.state, COMMAND_DONE, memory_order_release);
    futex_wake_all(&pp->command.state);
}

static void command_begin(struct agent *a, struct pp_pager *pp)
{
    struct command *c = &pp->command;
    a->is_command_begun = true;
    a->command_cursor = c->first;
    a->command_begin_ns = now_ns();
    a->drain_cursor = 0;
    a->command_result = 0;
    switch (c->op) {
    case COMMAND_UNREGISTER:
        if (intervals_clear(&a->pg.managed, c->first, c->end))
            a->command_result = -ENOSPC; /* can't be: it was put in as one */
        break;
    case COMMAND_PIN:
        a->command_result = pins_add(&a->pg.pins, c->first, c->end);
        break;
    case COMMAND_FREEZE:
    case COMMAND_STOP:
        a->is_frozen = true;
        break;
    case COMMAND_COVER:
        a->command_result = forks_cover(a);
        break;
    case COMMAND_EMPTY:
        forks_count_drained(a, (enum fork_drained)c->first);
        break;
    case COMMAND_UNPIN:
    case COMMAND_THAW:
    case COMMAND_RECLAIM:
    case COMMAND_SETTLE:
        break;
    }
}

/* What is young or newly mapped is watched from now on. False: ask again. The event that woke us for this
 * very command says "not now" until its raiser runs again, so that is waited for; but not for ever: the
 * kernel may have no more mappings for us. */
static bool make_reclaimable(struct agent *a, struct pp_pager *pp, const struct command *c)
{
    if (adopt_between(a, pp, c->first, c->end) ||
        now_ns() - a->command_begin_ns > RECLAIM_PATIENCE_NS)
        return true;
    agent_nap(a, 0);
    return false;
}

/* For how long has the daemon answered nothing, with pages under way at each tick? A time in which we stood
 * still, too, counts as one tick; they come up to two intervals apart. */
static uint64_t silence_ns(const struct agent *a, uint64_t now)
{
    const struct silence *s = &a->silence;
    uint64_t ns = now - s->last_tick_ns < 2 * TICK_MAX_NS ? now - s->last_tick_ns : 2 * TICK_MAX_NS;
    return a->pg.nr_staged && s->was_awaited && !s->has_answered ? s->ns + ns : 0;
}

static void tick_silence(struct agent *a, uint64_t now)
{
    a->silence = (struct silence){ .ns = silence_ns(a, now),
                                   .last_tick_ns = now,
                                   .was_awaited = a->pg.nr_staged > 0 };
}

/* What is under way stays where it is, whether it is waited for or not. 0; -ETIMEDOUT: in vain. */
static int await_daemon(struct agent *a)
{
    if (silence_ns(a, now_ns()) >= DAEMON_PATIENCE_NS)
        return -ETIMEDOUT;
    a->is_command_waiting = true;
    return 0;
}

/* One run of moving out. 1: done; 0: more; -ENOTCONN, -ETIMEDOUT. */
static int command_reclaim(struct agent *a, struct pp_pager *pp, const struct command *c)
{
    if (!a->is_joined || a->session.is_dry_run)
        return -ENOTCONN;
    if (a->is_held && !mutant_is(MUTANT_HOLD_FORGOTTEN))
        return 1; /* somebody has it drained: all of it stays */
    if (a->command_cursor == c->first && !make_reclaimable(a, pp, c))
        return 0;
    if (a->is_staging_full)
        return await_daemon(a);
    page_number left = c->end - a->command_cursor;
    uint32_t nr = left < LOOK_PAGES ? (uint32_t)left : LOOK_PAGES;
    a->command_cursor += evict_run(a, a->command_cursor, nr, false);
    return a->command_cursor >= c->end;
}

/* Looks on from where a page was still under way, some at a time. 1: none is; 0: some may be; -ETIMEDOUT. */
static int command_settle(struct agent *a, const struct command *c)
{
    page_number stop = a->command_cursor + LOOK_PAGES; /* a fault may wait for so much of this */
    for (; a->command_cursor < c->end; a->command_cursor++) {
        if (a->command_cursor == stop)
            return 0;
        struct page_leaf *leaf;
        struct page *p = pager_page(&a->pg, a->command_cursor, &leaf);
        if (p && p->state == PAGE_STAGED && a->is_joined && !mutant_is(MUTANT_RECLAIM_UNSETTLED))
            return await_daemon(a);
    }
    return 1;
}

/* Staged pages go back: the child has no staging. 1: none is left, and it is known what is out. */
static int command_freeze(struct agent *a, const struct command *c)
{
    if (mutant_is(MUTANT_NO_FORK_DRAIN))
        return 1;
    for (uint32_t slot = 0, nr = 0; slot < a->pg.staging.nr && nr < DRAIN_SLICE; slot++) {
        if (a->pg.staging.slots[slot].state != SLOT_HOLDS)
            continue;
        nr++;
        page_number page = a->pg.staging.slots[slot].page;
        int r = pager_drain(&a->pg, &page, page + 1, DRAIN_FORGET_ZEROS, 1);
        if (r != 1)
            return r;
    }
    if (a->pg.nr_staged || a->pg.unmapped.nr)
        return 0;
    if (pager_nr_out(&a->pg))
        a->command_result = forks_may_call(a, (pid_t)c->first) ? 1 : -EPERM;
    return 1;
}

/* One slice of what the command asks for. 1: done; 0: more; negative: as pager_drain. */
static int command_slice(struct agent *a, struct pp_pager *pp, const struct command *c)
{
    switch (c->op) {
    case COMMAND_RECLAIM:
        return command_reclaim(a, pp, c);
    case COMMAND_SETTLE:
        return command_settle(a, c);
    case COMMAND_UNREGISTER:
        if (mutant_is(MUTANT_UNREGISTER_WITHOUT_DRAIN))
            return 1;
        return pager_drain(&a->pg, &a->command_cursor, c->end, DRAIN_FORGET_ZEROS, DRAIN_SLICE);
    case COMMAND_PIN:
        return pager_drain(&a->pg, &a->command_cursor, c->end, DRAIN_INSTALL, DRAIN_SLICE);
    case COMMAND_FREEZE:
        return command_freeze(a, c);
    case COMMAND_THAW:
        a->is_command_waiting = !forks_are_settled(a, now_ns() - a->command_begin_ns);
        return !a->is_command_waiting;
    case COMMAND_STOP:
        if (mutant_is(MUTANT_STOP_WITHOUT_DRAIN))
            return 1;
        break;
    case COMMAND_EMPTY:
        break;
    case COMMAND_UNPIN:
    case COMMAND_COVER:
        return 1;
    }
    int r = pager_drain_all(&a->pg, &a->drain_cursor, DRAIN_SLICE);
    point_kills(POINT_DRAINING);
    return r == 1 && pager_nr_out(&a->pg) ? 0 : r; /* mremap may have moved some behind the cursor */
}

static bool command_piece(struct agent *a, struct pp_pager *pp)
{
    if (atomic_load_explicit(&pp->command.state, memory_order_acquire) != COMMAND_POSTED)
        return false;
    struct command *c = &pp->command;
    if (!a->is_command_begun)
        command_begin(a, pp);
    a->is_command_waiting = false;
    if (a->command_result == 0 || a->command_result == -EIO) {
        int r = command_slice(a, pp, c);
        bool is_over = r == 1 || r == -ENOTCONN || r == -ETIMEDOUT;
        if (r == -EIO || (is_over && r < 0))
            a->command_result = r; /* a page is lost; the rest still comes back */
        bool must_yield = a->is_command_waiting && c->op != COMMAND_THAW && atomic_load(&pp->nr_wanting);
        if (must_yield) {
            c->first = a->command_cursor;
            a->command_result = -EINPROGRESS;
            a->is_command_waiting = false;
        } else if (!is_over) {
            return !a->is_command_waiting;
        }
    }
    switch (c->op) {
    case COMMAND_UNREGISTER:
        pager_unwatch(&a->pg, c->first, c->end);
        break;
    case COMMAND_UNPIN:
        a->command_result = pins_remove(&a->pg.pins, c->first, c->end);
        break;
    case COMMAND_THAW:
        a->is_frozen = false;
        stats_add(a->pg.stats, STAT_other_wait_ns, now_ns() - a->command_begin_ns);
        break;
    case COMMAND_STOP:
        a->must_end = true;
        break;
    case COMMAND_FREEZE: /* a fork waits; other calls ask for what they wait for */
    case COMMAND_EMPTY:
        stats_add(a->pg.stats, STAT_other_wait_ns, now_ns() - a->command_begin_ns);
        break;
    case COMMAND_PIN:
    case COMMAND_COVER:
    case COMMAND_RECLAIM:
    case COMMAND_SETTLE:
        break;
    }
    a->is_command_begun = false;
    if (c->op != COMMAND_STOP)
        command_finish(pp, a->command_result);
    return true;
}

/* ---- what happens at intervals */

/* A managed interval whose mapping went and which may have a new one: look again, once it is old. */
static void rewatch(struct agent *a, uint64_t now)
{
    if (!a->pg.has_gaps || a->is_frozen)
        return;
    if (!a->rewatch_ns)
        a->rewatch_ns = now + a->session.cold_age_ns;
    if (now < a->rewatch_ns)
        return;
    a->rewatch_ns = 0;
    a->pg.has_gaps = false;
    (void)rewatch_between(a, 0, (page_number)-1); /* what could not be is a gap still */
}

/* What touching threads have counted since the last time; their waits are in the budget, too. */
static void publish_touchers(struct agent *a, struct stats_block *st)
{
    if (!a->pg.direct)
        return;
    struct direct_sums now = direct_sums(a->pg.direct), *told = &a->told_of_touchers;
    stats_add(st, STAT_direct_restores, now.restored + now.staged - told->restored - told->staged);
    stats_add(st, STAT_direct_zeros, now.zeros - told->zeros);
    stats_add(st, STAT_direct_raced, now.raced - told->raced);
    stats_add(st, STAT_direct_waits, now.waits - told->waits);
    stats_add(st, STAT_direct_runs, now.runs - told->runs);
    stats_add(st, STAT_prefetch_pages, now.ahead - told->ahead);
    stats_add(st, STAT_prefetch_used, now.used - told->used);
    stats_add(st, STAT_prefetch_wasted, now.wasted - told->wasted);
    stats_add(st, STAT_fault_wait_ns, now.waited_ns - told->waited_ns);
    *told = now;
    direct_take_times(a->pg.direct, &st->hists[STAT_HIST_fault_missing_ns],
                      &st->hists[STAT_HIST_restore_wall_ns]);
}

void agent_publish_stats(struct agent *a, struct pp_pager *pp)
{
    struct stats_block *st = &pp->agent_stats;
    uint64_t nr_tracked = 0, nr_refused = 0;
    for (uint32_t i = 0; i < a->pg.watched.nr; i++) {
        const struct interval *w = &a->pg.watched.items[i];
        *(watch_state_of(w) == WATCH_REFUSED ? &nr_refused : &nr_tracked) += w->end - w->first;
    }
    stats_set(st, STAT_pages_refused, nr_refused);
    stats_set(st, STAT_pages_tracked, nr_tracked);
    if (nr_tracked > stats_get(st, STAT_pages_tracked_peak))
        stats_set(st, STAT_pages_tracked_peak, nr_tracked);
    publish_touchers(a, st);
    stats_set(st, STAT_pages_staged, a->pg.nr_staged);
    stats_set(st, STAT_pages_stored, a->pg.nr_stored);
    stats_set(st, STAT_pages_same, a->pg.nr_same);
    stats_set(st, STAT_pages_squeezed, a->pg.nr_squeezed);
    stats_set(st, STAT_pages_zero, a->pg.nr_zero);
    stats_set(st, STAT_pages_paged_out, a->pg.nr_paged_out);
    stats_set(st, STAT_table_bytes, page_table_used_bytes(&a->pg.table));
    stats_set(st, STAT_range_add_msgs, atomic_load(&pp->nr_range_add));
    stats_set(st, STAT_range_del_msgs, atomic_load(&pp->nr_range_del));
    stats_set(st, STAT_agent_cpu_ns, thread_cpu_ns());
    stats_set(st, STAT_agent_fault_cpu_ns, a->fault_ns);
    if (a->is_joined) { /* so that the daemon has them, even of a client that was killed */
        memcpy(&a->session.memory->agent_stats, st, sizeof *st);
        memcpy(&a->session.memory->porter_stats, &pp->porter_stats, sizeof pp->porter_stats);
    }
}

/* What the daemon steers by, ahead of the rest: as old as a tick it would be too old. About 8 ns. */
static void publish_pulse(struct agent *a)
{
    if (!a->is_joined)
        return;
    static const enum stat_number counters[] = { STAT_faults_missing, STAT_restore_success,
                                                 STAT_fault_wait_ns, STAT_other_wait_ns,
                                                 STAT_pageout_returns };
    struct stats_block *to = &a->session.memory->agent_stats;
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        stats_set(to, counters[i], stats_get(a->pg.stats, counters[i]));
    stats_set(to, STAT_pages_staged, a->pg.nr_staged);
    stats_set(to, STAT_pages_stored, a->pg.nr_stored);
    stats_set(to, STAT_pages_zero, a->pg.nr_zero);
    stats_set(to, STAT_pages_paged_out, a->pg.nr_paged_out);
}

/* Staging and ring together stay within max(4 MiB, 1/64 of what is managed); landing counts, too. */
static void tick_limits(struct agent *a, struct pp_pager *pp)
{
    uint64_t nr_tracked = stats_get(&pp->agent_stats, STAT_pages_tracked);
    uint64_t each = nr_tracked / 64 > MOVE_RUN_MAX ? (nr_tracked / 64 - MOVE_RUN_MAX) / 2 : 0;
    if (each < BUFFER_SLOTS_MIN)
        each = BUFFER_SLOTS_MIN;
    if (each > STAGING_SLOTS_MAX)
        each = STAGING_SLOTS_MAX;
    staging_set_limit(&a->pg.staging, (uint32_t)each);
    atomic_store_explicit(&pp->porter->raw_limit, (uint32_t)each, memory_order_relaxed);
}

static void tick_bars(struct agent *a, struct pp_pager *pp, uint64_t now)
{
    pager_bars_over(&a->pg, atomic_load_explicit(&pp->porter->bars_checked, memory_order_acquire));
    if (a->pg.bars_set > a->pg.table.bars_over && now > a->last_bars_ns + 100 * NS_PER_MS) {
        a->last_bars_ns = now;
        atomic_store_explicit(&pp->porter->bars_wanted, a->pg.bars_set, memory_order_release);
        doorbell_ring(&pp->porter->bell, pp->porter->bell_fd);
    }
}

static void tick_refusals(struct agent *a, uint64_t now)
{
    struct refusals *r = &a->refusals;
    uint64_t nr = stats_get(a->pg.stats, STAT_ranges_refused_kernel);
    if (nr != r->nr_by_kernel && !r->is_soon) {
        r->pause_ns = r->pause_ns ? 2 * r->pause_ns : REFUSED_FOR_MIN_NS;
        r->pause_ns = r->pause_ns < REFUSED_FOR_MAX_NS ? r->pause_ns : REFUSED_FOR_MAX_NS;
        r->next_ns = now + r->pause_ns < r->next_ns ? now + r->pause_ns : r->next_ns;
        r->is_soon = true;
    }
    r->nr_by_kernel = nr;
    if (now < r->next_ns)
        return;
    r->pause_ns = r->is_soon ? r->pause_ns : 0;
    r->is_soon = false;
    r->next_ns = now + REFUSED_FOR_MAX_NS;
    pager_forget_refusals(&a->pg);
}

static void tick_churn(struct agent *a, uint64_t now)
{
    if (now - a->last_churn_ns < NS_PER_S)
        return;
    if (a->last_churn_ns)
        pager_find_churn(&a->pg, now - a->last_churn_ns);
    a->last_churn_ns = now;
    tick_refusals(a, now);
}

static void set_alarm(struct agent *a, uint64_t interval_ns)
{
    struct timespec t = { (time_t)(interval_ns / NS_PER_S), (long)(interval_ns % NS_PER_S) };
    struct itimerspec every = { .it_interval = t, .it_value = t };
    if (timerfd_settime(a->timer_fd, 0, &every, NULL))
        invariant_broken("the agent's timer can't be set");
    a->alarm_ns = interval_ns;
}

static uint64_t returns_pause_ns(const struct agent *a)
{
    uint64_t pause_ns = a->session.cold_age_ns / 16;
    return pause_ns < NS_PER_MS ? NS_PER_MS
                                : pause_ns < RETURNS_PAUSE_MAX_NS ? pause_ns : RETURNS_PAUSE_MAX_NS;
}

/* Without a daemon what is out stays out, unless so many have gone in a row that there would be no place for
 * the next one's store. */
static bool must_empty_stores(const struct agent *a)
{
    return (a->is_joined || !session_has_place(a)) && a->next_old_store_ns != UINT64_MAX;
}

static void tick(struct agent *a, struct pp_pager *pp)
{
    uint64_t now = now_ns();
    if (now < a->next_tick_ns)
        return;
    a->tick_ns = a->session.cold_age_ns / 8;
    if (a->tick_ns < NS_PER_MS)
        a->tick_ns = NS_PER_MS;
    if (a->tick_ns > TICK_MAX_NS || !a->is_joined)
        a->tick_ns = a->is_joined ? TICK_MAX_NS : JOIN_TICK_NS;
    if (a->session.squeeze_age_ns && a->tick_ns > a->session.squeeze_age_ns / 4 && a->is_joined)
        a->tick_ns = a->session.squeeze_age_ns / 4 + 1; /* a lap begins when we are awake */
    a->next_tick_ns = now + a->tick_ns;
    uint64_t alarm_ns = a->pg.nr_paged_out ? returns_pause_ns(a) : a->tick_ns;
    uint64_t pause_ns = prefetch_pause_ns(a);
    if (pause_ns < alarm_ns)
        alarm_ns = pause_ns;
    if (must_empty_stores(a))
        alarm_ns = NS_PER_MS;
    if (alarm_ns != a->alarm_ns)
        set_alarm(a, alarm_ns);
    if (a->is_joined) {
        if (a->session.needs_resync)
            session_resync(a);
        (void)adopt_ranges(a, pp, now);
        rewatch(a, now);
    }
    tick_silence(a, now);
    tick_churn(a, now);
    tick_bars(a, pp, now);
    pager_learn_returned(&a->pg);
    if (a->pg.direct)
        atomic_store(&a->pg.direct->may_go_ahead, prefetch_may(a));
    session_try_leave(a, pp);
    agent_publish_stats(a, pp);
    tick_limits(a, pp);
    if (now - a->last_limits_ns > NS_PER_S) {
        a->last_limits_ns = now;
        a->pg.is_unlimited = !limits_address_space();
    }
}

/* Stored pages of daemons that have gone come back a few at a time, so that their memory goes back and
 * the next daemon can have them. */
static bool old_store_piece(struct agent *a)
{
    if (!must_empty_stores(a) || now_ns() < a->next_old_store_ns)
        return false;
    for (int i = 0; i < PAGE_STORES_NR; i++)
        if (i != a->pg.store_now && a->pg.store_pages[i]) {
            (void)pager_drain_store(&a->pg, (unsigned)i, &a->old_store_cursor, OLD_STORE_SLICE);
            a->next_old_store_ns = now_ns() + NS_PER_MS;
            return true;
        }
    a->next_old_store_ns = UINT64_MAX; /* none: session_lost() sets it anew */
    return false;
}

/* What the kernel has paged out for us it brings back by itself, so we look, a piece at a time. */
static bool returns_piece(struct agent *a)
{
    if (!a->pg.nr_paged_out || now_ns() < a->next_returns_ns)
        return false;
    if (a->returns_left && pager_find_returns(&a->pg, &a->returns_cursor) == 0) {
        a->returns_left--;
        return true;
    }
    a->next_returns_ns = now_ns() + returns_pause_ns(a); /* done, enough, or the daemon must read first */
    a->returns_left = RETURNS_PIECES_MAX;
    return false;
}

/* True: it wants to go on at once. */
static bool find_piece(struct agent *a, struct pp_pager *pp)
{
    if (!pp->find || a->is_frozen || now_ns() < a->next_find_ns)
        return false;
    urgent_leave(a);
    pp->find(pp);
    return !a->next_find_ns;
}

/* ---- the loop */

/* What faults are left could be answered, if there were memory for their pages. */
static bool is_starved(const struct agent *a)
{
    return a->pg.nr_faults && a->pg.nr_starved == a->pg.nr_faults;
}

/* Faults first. */
static void serve(struct agent *a)
{
    uint64_t nr_events = a->pg.nr_events;
    int n = pager_read(&a->pg);
    if (n < 0)
        invariant_broken("the userfaultfd can't be read");
    bool is_rung = a->pg.nr_events != nr_events; /* by whoever listens for us, or by the application */
    if (is_rung || (n && !a->pg.nr_faults))
        sleep_lightly(a);
    if (!n && !a->pg.nr_faults)
        return;
    uint64_t begin_ns = now_ns();
    urgent_see(a, begin_ns - a->last_fault_ns);
    unsigned nr_left = pager_answer(&a->pg);
    if (nr_left)
        sleep_lightly(a);
    a->last_fault_ns = now_ns();
    bool is_pass = a->pg.nr_answered && prefetch_learn(a);
    if (a->pg.last_fault_thread && !nr_left) {
        if (is_pass)
            follow_nobody(); /* beside it, not in its way */
        else
            follow_fault(a->pg.stats, a->pg.last_fault_thread);
        a->pg.last_fault_thread = 0;
    }
    a->fault_ns += a->last_fault_ns - begin_ns;
    if (!nr_left) {
        a->nr_spins = 0;
        a->nr_faults_in_a_row++;
        return;
    }
    /* EAGAIN: who raised the event must run first. ENOMEM: somebody has to give some back. */
    urgent_leave(a);
    if (++a->nr_spins < SPINS_BEFORE_NAP) {
        sched_yield();
        return;
    }
    agent_nap(a, is_starved(a) ? a->nr_spins - SPINS_BEFORE_NAP : 0);
}

void agent_loop(struct agent *a, struct pp_pager *pp)
{
    while (!a->must_end) {
        pager_serve_touchers(&a->pg);
        serve(a);
        publish_pulse(a);
        bool must_starve = is_starved(a);
        if (a->pg.nr_faults && !must_starve)
            continue;
        if (a->pg.unmapped.nr)
            pager_settle_unmapped(&a->pg);
        bool is_busy = a->forks.nr && forks_piece(a);
        is_busy |= take_answers(a, pp);
        is_busy |= command_piece(a, pp) | order_piece(a, pp);
        if (a->is_socket_ready || now_ns() >= a->next_tick_ns) {
            a->is_socket_ready = false;
            urgent_leave(a);
            session_poll(a, pp);
            tick(a, pp);
        }
        if (a->is_leaving)
            session_try_leave(a, pp);
        /* Nothing comes back that nobody waits for; what leaves makes room. */
        if (!must_starve)
            is_busy |= old_store_piece(a) || pager_calm_churn(&a->pg, DRAIN_SLICE);
        is_busy |= returns_piece(a);
        is_busy |= find_piece(a, pp);
        if (!must_starve)
            is_busy |= prefetch_piece(a, pp);
        is_busy |= evict_piece(a, pp);
        if (!is_busy)
            is_busy = squeeze_piece(a);
        tell_given_up(a);
        is_busy |= must_starve || a->is_leaving || a->pg.unmapped.nr || a->pg.nr_give_back || a->must_end ||
                   !a->next_tick_ns /* the clock is to be set first */;
        sleep_ring_porter(a, pp, is_busy);
        if (is_busy) {
            urgent_leave(a); /* one piece is as short as the answer to a fault: more of them are not */
            sleep_lightly(a);
            urgent_give_way(a);
        } else {
            urgent_rest(a);
            sleep_until_needed(a, pp);
        }
    }
    urgent_leave(a);
    sleep_lightly(a);
}
