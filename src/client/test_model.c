/* Whatever application, porter and daemon do in whatever order, each page reads as the application
 * left it. Method: random walks. The real pager (src/pager with the real page.c, staging.c,
 * table.c, rings, and the porter's bars_is_outside) runs round by round as the agent's loop runs
 * it, over a kernel of plain data (test_model_kernel.c), beside threads that read, write, discard,
 * unmap, map and remap, a porter and a daemon (test_model_world.c) that step at any moment, also
 * between two calls of the agent. Each read is checked; after each round every page is looked at as
 * a touch would find it; at the end all is read and brought back, nobody may hang, and every
 * staging slot and every place in the store must be free again. Walks differ in what takes part: a
 * daemon that dies, is slow, lets bytes rot, or overwrites what is given up at once; ageing (moves
 * that are not counted); write scans; readers of our memory from outside (not beside ageing: a
 * zero page they leave hides an uncounted move); pages that are brought back ahead of touches, and a
 * helper that decodes them; a daemon that is asked, all the time, to put what is stored elsewhere. A
 * third as many walks again join daemons that say pageout, in turns with others: what is said to
 * have come back has, and all that has is said.
 *
 * How many of 1000 walks of 150 rounds find each mutant, and what the last of them saw:
 *   FREE_STAGED_EARLY         996  an invariant is broken
 *   GIVE_UP_BEFORE_INSTALL    880  place 47 is given up that holds nothing
 *   PREVIOUS_VERSION          974  page 8 is poisoned, though the store has kept it well
 *   FAULT_BEFORE_EVENTS         9  page 8 would read as 18, should be 0
 *   DROP_FAILED_FAULT         729  a thread hangs
 *   NO_BAR                    115  page 5 would read as 25, should be 0
 *   BAR_LIFTED_ON_RUNNING      34  page 3 would read as 30, should be 0
 *   IGNORE_GENERATION          16  page 7 would read as 31, should be 80
 *   REMAP_FORGETS              90  page 2 would read as 0, should be 29
 *   RETRY_WITHOUT_EVENTS     1000  the agent spins
 *   BELIEVE_MOVE_ERROR        258  page 2 would read as 0, should be 10
 *   MOVE_ON_SECOND_UFFD        41  page 17 reads as 0, should be 19
 *   DISCARD_KEEPS_STORE       253  page 0 would read as 75, should be 0
 *   UNMAP_AT_ONCE              83  page 10 would read as 0, should be 2
 *   ZEROS_ON_BAD_CHECKSUM      67  page 14 would read as 0, should be 19
 *   BELIEVE_STORE              69  page 14 would read as 1099511627795, should be 19
 *   LATE_UNMAP_STAYS            0  walk 3328 is the first: page 3 reads as 77, should be 0
 *   BELIEVE_PAGEOUT           434  page 8 is said to have come back, and was never away
 *   MISS_RETURNS              368  1 pages are there again, and nobody says so
 *   REUSE_BARRED_LEAF           4  page 7 would read as 52, should be 0
 *   PREFETCH_GIVES_UP_EARLY   117  page 3 would read as 0, should be 23
 *   PREFETCH_INSTALLS_STALE    52  page 13 reads as 116, should be 125
 *   SQUEEZE_IGNORES_BIT         2  page 4 is lost
 *   SQUEEZE_ASKS_TWICE         46  page 4 is asked for 2 times
 *   SQUEEZE_GIVES_UP_FIRST    393  place 47 is given up that holds nothing
 *
 * Not walked, unless asked for with --gaps, because the pager is known not to hold there:
 *   a MAP_FIXED that fails while another call is under way: its UNMAP lifts bars, or what is out is
 *     given up when mremap takes it elsewhere at once;
 *   a new watch over pages that such a failure has left out: they are lost when the watch is taken
 *     back, or inherited by the next mapping;
 *   mremap that makes a mapping longer just after that place was unmapped, in steps, or with another call
 *     there before the agent has looked, or where only what was cut off had been armed: old bytes.
 * About one walk in 20000 meets a hole without that: a fault that is answered late, after a discard
 * was announced, lifts the bar of a page that was there all along. Never walked: an mremap to an
 * address that another mremap has just left and not told of yet; the kernel may tell of the second
 * first, and no order can be made of the two.
 *
 * test_model [--tell] [--gaps] [--pageout] [walks [first-seed]] runs so many, and tells their
 * story; test_model --catches prints the list above. */
#include "client/test_model.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mutant.h"

#define WALKS 3000u
#define ROUNDS 150u
#define MUTANT_WALKS 20000u /* the rarest is found by one of a thousand; which, changes with every change of the walks */
#define COUNT_WALKS 1000u   /* --catches */
#define QUIET_ROUNDS 3000u
#define WORLD_END (WORLD_FIRST + WORLD_PAGES)

struct world world;
static struct pager pager;
struct pager *const model_pager = &pager;

static sigjmp_buf walk_over;
static char failure[200];

static bool tells, has_gaps, has_pageout;

void tell(const char *format, ...)
{
    if (!tells)
        return;
    va_list arguments;
    va_start(arguments, format);
    (void)vprintf(format, arguments);
    va_end(arguments);
    (void)putchar('\n');
}

void walk_failed(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(failure, sizeof failure, format, arguments);
    va_end(arguments);
    siglongjmp(walk_over, 1);
}

/* A broken invariant ends the process; here it ends the walk. */
static void on_abort(int signal)
{
    (void)signal;
    (void)snprintf(failure, sizeof failure, "an invariant is broken");
    siglongjmp(walk_over, 1);
}

/* ---- birth */

static void *table_memory;
static size_t table_bytes;

static void clear_table(void)
{
    struct page_table *t = &pager.table;
    memset(t->leaves, 0, t->nr_leaves * sizeof *t->leaves);
    memset(t->buckets, 0, t->nr_buckets * sizeof *t->buckets);
}

static void begin_pager(void)
{
    static struct ring_shared shared[2];
    static struct porter_order orders[PORTER_ORDERS_NR];
    static uint32_t freed[PORTER_ORDERS_NR];
    static struct porter_note notes[WORLD_SLOTS];
    static struct stats_block stats;
    static struct staging_slot slots[WORLD_SLOTS];
    static struct interval managed[8], watched[64], unmapped[64], late_unmaps[64];
    static struct pin pins[PINS_MAX];
    static struct pending_fault faults[PENDING_FAULTS_MAX];
    static locator give_up[GIVE_UP_MAX];
    static _Alignas(4096) unsigned char buffers[AHEAD_SLOTS * PAGE_BYTES];

    if (pager.table.leaves)
        clear_table();
    memset(&pager, 0, sizeof pager);
    memset(shared, 0, sizeof shared);
    memset(notes, 0, sizeof notes);
    pager.uffd = 100; /* test_model_kernel.c knows them by these */
    pager.uffd_staging = 101;
    pager.pagemap_fd = -1;
    pager.landing = model_landing();
    pager.staging_memory = model_staging();
    pager.notes = notes;
    pager.stats = &stats;
    pager.managed = (struct intervals){ .items = managed, .nr_max = 8 };
    pager.watched = (struct intervals){ .items = watched, .nr_max = 64 };
    pager.unmapped = (struct intervals){ .items = unmapped, .nr_max = 64 };
    pager.late_unmaps = (struct intervals){ .items = late_unmaps, .nr_max = 64 };
    pager.pins.items = pins;
    pager.faults = faults;
    pager.give_up = give_up;
    pager.ahead.buffers = buffers;
    page_table_init(&pager.table, table_memory, table_bytes);
    staging_init(&pager.staging, slots, WORLD_SLOTS);
    ring_init(&pager.to_porter, &shared[0], orders, PORTER_ORDERS_NR, sizeof *orders);
    ring_init(&world.orders, &shared[0], orders, PORTER_ORDERS_NR, sizeof *orders);
    ring_init(&pager.from_porter, &shared[1], freed, PORTER_ORDERS_NR, sizeof *freed);
    ring_init(&world.freed, &shared[1], freed, PORTER_ORDERS_NR, sizeof *freed);
}

/* Told of while a call is under way it may be of what was there before. */
static bool is_anything_unsettled(void);
static bool on_feedback(void *context, enum feedback_kind kind, page_number page)
{
    (void)context;
    struct vpage *v = vpage_at(page);
    if (kind != FEEDBACK_REFAULT || !v || pager.is_serving_fault)
        return true;
    if (one_in(4) && !world.is_closing)
        return false;
    if (!v->has_returned && !is_anything_unsettled())
        walk_failed("page %ld is said to have come back, and was never away", v - world.pages);
    tell("  page %ld is said to have come back", v - world.pages);
    v->has_returned = false;
    return true;
}

/* Of the one slab that there is: all of it is to be moved. */
static const _Atomic uint32_t leaving[STORE_LEAVING_NR] = { 1 };

static void join(void)
{
    world.is_pageout = world.has_pageout && !one_in(3);
    for (int i = 0; i < PAGE_STORES_NR; i++)
        if (!pager.stores[i].bytes) {
            daemon_begin(i);
            pager.stores[i] = (struct store_map){ .bytes = world.stores[i].bytes[0],
                                                  .nr_bytes = sizeof world.stores[i].bytes };
            pager.store_now = i;
            store_scratch_forget(&pager.scratch);
            pager.leaving = leaving;
            pager.session++;
            return;
        }
}

static void begin_walk(uint64_t seed)
{
    memset(&world, 0, sizeof world);
    world.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (int i = 0; i < 4; i++)
        (void)choose(2);
    world.has_moves = one_in(2);
    world.moves_slowly = one_in(3);
    world.tells_slowly = one_in(2);
    world.has_rot = one_in(4);
    world.scribbles = one_in(2);
    world.has_deaths = one_in(3);
    world.has_ageing = one_in(3);
    world.has_scans = one_in(2);
    world.has_readers = !world.has_ageing && one_in(3); /* a zero page hides an uncounted move */
    world.is_slow = one_in(3);
    world.has_bursts = one_in(2);
    world.has_prefetch = one_in(2);
    world.has_gaps = has_gaps;
    world.is_quiet = true;
    world.has_pageout = has_pageout;
    begin_pager();
    pager.on_feedback = has_pageout ? on_feedback : NULL;
    pager.on_squeeze = world.has_moves ? world_ask : NULL;
    pager.is_unlimited = one_in(2);
    join();
    for (unsigned i = 2; i < WORLD_PAGES - 4; i++) {
        world.pages[i].is_mapped = true;
        world.pages[i].origin = i;
    }
    if (intervals_set(&pager.managed, WORLD_FIRST, WORLD_END, 0) ||
        pager_watch(&pager, WORLD_FIRST + 2, WORLD_END - 4))
        walk_failed("can't begin");
    world.is_quiet = false;
}

/* Is an event on its way, or read and not yet looked into? */
static bool is_anything_unsettled(void)
{
    bool is_any = world.nr_changing || world.nr_events || pager.unmapped.nr;
    for (unsigned i = 0; i < WORLD_THREADS; i++)
        is_any |= world.threads[i].state == THREAD_UNMAPPED;
    return is_any;
}

/* ---- the agent's loop, as in agent.c: messages first, then pieces of everything else */

static bool serve(void)
{
    tell("agent");
    if (pager_read(&pager) < 0)
        walk_failed("pager_read");
    return pager_answer(&pager) == 0;
}

static void take_answers(void)
{
    uint32_t slot;
    while (ring_take(&pager.from_porter, &slot) == 1)
        pager_on_freed(&pager, slot);
    for (uint64_t nr = choose(4); nr && world.nr_answers && pager.store_now >= 0; nr--) {
        struct stored_entry e = world.answers[0];
        memmove(world.answers, world.answers + 1, --world.nr_answers * sizeof e);
        if (pager_on_stored(&pager, &e))
            walk_failed("an honest daemon is taken for a liar");
    }
    if (pager.store_now >= 0 && pager.nr_give_back)
        pager_give_back(&pager);
    for (uint64_t nr = world.tells_slowly && !one_in(30) ? 0 : choose(5); nr && world.nr_squeezed && pager.store_now >= 0; nr--) {
        struct squeezed_entry e = world.squeezed[0];
        memmove(world.squeezed, world.squeezed + 1, --world.nr_squeezed * sizeof e);
        if (pager_on_squeezed(&pager, &e))
            walk_failed("an honest daemon's other place is taken for a lie");
    }
}

static void lap_piece(void)
{
    if (!pager.is_ageing && !pager.lap.is_on) {
        pager_begin_ageing(&pager);
        pager_begin_lap(&pager, false, true);
    }
    (void)pager_lap(&pager);
}

/* Who has the bit is asked for, once: else it would stand for an answer that is not to come, or for
 * two. */
static void check_squeezing(void)
{
    for (unsigned i = 0; i < WORLD_PAGES && pager.store_now >= 0; i++) {
        struct page_leaf *leaf;
        const struct page *p = pager_page(&pager, WORLD_FIRST + i, &leaf);
        if (!p || !p->is_squeezing || (int)p->store != pager.store_now)
            continue;
        unsigned nr = 0;
        for (unsigned j = 0; j < SQUEEZES_NR; j++)
            nr += pager.asked[j].nr && pager.asked[j].pages[0] == WORLD_FIRST + i;
        if (nr != 1)
            walk_failed("page %u is asked for %u times", i, nr);
    }
}

static void tell_given_up(void)
{
    while (pager.store_now >= 0 && pager.nr_give_up)
        world_give_up(pager.give_up[--pager.nr_give_up]);
}

static void evict_piece(void)
{
    page_number first = WORLD_FIRST + choose(WORLD_PAGES);
    unsigned nr = 1 + (unsigned)choose(8), looked;
    if (first + nr > WORLD_END)
        nr = (unsigned)(WORLD_END - first);
    if (world.is_pageout)
        (void)pager_page_out(&pager, first, nr, world.has_scans && one_in(2));
    else
        (void)pager_evict(&pager, first, nr, world.has_scans && one_in(2), &looked);
}

/* A window of a few pages, a little of each kind of work. */
static void ahead_piece(void)
{
    page_number page = WORLD_FIRST + choose(WORLD_PAGES);
    for (uint64_t nr = choose(8); nr && page < WORLD_END && !pager.needs_events; nr--, page++)
        if (pager_ahead(&pager, page) >= AHEAD_FULL)
            break;
    for (uint64_t nr = choose(6); nr && pager_ahead_decode(&pager); nr--)
        ;
    if (!pager.needs_events && one_in(2))
        (void)pager_ahead_install(&pager, one_in(2));
    if (!pager.needs_events && one_in(30))
        (void)pager_ahead_skip(&pager);
    if (one_in(50))
        pager_ahead_drop(&pager);
}

static void drain_piece(void)
{
    page_number cursor = WORLD_FIRST + choose(WORLD_PAGES);
    enum drain_mode mode = one_in(2) ? DRAIN_INSTALL : DRAIN_FORGET_ZEROS;
    (void)pager_drain(&pager, &cursor, WORLD_END, mode, 3);
}

static bool is_any_out(page_number first, page_number end)
{
    for (page_number page = first; page < end; page++) {
        struct page_leaf *leaf;
        const struct page *p = pager_page(&pager, page, &leaf);
        if (p && p->state != PAGE_RESIDENT)
            return true;
    }
    return false;
}

static void rewatch(void)
{
    pager.has_gaps = false;
    for (page_number at = WORLD_FIRST; at < WORLD_END;) {
        struct interval *w = intervals_find(&pager.watched, at);
        struct maps_vma vma;
        if (w) {
            at = w->end;
            continue;
        }
        if (maps_find(&pager.maps, page_address(at), &vma))
            break;
        page_number first = page_of(vma.start) > at ? page_of(vma.start) : at;
        page_number end = page_of(vma.end);
        uint32_t next = intervals_from(&pager.watched, at);
        if (next < pager.watched.nr && end > pager.watched.items[next].first)
            end = pager.watched.items[next].first;
        if (first < end && (world.has_gaps || !is_any_out(first, end)))
            (void)pager_watch(&pager, first, end);
        at = end > first ? end : first;
    }
    pager.has_gaps = true; /* mapped later without an event */
}

static void look_after_bars(void)
{
    pager_bars_over(&pager, world.bars_checked);
    if (pager.bars_set > pager.table.bars_over)
        world.bars_wanted = pager.bars_set;
}

/* As session_lost() and session_try_leave() do it. */
static void lose_daemon(void)
{
    pager.store_now = -1;
    pager.nr_give_up = 0;
    pager.nr_give_back = 0;
    pager_forget_squeezes(&pager);
    world.abandoned = pager.session;
    daemon_dies();
}

static void try_join(void)
{
    uint64_t cursor = 0;
    if (pager_unstage(&pager, 4))
        return;
    for (unsigned i = 0; i < PAGE_STORES_NR; i++)
        if (pager.stores[i].bytes && !pager.store_pages[i] &&
            !pager_ahead_reads(&pager, pager.stores[i].bytes)) {
            pager.stores[i] = (struct store_map){ 0 };
            memset(world.stores[i].bytes, 0xa5, sizeof world.stores[i].bytes);
        }
    if (one_in(4))
        join();
    else
        (void)pager_drain_store(&pager, (unsigned)choose(PAGE_STORES_NR), &cursor, 2);
}

static void calm(void)
{
    if (one_in(60))
        pager_find_churn(&pager, 1000000);
    if (one_in(60))
        pager_forget_refusals(&pager);
    (void)pager_calm_churn(&pager, 3);
}

static void agent_round(void)
{
    if (!serve())
        return;
    if (pager.unmapped.nr)
        pager_settle_unmapped(&pager);
    if (!is_anything_unsettled())
        world.has_riddle = false;
    take_answers();
    look_after_bars();
    if (pager.store_now < 0)
        try_join();
    else if (world.has_deaths && one_in(60) && !world.is_closing)
        lose_daemon();
    if (!world.is_closing) {
        if (one_in(8))
            drain_piece();
        if (one_in(4))
            rewatch();
        calm();
        if (world.has_prefetch)
            ahead_piece();
        if (one_in(2))
            evict_piece();
        if (one_in(2) && pager.store_now >= 0)
            lap_piece();
    }
    pager.nr_answered = 0;
    if (pager.nr_paged_out && one_in(2))
        (void)pager_find_returns(&pager, &world.returns_cursor);
    if (one_in(2))
        tell_given_up();
}

/* ---- every page as a touch would find it */

static uint64_t word_in(const unsigned char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* What the agent would answer a touch with. False: the page is known to be lost. */
static bool answer_for(unsigned page, uint64_t *ret_word)
{
    struct page_leaf *leaf;
    const struct page *p = pager_page(&pager, WORLD_FIRST + page, &leaf);
    *ret_word = 0;
    switch (p ? (enum page_state)p->state : PAGE_RESIDENT) {
    case PAGE_RESIDENT:
    case PAGE_ZERO:
        return true;
    case PAGE_STAGED:
        if (world.staged[p->where] != PTE_PRESENT)
            walk_failed("page %u is staged in a slot that is empty", page);
        if (pager.staging.slots[p->where].page != WORLD_FIRST + page)
            walk_failed("page %u is staged in another page's slot", page);
        *ret_word = word_in(model_staging() + pages_to_bytes(p->where));
        return true;
    case PAGE_STORED:
        *ret_word = locator_kind_of(p->where) == LOCATOR_FILL64
                        ? word_in(pager.stores[p->store].bytes + locator_offset(p->where))
                        : locator_fill32(p->where);
        return !world.is_rotten[world.pages[page].expected];
    case PAGE_POISONED:
        return false;
    case PAGE_STATE_NR:
        break;
    }
    walk_failed("page %u is in no state", page);
}

static void look_at(unsigned page)
{
    const struct vpage *v = &world.pages[page];
    uint64_t word = v->word;
    bool is_kept = true;
    if (!v->is_mapped)
        return;
    /* (A move that was not counted, or a zero page that a reader left in landing, may make the
     * table say STAGED for a while though the page is there. Its bytes there are what is seen.) */
    if ((v->pte == PTE_PRESENT || v->pte == PTE_SWAPPED) && v->is_armed && !world.has_ageing && !world.has_readers) {
        struct page_leaf *leaf;
        const struct page *p = pager_page(&pager, WORLD_FIRST + page, &leaf);
        if (p && p->state != PAGE_RESIDENT)
            walk_failed("page %u is there, and said to be %s", page,
                        page_state_name((enum page_state)p->state));
    } else if (v->pte == PTE_POISON) {
        is_kept = false;
    } else if (v->pte != PTE_PRESENT && v->pte != PTE_SWAPPED) {
        word = 0;
        if (v->is_armed)
            is_kept = answer_for(page, &word);
    }
    if (!is_kept && !world.is_rotten[v->expected])
        walk_failed("page %u is lost", page);
    if (is_kept && word != v->expected && !(word == 0 && v->may_be_zero))
        walk_failed("page %u would read as %lu, should be %lu", page, word, v->expected);
}

/* The sums of what is noted as paged out are those of the notes. */
static void check_paged_out(void)
{
    uint64_t nr = 0;
    for (uint32_t i = 0; i < pager.table.nr_leaves; i++) {
        struct page_leaf *leaf = &pager.table.leaves[i];
        uint32_t nr_here = 0;
        for (unsigned j = 0; j < LEAF_PAGES; j++)
            nr_here += leaf->pages[j].is_paged_out;
        if (nr_here != leaf->nr_paged_out)
            walk_failed("%u pages of a leaf are paged out, %u are counted", nr_here,
                        leaf->nr_paged_out);
        nr += nr_here;
    }
    if (nr != pager.nr_paged_out)
        walk_failed("%lu pages are paged out, %lu are counted", nr, pager.nr_paged_out);
}

static void look_at_all(void)
{
    if (world.has_pageout)
        check_paged_out();
    check_squeezing();
    if (is_anything_unsettled())
        return;
    for (unsigned i = 0; i < WORLD_PAGES; i++)
        look_at(i);
}

/* ---- the end: everybody comes to rest, all is read, all is brought back, nothing is left over */

static bool is_at_rest(void)
{
    for (unsigned i = 0; i < WORLD_THREADS; i++)
        if (world.threads[i].state != THREAD_RUNS)
            return false;
    return !is_anything_unsettled();
}

static void come_to_rest(void)
{
    for (unsigned i = 0; !is_at_rest(); i++) {
        if (i == QUIET_ROUNDS)
            walk_failed("a thread hangs");
        agent_round();
        world_steps_between();
    }
}

static void read_all(void)
{
    for (unsigned i = 0; i < WORLD_PAGES; i++) {
        world_touch(&world.threads[0], i, false);
        come_to_rest();
    }
}

static void bring_all_back(void)
{
    uint64_t cursor = 0;
    for (unsigned i = 0; pager_drain_all(&pager, &cursor, 4) != 1 || pager_nr_out(&pager); i++) {
        if (i == QUIET_ROUNDS)
            walk_failed("not all comes back");
        (void)serve();
    }
    look_at_all();
}

static void check_nothing_is_left(void)
{
    for (unsigned i = 0; i < QUIET_ROUNDS && (world.nr_raw || world.nr_answers || world.nr_asks || world.nr_squeezed || i < 100); i++) {
        if (pager.store_now < 0)
            daemon_dies();
        world_step();
        take_answers();
        tell_given_up();
    }
    for (unsigned i = 0; i < 2 * WORLD_PAGES && pager.nr_paged_out; i++)
        (void)pager_find_returns(&pager, &world.returns_cursor);
    if (pager.nr_paged_out)
        walk_failed("%lu pages are there again, and nobody says so", pager.nr_paged_out);
    if (pager.staging.nr_used || pager.nr_staged || pager.nr_stored || pager.nr_zero)
        walk_failed("%u staging slots are still used, %lu pages counted as out",
                    pager.staging.nr_used, pager_nr_out(&pager));
    for (unsigned i = 0; i < WORLD_SLOTS; i++)
        if (world.staged[i] != PTE_NONE && !world.has_readers) /* they leave zero pages */
            walk_failed("staging slot %u is free and has memory", i);
    for (unsigned i = 0; pager.store_now >= 0 && i < WORLD_PLACES; i++)
        if (world.stores[pager.store_now].is_held[i])
            walk_failed("place %u is never given up", i);
}

static bool walk(uint64_t seed)
{
    if (sigsetjmp(walk_over, 1))
        return false;
    begin_walk(seed);
    for (unsigned i = 0; i < ROUNDS; i++) {
        agent_round();
        look_at_all();
        for (uint64_t nr = choose(12); nr; nr--)
            world_step();
    }
    world.is_closing = true;
    come_to_rest();
    look_at_all();
    read_all();
    bring_all_back();
    check_nothing_is_left();
    return true;
}

/* ---- all walks */

static unsigned run_walks(uint64_t first, unsigned nr, bool is_told, bool stops)
{
    unsigned nr_failed = 0;
    for (unsigned i = 0; i < nr && !(stops && nr_failed); i++) {
        if (walk(first + i))
            continue;
        if (is_told && !nr_failed++)
            printf("walk %lu: %s\n", first + i, failure);
        else
            nr_failed += !is_told;
    }
    return nr_failed;
}

static const enum mutant caught[] = {
    MUTANT_FREE_STAGED_EARLY,   MUTANT_GIVE_UP_BEFORE_INSTALL, MUTANT_PREVIOUS_VERSION,
    MUTANT_FAULT_BEFORE_EVENTS, MUTANT_DROP_FAILED_FAULT,      MUTANT_NO_BAR,
    MUTANT_BAR_LIFTED_ON_RUNNING, MUTANT_IGNORE_GENERATION,    MUTANT_REMAP_FORGETS,
    MUTANT_RETRY_WITHOUT_EVENTS, MUTANT_BELIEVE_MOVE_ERROR,    MUTANT_MOVE_ON_SECOND_UFFD,
    MUTANT_DISCARD_KEEPS_STORE, MUTANT_UNMAP_AT_ONCE,          MUTANT_ZEROS_ON_BAD_CHECKSUM,
    MUTANT_BELIEVE_STORE,       MUTANT_LATE_UNMAP_STAYS,       MUTANT_BELIEVE_PAGEOUT,
    MUTANT_MISS_RETURNS,        MUTANT_REUSE_BARRED_LEAF,  MUTANT_PREFETCH_GIVES_UP_EARLY,
    MUTANT_PREFETCH_INSTALLS_STALE,
    MUTANT_SQUEEZE_IGNORES_BIT, MUTANT_SQUEEZE_ASKS_TWICE,     MUTANT_SQUEEZE_GIVES_UP_FIRST,
};

static bool is_of_pageout(enum mutant m)
{
    return m == MUTANT_BELIEVE_PAGEOUT || m == MUTANT_MISS_RETURNS;
}

/* Every fault is found, mostly by the first few walks. */
static unsigned count_catches(bool counts_all)
{
    unsigned nr_missed = 0;
    int own_stderr = dup(2), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)dup2(null, 2); /* broken invariants say so there */
    for (unsigned i = 0; i < sizeof caught / sizeof *caught; i++) {
        mutant_choose(caught[i]);
        has_pageout = is_of_pageout(caught[i]);
        unsigned nr = run_walks(1, counts_all ? COUNT_WALKS : MUTANT_WALKS, false, !counts_all);
        if (counts_all)
            printf(" *   %-24s %4u  %s\n", mutant_name(caught[i]), nr, nr ? failure : "");
        else if (!nr)
            printf("%u walks do not find %s\n", MUTANT_WALKS, mutant_name(caught[i]));
        nr_missed += !nr;
    }
    mutant_choose(MUTANT_NR);
    (void)dup2(own_stderr, 2);
    close(own_stderr);
    close(null);
    return nr_missed;
}

int main(int argc, char **argv)
{
    table_bytes = page_table_bytes(8 * LEAF_PAGES);
    table_memory = mmap(NULL, table_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (table_memory == MAP_FAILED)
        return 1;
    (void)signal(SIGABRT, on_abort);
    for (; argc > 1 && !strncmp(argv[1], "--", 2); argc--, argv++) {
        if (!strcmp(argv[1], "--catches"))
            return count_catches(true) != 0;
        tells |= !strcmp(argv[1], "--tell");
        has_gaps |= !strcmp(argv[1], "--gaps");
        has_pageout |= !strcmp(argv[1], "--pageout");
    }
    const char *mutant = getenv("PP_MUTANT");
    unsigned nr = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : mutant ? MUTANT_WALKS : WALKS;
    uint64_t first = argc > 2 ? strtoul(argv[2], NULL, 10) : 1, begin_ns = now_ns();
    unsigned nr_failed = run_walks(first, nr, true, mutant && argc == 1);
    if (argc == 1 && !has_pageout && !nr_failed) {
        has_pageout = true;
        nr_failed += run_walks(first, nr / 3, true, false);
        nr += nr / 3;
    }
    printf("%u walks, %u failed, %lu ms\n", nr, nr_failed, (now_ns() - begin_ns) / NS_PER_MS);
    if (!mutant && argc == 1)
        nr_failed += count_catches(false);
    return nr_failed != 0;
}
