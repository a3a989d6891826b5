/* direct.c - see direct.h and docs/direct.md. Per restore: one compare-and-swap, five loads, at most two
 * read-modify-writes and a store; the agent reads eight cache lines for a run. */
#include "direct/direct.h"

#include <sched.h>
#include <time.h>

#include "base/mutant.h"

/* 100 us at most of yields before the agent sleeps between looks: who is inside has been preempted. */
#define YIELDS_BEFORE_NAP 50
#define NAP_NS 50000

size_t direct_leaves_bytes(uint32_t nr_leaves)
{
    return nr_leaves * sizeof(struct direct_leaf);
}

size_t direct_dirty_bytes(uint32_t nr_leaves)
{
    return (nr_leaves / 64 + 1) * sizeof(uint64_t);
}

static unsigned word_of(page_number page)
{
    return (unsigned)(page % LEAF_PAGES / 64);
}

static uint64_t bit_of(page_number page)
{
    return UINT64_C(1) << page % 64;
}

/* The bits of [first, first + nr) that stand in the word of `page`, and the first page behind that word. */
static uint64_t mask_from(page_number page, page_number end, page_number *ret_next)
{
    page_number next = (page / 64 + 1) * 64;
    *ret_next = next < end ? next : end;
    uint64_t nr = *ret_next - page;
    return (nr == 64 ? ~UINT64_C(0) : (UINT64_C(1) << nr) - 1) << page % 64;
}

/* ---- a touching thread */

/* Neighbours in `hint` begin in different cache lines. */
static unsigned slot_at(unsigned hint, unsigned i)
{
    unsigned n = hint + i;
    return (n % 8 * 8 + n / 8 % 8) % DIRECT_SLOTS_NR;
}

int direct_enter(struct direct *d, page_number first, unsigned nr, unsigned hint)
{
    uint64_t word = hazard_make(first, mutant_is(MUTANT_DIRECT_RUN_UNNAMED) ? 1 : nr);
    if (mutant_is(MUTANT_DIRECT_NO_HAZARD))
        word = UINT64_MAX;
    for (unsigned i = 0; i < DIRECT_SLOTS_NR; i++) {
        unsigned slot = slot_at(hint, i);
        uint64_t none = 0;
        /* seq_cst, here and at the gate: either the agent sees our word, or we see what it wrote before it
         * looked. */
        if (atomic_load_explicit(&d->hazards[slot], memory_order_relaxed) ||
            !atomic_compare_exchange_strong(&d->hazards[slot], &none, word))
            continue;
        if (atomic_load(&d->gate) % 2) {
            direct_leave(d, (int)slot);
            return -1;
        }
        return (int)slot;
    }
    return -1;
}

void direct_leave(struct direct *d, int slot)
{
    memory_order order = mutant_is(MUTANT_DIRECT_RELAXED_LEAVE) ? memory_order_relaxed
                                                                : memory_order_release;
    atomic_store_explicit(&d->hazards[slot], 0, order);
}

void direct_look(const struct direct *d, page_number page, struct direct_look *ret)
{
    *ret = (struct direct_look){ .page = { .state = PAGE_RESIDENT } };
    struct page_leaf *leaf = page_table_find(d->table, page);
    if (!leaf)
        return;
    ret->has_leaf = true;
    ret->leaf = (uint32_t)(leaf - d->table->leaves);
    const struct direct_leaf *bits = &d->leaves[ret->leaf];
    /* seq_cst, against direct_begin_leaving(). */
    ret->is_leaving = atomic_load(&bits->leaving[word_of(page)]) & bit_of(page);
    /* Before the entry: the agent clears it after the entry. */
    ret->is_returned = atomic_load_explicit(&bits->returned[word_of(page)], memory_order_acquire) &
                       bit_of(page);
    ret->page = page_read(leaf_page(leaf, page));
    ret->checksum = __atomic_load_n(&leaf->checksums[page % LEAF_PAGES], __ATOMIC_RELAXED);
}

void direct_note_returned(struct direct *d, uint32_t leaf, page_number first, uint64_t pages, uint64_t ahead)
{
    unsigned shift = first % 64;
    if (ahead) /* first, so that who learns of the page knows; the other is seq_cst */
        atomic_fetch_or_explicit(&d->leaves[leaf].ahead[word_of(first)], ahead << shift, memory_order_relaxed);
    atomic_fetch_or(&d->leaves[leaf].returned[word_of(first)], pages << shift);
    /* seq_cst both: either we see the agent's taking of the dirty bit, or it sees the page's. */
    if (!(atomic_load(&d->dirty[leaf / 64]) >> leaf % 64 & 1))
        atomic_fetch_or(&d->dirty[leaf / 64], UINT64_C(1) << leaf % 64);
}

void direct_note_passed(struct direct *d, page_number first, page_number end)
{
    struct page_leaf *leaf = page_table_find(d->table, first);
    if (!leaf)
        return;
    for (page_number page = first, next; page < end; page = next) {
        uint64_t mask = mask_from(page, end, &next);
        atomic_fetch_and_explicit(&d->leaves[leaf - d->table->leaves].ahead[word_of(page)], ~mask,
                                  memory_order_relaxed);
    }
}

void direct_ask(struct direct *d, page_number page, unsigned hint)
{
    for (unsigned i = 0; i < DIRECT_SLOTS_NR; i++) {
        uint64_t none = 0;
        if (atomic_compare_exchange_strong(&d->asked[slot_at(hint, i)], &none, page + 1) ||
            none == page + 1)
            break; /* full: asked again after the next wait */
    }
    atomic_store(&d->is_asking, true);
}

/* ---- the agent */

static bool is_anybody_inside(struct direct *d)
{
    for (unsigned i = 0; i < DIRECT_SLOTS_NR; i++)
        if (atomic_load(&d->hazards[i]))
            return true;
    return false;
}

void direct_close_gate(struct direct *d)
{
    atomic_fetch_add(&d->gate, 1);
    for (int i = 0; is_anybody_inside(d) && !mutant_is(MUTANT_DIRECT_GATE_NO_WAIT); i++) {
        if (i < YIELDS_BEFORE_NAP)
            sched_yield();
        else
            (void)nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
    }
    if (mutant_is(MUTANT_DIRECT_GATE_EARLY))
        atomic_fetch_add(&d->gate, 1);
}

void direct_open_gate(struct direct *d)
{
    if (!mutant_is(MUTANT_DIRECT_GATE_EARLY))
        atomic_fetch_add_explicit(&d->gate, 1, memory_order_release);
}

/* How many of [first, first + nr) come before the first that somebody is restoring. */
static unsigned nr_before_hazards(struct direct *d, page_number first, unsigned nr)
{
    for (unsigned i = 0; i < DIRECT_SLOTS_NR; i++) {
        uint64_t word = atomic_load(&d->hazards[i]);
        if (word && hazard_first(word) < first + nr && hazard_end(word) > first)
            nr = hazard_first(word) > first ? (unsigned)(hazard_first(word) - first) : 0;
    }
    return nr;
}

bool direct_is_touched(struct direct *d, page_number page)
{
    if (mutant_is(MUTANT_DIRECT_SLOT_AT_ONCE))
        return false;
    atomic_thread_fence(memory_order_seq_cst);
    return nr_before_hazards(d, page, 1) == 0;
}

static void set_leaving(struct direct *d, uint32_t leaf, page_number first, unsigned nr)
{
    for (page_number page = first, next; page < first + nr; page = next) {
        uint64_t mask = mask_from(page, first + nr, &next);
        atomic_fetch_or(&d->leaves[leaf].leaving[word_of(page)], mask);
    }
}

static void clear_leaving(struct direct *d, uint32_t leaf, page_number first, unsigned nr)
{
    for (page_number page = first, next; page < first + nr; page = next) {
        uint64_t mask = mask_from(page, first + nr, &next);
        atomic_fetch_and_explicit(&d->leaves[leaf].leaving[word_of(page)], ~mask, memory_order_release);
    }
}

unsigned direct_begin_leaving(struct direct *d, uint32_t leaf, page_number first, unsigned nr)
{
    unsigned may = nr;
    if (mutant_is(MUTANT_DIRECT_LOOK_EARLY))
        may = nr_before_hazards(d, first, nr);
    if (!mutant_is(MUTANT_DIRECT_NO_LEAVING))
        set_leaving(d, leaf, first, nr);
    if (!mutant_is(MUTANT_DIRECT_LOOK_EARLY))
        may = nr_before_hazards(d, first, nr);
    clear_leaving(d, leaf, first + may, nr - may);
    /* Nobody is inside for them, so these bits are of the time before. */
    for (page_number page = first; page < first + may; page++)
        if (direct_is_returned(d, leaf, page) && !mutant_is(MUTANT_DIRECT_STALE_RETURNED))
            direct_forget_returned(d, leaf, page);
    return may;
}

void direct_end_leaving(struct direct *d, uint32_t leaf, page_number first, unsigned nr)
{
    clear_leaving(d, leaf, first, nr);
}

static _Atomic uint64_t nr_unregistered;

void direct_note_unregistering(void)
{
    atomic_fetch_add(&nr_unregistered, 1);
}

uint64_t direct_nr_unregistered(void)
{
    return atomic_load(&nr_unregistered);
}

bool direct_is_returned(const struct direct *d, uint32_t leaf, page_number page)
{
    return direct_returned_word(d, leaf, word_of(page)) & bit_of(page);
}

bool direct_is_ahead(const struct direct *d, uint32_t leaf, page_number page)
{
    return atomic_load_explicit(&d->leaves[leaf].ahead[word_of(page)], memory_order_relaxed) & bit_of(page);
}

void direct_forget_returned(struct direct *d, uint32_t leaf, page_number page)
{
    if (direct_is_ahead(d, leaf, page))
        atomic_fetch_and_explicit(&d->leaves[leaf].ahead[word_of(page)], ~bit_of(page), memory_order_relaxed);
    atomic_fetch_and_explicit(&d->leaves[leaf].returned[word_of(page)], ~bit_of(page),
                              memory_order_release);
}

uint32_t direct_next_dirty(struct direct *d, uint32_t *cursor)
{
    for (; *cursor < d->table->nr_leaves; *cursor = (*cursor / 64 + 1) * 64) {
        _Atomic uint64_t *word = &d->dirty[*cursor / 64];
        uint64_t bits = atomic_load(word) & ~UINT64_C(0) << *cursor % 64;
        if (!bits)
            continue;
        uint32_t leaf = *cursor / 64 * 64 + (uint32_t)__builtin_ctzll(bits);
        atomic_fetch_and(word, ~(UINT64_C(1) << leaf % 64));
        *cursor = leaf + 1;
        return leaf;
    }
    return UINT32_MAX;
}

bool direct_take_asked(struct direct *d, unsigned *cursor, page_number *ret_page)
{
    if (*cursor == 0 && !atomic_exchange(&d->is_asking, false))
        return false;
    for (; *cursor < DIRECT_SLOTS_NR; ++*cursor) {
        uint64_t asked = atomic_exchange(&d->asked[*cursor], 0);
        if (asked) {
            ++*cursor;
            *ret_page = asked - 1;
            return true;
        }
    }
    *cursor = 0;
    return false;
}

static uint64_t read_count(const _Atomic uint64_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

struct direct_sums direct_sums(const struct direct *d)
{
    struct direct_sums s = { 0 };
    for (unsigned i = 0; i < DIRECT_SLOTS_NR; i++) {
        const struct direct_counts *c = &d->counts[i];
        s.restored += read_count(&c->restored);
        s.staged += read_count(&c->staged);
        s.zeros += read_count(&c->zeros);
        s.raced += read_count(&c->raced);
        s.waits += read_count(&c->waits);
        s.waited_ns += read_count(&c->waited_ns);
        s.ahead += read_count(&c->ahead);
        s.used += read_count(&c->used);
        s.wasted += read_count(&c->wasted);
        s.runs += read_count(&c->runs);
    }
    return s;
}

void direct_take_times(struct direct *d, struct histogram *felt_ns, struct histogram *restore_ns)
{
    /* A time that is just being recorded may be told with the next one of its slot. */
    for (uint64_t slots = atomic_exchange(&d->timed, 0); slots; slots &= slots - 1) {
        struct direct_scratch *scratch = &d->scratch[__builtin_ctzll(slots)];
        histogram_take(felt_ns, &scratch->felt_ns);
        histogram_take(restore_ns, &scratch->restore_ns);
    }
}
