/* pageout.c - --evict-by pageout: pages leave by madvise(MADV_PAGEOUT), onto whatever swap the kernel
 * has, where evict.c would move them out. It is here to be compared with: the same candidates at the
 * same rate with the same feedback, and only the mechanism is the kernel's.
 *
 * Rules 1, 3, 6, 8 and 9 have nothing to hold here: the bytes never leave the kernel's care, a touch is
 * the kernel's to answer, and there is nothing to bring back at a stop, an unregister or a fork. An
 * advice that comes too late, to memory that is somebody else's by now, costs time, never bytes. Ranges
 * are watched and not armed.
 *
 * Per run of up to 512 pages: two preads of pagemap (3 us where all is out, 35 us where all is there)
 * and the advice, which takes the mmap lock for reading, compresses in this thread where the swap is a
 * zram, and may wait for a disk where it is not: 7 to 9 us of CPU a page of heap onto a zram of lz4, so
 * 4 ms for 512. Nobody faults into us meanwhile, but who discards, unmaps or remaps waits for the run's
 * end. */
#include <errno.h>
#include <sys/mman.h>

#include "base/mutant.h"
#include "pager/pager.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

/* So many pages in short runs, and we look for messages; a run is not cut: the kernel is at its best
 * with 2 MiB at a time. */
#define PAGES_BETWEEN_LOOKS 64u

/* As clip_and_arm() in evict.c, without arming. */
static unsigned clip(struct pager *pg, page_number first, unsigned nr)
{
    const struct interval *managed = intervals_find(&pg->managed, first);
    const struct interval *watched = intervals_find(&pg->watched, first);
    if (!managed || !watched || watch_state_of(watched) >= WATCH_CHURNING ||
        intervals_overlap(&pg->unmapped, first, first + nr))
        return 0;
    return pager_clip(managed, watched, first, nr);
}

/* What was paged out and is not any more. */
static void forget(struct pager *pg, struct page_leaf *leaf, struct page *p)
{
    pager_count(pg, leaf, p, -1);
    (void)page_on_seen_back(p);
}

/* These pages had been paged out and are there again. A page that we bring back counts as written from then
 * on, one that the kernel brings back for a read does not, and would be offered again at once: so the
 * protection is taken away, and the daemon sees the same in both. 0; -EAGAIN: mappings are changing, or
 * who is told has no room; what is left is seen again. */
static int note_returns(struct pager *pg, page_number first, unsigned nr)
{
    int r = uffd_writeprotect(pg->uffd, page_address(first), pages_to_bytes(nr), false);
    if (r == -EAGAIN || mutant_is(MUTANT_MISS_RETURNS))
        return -EAGAIN;
    for (page_number page = first; page < first + nr; page++) {
        if (pg->on_feedback && !pg->on_feedback(pg->context, FEEDBACK_REFAULT, page))
            return -EAGAIN;
        struct page_leaf *leaf;
        struct page *p = pager_page(pg, page, &leaf);
        forget(pg, leaf, p);
        stats_add(pg->stats, STAT_pageout_returns, 1);
    }
    return 0;
}

static bool may_be_paged_out(struct pager *pg, page_number page, pagemap_entry e, bool if_unwritten)
{
    struct page unknown = { .state = PAGE_RESIDENT };
    struct page_leaf *leaf;
    struct page *p = pager_page(pg, page, &leaf);
    if (!p)
        p = &unknown;
    else
        pager_lift_bars(pg, leaf);
    if (p->is_paged_out) { /* offered again before we have seen that it is back */
        if (pagemap_is_present(e))
            (void)note_returns(pg, page, 1);
        return false;
    }
    return pager_may_leave_now(pg, p, page, e, if_unwritten) &&
           !pins_overlap(&pg->pins, page, page + 1);
}

/* A table that is full costs the figure and the hint that it is back, nothing else. */
static void note_paged_out(struct pager *pg, page_number page)
{
    struct page_leaf *leaf = pager_grow(pg, page);
    if (leaf) {
        page_on_paged_out(leaf_page(leaf, page));
        pager_count(pg, leaf, leaf_page(leaf, page), +1);
    }
    stats_add(pg->stats, STAT_client_evict_success, 1);
    stats_add(pg->stats, STAT_evicted_bytes_raw, PAGE_BYTES);
}

static void note_busy(struct pager *pg, page_number page)
{
    stats_add(pg->stats, STAT_evict_busy, 1);
    if (pg->on_feedback)
        (void)pg->on_feedback(pg->context, FEEDBACK_BUSY, page);
}

/* Pages out a run whose pages all may leave. The advice promises nothing: what is in swap afterwards has
 * left, what is there has not (locked, in some CPU's batch of fresh pages, or no swap is free). A
 * mapping that takes no such advice ends it, and what lies behind has not been asked: up to the first
 * page that stayed is dealt with then. Returns how many pages that is. */
static unsigned page_out_run(struct pager *pg, page_number first, unsigned nr)
{
    uintptr_t start = page_address(first);
    int r = madvise((void *)start, pages_to_bytes(nr), MADV_PAGEOUT);
    if (pagemap_read(pg->pagemap_fd, first, nr, pg->entries))
        return nr;
    for (unsigned i = 0; i < nr; i++) {
        if (pagemap_is_swapped(pg->entries[i]) || mutant_is(MUTANT_BELIEVE_PAGEOUT)) {
            note_paged_out(pg, first + i);
        } else if (pagemap_is_present(pg->entries[i])) {
            note_busy(pg, first + i);
            if (r)
                return i + 1;
        }
    }
    return nr;
}

unsigned pager_page_out(struct pager *pg, page_number first, unsigned nr, bool if_unwritten)
{
    unsigned run = clip(pg, first, nr);
    if (!run)
        return nr < MOVE_RUN_MAX ? nr : MOVE_RUN_MAX;
    if (pagemap_read(pg->pagemap_fd, first, run, pg->entries))
        return run;
    bool may[LOOK_PAGES];
    for (unsigned i = 0; i < run; i++)
        may[i] = may_be_paged_out(pg, first + i, pg->entries[i], if_unwritten);

    unsigned i = 0;
    for (unsigned nr_asked = 0; i < run && nr_asked < PAGES_BETWEEN_LOOKS;) {
        unsigned j = i;
        while (j < run && may[j])
            j++;
        unsigned dealt = j > i ? page_out_run(pg, first + i, j - i) : 0;
        nr_asked += dealt;
        i += dealt ? dealt : 1;
    }
    return i;
}

/* ---- coming back, which the kernel does by itself and tells nobody */

static int find_returns_in(struct pager *pg, struct page_leaf *leaf, const pagemap_entry *entries)
{
    for (unsigned i = 0, j; i < LEAF_PAGES && leaf->nr_paged_out; i = j) {
        for (j = i; j < LEAF_PAGES && leaf->pages[j].is_paged_out && pagemap_is_present(entries[j]);)
            j++;
        int r = j > i ? note_returns(pg, leaf->first + i, j - i) : 0;
        if (r)
            return r;
        if (j > i)
            continue;
        if (leaf->pages[i].is_paged_out && !pagemap_is_there(entries[i]))
            forget(pg, leaf, &leaf->pages[i]); /* a hole: its discard was not announced, or long ago */
        j++;
    }
    return 0;
}

/* How many leaves from this one on lie side by side in the address space, too: one pread for all. */
static unsigned nr_neighbours(const struct page_table *t, uint32_t at)
{
    unsigned nr = 1;
    while (nr < LOOK_PAGES / LEAF_PAGES && at + nr < t->nr_leaves &&
           t->leaves[at + nr].first == t->leaves[at].first + (page_number)nr * LEAF_PAGES)
        nr++;
    return nr;
}

#define LEAVES_PASSED_OVER 512u /* with nothing paged out: a load each */

int pager_find_returns(struct pager *pg, uint32_t *cursor)
{
    for (unsigned n = 0; *cursor < pg->table.nr_leaves; n++) {
        struct page_leaf *leaf = &pg->table.leaves[*cursor];
        if (leaf->nr_paged_out) {
            unsigned nr = nr_neighbours(&pg->table, *cursor);
            int r = pagemap_read(pg->pagemap_fd, leaf->first, nr * LEAF_PAGES, pg->entries);
            for (unsigned i = 0; r == 0 && i < nr; i++)
                r = find_returns_in(pg, leaf + i, pg->entries + i * LEAF_PAGES);
            if (r == -EAGAIN)
                return r;
            *cursor += nr;
            return 0;
        }
        ++*cursor;
        if (n == LEAVES_PASSED_OVER)
            return 0;
    }
    *cursor = 0;
    return 1;
}

void pager_forget_paged_out(struct pager *pg, page_number first, page_number end)
{
    if (!pg->nr_paged_out)
        return;
    struct leaf_walk walk = leaf_walk_begin(&pg->table, first, end);
    for (struct page_leaf *leaf; (leaf = leaf_walk_next(&pg->table, &walk));)
        for (unsigned i = 0; i < LEAF_PAGES && leaf->nr_paged_out; i++)
            if (leaf->pages[i].is_paged_out && leaf->first + i >= first && leaf->first + i < end)
                forget(pg, leaf, &leaf->pages[i]);
}
