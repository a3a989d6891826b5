/* stored.c - from staging to the store, and the places given up again. */
#include <errno.h>
#include <stdatomic.h>

#include "base/mutant.h"
#include "base/point.h"
#include "codec/codec.h"
#include "pager/pager.h"

void pager_order_free(struct pager *pg, uint32_t slot)
{
    struct porter_order order = { .op = PORTER_FREE, .slot = slot };
    if (ring_put(&pg->to_porter, &order))
        invariant_broken("the porter's orders can't be more than the slots");
}

void pager_release(struct pager *pg, struct page_release release)
{
    switch (release.kind) {
    case RELEASE_NOTHING:
        return;
    case RELEASE_SLOT: {
        staging_let_go(&pg->staging, release.slot);
        if (!pager_keep_touched_slot(pg, release.slot))
            pager_order_free(pg, release.slot);
        return;
    }
    case RELEASE_PLACE:
        if (mutant_is(MUTANT_PREVIOUS_VERSION))
            return; /* so that what it gives back is old bytes, not noise */
        /* Places in a store whose daemon has gone are nobody's to reuse. */
        if ((int)release.store == pg->store_now && locator_has_blob(release.place) &&
            pg->nr_give_up < GIVE_UP_MAX)
            pg->give_up[pg->nr_give_up++] = release.place;
        return;
    }
}

void pager_on_freed(struct pager *pg, uint32_t slot)
{
    if (!staging_freed(&pg->staging, slot))
        invariant_broken("the porter freed a slot that was not left to it");
}

/* A lying or broken daemon: the map's bounds are checked again at every read. */
static bool place_can_be(const struct pager *pg, locator place)
{
    switch (locator_kind_of(place)) {
    case LOCATOR_FILL32:
        return true;
    case LOCATOR_FILL64:
    case LOCATOR_LZ4:
        return locator_offset(place) + locator_size(place) <= pg->stores[pg->store_now].nr_bytes;
    case LOCATOR_ZSTD: /* only in answer to a squeeze */
    case LOCATOR_NONE:
    case LOCATOR_KIND_NR:
        break;
    }
    return false;
}

/* Believed only with the checksum of the page that left: a ZERO page is not compared again. */
static bool is_zero_page(struct pager *pg, locator place, uint32_t checksum)
{
    if (locator_kind_of(place) != LOCATOR_FILL32 || locator_fill32(place) != 0)
        return false;
    codec_fill32(0, pg->page);
    return page_checksum(pg->page) == checksum || mutant_is(MUTANT_BELIEVE_STORE);
}

static void give_up_late(struct pager *pg, const struct stored_entry *e)
{
    stats_add(pg->stats, STAT_stored_late, 1);
    if (e->result == STORED_AT)
        pager_release(pg, (struct page_release){ .kind = RELEASE_PLACE,
                                                 .store = (unsigned)pg->store_now,
                                                 .place = e->place });
}

#ifdef PP_WITH_MUTANTS
/* MUTANT_PREVIOUS_VERSION: the place and checksum of the time before, by page. */
static struct {
    page_number page;
    locator place;
    uint32_t checksum;
} previous[1 << 16];

static void swap_with_previous(page_number page, locator *place, uint32_t *checksum)
{
    unsigned i = (unsigned)(page % (1 << 16));
    locator this_place = *place;
    uint32_t this_checksum = *checksum;
    if (previous[i].page == page && previous[i].place) {
        *place = previous[i].place;
        *checksum = previous[i].checksum;
    }
    previous[i].page = page;
    previous[i].place = this_place;
    previous[i].checksum = this_checksum;
}
#else
static void swap_with_previous(page_number page, locator *place, uint32_t *checksum)
{
    (void)page, (void)place, (void)checksum;
}
#endif

static void take_place(struct pager *pg, uint32_t slot, struct page_leaf *leaf, struct page *p,
                       locator place, uint32_t checksum)
{
    page_number page = pg->staging.slots[slot].page;
    if (mutant_is(MUTANT_PREVIOUS_VERSION))
        swap_with_previous(page, &place, &checksum);
    __atomic_store_n(&leaf->checksums[page % LEAF_PAGES], checksum, __ATOMIC_RELAXED); /* its entry's
                                                                                      release follows */
    pager_count(pg, leaf, p, -1);
    bool was_taken = is_zero_page(pg, place, checksum)
                         ? page_on_stored_zero(p, slot)
                         : page_on_stored(p, slot, (unsigned)pg->store_now, place);
    if (!was_taken)
        invariant_broken("a staging slot and its page disagree");
    pager_count(pg, leaf, p, +1);
    point_kills(POINT_PLACE_TAKEN);
    store_touch(&pg->stores[pg->store_now], place);
    pager_release(pg, (struct page_release){ .kind = RELEASE_SLOT, .slot = slot });
    stats_add(pg->stats, STAT_compress_success, 1);
    if (locator_kind_of(place) != LOCATOR_LZ4)
        stats_add(pg->stats, STAT_compress_same, 1);
    if (mutant_is(MUTANT_GIVE_UP_BEFORE_INSTALL))
        pager_release(pg, (struct page_release){ .kind = RELEASE_PLACE,
                                                 .store = (unsigned)pg->store_now,
                                                 .place = place });
}

int pager_on_stored(struct pager *pg, const struct stored_entry *e)
{
    if (pg->store_now < 0 || e->staging_slot >= pg->staging.nr || e->result >= STORED_RESULT_NR)
        return -EPROTO;
    if (e->result == STORED_AT && !place_can_be(pg, e->place))
        return -EPROTO;
    if (!staging_is_current(&pg->staging, e->staging_slot, e->generation)) {
        give_up_late(pg, e);
        return 0;
    }
    /* Believed only for what the porter has really handed over: its note carries the checksum. */
    uint64_t note = atomic_load_explicit(&pg->notes[e->staging_slot].word, memory_order_acquire);
    if (note >> 32 != e->generation && !mutant_is(MUTANT_IGNORE_GENERATION))
        return -EPROTO;

    page_number page = pg->staging.slots[e->staging_slot].page;
    struct page_leaf *leaf;
    struct page *p = pager_page(pg, page, &leaf);
    if (p && pager_is_returned(pg, leaf, page)) { /* the slot was empty, perhaps when it was copied */
        pager_learn_returned_in(pg, leaf);
        give_up_late(pg, e);
        return 0;
    }
    if (!p || p->state != PAGE_STAGED || p->where != e->staging_slot)
        invariant_broken("a staging slot holds a page that is not staged there");
    if (e->result == STORED_AT) {
        take_place(pg, e->staging_slot, leaf, p, e->place, (uint32_t)note);
        return 0;
    }
    if (pg->nr_give_back == STAGING_SLOTS_MAX)
        return -EPROTO; /* the same slot rejected again and again */
    stats_add(pg->stats, e->result == STORED_FULL ? STAT_compress_full : STAT_compress_rejected, 1);
    if (mutant_is(MUTANT_FORGET_REFUSED)) {
        pager_count(pg, leaf, p, -1);
        pager_release(pg, page_on_discard(p, false));
        return 0;
    }
    pg->give_back[pg->nr_give_back] = e->staging_slot;
    pg->give_back_generation[pg->nr_give_back++] = e->generation;
    if (e->result == STORED_INCOMPRESSIBLE && pg->on_feedback)
        (void)pg->on_feedback(pg->context, FEEDBACK_INCOMPRESSIBLE, page);
    return 0;
}

/* Back, and write-protected again, so that the move does not read as a write by the application. */
static bool give_back_one(struct pager *pg, uint32_t slot)
{
    page_number page = pg->staging.slots[slot].page;
    int r = pager_restore(pg, page);
    if (r == -EAGAIN || r == -ENOMEM)
        return false;
    if (r == 0)
        (void)uffd_writeprotect(pg->uffd, page_address(page), PAGE_BYTES, true); /* a hint only */
    return true; /* -ENOENT: its UNMAP event will release the slot */
}

void pager_give_back(struct pager *pg)
{
    uint32_t nr_left = 0;
    for (uint32_t i = 0; i < pg->nr_give_back; i++) {
        uint32_t slot = pg->give_back[i], generation = pg->give_back_generation[i];
        if (!staging_is_current(&pg->staging, slot, generation))
            continue; /* a touch or a discard was quicker */
        if (pg->needs_events || !give_back_one(pg, slot)) {
            pg->give_back[nr_left] = slot;
            pg->give_back_generation[nr_left++] = generation;
        }
    }
    pg->nr_give_back = nr_left;
}

uint64_t pager_unstage(struct pager *pg, unsigned max_pages)
{
    for (uint32_t slot = 0; slot < pg->staging.nr && max_pages && !pg->needs_events; slot++) {
        if (pg->staging.slots[slot].state != SLOT_HOLDS)
            continue;
        max_pages--;
        (void)pager_restore(pg, pg->staging.slots[slot].page); /* what fails is asked again */
    }
    return pg->nr_staged;
}
