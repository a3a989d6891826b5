/* fuzz_page - the life of pages under events in any order: at every instant one complete copy of the
 * newest bytes is where the table says, and everything that is given up was ours to give up, once.
 * Method: the real machine (page.c, staging.c, table.c) beside a small world of its own: eight pages,
 * six staging slots, places in stores, all of them holding version numbers instead of bytes. After each
 * event the application is asked what it would see.
 *
 * What cannot be (a page moved out that may not leave, a state that there is not) must end the process;
 * abort() is ours here, so that the fuzzer can go on behind it.
 *
 *   input: pairs of bytes, an event and what it happens to */
#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "page/page.h"
#include "page/staging.h"
#include "page/table.h"

#define NR_PAGES 8u
#define NR_SLOTS 6u
#define NR_PLACES 64u
#define NR_ANSWERS 16u
#define NOTHING UINT32_MAX /* a hole, a place that nobody has */
#define POISONED (UINT32_MAX - 1)

struct place {
    uint32_t version;
    bool is_live;
};

/* "Page copied, and this is what was in the slot": on its way to the store, or back from it. */
struct answer {
    uint32_t slot, generation, version;
};

/* "Put that elsewhere": the daemon has copied it, and its answer is on its way. */
struct ask {
    unsigned page, store;
    locator old;
    uint32_t version;
};

struct world {
    struct page_table table;
    struct staging staging;
    struct staging_slot slot_states[NR_SLOTS];

    page_number numbers[NR_PAGES];
    uint32_t expected[NR_PAGES]; /* what the application wrote last; 0: zeros; POISONED */
    uint32_t target[NR_PAGES];   /* what its memory holds; NOTHING: a hole */
    bool is_zapping[NR_PAGES];   /* announced, not yet emptied ... */
    bool was_there[NR_PAGES];    /* ... and there was something to empty, ... */
    uint32_t announced[NR_PAGES]; /* ... not newer than this */
    bool is_noted_out[NR_PAGES]; /* paged out, and not yet seen back */

    uint32_t slots[NR_SLOTS]; /* what each staging slot holds */
    struct place places[PAGE_STORES_NR][NR_PLACES];
    unsigned store_now;
    struct answer answers[NR_ANSWERS];
    unsigned nr_answers;
    struct ask asks[NR_PAGES]; /* one a page at a time, as pager/squeeze.c has it */
    bool is_asked[NR_PAGES];
    uint32_t version; /* the last one written */
};

/* ---- what must end the process */

static sigjmp_buf on_abort;
static bool is_abort_expected;

_Noreturn void abort(void)
{
    if (is_abort_expected)
        siglongjmp(on_abort, 1);
    __builtin_trap();
}

/* Standard error is where it says so: not ten thousand times a second. */
struct silence {
    int kept; /* standard error as it was */
    int free; /* the descriptor that invariant_broken() opens, and leaves open */
};

static struct silence silence(void)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct silence s = { .kept = fcntl(2, F_DUPFD_CLOEXEC, 3) };
    CHECK(s.kept >= 0 && null >= 0 && dup2(null, 2) == 2);
    close(null);
    s.free = null;
    return s;
}

static void unsilence(struct silence s)
{
    (void)close(s.free);
    (void)dup2(s.kept, 2);
    (void)close(s.kept);
}

#define CHECK_ENDS(statement)                                                                      \
    do {                                                                                           \
        struct silence silence_ = silence();                                                       \
        bool has_ended_ = true;                                                                    \
        is_abort_expected = true;                                                                  \
        if (!sigsetjmp(on_abort, 0)) {                                                             \
            statement;                                                                             \
            has_ended_ = false;                                                                    \
        }                                                                                          \
        is_abort_expected = false;                                                                 \
        unsilence(silence_);                                                                       \
        CHECK(has_ended_);                                                                         \
    } while (0)

/* ---- the world */

static void *table_memory;
static size_t table_bytes;

/* Room for three leaves: the fourth is refused. */
static void world_begin(struct world *w)
{
    if (!table_memory) {
        size_t spare = page_table_bytes(0), leaves = 64 * sizeof(struct page_leaf);
        table_bytes = spare - leaves + 3 * sizeof(struct page_leaf);
        table_memory = mmap(NULL, table_bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        CHECK(table_memory != MAP_FAILED);
    }
    CHECK(madvise(table_memory, table_bytes, MADV_DONTNEED) == 0);
    memset(w, 0, sizeof *w);
    page_table_init(&w->table, table_memory, table_bytes);
    staging_init(&w->staging, w->slot_states, NR_SLOTS);
    for (unsigned i = 0; i < NR_PAGES; i++) { /* three leaves, far from each other */
        static const page_number leaves[] = { 0x7f0000000, 0x000000400, 0x123456600 };
        w->numbers[i] = leaves[i % 3] + i * 70 % LEAF_PAGES;
        w->target[i] = NOTHING;
    }
    for (unsigned s = 0; s < NR_SLOTS; s++)
        w->slots[s] = NOTHING;
}

/* NULL: never anything but RESIDENT. */
static struct page *known(struct world *w, unsigned i)
{
    struct page_leaf *leaf = page_table_find(&w->table, w->numbers[i]);
    return leaf ? leaf_page(leaf, w->numbers[i]) : NULL;
}

static struct page *page_at(struct world *w, unsigned i)
{
    struct page_leaf *leaf = page_table_grow(&w->table, w->numbers[i]);
    CHECK(leaf && leaf->first == w->numbers[i] / LEAF_PAGES * LEAF_PAGES);
    leaf->nr_out = 1; /* nobody counts here; and a leaf with nothing out may be used for others */
    return leaf_page(leaf, w->numbers[i]);
}

/* What a touch would find. */
static uint32_t visible(struct world *w, unsigned i)
{
    const struct page *p = known(w, i);
    if (w->target[i] != NOTHING)
        return w->target[i];
    if (!p)
        return 0;
    switch ((enum page_state)p->state) {
    case PAGE_RESIDENT:
    case PAGE_ZERO:     return 0;
    case PAGE_STAGED:   return w->slots[p->where];
    case PAGE_STORED:   return w->places[p->store][p->where].version;
    case PAGE_POISONED: return POISONED;
    case PAGE_STATE_NR: break;
    }
    CHECK(!"a state that there is not");
    return NOTHING;
}

static void check_page(struct world *w, unsigned i, unsigned *nr_staged)
{
    const struct page *p = known(w, i);
    CHECK(visible(w, i) == w->expected[i]);
    if (!p)
        return;
    CHECK(p->state == PAGE_RESIDENT || w->target[i] == NOTHING);
    CHECK(!p->is_barred || p->state == PAGE_RESIDENT);
    CHECK(!p->is_squeezing || p->state == PAGE_STORED);
    CHECK(p->is_paged_out == w->is_noted_out[i]);
    if (p->state == PAGE_STAGED) {
        ++*nr_staged;
        CHECK(p->where < NR_SLOTS && w->slot_states[p->where].state == SLOT_HOLDS);
        CHECK(w->slot_states[p->where].page == w->numbers[i]);
    }
    if (p->state == PAGE_STORED)
        CHECK(w->places[p->store][p->where].is_live);
}

static void check_world(struct world *w)
{
    unsigned nr_staged = 0, nr_holding = 0, nr_free = 0;
    for (unsigned i = 0; i < NR_PAGES; i++)
        check_page(w, i, &nr_staged);
    for (unsigned s = 0; s < NR_SLOTS; s++) {
        nr_holding += w->slot_states[s].state == SLOT_HOLDS;
        nr_free += w->slot_states[s].state == SLOT_FREE;
        CHECK((w->slot_states[s].state == SLOT_FREE) == (w->slots[s] == NOTHING));
    }
    CHECK(nr_staged == nr_holding && w->staging.nr_holding == nr_holding);
    CHECK(w->staging.nr_used == NR_SLOTS - nr_free);
}

/* What a transition gives back. A place of a daemon that has gone is nobody's to reuse. */
static void release(struct world *w, struct page_release r)
{
    switch (r.kind) {
    case RELEASE_NOTHING:
        return;
    case RELEASE_SLOT:
        staging_let_go(&w->staging, r.slot);
        return;
    case RELEASE_PLACE:
        CHECK(r.place < NR_PLACES && w->places[r.store][r.place].is_live);
        w->places[r.store][r.place] = (struct place){ .version = NOTHING };
        return;
    }
}

/* ---- events */

static void installed(struct world *w, unsigned i, uint32_t version)
{
    CHECK(w->target[i] == NOTHING);
    w->target[i] = version;
    release(w, page_on_installed(page_at(w, i)));
}

/* True: it is there now. */
static bool touch(struct world *w, unsigned i)
{
    struct page *p = known(w, i);
    if (w->target[i] != NOTHING) {
        CHECK(!p || page_on_missing_fault(p) == ANSWER_ZERO_OR_WAKE); /* a late fault */
        return true;
    }
    switch (p ? page_on_missing_fault(p) : ANSWER_ZERO_OR_WAKE) {
    case ANSWER_ZERO_OR_WAKE:
    case ANSWER_ZERO_PAGE:
        if (p)
            installed(w, i, 0);
        w->target[i] = 0;
        break;
    case ANSWER_MOVE_BACK: {
        uint32_t slot = (uint32_t)p->where;
        installed(w, i, w->slots[slot]);
        break;
    }
    case ANSWER_DECOMPRESS:
        installed(w, i, w->places[p->store][p->where].version);
        break;
    case ANSWER_POISON:
        CHECK(w->expected[i] == POISONED);
        return false;
    }
    w->is_noted_out[i] = false;
    return true;
}

static void write_page(struct world *w, unsigned i)
{
    if (touch(w, i))
        w->target[i] = w->expected[i] = ++w->version;
}

static void move_out(struct world *w, unsigned i)
{
    uint32_t slot, nr = staging_run(&w->staging, 1, &slot);
    if (w->target[i] == NOTHING || !page_may_leave(page_at(w, i)) || !nr)
        return;
    CHECK(w->slots[slot] == NOTHING);
    (void)staging_take(&w->staging, slot, w->numbers[i]);
    w->slots[slot] = w->target[i];
    w->target[i] = NOTHING;
    page_on_moved(page_at(w, i), slot);
}

/* The kernel's own way: swap is a part of the target, so its content stays where it is. */
static void page_out(struct world *w, unsigned i)
{
    if (w->target[i] == NOTHING || !page_may_leave(page_at(w, i)))
        return;
    page_on_paged_out(page_at(w, i));
    w->is_noted_out[i] = true;
}

static void see_back(struct world *w, unsigned i)
{
    if (known(w, i))
        CHECK(page_on_seen_back(known(w, i)) == w->is_noted_out[i]);
    w->is_noted_out[i] = false;
}

/* The porter copies a slot that holds a page, and hands it over. */
static void copy_slot(struct world *w, unsigned slot)
{
    slot %= NR_SLOTS;
    if (w->slot_states[slot].state != SLOT_HOLDS || w->nr_answers == NR_ANSWERS)
        return;
    w->answers[w->nr_answers++] = (struct answer){
        .slot = slot, .generation = w->slot_states[slot].generation, .version = w->slots[slot]
    };
}

static unsigned owner_of(const struct world *w, uint32_t slot)
{
    unsigned i = 0;
    while (i < NR_PAGES && w->numbers[i] != w->slot_states[slot].page)
        i++;
    CHECK(i < NR_PAGES);
    return i;
}

static bool find_place(const struct world *w, uint32_t *ret)
{
    for (*ret = 0; *ret < NR_PLACES; ++*ret)
        if (!w->places[w->store_now][*ret].is_live)
            return true;
    return false;
}

/* An answer of the daemon: any of those under way, in any order, and some of them twice. */
static void deliver(struct world *w, unsigned which)
{
    uint32_t k;
    if (!w->nr_answers || !find_place(w, &k))
        return;
    unsigned at = which % w->nr_answers;
    struct answer a = w->answers[at];
    if (which < 128)
        w->answers[at] = w->answers[--w->nr_answers];
    if (!staging_is_current(&w->staging, a.slot, a.generation))
        return; /* late: the place is given up at once */
    struct page *p = page_at(w, owner_of(w, a.slot));
    CHECK(!page_on_stored(p, a.slot + 1, w->store_now, k)); /* another slot's is refused */
    CHECK(!page_on_stored_zero(p, a.slot + 1));
    if (a.version == 0) {
        CHECK(page_on_stored_zero(p, a.slot));
    } else {
        CHECK(page_on_stored(p, a.slot, w->store_now, k));
        w->places[w->store_now][k] = (struct place){ .version = a.version, .is_live = true };
    }
    staging_let_go(&w->staging, a.slot);
}

static void free_slot(struct world *w, unsigned slot)
{
    slot %= NR_SLOTS + 1; /* one that there is not, too */
    bool is_left = slot < NR_SLOTS && w->slot_states[slot].state == SLOT_LEFT;
    CHECK(staging_freed(&w->staging, slot) == is_left);
    if (is_left)
        w->slots[slot] = NOTHING;
}

/* The kernel announces a discard, and empties the page some time later. Whoever looks in between sees
 * either; what has been written before may not come back when it is over. */
static void announce(struct world *w, unsigned i)
{
    if (w->is_zapping[i])
        return;
    bool is_there = w->target[i] != NOTHING;
    w->is_zapping[i] = true;
    w->was_there[i] = is_there;
    w->announced[i] = w->version;
    struct page *p = known(w, i);
    if (!p && is_there)
        p = page_at(w, i);
    if (p)
        release(w, page_on_discard(p, is_there));
    if (!is_there)
        w->expected[i] = 0;
    w->is_noted_out[i] = false;
}

static void zap(struct world *w, unsigned i)
{
    if (!w->is_zapping[i])
        return;
    w->is_zapping[i] = false;
    if (w->target[i] != NOTHING) {
        w->target[i] = NOTHING;
        w->expected[i] = 0;
        see_back(w, i); /* pagemap shows a hole: the note goes */
    }
    uint32_t now = visible(w, i);
    CHECK(!w->was_there[i] || now == 0 || (now > w->announced[i] && now != POISONED));
}

static void look(struct world *w, unsigned i)
{
    if (w->target[i] == NOTHING && known(w, i))
        page_on_seen_absent(known(w, i));
}

/* MADV_FREE announces and never empties. */
static void bar_over(struct world *w, unsigned i)
{
    if (w->is_zapping[i] && w->was_there[i])
        return;
    if (known(w, i))
        page_on_bar_over(known(w, i));
}

static void remap(struct world *w, unsigned from, unsigned to)
{
    if (from == to || w->is_zapping[from] || w->is_zapping[to])
        return;
    struct page *p = page_at(w, from);
    w->target[to] = w->target[from];
    w->expected[to] = w->expected[from];
    w->is_noted_out[to] = w->is_noted_out[from];
    w->target[from] = NOTHING;
    w->expected[from] = 0;
    w->is_noted_out[from] = false;
    release(w, page_on_rekey(page_at(w, to), p));
    if (page_at(w, to)->state == PAGE_STAGED)
        staging_rekey(&w->staging, (uint32_t)page_at(w, to)->where, w->numbers[to]);
}

static void lose(struct world *w, unsigned i)
{
    if (w->target[i] != NOTHING || !known(w, i) || w->is_zapping[i])
        return;
    release(w, page_on_lost(known(w, i)));
    w->expected[i] = POISONED;
}

static void ask_for_another_place(struct world *w, unsigned i)
{
    struct page *p = known(w, i);
    if (!p || w->is_asked[i] || !page_may_squeeze(p))
        return;
    w->is_asked[i] = true;
    w->asks[i] = (struct ask){ .page = i, .store = (unsigned)p->store, .old = p->where,
                               .version = w->places[p->store][p->where].version };
    page_on_squeeze(p);
}

/* The answer may be of a page that has been back meanwhile, and is stored again, even at the same place. */
static void answer_ask(struct world *w, unsigned i, bool has_moved, unsigned why)
{
    uint32_t k;
    if (!w->is_asked[i])
        return;
    const struct ask *a = &w->asks[i];
    w->is_asked[i] = false;
    struct page *p = page_at(w, i);
    if (!has_moved) {
        page_on_not_squeezed(p, a->store, a->old, (enum page_stays)(why % (PAGE_STAYS_UNMOVED + 1u)));
        return;
    }
    for (k = 0; k < NR_PLACES && w->places[a->store][k].is_live; k++)
        ;
    if (k < NR_PLACES && page_on_squeezed(p, a->store, a->old, k)) {
        CHECK(w->places[a->store][a->old].is_live);
        w->places[a->store][k] = (struct place){ .version = a->version, .is_live = true };
        w->places[a->store][a->old] = (struct place){ .version = NOTHING };
    }
}

static void pass_a_lap(struct world *w, unsigned i)
{
    struct page *p = known(w, i);
    if (p)
        CHECK(page_on_lap(p) == (p->state == PAGE_STORED ? p->age : 0));
}

/* ---- what cannot be */

static void break_rules(struct world *w, unsigned i, unsigned how)
{
    struct page *p = page_at(w, i), kept = *p, other = { 0 };
    struct staging staging = w->staging;
    static const enum page_state none[] = { PAGE_STATE_NR, (enum page_state)6, (enum page_state)7 };
    switch (how % 10) {
    case 0:
        if (!page_may_leave(p))
            CHECK_ENDS(page_on_moved(p, 1));
        break;
    case 1:
        if (!page_may_leave(p))
            CHECK_ENDS(page_on_paged_out(p));
        break;
    case 2:
        p->state = none[i % 3] & 7u;
        CHECK(*page_state_name(none[i % 3]) == '?');
        CHECK_ENDS((void)page_on_missing_fault(p));
        break;
    case 3:
        p->state = none[i % 3] & 7u;
        CHECK_ENDS((void)page_on_installed(p));
        break;
    case 4:
        p->state = none[i % 3] & 7u;
        CHECK_ENDS((void)page_on_discard(p, true));
        break;
    case 5:
        other.state = none[i % 3] & 7u;
        CHECK_ENDS((void)page_on_rekey(&other, p));
        break;
    case 6:
        if (w->slot_states[i % NR_SLOTS].state != SLOT_FREE)
            CHECK_ENDS((void)staging_take(&staging, i % NR_SLOTS, 1));
        CHECK_ENDS((void)staging_take(&staging, NR_SLOTS + i, 1));
        break;
    case 9:
        if (!page_may_squeeze(p))
            CHECK_ENDS(page_on_squeeze(p));
        break;
    case 7:
        if (w->slot_states[i % NR_SLOTS].state != SLOT_HOLDS)
            CHECK_ENDS(staging_let_go(&staging, i % NR_SLOTS));
        break;
    default:
        if (w->slot_states[i % NR_SLOTS].state != SLOT_HOLDS)
            CHECK_ENDS(staging_rekey(&staging, i % NR_SLOTS, 1));
        break;
    }
    *p = kept;
}

static void ask_the_table(struct world *w, unsigned i)
{
    CHECK(!page_table_find(&w->table, (page_number)1 << 35)); /* behind the last address */
    CHECK(!page_table_grow(&w->table, ((page_number)1 << 35) + i));
    CHECK(page_table_used_bytes(&w->table) <= table_bytes);
    if (w->table.nr_leaves == w->table.nr_leaves_max)
        CHECK(!page_table_grow(&w->table, 0x5000000 + i * 0x1000));
    if (known(w, i))
        CHECK(*page_state_name((enum page_state)known(w, i)->state) != '?');
}

static void happen(struct world *w, uint8_t event, uint8_t argument)
{
    unsigned i = argument % NR_PAGES;
    switch (event % 20) {
    case 0:
    case 1:  write_page(w, i); break;
    case 2:  (void)touch(w, i); break;
    case 3:
    case 4:
    case 5:  move_out(w, i); break;
    case 6:
    case 7:  copy_slot(w, argument); break;
    case 8:
    case 9:  deliver(w, argument); break;
    case 10:
    case 11: free_slot(w, argument); break;
    case 12: announce(w, i); break;
    case 13: zap(w, i); break;
    case 14: if (argument & 8) pass_a_lap(w, i); else look(w, i); break;
    case 15: if (argument & 8) ask_for_another_place(w, i); else bar_over(w, i); break;
    case 16: remap(w, i, argument / NR_PAGES % NR_PAGES); break;
    case 17: if (argument & 8) lose(w, i); else page_out(w, i); break;
    case 18:
        if (argument & 8)
            answer_ask(w, i, argument & 16, argument >> 5);
        else
            see_back(w, i);
        break;
    default:
        if (argument >= 0xf0)
            break_rules(w, i, event / 20);
        else if (argument >= 0xe0)
            w->store_now = (w->store_now + 1) % PAGE_STORES_NR; /* the daemon died; the next one is there */
        else if (argument >= 0xd0)
            staging_set_limit(&w->staging, argument & 15);
        else
            ask_the_table(w, i);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    struct input in = { data, data + size };
    world_begin(&w);
    while (!input_is_empty(&in)) {
        uint8_t event = input_u8(&in);
        happen(&w, event, input_u8(&in));
        check_world(&w);
    }
    return 0;
}
