/* direct.c - the agent's side of restores by touching threads: docs/direct.md, "The agent, meanwhile". */
#include <errno.h>

#include "base/clock.h"
#include "direct/direct.h"
#include "pager/pager.h"

static uint32_t index_of(const struct pager *pg, const struct page_leaf *leaf)
{
    return (uint32_t)(leaf - pg->table.leaves);
}

static void learn_page(struct pager *pg, struct page_leaf *leaf, page_number page)
{
    struct page *p = leaf_page(leaf, page);
    bool was_staged = p->state == PAGE_STAGED, was_out = p->state != PAGE_RESIDENT;
    struct page_release release = { .kind = RELEASE_NOTHING };
    if (was_out) {
        pager_count(pg, leaf, p, -1);
        release = page_on_installed(p);
    }
    if (!was_out) /* it was absent after the event that barred it: no bit outlives the gate */
        page_on_bar_over(p);
    bool is_ahead = direct_is_ahead(pg->direct, index_of(pg, leaf), page);
    direct_forget_returned(pg->direct, index_of(pg, leaf), page); /* after the entry */
    pager_release(pg, release);
    if (!was_out)
        return; /* or the agent was quicker */
    stats_add(pg->stats, STAT_restore_success, 1);
    stats_add(pg->stats, STAT_restore_staged, was_staged);
    if (pg->on_feedback)
        (void)pg->on_feedback(pg->context, is_ahead ? FEEDBACK_PREFETCHED : FEEDBACK_REFAULT, page);
}

void pager_learn_returned_in(struct pager *pg, struct page_leaf *leaf)
{
    if (!pg->direct)
        return;
    for (unsigned word = 0; word < DIRECT_LEAF_WORDS; word++)
        for (uint64_t bits = direct_returned_word(pg->direct, index_of(pg, leaf), word); bits;
             bits &= bits - 1)
            learn_page(pg, leaf, leaf->first + word * 64 + (unsigned)__builtin_ctzll(bits));
}

void pager_learn_returned(struct pager *pg)
{
    uint32_t cursor = 0, leaf;
    while (pg->direct && (leaf = direct_next_dirty(pg->direct, &cursor)) != UINT32_MAX)
        pager_learn_returned_in(pg, &pg->table.leaves[leaf]);
}

bool pager_is_returned(struct pager *pg, const struct page_leaf *leaf, page_number page)
{
    return pg->direct && direct_is_returned(pg->direct, index_of(pg, leaf), page);
}

/* Behind the closed gate no bit is set, so what events do to entries need not be done to bits. */
void pager_shut_out_touchers(struct pager *pg)
{
    if (!pg->direct)
        return;
    pager_learn_returned(pg); /* most of it while they still come and go */
    direct_close_gate(pg->direct);
    pager_learn_returned(pg);
}

void pager_let_in_touchers(struct pager *pg)
{
    if (pg->direct)
        direct_open_gate(pg->direct);
}

struct page_leaf *pager_grow(struct pager *pg, page_number page)
{
    struct page_leaf *leaf = page_table_find(&pg->table, page);
    if (leaf)
        return leaf;
    pager_shut_out_touchers(pg);
    leaf = page_table_grow(&pg->table, page);
    pager_let_in_touchers(pg);
    return leaf;
}

int pager_note_watched(struct pager *pg, page_number first, page_number end, enum watch_state state)
{
    pager_shut_out_touchers(pg);
    int r = intervals_set(&pg->watched, first, end, state);
    pager_let_in_touchers(pg);
    return r;
}

unsigned pager_begin_leaving(struct pager *pg, struct page_leaf *leaf, page_number first, unsigned nr)
{
    return pg->direct ? direct_begin_leaving(pg->direct, index_of(pg, leaf), first, nr) : nr;
}

void pager_end_leaving(struct pager *pg, struct page_leaf *leaf, page_number first, unsigned nr)
{
    if (pg->direct)
        direct_end_leaving(pg->direct, index_of(pg, leaf), first, nr);
}

void pager_unregister(struct pager *pg, uint64_t start, uint64_t bytes)
{
    if (pg->direct)
        direct_note_unregistering();
    (void)uffd_unregister(pg->uffd, start, bytes); /* gone already, or it is asked again */
    if (pg->direct)
        direct_note_unregistering();
}

bool pager_keep_touched_slot(struct pager *pg, uint32_t slot)
{
    if (!pg->direct || !direct_is_touched(pg->direct, pg->staging.slots[slot].page))
        return false;
    pg->touched_slots[pg->nr_touched_slots++] = slot; /* each slot is LEFT once */
    return true;
}

static void free_touched_slots(struct pager *pg)
{
    uint32_t nr_left = 0;
    for (uint32_t i = 0; i < pg->nr_touched_slots; i++) {
        uint32_t slot = pg->touched_slots[i];
        if (direct_is_touched(pg->direct, pg->staging.slots[slot].page))
            pg->touched_slots[nr_left++] = slot;
        else
            pager_order_free(pg, slot);
    }
    pg->nr_touched_slots = nr_left;
}

/* 1: the page is ours; 0: and it is there now; -ENOENT: it is not, or that is not known yet; -EAGAIN. */
static int whose_is(struct pager *pg, page_number page)
{
    struct page_leaf *leaf;
    struct page *p = pager_page(pg, page, &leaf);
    if (intervals_overlap(&pg->unmapped, page, page + 1))
        return -ENOENT;
    if (p && p->state != PAGE_RESIDENT)
        return 1;
    int whose = direct_whose(pg->direct, pg->uffd, page);
    if (whose != -EINVAL)
        return whose;
    /* Of what can't be written MOVE does not say whose it is; whoever asks has found nobody else. */
    struct maps_vma vma;
    bool is_known = maps_find(&pg->maps, page_address(page), &vma) == 0 && vma.start <= page_address(page);
    return is_known && !vma.is_read_write ? 1 : -ENOENT;
}

int pager_restore_asked(struct pager *pg, page_number page)
{
    int whose = whose_is(pg, page);
    if (whose == -EAGAIN)
        pg->needs_events = true;
    return whose > 0 ? pager_restore(pg, page) : whose;
}

void pager_serve_touchers(struct pager *pg)
{
    if (!pg->direct)
        return;
    if (pg->nr_touched_slots)
        free_touched_slots(pg);
    unsigned cursor = 0;
    page_number page;
    while (pg->nr_faults < PENDING_FAULTS_MAX && direct_take_asked(pg->direct, &cursor, &page)) {
        stats_add(pg->stats, STAT_direct_asked, 1);
        pg->faults[pg->nr_faults++] =
            (struct pending_fault){ .page = page, .read_ns = now_ns(), .is_asked = true };
    }
}
