/* restore.c - a touching thread brings its own page back, in order some behind it, too: steps 1 to 6, and
 * "A run", of docs/direct.md.
 *
 * Per STORED page: claim and look 0.1 us, copy out and LZ4 about 1.1, checksum 0.2, COPY 1.8-2.3; the
 * signal around it about 1.5. Nobody waits on a userfaultfd in SIGBUS mode, so nobody is woken. */
#include <errno.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "direct/direct.h"
#include "sys/uffd.h"

/* What a thread spends on a restore besides our part: the fault, the signal, the way back. */
#define SIGNAL_NS 1500u
/* No page is begun ahead of a touch after so long: the first one of a group takes 15 us. */
#define RUN_NS 30000u

static const unsigned char zeros[PAGE_BYTES] __attribute__((aligned(4096)));

/* Only the holder of the hazard word writes; the agent reads for statistics. */
static void add(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

/* What the kernel's answer to an install means. */
static enum direct_result result_of(int r)
{
    switch (r) {
    case 0:
    case -EEXIST: return DIRECT_DONE;
    case -EAGAIN: return DIRECT_WAIT;
    case -ENOENT: return DIRECT_NOT_OURS;
    default:      return DIRECT_ASK; /* a descriptor that was closed, no memory, … */
    }
}

static int install_zeros(const struct direct *d, int uffd, page_number page, bool is_out)
{
    int whose = is_out ? 1 : direct_whose(d, uffd, page);
    if (whose <= 0)
        return whose;
    int r = uffd_zeropage_quietly(uffd, page_address(page));
    /* There, or a marker in a hole, over which only COPY goes; it says EEXIST where a page is. */
    return r == -EEXIST ? uffd_copy_quietly(uffd, page_address(page), zeros) : r;
}

/* Never COPY: a slot that has been freed reads as zeros. */
static int install_staged(struct direct *d, int uffd, page_number page, uint32_t slot)
{
    uint64_t from = (uintptr_t)d->staging_memory + pages_to_bytes(slot), moved;
    int r = uffd_move(uffd, page_address(page), from, PAGE_BYTES, &moved);
    return r == -ENOENT ? -EAGAIN : r; /* somebody has just emptied it: look again */
}

/* Into the i-th place of the scratch. Twice, as a group may have stayed there too long. */
static bool decode(struct direct *d, const struct direct_look *look, int slot, unsigned i)
{
    struct direct_scratch *scratch = &d->scratch[slot];
    const struct store_map *map = &d->stores[look->page.store];
    return !store_read(map, look->page.where, look->checksum, &scratch->store, scratch->pages[i]) ||
           !store_read(map, look->page.where, look->checksum, &scratch->store, scratch->pages[i]);
}

/* Bytes that fail their check may be of a place that has been given up since: the page is back then. */
static enum direct_result after_bad_bytes(const struct direct *d, page_number page,
                                          const struct direct_look *before)
{
    struct direct_look now;
    direct_look(d, page, &now);
    bool is_same = !now.is_returned && now.page.state == PAGE_STORED &&
                   now.page.where == before->page.where && now.page.store == before->page.store;
    return is_same ? DIRECT_ASK : DIRECT_WAIT;
}

static enum direct_result restore_one(struct direct *d, page_number page, int slot, bool in_doubt)
{
    struct direct_look look;
    direct_look(d, page, &look);
    if (look.is_leaving || intervals_overlap(d->unsettled, page, page + 1))
        return DIRECT_WAIT;
    int uffd = atomic_load_explicit(&d->uffd, memory_order_relaxed);
    enum page_state state = look.is_returned ? PAGE_RESIDENT : (enum page_state)look.page.state;
    _Atomic uint64_t *counter = &d->counts[slot].restored;
    int r = -EINVAL;
    switch (state) {
    case PAGE_RESIDENT:
    case PAGE_ZERO:
        counter = &d->counts[slot].zeros;
        r = install_zeros(d, uffd, page, in_doubt || look.page.state != PAGE_RESIDENT);
        break;
    case PAGE_STAGED:
        counter = &d->counts[slot].staged;
        r = install_staged(d, uffd, page, (uint32_t)look.page.where);
        break;
    case PAGE_STORED:
        if (!decode(d, &look, slot, 0))
            return after_bad_bytes(d, page, &look);
        r = uffd_copy_quietly(uffd, page_address(page), d->scratch[slot].pages[0]);
        break;
    case PAGE_POISONED:
        return DIRECT_NOT_OURS;
    case PAGE_STATE_NR:
        break;
    }
    if (r == -EINVAL && counter == &d->counts[slot].zeros)
        return DIRECT_IN_DOUBT;
    add(r == 0 ? counter : r == -EEXIST ? &d->counts[slot].raced : &d->counts[slot].waits, 1);
    /* Of a barred page it says that the discard is over: it was gone. */
    if (r == 0 && (state != PAGE_RESIDENT || look.page.is_barred))
        direct_note_returned(d, look.leaf, page, 1, 0);
    return result_of(r);
}

/* ---- a run: what is stored of it, the touched page among them */

static bool is_stored(const struct direct_look *look)
{
    return look->page.state == PAGE_STORED && !look->is_returned && !look->is_leaving;
}

/* Page k of the run, counted from the touched one in the pass's direction: where it lies in it. */
static unsigned place_in_run(const struct direct_touch *t, const struct pass_plan *plan, unsigned k)
{
    return t->page == plan->first ? k : (unsigned)(plan->end - plan->first) - 1 - k;
}

/* And what it has is on its way to the cache while the one before is decoded: another process wrote it. */
static void look_ahead(const struct direct *d, page_number page, struct direct_look *ret)
{
    direct_look(d, page, ret);
    if (is_stored(ret))
        store_prefetch(&d->stores[ret->page.store], ret->page.where);
}

/* What is there, is just leaving or can't be read is left out; each page is looked at on its own, behind the
 * hazard word that names them all. Bit i: page first + i lies decoded in place i of the scratch. *ret_nr: pages
 * that there was time to look at. */
static uint64_t decode_run(struct direct *d, const struct direct_touch *t, const struct pass_plan *plan,
                           int slot, uint32_t *ret_leaf, unsigned *ret_nr)
{
    uint64_t decoded = 0, until_ns = now_ns() + RUN_NS;
    unsigned nr = (unsigned)(plan->end - plan->first), k;
    struct direct_look looks[2];
    direct_look(d, t->page, &looks[0]);
    for (k = 0; k < nr && (k == 0 || k % 4 || now_ns() < until_ns); k++) {
        unsigned i = place_in_run(t, plan, k);
        const struct direct_look *look = &looks[k % 2];
        if (k == 0 && !is_stored(look))
            return 0;
        if (k + 1 < nr)
            look_ahead(d, plan->first + place_in_run(t, plan, k + 1), &looks[(k + 1) % 2]);
        bool is_decoded = is_stored(look) && decode(d, look, slot, i);
        if (k == 0 && !is_decoded)
            return 0;
        decoded |= (uint64_t)is_decoded << i;
        *ret_leaf = look->leaf;
    }
    *ret_nr = k;
    return decoded;
}

/* There was no time for all of it: the pass has come as far as was looked, and the next touch carries it on. */
static void cut_off(const struct direct_touch *t, struct pass_plan *plan, unsigned nr)
{
    if (t->page == plan->first)
        plan->end = plan->first + nr;
    else
        plan->first = plan->end - nr;
}

static uint64_t bits(unsigned nr)
{
    return (UINT64_C(1) << nr) - 1; /* nr <= DIRECT_RUN_MAX */
}

/* One COPY for each row of neighbours. Returns which are installed; *ret_r: what the kernel says of `at`. */
static uint64_t install_run(struct direct *d, page_number first, uint64_t decoded, unsigned at, int slot,
                            int *ret_r)
{
    int uffd = atomic_load_explicit(&d->uffd, memory_order_relaxed);
    uint64_t installed = 0;
    unsigned row_max = DIRECT_RUN_MAX;
    *ret_r = -EAGAIN;
    for (unsigned i = 0; decoded >> i;) {
        unsigned row = (unsigned)__builtin_ctzll(~(decoded >> i)), nr;
        if (!row) {
            i++;
            continue;
        }
        row = row < row_max ? row : row_max;
        uint64_t copied;
        int r = uffd_copy_run_quietly(uffd, page_address(first + i), d->scratch[slot].pages[i],
                                      pages_to_bytes(row), &copied);
        nr = mutant_is(MUTANT_DIRECT_RUN_BELIEVED) && copied ? row : (unsigned)bytes_to_pages(copied);
        installed |= bits(nr) << i;
        if (at >= i && at < i + nr)
            *ret_r = 0;
        i += nr;
        if (nr)
            continue; /* why the next one did not go, if so, it says by itself */
        if (r != -EAGAIN && r != -EEXIST && row > 1) {
            row_max = 1; /* a run over the border of two mappings is refused as a whole */
            continue;
        }
        if (at == i)
            *ret_r = r;
        if (r == -EAGAIN)
            break;
        i++;
    }
    return installed;
}

/* False: nothing was done, the touched page is to be brought back by itself. */
static bool restore_run(struct direct *d, const struct direct_touch *t, struct pass_plan *plan, int slot,
                        unsigned *ret_nr_ahead, enum direct_result *ret_result)
{
    if (intervals_overlap(d->unsettled, plan->first, plan->end))
        return false;
    uint32_t leaf;
    unsigned nr;
    uint64_t decoded = decode_run(d, t, plan, slot, &leaf, &nr);
    if (!decoded)
        return false;
    unsigned at = (unsigned)(t->page - plan->first);
    int r;
    uint64_t installed = install_run(d, plan->first, decoded, at, slot, &r);
    uint64_t ahead = installed & ~(UINT64_C(1) << at);
    if (installed)
        direct_note_returned(d, leaf, plan->first, installed, ahead);
    cut_off(t, plan, nr); /* now that no place is counted from its first page any more */
    *ret_nr_ahead = (unsigned)__builtin_popcountll(ahead);
    struct direct_counts *counts = &d->counts[slot];
    add(&counts->restored, (unsigned)__builtin_popcountll(installed));
    if (r)
        add(r == -EEXIST ? &counts->raced : &counts->waits, 1);
    *ret_result = result_of(r);
    return true;
}

/* The thread has come on: what it passed, and what it will not come for any more. */
static void note_pass(struct direct *d, struct passes *passes, const struct pass_plan *plan, unsigned nr_ahead,
                      int slot)
{
    struct direct_counts *counts = &d->counts[slot];
    unsigned nr_passed, nr_wasted = passes_done(passes, plan, nr_ahead, &nr_passed);
    if (nr_passed)
        direct_note_passed(d, plan->passed_first, plan->passed_end);
    if (nr_ahead | nr_passed | nr_wasted) {
        add(&counts->ahead, nr_ahead);
        add(&counts->used, nr_passed);
        add(&counts->wasted, nr_wasted);
        add(&counts->runs, nr_ahead > 0);
    }
}

/* It is there. begin_ns: of this attempt, before which the thread may have waited. 60 ns, most of it for one
 * more reading of the clock. */
static void note_times(struct direct *d, const struct direct_touch *t, uint64_t begin_ns, int slot)
{
    uint64_t end_ns = now_ns(), felt_ns = end_ns - t->since_ns + SIGNAL_NS;
    add(&d->counts[slot].waited_ns, felt_ns);
    histogram_record_shared(&d->scratch[slot].felt_ns, felt_ns);
    histogram_record_shared(&d->scratch[slot].restore_ns, end_ns - begin_ns);
    if (!(atomic_load_explicit(&d->timed, memory_order_relaxed) >> slot & 1))
        atomic_fetch_or_explicit(&d->timed, UINT64_C(1) << slot, memory_order_relaxed);
}

static void plan_alone(struct pass_plan *plan, page_number page)
{
    plan->first = page;
    plan->end = page + 1;
}

enum direct_result direct_restore(struct direct *d, const struct direct_touch *t)
{
    struct pass_plan plan = { .first = t->page, .end = t->page + 1 };
    if (t->passes)
        plan = passes_plan(t->passes, t->page);
    if (!atomic_load_explicit(&d->may_go_ahead, memory_order_relaxed))
        plan_alone(&plan, t->page);
    unsigned nr = (unsigned)(plan.end - plan.first), nr_ahead = 0;
    int slot = direct_enter(d, plan.first, nr, t->hint);
    if (slot < 0)
        return DIRECT_WAIT;
    uint64_t begin_ns = now_ns();
    enum direct_result result;
    if (nr == 1 || !restore_run(d, t, &plan, slot, &nr_ahead, &result)) {
        plan_alone(&plan, t->page);
        result = restore_one(d, t->page, slot, t->in_doubt);
    }
    if (result == DIRECT_DONE) {
        if (t->passes)
            note_pass(d, t->passes, &plan, nr_ahead, slot);
        note_times(d, t, begin_ns, slot);
    }
    direct_leave(d, slot);
    return result;
}
