/* restore.c - a touching thread brings its own page back: steps 1 to 6 of docs/direct.md.
 *
 * Per STORED page: claim and look 0.1 us, copy out and LZ4 about 1.1, checksum 0.2, COPY 1.8-2.3; the
 * signal around it about 1.5. Nobody waits on a userfaultfd in SIGBUS mode, so nobody is woken. */
#include <errno.h>

#include "base/clock.h"
#include "direct/direct.h"
#include "sys/uffd.h"

/* What a thread spends on a restore besides our part: the fault, the signal, the way back. */
#define SIGNAL_NS 1500u

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

static int decode(struct direct *d, const struct direct_look *look, int slot)
{
    return store_read(&d->stores[look->page.store], look->page.where, look->checksum,
                      &d->scratch[slot].store, d->scratch[slot].page);
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

static enum direct_result restore(struct direct *d, page_number page, int slot, bool in_doubt)
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
        if (decode(d, &look, slot) && decode(d, &look, slot)) /* a group may have stayed too long */
            return after_bad_bytes(d, page, &look);
        r = uffd_copy_quietly(uffd, page_address(page), d->scratch[slot].page);
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
        direct_note_returned(d, look.leaf, page);
    return result_of(r);
}

enum direct_result direct_restore(struct direct *d, page_number page, unsigned hint, uint64_t since_ns,
                                  bool in_doubt)
{
    int slot = direct_enter(d, page, hint);
    if (slot < 0)
        return DIRECT_WAIT;
    enum direct_result result = restore(d, page, slot, in_doubt);
    if (result == DIRECT_DONE)
        add(&d->counts[slot].waited_ns, now_ns() - since_ns + SIGNAL_NS);
    direct_leave(d, slot);
    return result;
}
