/* ahead.c - see ahead.h. Per page that is stored: a look at the table when it is taken on and when
 * it is installed (0.1 us), decoding (1 to 2 us), its part of a COPY of 16 (0.5 us). */
#include "pager/ahead.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/mutant.h"
#include "base/point.h"
#include "pager/pager.h"

/* ---- decoding */

static bool claim(struct ahead_slot *slot)
{
    uint32_t state = AHEAD_WANTED;
    return atomic_load_explicit(&slot->state, memory_order_relaxed) == AHEAD_WANTED &&
           atomic_compare_exchange_strong_explicit(&slot->state, &state, AHEAD_CLAIMED,
                                                   memory_order_acquire, memory_order_relaxed);
}

static bool is_same_group(const struct ahead_slot *a, const struct ahead_slot *b)
{
    return locator_kind_of(a->where) == LOCATOR_ZSTD && locator_kind_of(b->where) == LOCATOR_ZSTD &&
           a->store == b->store && locator_of_group(a->where) == locator_of_group(b->where);
}

/* Neighbours of one group are unpacked at once, by one of the two. Returns how many slots from `at` on are
 * claimed, of which the first is already. What a slot holds may be looked at only once it is claimed. */
static unsigned claim_group(struct ahead *h, uint32_t at)
{
    const struct ahead_slot *first = &h->slots[at % AHEAD_SLOTS];
    unsigned nr = 1;
    while (locator_kind_of(first->where) == LOCATOR_ZSTD && nr < LOCATOR_GROUP_PAGES) {
        struct ahead_slot *next = &h->slots[(at + nr) % AHEAD_SLOTS];
        if (!claim(next))
            break;
        if (!is_same_group(first, next)) {
            atomic_store_explicit(&next->state, AHEAD_WANTED, memory_order_release);
            break;
        }
        nr++;
    }
    return nr;
}

static void decode(struct ahead *h, uint32_t at, struct store_scratch *scratch)
{
    struct ahead_slot *slot = &h->slots[at % AHEAD_SLOTS];
    int r = store_read(&slot->map, slot->where, slot->checksum, scratch, ahead_buffer(h, at));
    if (r) /* the helper's last group may have been at this place before: not any more */
        r = store_read(&slot->map, slot->where, slot->checksum, scratch, ahead_buffer(h, at));
    uint32_t state = r ? AHEAD_BAD : AHEAD_READY;
    if (mutant_is(MUTANT_AHEAD_RELAXED_READY)) /* an order that is no constant is the strongest one */
        atomic_store_explicit(&slot->state, state, memory_order_relaxed);
    else
        atomic_store_explicit(&slot->state, state, memory_order_release);
}

static bool decode_next(struct ahead *h, uint32_t *at, struct store_scratch *scratch)
{
    for (unsigned i = 0; i < AHEAD_SLOTS; i++, ++*at) {
        if (!claim(&h->slots[*at % AHEAD_SLOTS]))
            continue;
        for (unsigned nr = claim_group(h, *at); nr; nr--)
            decode(h, (*at)++, scratch);
        return true;
    }
    return false;
}

bool ahead_help(struct ahead *h)
{
    return decode_next(h, &h->helper_at, &h->helper_scratch);
}

bool ahead_has_work(const struct ahead *h)
{
    for (unsigned i = 0; i < AHEAD_SLOTS; i++)
        if (atomic_load_explicit(&h->slots[i].state, memory_order_relaxed) == AHEAD_WANTED)
            return true;
    return false;
}

bool pager_ahead_decode(struct pager *pg)
{
    uint32_t at = pg->ahead.head;
    return decode_next(&pg->ahead, &at, &pg->scratch);
}

/* ---- taking on */

static enum ahead_result queue(struct pager *pg, const struct page_leaf *leaf, const struct page *p,
                               page_number page)
{
    struct ahead *h = &pg->ahead;
    struct ahead_slot *slot = &h->slots[h->tail % AHEAD_SLOTS];
    /* Claimed by a helper that has no CPU since the agent had no more use for it. */
    if (ahead_nr(h) == AHEAD_SLOTS ||
        atomic_load_explicit(&slot->state, memory_order_acquire) == AHEAD_CLAIMED)
        return AHEAD_FULL;
    slot->checksum = leaf->checksums[page % LEAF_PAGES];
    slot->page = page;
    slot->where = p->where;
    slot->store = p->store;
    slot->map = pg->stores[p->store];
    atomic_store_explicit(&slot->state, AHEAD_WANTED, memory_order_release);
    h->tail++;
    return AHEAD_QUEUED;
}

enum ahead_result pager_ahead(struct pager *pg, page_number page)
{
    struct page_leaf *leaf;
    struct page *p = pager_page(pg, page, &leaf);
    if (!p || p->state == PAGE_RESIDENT || p->state == PAGE_POISONED ||
        intervals_overlap(&pg->unmapped, page, page + 1))
        return AHEAD_NOTHING;
    if (p->state == PAGE_STORED)
        return queue(pg, leaf, p, page);
    int r = pager_restore(pg, page);
    if (r == -EAGAIN)
        return AHEAD_CHANGING;
    if (r)
        return AHEAD_NOTHING; /* whoever touches it is answered */
    stats_add(pg->stats, STAT_prefetch_pages, 1);
    return AHEAD_BACK;
}

/* ---- installing */

/* Is what the slot holds still what a touch would get? */
static struct page *page_of_slot(struct pager *pg, const struct ahead_slot *slot,
                                 struct page_leaf **ret_leaf)
{
    struct page *p = pager_page(pg, slot->page, ret_leaf);
    if (mutant_is(MUTANT_PREFETCH_INSTALLS_STALE))
        return p;
    bool is_same = p && p->state == PAGE_STORED && p->where == slot->where && p->store == slot->store &&
                   (*ret_leaf)->checksums[slot->page % LEAF_PAGES] == slot->checksum &&
                   !intervals_overlap(&pg->unmapped, slot->page, slot->page + 1);
    return is_same ? p : NULL;
}

/* False: it is being decoded just now. */
static bool let_go(struct ahead_slot *slot)
{
    uint32_t state = AHEAD_WANTED;
    if (atomic_compare_exchange_strong_explicit(&slot->state, &state, AHEAD_EMPTY,
                                                memory_order_acquire, memory_order_acquire))
        return true;
    if (state == AHEAD_CLAIMED)
        return false;
    atomic_store_explicit(&slot->state, AHEAD_EMPTY, memory_order_relaxed);
    return true;
}

/* How many slots from the oldest on are decoded, neighbours in memory and in buffers, and still
 * what a touch would get. *ret_is_whole: more would not make it longer. */
static unsigned ready_run(struct pager *pg, bool *ret_is_whole)
{
    struct ahead *h = &pg->ahead;
    page_number first = h->slots[h->head % AHEAD_SLOTS].page;
    unsigned nr = 0;
    *ret_is_whole = false;
    for (; nr < AHEAD_RUN && nr < ahead_nr(h); nr++) {
        struct ahead_slot *slot = &h->slots[(h->head + nr) % AHEAD_SLOTS];
        struct page_leaf *leaf;
        bool is_behind = nr && (h->head + nr) % AHEAD_SLOTS == 0;
        *ret_is_whole = slot->page != first + nr || is_behind || !page_of_slot(pg, slot, &leaf);
        if (*ret_is_whole)
            return nr;
        if (atomic_load_explicit(&slot->state, memory_order_acquire) != AHEAD_READY) {
            *ret_is_whole = atomic_load_explicit(&slot->state, memory_order_relaxed) == AHEAD_BAD;
            return nr;
        }
    }
    *ret_is_whole = nr == AHEAD_RUN;
    return nr;
}

/* The oldest nr slots are back. */
static void note_back(struct pager *pg, unsigned nr)
{
    struct ahead *h = &pg->ahead;
    for (unsigned i = 0; i < nr; i++, h->head++) {
        struct ahead_slot *slot = &h->slots[h->head % AHEAD_SLOTS];
        struct page_leaf *leaf;
        struct page *p = page_of_slot(pg, slot, &leaf);
        pager_count(pg, leaf, p, -1);
        pager_release(pg, page_on_installed(p));
        atomic_store_explicit(&slot->state, AHEAD_EMPTY, memory_order_relaxed);
    }
    stats_add(pg->stats, STAT_restore_success, nr);
    stats_add(pg->stats, STAT_prefetch_pages, nr);
}

/* One COPY. What it did not install keeps its state: a place is given up only for a page that the
 * kernel has counted. */
static int install_run(struct pager *pg, unsigned nr)
{
    struct ahead *h = &pg->ahead;
    uint64_t copied_bytes = 0;
    int r = point_fails(POINT_COPY_RUN)
                ? -errno
                : uffd_copy_run(pg->uffd, page_address(h->slots[h->head % AHEAD_SLOTS].page),
                                ahead_buffer(h, h->head), pages_to_bytes(nr), &copied_bytes);
    unsigned copied = (unsigned)bytes_to_pages(copied_bytes);
    if (mutant_is(MUTANT_PREFETCH_GIVES_UP_EARLY))
        copied = nr;
    note_back(pg, copied);
    if (copied || r == 0)
        return 0; /* why the next one did not go, if so, it says by itself */
    if (r == -EAGAIN) {
        stats_add(pg->stats, STAT_changing_retries, 1);
        pg->needs_events = true;
        return r;
    }
    if (nr > 1)
        return install_run(pg, 1); /* a run over the border of two mappings is refused as a whole */
    if (let_go(&h->slots[h->head % AHEAD_SLOTS])) /* no mapping, or something is there: for a touch to say */
        h->head++;
    return 0;
}

int pager_ahead_install(struct pager *pg, bool is_all)
{
    struct ahead *h = &pg->ahead;
    while (h->head != h->tail) {
        struct ahead_slot *slot = &h->slots[h->head % AHEAD_SLOTS];
        struct page_leaf *leaf;
        bool is_bad = atomic_load_explicit(&slot->state, memory_order_acquire) == AHEAD_BAD;
        if (is_bad || !page_of_slot(pg, slot, &leaf)) {
            if (!let_go(slot))
                return 0;
            h->head++;
            continue;
        }
        bool is_whole;
        unsigned nr = ready_run(pg, &is_whole);
        if (!nr || (!is_whole && !is_all))
            return 0;
        return install_run(pg, nr);
    }
    return 0;
}

void pager_ahead_drop(struct pager *pg)
{
    struct ahead *h = &pg->ahead;
    for (; h->head != h->tail; h->head++)
        (void)let_go(&h->slots[h->head % AHEAD_SLOTS]); /* claimed: queue() waits for the helper */
}

int pager_ahead_skip(struct pager *pg)
{
    struct ahead *h = &pg->ahead;
    struct ahead_slot *slot = &h->slots[h->head % AHEAD_SLOTS];
    struct page_leaf *leaf;
    if (h->head == h->tail)
        return 0;
    int r = page_of_slot(pg, slot, &leaf) ? pager_restore(pg, slot->page) : 0;
    if (r == -EAGAIN)
        return r;
    (void)let_go(slot); /* claimed: as above */
    h->head++;
    return 0;
}

void pager_ahead_trim(struct pager *pg)
{
    struct ahead *h = &pg->ahead;
    bool may_go = h->tail != h->trimmed && h->head == h->tail;
    for (unsigned i = 0; i < AHEAD_SLOTS; i++)
        may_go &= atomic_load_explicit(&h->slots[i].state, memory_order_acquire) != AHEAD_CLAIMED;
    if (!may_go)
        return;
    (void)madvise(h->buffers, pages_to_bytes(AHEAD_SLOTS), MADV_DONTNEED); /* ours: no event */
    h->trimmed = h->tail;
}

bool pager_ahead_reads(const struct pager *pg, const unsigned char *store)
{
    for (unsigned i = 0; i < AHEAD_SLOTS; i++) {
        const struct ahead_slot *slot = &pg->ahead.slots[i];
        uint32_t state = atomic_load_explicit(&slot->state, memory_order_acquire);
        if (slot->map.bytes == store && (state == AHEAD_WANTED || state == AHEAD_CLAIMED))
            return true;
    }
    return false;
}

const unsigned char *pager_ahead_bytes(struct pager *pg, page_number page)
{
    struct ahead *h = &pg->ahead;
    for (uint32_t i = h->head; i != h->tail; i++) {
        struct ahead_slot *slot = &h->slots[i % AHEAD_SLOTS];
        struct page_leaf *leaf;
        if (slot->page == page && page_of_slot(pg, slot, &leaf) &&
            atomic_load_explicit(&slot->state, memory_order_acquire) == AHEAD_READY)
            return ahead_buffer(h, i);
    }
    return NULL;
}
