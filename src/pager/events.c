/* events.c - what the application does to its mappings, applied to the table in the order the kernel
 * tells it. The thread that raised an event waits only until it is read, not until we are done. */
#include <errno.h>
#include <string.h>

#include "base/mutant.h"
#include "pager/pager.h"

/* A discarded page: whatever we hold of it is given up. */
static void discard(struct pager *pg, struct page_leaf *leaf, page_number page, bool is_present)
{
    struct page *p = leaf_page(leaf, page);
    if (mutant_is(MUTANT_DISCARD_KEEPS_STORE) && p->state == PAGE_STORED)
        return;
    pager_count(pg, leaf, p, -1);
    pager_release(pg, page_on_discard(p, is_present && !mutant_is(MUTANT_NO_BAR)));
}

/* One leaf's part of a REMOVE; true: it barred pages. The event comes before the zap: what is there now must
 * not leave until it is known to be gone (rule 4); in the kernel's swap, too, from where a touch brings it
 * back before the zap. entries: what pagemap says, or NULL: not known. */
static bool remove_in_leaf(struct pager *pg, page_number first, page_number end,
                           const pagemap_entry *entries)
{
    size_t nr = end - first;
    size_t nr_present = 0;
    for (size_t i = 0; i < nr; i++)
        nr_present += !entries || pagemap_is_there(entries[i]);

    struct page_leaf *leaf = page_table_find(&pg->table, first);
    if (!leaf && !nr_present)
        return false;
    if (!leaf)
        leaf = page_table_grow(&pg->table, first);
    if (!leaf) { /* no room to note the bar: nothing there leaves any more */
        (void)intervals_set(&pg->watched, first, end, WATCH_REFUSED); /* or it stays as it is and
                                                                        page_table_grow refuses */
        return false;
    }
    for (size_t i = 0; i < nr; i++)
        discard(pg, leaf, first + i, !entries || pagemap_is_there(entries[i]));
    if (nr_present) {
        leaf->nr_barred = LEAF_PAGES;
        leaf->bar_epoch = pg->bars_set + 1;
        stats_add(pg->stats, STAT_pages_barred, nr_present);
    }
    return nr_present > 0;
}

static void on_remove(struct pager *pg, page_number first, page_number end)
{
    stats_add(pg->stats, STAT_events_remove, 1);
    struct interval *watched = intervals_find(&pg->watched, first);
    if (watched)
        watched->tag += 1 << WATCH_EVENTS_SHIFT;
    bool is_any_barred = false;
    while (first < end) {
        page_number look_end = end - first < LOOK_PAGES ? end : first + LOOK_PAGES;
        bool is_known = pagemap_read(pg->pagemap_fd, first, look_end - first, pg->entries) == 0;
        for (page_number page = first, stop; page < look_end; page = stop) {
            stop = leaf_end(page) < look_end ? leaf_end(page) : look_end;
            is_any_barred |= remove_in_leaf(pg, page, stop, is_known ? pg->entries + (page - first) : NULL);
        }
        first = look_end;
    }
    pg->bars_set += is_any_barred;
}

static bool is_anything_out(const struct pager *pg, page_number first, page_number end)
{
    if (!pager_nr_out(pg) && !pg->nr_poisoned)
        return false;
    struct leaf_walk walk = leaf_walk_begin(&pg->table, first, end);
    for (const struct page_leaf *leaf; (leaf = leaf_walk_next(&pg->table, &walk));)
        if (leaf->nr_out)
            return true;
    return false;
}

/* Gives up all that is out in [first, end), and leaves bars alone: a mapping that failed to go is still
 * there, and so may be a discard that began before. */
static void forget_pages(struct pager *pg, page_number first, page_number end)
{
    struct leaf_walk walk = leaf_walk_begin(&pg->table, first, end);
    for (struct page_leaf *leaf; (leaf = leaf_walk_next(&pg->table, &walk));)
        for (unsigned i = 0; i < LEAF_PAGES && leaf->nr_out; i++) {
            struct page *p = &leaf->pages[i];
            if (p->state == PAGE_RESIDENT || leaf->first + i < first || leaf->first + i >= end)
                continue;
            pager_count(pg, leaf, p, -1);
            pager_release(pg, page_on_discard(p, false));
        }
}

static void unwatched(struct pager *pg, page_number first, page_number end)
{
    if (!intervals_overlap(&pg->watched, first, end))
        return;
    if (intervals_clear(&pg->watched, first, end)) { /* no room for the cut: all of it is asked anew */
        struct interval *whole = intervals_find(&pg->watched, first);
        if (whole)
            (void)intervals_clear(&pg->watched, whole->first, whole->end);
    }
    pg->has_gaps = true;
    if (pg->on_unwatched)
        pg->on_unwatched(pg->context, first, end);
}

static bool is_any_mapping_in(struct pager *pg, page_number first, page_number end)
{
    struct maps_vma vma;
    int r = maps_find(&pg->maps, page_address(first), &vma);
    return r == 0 ? page_of(vma.start) < end : r != -ENOENT;
}

static bool is_any_present(struct pager *pg, page_number first, page_number end)
{
    while (first < end) {
        size_t nr = end - first < LOOK_PAGES ? end - first : LOOK_PAGES;
        if (pagemap_read(pg->pagemap_fd, first, nr, pg->entries))
            return true;
        for (size_t i = 0; i < nr; i++)
            if (pagemap_is_there(pg->entries[i]))
                return true;
        first += nr;
    }
    return false;
}

/* How much of it, from `first` on, was unmapped and is part of a mapping again that begins before it:
 * shrunk and grown again by mremap, which tells nobody of the growth and inherits our registration. A
 * mmap(MAP_FIXED) that failed inside a mapping looks the same; it is taken for that where such calls
 * may fail, or where any page is still present (none can have come back without us). */
static page_number grown_again_until(struct pager *pg, page_number first, page_number end)
{
    struct maps_vma vma;
    if (!pg->is_unlimited || maps_find(&pg->maps, page_address(first), &vma) ||
        page_of(vma.start) >= first)
        return first;
    page_number until = page_of(vma.end) < end ? page_of(vma.end) : end;
    return is_any_present(pg, first, until) ? first : until;
}

/* A mmap(MAP_FIXED) that failed announces UNMAP though mapping and bytes are still there, so what is
 * out is given up only where that can't be; else somebody must look first: pager_settle_unmapped. */
static void on_unmap(struct pager *pg, page_number first, page_number end)
{
    stats_add(pg->stats, STAT_events_unmap, 1);
    /* Older than a move to there that we have heard of before: it says nothing of what is there now. */
    bool is_late = intervals_overlap(&pg->late_unmaps, first, end);
    if (is_late)
        (void)intervals_clear(&pg->late_unmaps, first, end); /* full: the next one counts as late, too */
    unwatched(pg, first, end);
    pager_forget_paged_out(pg, first, end); /* if it is still there: one return less to tell of */
    if (!is_anything_out(pg, first, end) || mutant_is(MUTANT_UNMAP_AT_ONCE) ||
        (!is_late && !is_any_mapping_in(pg, first, end))) {
        forget_pages(pg, first, end);
        return;
    }
    page_number until = is_late ? first : grown_again_until(pg, first, end);
    forget_pages(pg, first, until);
    if (until == end || intervals_set(&pg->unmapped, until, end, 0) == 0)
        return;
    /* Full: one interval over all of them. What is still ours in between is kept as it is. */
    struct interval *items = pg->unmapped.items;
    page_number from = items[0].first < until ? items[0].first : until;
    page_number to = items[pg->unmapped.nr - 1].end;
    items[0] = (struct interval){ .first = from, .end = to > end ? to : end };
    pg->unmapped.nr = 1;
}

static void rekey(struct pager *pg, page_number to, page_number from)
{
    struct page_leaf *from_leaf = page_table_find(&pg->table, from);
    struct page_leaf *to_leaf = page_table_find(&pg->table, to);
    struct page *f = from_leaf ? leaf_page(from_leaf, from) : NULL;
    if (!to_leaf && f && (f->state != PAGE_RESIDENT || f->is_paged_out))
        to_leaf = page_table_must_grow(&pg->table, to); /* not into from_leaf: that is not idle */
    if (!to_leaf) {
        if (f && f->state != PAGE_RESIDENT)
            invariant_broken("no table memory for pages that mremap moved");
        return;
    }
    struct page *t = leaf_page(to_leaf, to);
    pager_count(pg, to_leaf, t, -1);
    if (!f || mutant_is(MUTANT_REMAP_FORGETS)) {
        pager_release(pg, page_on_discard(t, false));
        return;
    }
    pager_count(pg, from_leaf, f, -1);
    pager_release(pg, page_on_rekey(t, f));
    pager_count(pg, to_leaf, t, +1);
    __atomic_store_n(&to_leaf->checksums[to % LEAF_PAGES], from_leaf->checksums[from % LEAF_PAGES],
                     __ATOMIC_RELAXED);
    if (t->state == PAGE_STAGED)
        staging_rekey(&pg->staging, (uint32_t)t->where, to);
    if (t->is_barred) {
        to_leaf->nr_barred = LEAF_PAGES;
        to_leaf->bar_epoch = pg->bars_set + 1;
    }
}

/* The kernel has moved pages to where we still know another mapping: that has been unmapped by a thread
 * which has not got round to saying so. When it does, it must not be taken for news. */
static void note_late_unmaps(struct pager *pg, page_number first, page_number end)
{
    for (uint32_t i = intervals_from(&pg->watched, first);
         i < pg->watched.nr && pg->watched.items[i].first < end; i++) {
        const struct interval *w = &pg->watched.items[i];
        (void)intervals_set(&pg->late_unmaps, w->first > first ? w->first : first,
                            w->end < end ? w->end : end, 0); /* full: as if nothing were late */
    }
}

static void on_remap(struct pager *pg, page_number from, page_number to, size_t nr)
{
    stats_add(pg->stats, STAT_events_remap, 1);
    unwatched(pg, from, from + nr);
    note_late_unmaps(pg, to, to + nr);
    unwatched(pg, to, to + nr);
    (void)intervals_clear(&pg->unmapped, to, to + nr); /* what it said of there is settled now */
    /* The kernel never lets the two overlap, so the order does not matter. */
    for (size_t i = 0; i < nr; i++) {
        if (i % LEAF_PAGES == 0 && !page_table_find(&pg->table, from + i) &&
            !page_table_find(&pg->table, from + i + LEAF_PAGES - 1) &&
            !page_table_find(&pg->table, to + i) &&
            !page_table_find(&pg->table, to + i + LEAF_PAGES - 1)) {
            i += LEAF_PAGES - 1;
            continue;
        }
        rekey(pg, to + i, from + i);
    }
    pg->bars_set++;
}

void pager_apply_event(struct pager *pg, const struct uffd_msg *m)
{
    switch (m->event) {
    case UFFD_EVENT_REMOVE:
        on_remove(pg, page_of(m->arg.remove.start), page_of(m->arg.remove.end));
        return;
    case UFFD_EVENT_UNMAP:
        on_unmap(pg, page_of(m->arg.remove.start), page_of(m->arg.remove.end));
        return;
    case UFFD_EVENT_REMAP:
        on_remap(pg, page_of(m->arg.remap.from), page_of(m->arg.remap.to),
                 bytes_to_pages(m->arg.remap.len));
        return;
    default:
        invariant_broken("an event that was not asked for");
    }
}

bool pager_is_changing(struct pager *pg)
{
    return uffd_writeprotect(pg->uffd, (uintptr_t)pg->landing, PAGE_BYTES, false) == -EAGAIN;
}

/* Is our registration still on this page? Taking a write protection away that may not be there asks
 * just that and changes at most what the next scan thinks. */
static int is_still_ours(struct pager *pg, page_number page)
{
    int r = uffd_writeprotect(pg->uffd, page_address(page), PAGE_BYTES, false);
    return r == 0 ? 1 : r == -EAGAIN ? -EAGAIN : 0;
}

static int settle_leaf(struct pager *pg, struct page_leaf *leaf, page_number first, page_number end)
{
    for (unsigned i = 0; i < LEAF_PAGES && leaf->nr_out; i++) {
        page_number page = leaf->first + i;
        if (leaf->pages[i].state == PAGE_RESIDENT || page < first || page >= end)
            continue;
        int r = is_still_ours(pg, page);
        if (r < 0)
            return r;
        if (r == 0)
            forget_pages(pg, page, page + 1);
    }
    return 0;
}

/* 0: settled; -EAGAIN: an event is unread, perhaps of a move from here to elsewhere. */
static int settle(struct pager *pg, page_number first, page_number end)
{
    if (pager_is_changing(pg))
        return -EAGAIN;
    if (!is_any_mapping_in(pg, first, end)) {
        forget_pages(pg, first, end);
        return 0;
    }
    struct leaf_walk walk = leaf_walk_begin(&pg->table, first, end);
    for (struct page_leaf *leaf; (leaf = leaf_walk_next(&pg->table, &walk));) {
        int r = settle_leaf(pg, leaf, first, end);
        if (r)
            return r;
    }
    return 0;
}

void pager_settle_unmapped(struct pager *pg)
{
    while (pg->unmapped.nr) {
        struct interval *i = &pg->unmapped.items[pg->unmapped.nr - 1];
        pager_shut_out_touchers(pg);
        int r = settle(pg, i->first, i->end);
        if (r == 0)
            pg->unmapped.nr--;
        pager_let_in_touchers(pg);
        if (r)
            return;
    }
}

void pager_bars_over(struct pager *pg, uint64_t bars)
{
    if (bars > pg->table.bars_over)
        pg->table.bars_over = bars;
}
