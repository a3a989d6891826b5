/* prefetch.c - see prefetch.h. Windows become pages taken on, those decoded bytes, those runs that
 * are installed; each piece does a little of all three.
 *
 * With two CPUs the pass and the agent run beside each other, and the porter decodes as well: what
 * a page costs then is what the slowest of the three needs for it (docs/prefetch.md has the
 * figures). */
#include "client/prefetch.h"

#include <errno.h>
#include <sched.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "client/client.h"

#define TAKE_PER_PIECE 16u   /* a run */
#define DECODE_PER_PIECE 4u  /* 4 to 8 us; ... */
#define DECODE_NS 6000u      /* ... fewer where one takes longer: the first page of a group */
#define HELP_FROM 8u         /* fewer pages are not worth waking the porter for */
#define WAITS_BEFORE_YIELD 8u /* looks for the helper's page, 1 us each: it may want this very CPU */
#define WAITS_MAX 64u         /* then we do it ourselves */
#define CHANGING_MAX 16u     /* pieces that met an event, each after a look for it: then it is not worth it */
#define STREAM_ENDS_NS NS_PER_S

/* Where a cgroup's limit is reached the kernel kills: what nobody has asked for does not come that near. */
#define ROOM_LEAST ((uint64_t)32 << 20)
#define ROOM_PAGES_MAX 4096u /* 16 MiB before it is asked again, at 10 us; ... */
#define ROOM_PAUSE_NS (100 * NS_PER_MS) /* ... and an answer, whichever it was, is good for so long */

/* ---- windows of a stream */

static void remove_window(struct stream_windows *s, unsigned i)
{
    s->nr--;
    for (; i < s->nr; i++)
        s->windows[i] = s->windows[i + 1];
}

/* Nobody will be seen to come for what is left of it. Whether a span's pages were touched nobody knows; they
 * are brought back because most are. */
static void end_window(struct agent *a, const struct stream_windows *s, struct window *w)
{
    if (s != &a->prefetch.streams[STREAM_OF_SPANS]) {
        window_wasted(a, w);
        return;
    }
    unsigned nr = window_wanted(a, w);
    if (nr)
        rhythms_on_used(a, w->first, nr);
}

static void drop_stream(struct agent *a, struct stream_windows *s)
{
    for (unsigned i = 0; i < s->nr; i++)
        end_window(a, s, &s->windows[i]);
    s->nr = 0;
}

static void add_window(struct agent *a, struct stream_windows *s, const struct prefetch_answer *w)
{
    if (s->nr == STREAM_WINDOWS) {
        end_window(a, s, &s->windows[0]);
        remove_window(s, 0);
    }
    struct window *window = &s->windows[s->nr++];
    window_begin(window, w->first, w->stride, w->nr);
    window->leave_from = w->left_out;
    stats_add(a->pg.stats, STAT_prefetch_windows, 1);
}

/* The pass has come to this page: what lies before it was of use, and needs no work any more. */
static void on_hit(struct agent *a, struct stream_windows *s, page_number page)
{
    for (unsigned i = 0; i < s->nr;) {
        struct window *w = &s->windows[i];
        int64_t place = window_place(w, page);
        if (place < 0)
            return;
        unsigned nr = window_passed(a, w, (uint32_t)place);
        if (nr)
            rhythms_on_used(a, w->first, nr);
        if ((uint32_t)place == w->nr)
            remove_window(s, i);
        else
            i++;
    }
}

/* A fault that no pass expected. */
static void look_for_span(struct agent *a, page_number page)
{
    struct prefetcher *f = &a->prefetch;
    bool is_late;
    uint32_t nr = span_on_fault(&f->spans, page, &is_late);
    struct stream_windows *s = &f->streams[STREAM_OF_SPANS];
    for (unsigned i = 0; is_late && i < s->nr; i++)
        window_faulted(&s->windows[i], page);
    f->is_waited_for |= is_late;
    if (!nr)
        return;
    const struct prefetch_answer answer = { .first = page + 1, .stride = 1, .nr = nr, .left_out = nr };
    add_window(a, s, &answer);
    s->last_ns = a->last_fault_ns;
    f->turn = STREAM_OF_SPANS;
}

bool prefetch_learn(struct agent *a)
{
    struct prefetcher *f = &a->prefetch;
    bool is_pass = false;
    for (uint32_t i = 0; f->is_on && i < a->pg.nr_answered; i++) {
        const struct answered_fault *fault = &a->pg.answered[i];
        if (rhythms_on_fault(a, fault->page))
            continue;
        struct prefetch_answer answer;
        prefetch_on_fault(&f->policy, fault->page, fault->thread, &answer);
        struct stream_windows *s = &f->streams[answer.stream];
        if (answer.is_new)
            drop_stream(a, s);
        if (answer.is_hit)
            on_hit(a, s, fault->page);
        if (answer.nr)
            add_window(a, s, &answer);
        s->last_ns = a->last_fault_ns;
        is_pass = answer.is_hit;
        if (answer.is_hit || answer.nr) {
            f->turn = answer.stream;
            span_leave_to_pass(&f->spans, fault->page);
        } else {
            look_for_span(a, fault->page);
        }
        f->is_waited_for |= answer.is_hit;
    }
    a->pg.nr_answered = 0;
    return is_pass;
}

static void end_stream(struct agent *a, unsigned i)
{
    drop_stream(a, &a->prefetch.streams[i]);
    if (i != STREAM_OF_SPANS)
        prefetch_end(&a->prefetch.policy, i);
}

void prefetch_forget(struct agent *a)
{
    struct prefetcher *f = &a->prefetch;
    pager_ahead_drop(&a->pg);
    for (unsigned i = 0; i < STREAMS_NR; i++)
        if (f->streams[i].nr)
            end_stream(a, i);
    rhythms_forget(a);
    f->nr_changing = f->nr_waits = 0;
}

/* Passes that have stopped. */
static void sweep(struct agent *a, uint64_t now)
{
    struct prefetcher *f = &a->prefetch;
    bool is_any_left = false;
    for (unsigned i = 0; i < STREAMS_NR; i++) {
        struct stream_windows *s = &f->streams[i];
        if (!s->nr)
            continue;
        is_any_left |= now - s->last_ns <= STREAM_ENDS_NS;
        if (now - s->last_ns > STREAM_ENDS_NS)
            end_stream(a, i);
    }
    f->next_sweep_ns = now + STREAM_ENDS_NS;
    if (!is_any_left)
        pager_ahead_trim(&a->pg);
}

/* ---- a piece */

static struct window *window_with_work(struct stream_windows *s)
{
    for (unsigned i = 0; i < s->nr; i++)
        if (window_has_work(&s->windows[i]))
            return &s->windows[i];
    return NULL;
}

/* Streams in turns, a run each; then rhythms. */
static struct window *next_window(struct agent *a)
{
    struct prefetcher *f = &a->prefetch;
    for (unsigned i = 0; i < STREAMS_NR; i++) {
        struct window *w = window_with_work(&f->streams[(f->turn + i) % STREAMS_NR]);
        if (!w)
            continue;
        f->turn = (f->turn + i) % STREAMS_NR;
        return w;
    }
    return rhythms_window(a);
}

static bool has_room(struct prefetcher *f)
{
    uint64_t now = now_ns();
    if (now < f->next_room_ns && (f->room_pages || !f->had_room))
        return f->room_pages;
    uint64_t bytes = headroom_bytes(&f->headroom, 2 * ROOM_LEAST);
    f->next_room_ns = now + ROOM_PAUSE_NS;
    f->had_room = bytes >= ROOM_LEAST || mutant_is(MUTANT_PREFETCH_WITHOUT_ROOM);
    f->room_pages = 0;
    if (!f->had_room)
        return false;
    uint64_t pages = bytes_to_pages(bytes / 4);
    f->room_pages = pages < ROOM_PAGES_MAX ? (unsigned)pages : ROOM_PAGES_MAX;
    return true;
}

bool prefetch_may(struct agent *a)
{
    return a->prefetch.is_on && has_room(&a->prefetch);
}

/* 0: there is nothing more to take on now; 1: there may be; -EAGAIN. */
static int take_on(struct agent *a, struct pp_pager *pp)
{
    struct window *w = next_window(a);
    if (!w)
        return 0;
    if (!has_room(&a->prefetch)) {
        prefetch_forget(a);
        return 0;
    }
    unsigned budget = TAKE_PER_PIECE;
    uint32_t before = a->pg.ahead.tail;
    int r = window_take(a, w, &budget);
    unsigned nr = TAKE_PER_PIECE - budget;
    a->prefetch.room_pages -= nr < a->prefetch.room_pages ? nr : a->prefetch.room_pages;
    if (!window_has_work(w) || !budget)
        a->prefetch.turn++;
    if (a->pg.ahead.tail - before >= HELP_FROM)
        doorbell_ring(&pp->porter->bell, pp->porter->bell_fd);
    return r == -EAGAIN ? r : 1;
}

/* Nothing moves: what is left is the helper's, which may have no CPU. */
static int wait_for_helper(struct agent *a)
{
    if (++a->prefetch.nr_waits < WAITS_BEFORE_YIELD)
        return 0;
    urgent_leave(a); /* else nobody would get it */
    sched_yield();
    return a->prefetch.nr_waits < WAITS_MAX ? 0 : pager_ahead_skip(&a->pg);
}

static int work(struct agent *a, struct pp_pager *pp, bool *ret_has_more)
{
    struct pager *pg = &a->pg;
    uint32_t head = pg->ahead.head, tail = pg->ahead.tail, nr_decoded = 0;
    int r = 0;
    for (unsigned i = 0; r == 0 && a->prefetch.is_waited_for && i < AHEAD_SLOTS / AHEAD_RUN; i++)
        r = pager_ahead_install(pg, true);
    a->prefetch.is_waited_for = false;
    int taken = r ? r : take_on(a, pp);
    if (taken < 0)
        return taken;
    bool is_decoded = false;
    for (uint64_t until_ns = now_ns() + DECODE_NS; nr_decoded < DECODE_PER_PIECE && now_ns() < until_ns;) {
        is_decoded = !pager_ahead_decode(pg);
        if (is_decoded)
            break;
        nr_decoded++;
    }
    r = pager_ahead_install(pg, !taken && is_decoded);
    *ret_has_more = taken || ahead_nr(&pg->ahead) || a->prefetch.rhythms.is_looking;
    bool has_moved = nr_decoded || head != pg->ahead.head || tail != pg->ahead.tail;
    if (has_moved || !*ret_has_more)
        a->prefetch.nr_waits = 0;
    else if (r == 0)
        r = wait_for_helper(a);
    return r;
}

/* Commands that bring pages back by themselves, or are to end with none out. */
static bool is_forbidden(const struct agent *a, struct pp_pager *pp)
{
    if (a->is_frozen || a->must_end)
        return true;
    if (atomic_load_explicit(&pp->command.state, memory_order_acquire) != COMMAND_POSTED)
        return false;
    switch (pp->command.op) {
    case COMMAND_UNREGISTER:
    case COMMAND_PIN:
    case COMMAND_FREEZE:
    case COMMAND_COVER:
    case COMMAND_EMPTY:
    case COMMAND_STOP:
        return true;
    case COMMAND_UNPIN:
    case COMMAND_THAW:
    case COMMAND_RECLAIM:
    case COMMAND_SETTLE:
        break;
    }
    return false;
}

/* EAGAIN: who raised the event must run first; what it changes is seen when we look again. */
static bool give_way(struct agent *a)
{
    if (++a->prefetch.nr_changing >= CHANGING_MAX) {
        prefetch_forget(a);
        return false;
    }
    urgent_leave(a);
    sched_yield();
    return true;
}

bool prefetch_piece(struct agent *a, struct pp_pager *pp)
{
    struct prefetcher *f = &a->prefetch;
    if (!f->is_on)
        return false;
    if (is_forbidden(a, pp)) {
        prefetch_forget(a);
        return false;
    }
    bool has_more = false;
    int r = work(a, pp, &has_more);
    if (r == -EAGAIN)
        return give_way(a);
    f->nr_changing = 0;
    if (!has_more) {
        uint64_t now = now_ns();
        if (now >= f->next_sweep_ns)
            sweep(a, now);
    }
    return has_more;
}

uint64_t prefetch_pause_ns(const struct agent *a)
{
    const struct rhythms *r = &a->prefetch.rhythms;
    if (!a->prefetch.is_on || !r->next_ms)
        return UINT64_MAX;
    int32_t left_ms = (int32_t)(r->next_ms - rhythms_now_ms());
    return left_ms > 1 ? (uint64_t)left_ms * NS_PER_MS : NS_PER_MS;
}
