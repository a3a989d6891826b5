/* Everybody in the model but the agent: application threads, the porter, the daemon. Each step is
 * small; what the application must see afterwards is noted with it. */
#include "client/test_model.h"

#include <string.h>

#include "base/mutant.h"
#include "client/bars.h"
#include "codec/codec.h"

uint64_t choose(uint64_t below)
{
    world.random ^= world.random << 13;
    world.random ^= world.random >> 7;
    world.random ^= world.random << 17;
    return world.random % below;
}

/* ---- touching memory */

static void check_read(unsigned page, struct vpage *v)
{
    tell("page %u is touched: %lu", page, v->word);
    if (v->word == v->expected)
        return;
    if (v->word == 0 && v->may_be_zero) {
        v->expected = 0; /* from now on */
        return;
    }
    walk_failed("page %u reads as %lu, should be %lu%s", page, v->word, v->expected,
                v->may_be_zero ? " or zeros" : "");
}

static void complete(unsigned page, struct vpage *v, bool is_write)
{
    check_read(page, v);
    if (!is_write)
        return;
    v->word = v->expected = ++world.nr_words;
    tell("page %u is written: %lu", page, v->word);
    v->may_be_zero = false;
    v->is_exclusive = true;
    v->is_wp = false;
}

/* The thread touches the page: it is done, or the thread waits for the agent. */
void world_touch(struct thread *t, unsigned page, bool is_write)
{
    struct vpage *v = &world.pages[page];
    t->state = THREAD_RUNS;
    if (!v->is_mapped)
        return; /* a signal, and the program's own mistake: another thread has unmapped it */
    switch (v->pte) {
    case PTE_PRESENT:
        complete(page, v, is_write);
        return;
    case PTE_POISON:
        if (!world.is_rotten[v->expected])
            walk_failed("page %u is poisoned, though the store has kept it well", page);
        return;
    case PTE_SWAPPED: /* the kernel's to answer */
        v->pte = PTE_PRESENT;
        v->has_returned = true;
        complete(page, v, is_write);
        return;
    case PTE_NONE:
    case PTE_MARKER:
        break;
    }
    if (!v->is_armed) { /* the kernel's own zeros */
        v->pte = PTE_PRESENT;
        v->word = 0;
        v->is_exclusive = is_write;
        v->is_wp = false;
        complete(page, v, is_write);
        return;
    }
    tell("thread %ld faults on page %u", t - world.threads, page);
    t->state = THREAD_FAULTS;
    t->page = page;
    t->is_write = is_write;
    t->is_fault_queued = true;
    t->is_woken = false;
}

/* ---- changing mappings */

static bool is_known(const struct vpage *v)
{
    return v->is_watched || v->is_armed;
}

/* Zapped: nothing is there, and reads as zeros. */
static void empty(struct vpage *v)
{
    v->pte = PTE_NONE;
    v->word = 0;
    v->is_wp = v->is_exclusive = v->has_returned = false;
    v->expected = 0;
    v->may_be_zero = false;
}

static bool may_be_named(const struct vpage *v, bool is_mapped)
{
    return v->is_mapped == is_mapped && !(is_mapped && v->is_arriving);
}

static void unmap(unsigned at, unsigned nr)
{
    for (unsigned i = at; i < at + nr; i++) {
        empty(&world.pages[i]);
        world.pages[i].is_mapped = world.pages[i].is_watched = world.pages[i].is_armed = false;
    }
}

static void map(unsigned at, unsigned nr)
{
    tell("pages %u to %u are mapped", at, at + nr - 1);
    for (unsigned i = at; i < at + nr; i++) {
        world.pages[i].is_mapped = true;
        world.pages[i].origin = i;
    }
}

/* At most three neighbours of one mapping (or of none), from a random page on; false: none. */
static bool choose_run(bool is_mapped, unsigned *ret_at, unsigned *ret_nr)
{
    unsigned at = (unsigned)choose(WORLD_PAGES), nr_max = 1 + (unsigned)choose(3), nr = 0;
    const struct vpage *first = &world.pages[at];
    while (nr < nr_max && at + nr < WORLD_PAGES && may_be_named(&world.pages[at + nr], is_mapped) &&
           is_known(&world.pages[at + nr]) == is_known(first) &&
           world.pages[at + nr].is_armed == first->is_armed)
        nr++;
    *ret_at = at;
    *ret_nr = nr;
    return nr > 0;
}

static void queue_event(struct thread *t)
{
    if (world.nr_events == WORLD_EVENTS)
        walk_failed("more events than threads");
    tell("thread %ld tells", t - world.threads);
    world.events[world.nr_events++] = (struct world_event){
        .call = t->call, .at = t->at, .nr = t->nr, .to = t->to, .is_over = t->is_over,
        .thread = (unsigned)(t - world.threads) };
    t->state = THREAD_TELLS;
}

/* The kernel tells of a discard before it zaps, and lets go of the mappings in between. Zeros are
 * right from then on. What it need not tell of is done in one go. */
static void discard(struct thread *t)
{
    bool is_told = is_known(&world.pages[t->at]);
    for (struct vpage *v = &world.pages[t->at]; v < &world.pages[t->at + t->nr]; v++) {
        v->may_be_zero = true;
        if (!is_told && t->call == CALL_DONTNEED)
            empty(v);
    }
    if (!is_told)
        return;
    t->words_before = world.nr_words;
    world.nr_changing++;
    queue_event(t);
}

/* ... of everything else after it has been done. */
static void change_mappings(struct thread *t)
{
    bool was_known = is_known(&world.pages[t->at]);
    t->was_armed = world.pages[t->at].is_armed;
    t->is_over = t->call == CALL_MREMAP && is_known(&world.pages[t->to]);
    switch (t->call) {
    case CALL_MUNMAP:
        unmap(t->at, t->nr);
        break;
    case CALL_MAP_FIXED:
        unmap(t->at, t->nr);
        map(t->at, t->nr);
        break;
    case CALL_MREMAP:
        for (unsigned i = 0; i < t->nr; i++)
            world.pages[t->to + i] = world.pages[t->at + i];
        unmap(t->at, t->nr);
        for (unsigned i = 0; was_known && i < t->nr; i++)
            world.pages[t->to + i].is_arriving = world.pages[t->at + i].is_leaving = true;
        break;
    case CALL_MAP_FIXED_FAILS: /* everything is as before, and yet it tells */
    case CALL_DONTNEED:
    case CALL_FREE:
        break;
    }
    world.nr_changing += was_known + t->is_over;
    t->tells = was_known;
    t->state = was_known || t->is_over ? THREAD_UNMAPPED : THREAD_RUNS;
}

/* A mapping that fails stands alone, unless the walk goes into the known gaps. */
static bool may_begin(enum call call)
{
    if (call == CALL_MAP_FIXED_FAILS && model_pager->is_unlimited)
        return false; /* that is what it means */
    if (world.has_gaps)
        return true;
    for (unsigned i = 0; call == CALL_MAP_FIXED_FAILS && i < WORLD_THREADS; i++)
        if (world.threads[i].state >= THREAD_UNMAPPED)
            return false;
    return !world.has_riddle;
}

static bool is_being_discarded(unsigned at, unsigned nr)
{
    for (const struct thread *t = world.threads; t < world.threads + WORLD_THREADS; t++)
        if (t->state >= THREAD_UNMAPPED && t->call <= CALL_FREE && t->at < at + nr && at < t->at + t->nr)
            return true;
    return false;
}

/* A hole, or one mapping of others' that is replaced. False: not this time. */
static bool choose_where_to(struct thread *t)
{
    bool is_over = one_in(2);
    unsigned nr;
    if (!choose_run(is_over, &t->to, &nr))
        return false;
    t->nr = t->nr < nr ? t->nr : nr;
    if (is_over && ((t->to < t->at + t->nr && t->at < t->to + t->nr) || is_being_discarded(t->to, t->nr)))
        return false;
    for (unsigned i = t->to; i < t->to + t->nr; i++)
        if (world.pages[i].is_leaving)
            return false;
    tell("  (%u pages, to %u%s)", t->nr, t->to, is_over ? " over others" : "");
    return true;
}

static void begin_call(struct thread *t)
{
    static const enum call calls[] = { CALL_DONTNEED, CALL_DONTNEED,  CALL_DONTNEED,
                                       CALL_FREE,     CALL_MUNMAP,    CALL_MAP_FIXED,
                                       CALL_MREMAP,   CALL_MAP_FIXED_FAILS };
    t->call = calls[choose(sizeof calls / sizeof *calls)];
    if (!choose_run(true, &t->at, &t->nr) || !may_begin(t->call))
        return;
    world.has_riddle |= t->call == CALL_MAP_FIXED_FAILS;
    t->is_over = t->tells = false;
    t->grows = t->call == CALL_MUNMAP && model_pager->is_unlimited && one_in(2);
    static const char *const names[] = { "DONTNEED", "FREE", "munmap", "MAP_FIXED",
                                         "failing MAP_FIXED", "mremap" };
    tell("thread %ld calls %s of %u to %u", t - world.threads, names[t->call], t->at,
         t->at + t->nr - 1);
    if (t->call == CALL_DONTNEED || t->call == CALL_FREE) {
        discard(t);
        return;
    }
    if (t->call == CALL_MREMAP && !choose_where_to(t))
        return;
    change_mappings(t);
}

/* mremap makes the mapping before a hole longer: what is new inherits the registration, and nobody
 * is told. */
static void make_longer(unsigned at, unsigned nr)
{
    map(at, nr);
    for (unsigned i = at; i < at + nr; i++) {
        world.pages[i].is_watched = world.pages[at - 1].is_watched;
        world.pages[i].is_armed = world.pages[at - 1].is_armed;
        world.pages[i].origin = world.pages[i - 1].origin + 1;
    }
}

static void grow(void)
{
    unsigned at, nr;
    if (!choose_run(false, &at, &nr) || !at || !may_be_named(&world.pages[at - 1], true))
        return;
    make_longer(at, nr);
}

/* The same thread's, at once and in one go: what it has cut off before is new now. Until that is settled
 * nobody begins a call, see has_gaps. */
static void grow_again(unsigned at, unsigned nr, bool was_armed)
{
    if (!at || !may_be_named(&world.pages[at - 1], true) || world.pages[at - 1].is_armed != was_armed)
        return;
    for (unsigned i = at; i < at + nr; i++)
        if (world.pages[i].is_mapped)
            return;
    world.has_riddle = true;
    make_longer(at, nr);
}

/* ---- a thread's next step */

static void act(struct thread *t)
{
    unsigned at, nr;
    switch (choose(16)) {
    case 0:
        t->state = THREAD_BLOCKED;
        return;
    case 1:
        if (choose_run(false, &at, &nr))
            map(at, nr);
        return;
    case 2:
        if (world.has_gaps && model_pager->is_unlimited)
            grow();
        return;
    case 3:
    case 4:
    case 5:
        begin_call(t);
        return;
    default:
        at = (unsigned)choose(WORLD_PAGES);
        world_touch(t, at, one_in(2) && world.nr_words < WORLD_WORDS - 8);
    }
}

/* Its event has been read and it runs again: from here on the kernel serves the agent. */
static void run_on(struct thread *t)
{
    tell("thread %ld runs on", t - world.threads);
    world.nr_changing--;
    if (t->is_over && t->tells) { /* now of the move itself */
        t->is_over = false;
        t->state = THREAD_UNMAPPED;
        return;
    }
    if (t->grows)
        grow_again(t->at, t->nr, t->was_armed);
    t->grows = false;
    for (unsigned i = 0; t->call == CALL_MREMAP && i < t->nr; i++)
        world.pages[t->to + i].is_arriving = world.pages[t->at + i].is_leaving = false;
    t->state = t->call == CALL_DONTNEED ? THREAD_ZAPS : THREAD_RUNS;
}

static void zap_one(struct thread *t)
{
    tell("thread %ld zaps page %u", t - world.threads, t->at);
    struct vpage *v = &world.pages[t->at];
    /* Whatever is mapped there by now. What was written since the call began and has left already
     * may stay: it came after the discard then. */
    /* Paged out in between, it leaves a hole that the agent has not heard of: filled anew, it may be
     * said to have come back. */
    bool may_be_told = v->pte == PTE_SWAPPED || v->has_returned;
    if (v->is_mapped && (v->pte != PTE_NONE || v->expected <= t->words_before))
        empty(v);
    v->has_returned = may_be_told;
    t->at++;
    if (--t->nr == 0)
        t->state = THREAD_RUNS;
}

static void thread_step(struct thread *t)
{
    switch (t->state) {
    case THREAD_RUNS:
        if (!world.is_closing)
            act(t);
        return;
    case THREAD_BLOCKED:
        if (one_in(2) || world.is_closing)
            t->state = THREAD_RUNS;
        return;
    case THREAD_FAULTS:
        if (t->is_woken)
            world_touch(t, t->page, t->is_write);
        return;
    case THREAD_UNMAPPED: queue_event(t); return;
    case THREAD_TELLS:    return;
    case THREAD_WAS_READ: run_on(t); return;
    case THREAD_ZAPS:     zap_one(t); return;
    }
}

/* ---- the porter: orders strictly in order, and a look at threads */

/* What /proc/self/task/T/syscall says. */
static const char *syscall_text(const struct thread *t)
{
    switch (t->state) {
    case THREAD_BLOCKED:
        return "0 0x3 0x7ffd01000000 0x1000 0x0 0x0 0x0 0x7ffd02000000 0x7f0102030405";
    case THREAD_FAULTS: return "-1 0x7ffd02000000 0x55d000000000";
    case THREAD_TELLS:
        return t->call <= CALL_FREE
                   ? "28 0x7f0000000000 0x1000 0x4 0x0 0x0 0x0 0x7ffd02000000 0x7f0102030405"
                   : "11 0x7f0000000000 0x1000 0x4 0x0 0x0 0x0 0x7ffd02000000 0x7f0102030405";
    case THREAD_RUNS:
    case THREAD_UNMAPPED:
    case THREAD_WAS_READ:
    case THREAD_ZAPS: break;
    }
    return "running";
}

static void check_bars_step(void)
{
    if (!world.is_checking_bars) {
        if (world.bars_wanted <= world.bars_checked)
            return;
        world.is_checking_bars = true;
        world.bars_number = world.bars_wanted;
        memset(world.is_seen_outside, 0, sizeof world.is_seen_outside);
    }
    bool is_all = true;
    for (unsigned i = 0; i < WORLD_THREADS; i++) {
        world.is_seen_outside[i] |= bars_is_outside(syscall_text(&world.threads[i]));
        is_all &= world.is_seen_outside[i];
    }
    if (is_all) {
        world.bars_checked = world.bars_number;
        world.is_checking_bars = false;
    }
}

static void copy_to_daemon(const struct porter_order *o)
{
    if (o->session <= world.abandoned)
        return;
    uint64_t word = kernel_read_staged(o->slot);
    uint64_t note = (uint64_t)o->generation << 32 |
                    page_checksum(model_staging() + pages_to_bytes(o->slot));
    atomic_store_explicit(&model_pager->notes[o->slot].word, note, memory_order_release);
    if (world.nr_raw == sizeof world.raw / sizeof *world.raw)
        walk_failed("the porter has copied more than was ordered");
    world.raw[world.nr_raw++] =
        (struct raw_page){ .slot = o->slot, .generation = o->generation, .word = word };
}

static void porter_step(void)
{
    check_bars_step();
    if (world.has_prefetch && one_in(2))
        (void)ahead_help(&model_pager->ahead);
    if (world.nr_raw >= WORLD_SLOTS * 3) /* as many raw slots are lent as there are */
        return;
    struct porter_order o;
    if (ring_take(&world.orders, &o) != 1)
        return;
    if (o.op == PORTER_COPY) {
        copy_to_daemon(&o);
        return;
    }
    kernel_free_staged(o.slot);
    if (ring_put(&world.freed, &o.slot))
        walk_failed("the porter has freed more than was ordered");
}

/* ---- the daemon: keeps words at places, answers when it likes, in any order */

static struct store *store_now(void)
{
    return &world.stores[model_pager->store_now];
}

void world_give_up(locator place)
{
    struct store *s = store_now();
    unsigned unit = (unsigned)(locator_offset(place) / STORE_UNIT_BYTES);
    if (unit >= WORLD_PLACES || !s->is_held[unit])
        walk_failed("place %u is given up that holds nothing", unit);
    s->is_held[unit] = false;
    s->free[s->nr_free++] = unit;
    if (world.scribbles)
        memset(s->bytes[unit], 0xa5, STORE_UNIT_BYTES);
}

static struct stored_entry store_word(const struct raw_page *r)
{
    struct stored_entry e = { .staging_slot = r->slot, .generation = r->generation };
    struct store *s = store_now();
    if (r->word && one_in(12)) {
        e.result = STORED_INCOMPRESSIBLE;
    } else if (!r->word) {
        e.result = STORED_AT;
        e.place = locator_make_fill32(0);
    } else if (!s->nr_free) {
        e.result = STORED_FULL;
    } else {
        unsigned unit = s->free[--s->nr_free];
        s->is_held[unit] = true;
        memcpy(s->bytes[unit], &r->word, sizeof r->word);
        e.result = STORED_AT;
        e.place = locator_make(LOCATOR_FILL64, unit * STORE_UNIT_BYTES, sizeof r->word);
    }
    return e;
}

bool world_ask(void *context, const struct squeeze_entry *entry)
{
    (void)context;
    if (one_in(8) || world.nr_asks + world.nr_squeezed == SQUEEZES_NR)
        return false;
    world.asks[world.nr_asks++] = *entry;
    return true;
}

/* A page's bytes to another place, as well. What is there may be another's by now, or nothing. */
static void move_word(const struct squeeze_entry *ask)
{
    struct squeezed_entry e = { .cookie = ask->cookie, .result = SQUEEZED_NOT_NOW };
    struct store *s = store_now();
    unsigned unit = (unsigned)(locator_offset(ask->places[0]) / STORE_UNIT_BYTES);
    if (unit < WORLD_PLACES && s->is_held[unit] && s->nr_free > 1) {
        unsigned to = s->free[--s->nr_free];
        s->is_held[to] = true;
        memcpy(s->bytes[to], s->bytes[unit], STORE_UNIT_BYTES);
        e.result = SQUEEZED_AT;
        e.places[0] = locator_make(LOCATOR_FILL64, to * STORE_UNIT_BYTES, sizeof(uint64_t));
    }
    world.squeezed[world.nr_squeezed++] = e;
}

static void squeeze_step(void)
{
    if (!world.nr_asks || model_pager->store_now < 0 || (world.moves_slowly && !one_in(30)))
        return;
    struct squeeze_entry ask = world.asks[0];
    memmove(world.asks, world.asks + 1, --world.nr_asks * sizeof ask);
    move_word(&ask);
}

/* The rot: a stored word is no longer what it was. */
static void rot(void)
{
    struct store *s = &world.stores[choose(PAGE_STORES_NR)];
    unsigned unit = (unsigned)choose(WORLD_PLACES), nr = 0;
    while (!s->is_held[unit] && nr++ < WORLD_PLACES)
        unit = (unit + 1) % WORLD_PLACES;
    uint64_t word;
    memcpy(&word, s->bytes[unit], sizeof word);
    if (!s->is_held[unit] || word >= WORLD_WORDS)
        return;
    world.is_rotten[word] = true;
    word ^= UINT64_C(1) << 40;
    memcpy(s->bytes[unit], &word, sizeof word);
}

static void daemon_step(void)
{
    if (world.has_rot && one_in(20))
        rot();
    if (world.is_slow && !one_in(20))
        return;
    if (one_in(2))
        squeeze_step();
    if (!world.nr_raw || model_pager->store_now < 0 ||
        world.nr_answers == sizeof world.answers / sizeof *world.answers)
        return;
    /* Mostly in order; now and then any of them is taken first. */
    unsigned i = one_in(4) ? (unsigned)choose(world.nr_raw) : 0;
    struct stored_entry e = store_word(&world.raw[i]);
    memmove(world.raw + i, world.raw + i + 1, (world.nr_raw - i - 1) * sizeof *world.raw);
    world.nr_raw--;
    world.answers[world.nr_answers++] = e;
}

void daemon_begin(int store)
{
    struct store *s = &world.stores[store];
    memset(s, 0, sizeof *s);
    for (unsigned i = 0; i < WORLD_PLACES; i++)
        s->free[s->nr_free++] = i;
}

/* What it had not answered is lost; what it has stored stays readable. */
void daemon_dies(void)
{
    world.nr_raw = 0;
    world.nr_answers = 0;
    world.nr_asks = world.nr_squeezed = 0;
}

/* The daemon's look at what was written: present pages are write-protected. */
static void scan(void)
{
    for (struct vpage *v = world.pages; v < world.pages + WORLD_PAGES; v++)
        if (v->is_watched && v->pte == PTE_PRESENT)
            v->is_wp = true;
}

/* ---- one step of somebody */

void world_step(void)
{
    uint64_t who = choose(10);
    if (who < 6)
        thread_step(&world.threads[who % WORLD_THREADS]);
    else if (who < 8)
        porter_step();
    else if (who < 9 || !one_in(10))
        daemon_step();
    else if (world.has_scans && one_in(2))
        scan();
    else if (world.has_readers)
        kernel_read_from_outside();
}

void world_steps_between(void)
{
    if (world.is_quiet)
        return;
    /* Mostly few; now and then the agent is off the CPU for long. */
    uint64_t nr = one_in(2) ? choose(5) : 0;
    if (world.has_bursts && one_in(10))
        nr = choose(60);
    while (nr--)
        world_step();
}
