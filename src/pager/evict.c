/* evict.c - taking pages out: target -> landing (main descriptor: refused while an event is unread) ->
 * staging (second descriptor: freed later without an event).
 *
 * Per run of 64: one pread of pagemap (about 3 us), two MOVEs (0.1-0.2 us a page), 64 table entries
 * and orders: 10-20 us, the longest a fault waits for us. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mutant.h"
#include "base/point.h"
#include "pager/pager.h"

/* What kind of memory may be paged at all. MOVE refuses the rest by itself; here it is told apart
 * before it is armed, because arming is one-way while the mapping lives. */
enum memory_kind { MEMORY_PAGEABLE, MEMORY_NOT_PRIVATE, MEMORY_NOT_WRITABLE, MEMORY_HAS_HOLES };

static enum memory_kind memory_kind(struct pager *pg, page_number first, page_number end)
{
    while (first < end) {
        struct maps_vma vma;
        if (maps_find(&pg->maps, page_address(first), &vma) || page_of(vma.start) > first)
            return MEMORY_HAS_HOLES;
        if (!vma.is_private_anonymous)
            return MEMORY_NOT_PRIVATE;
        if (!vma.is_read_write)
            return MEMORY_NOT_WRITABLE;
        first = page_of(vma.end);
    }
    return MEMORY_PAGEABLE;
}

static void refuse(struct pager *pg, page_number first, page_number end, enum stat_number reason)
{
    stats_add(pg->stats, STAT_ranges_refused, 1);
    stats_add(pg->stats, reason, 1);
    (void)pager_note_watched(pg, first, end, WATCH_REFUSED); /* no room: asked again later */
}

/* Nothing guards a registration against the mapping changing under it: register, then check. A hole is
 * where it is just changing, so it is no reason to refuse what comes next. */
static int register_and_check(struct pager *pg, page_number first, page_number end,
                              enum uffd_mode mode)
{
    uint64_t start = page_address(first), bytes = pages_to_bytes(end - first);
    int r = uffd_register(pg->uffd, start, bytes, mode);
    if (r == -ENOMEM || r == -EINTR)
        return -EAGAIN;
    enum memory_kind kind = memory_kind(pg, first, end);
    if (r == 0 && kind == MEMORY_PAGEABLE)
        return 0;
    if (r == 0 && mode == UFFD_WATCH && !pager_is_changing(pg)) {
        pager_unregister(pg, start, bytes); /* nothing of it was out */
        pager_forget_paged_out(pg, first, end);
    }
    return kind == MEMORY_HAS_HOLES ? -EAGAIN : -EINVAL;
}

int pager_watch(struct pager *pg, page_number first, page_number end)
{
    if (intervals_overlap(&pg->unmapped, first, end))
        return -EAGAIN;
    /* What a mapping that failed to go has left out comes back first: the check below may take the
     * registration away again, and a new mapping at that address must not inherit it. */
    page_number cursor = first;
    if (pager_drain(pg, &cursor, end, DRAIN_FORGET_ZEROS, LOOK_PAGES) != 1)
        return -EAGAIN;
    switch (memory_kind(pg, first, end)) {
    case MEMORY_PAGEABLE:
        break;
    case MEMORY_HAS_HOLES:
        return -ENOENT;
    case MEMORY_NOT_PRIVATE:
        refuse(pg, first, end, STAT_ranges_refused_kind);
        return -EINVAL;
    case MEMORY_NOT_WRITABLE:
        refuse(pg, first, end, STAT_ranges_refused_protection);
        return -EINVAL;
    }
    /* An mremap may have brought a mapping here and not told us yet. Watched now, it would pass for
     * the one that it replaced, and note_late_unmaps() would wait for an UNMAP that has been. */
    bool is_careful = !mutant_is(MUTANT_LATE_UNMAP_STAYS);
    if (is_careful && pager_is_changing(pg))
        return -EAGAIN;
    int r = register_and_check(pg, first, end, UFFD_WATCH);
    if (is_careful && r == 0 && pager_is_changing(pg))
        r = -EAGAIN; /* or it came just now; registered it stays, and is asked again */
    if (r == 0)
        r = pager_note_watched(pg, first, end, WATCH_WRITES) ? -EAGAIN : 0;
    if (r == -EINVAL)
        refuse(pg, first, end, STAT_ranges_refused_kernel);
    return r;
}

/* Events on armed memory make every restore wait until their raiser has run again, and each costs the
 * application a round trip to us: what churns is not worth having. Two threads discarding in a loop
 * made restores of p99 896 us, eight made them starve; 2000/s cost the raiser 2-6 % of its time. */
#define CHURN_EVENTS_PER_S 2000u

void pager_find_churn(struct pager *pg, uint64_t elapsed_ns)
{
    pager_shut_out_touchers(pg);
    for (uint32_t i = 0; i < pg->watched.nr; i++) {
        struct interval *w = &pg->watched.items[i];
        uint64_t nr_events = w->tag >> WATCH_EVENTS_SHIFT;
        enum watch_state state = watch_state_of(w);
        if (state != WATCH_REFUSED && nr_events * 1000 > CHURN_EVENTS_PER_S * (elapsed_ns / 1000000))
            state = WATCH_CHURNING;
        pg->has_churn |= state == WATCH_CHURNING;
        w->tag = state;
    }
    pager_let_in_touchers(pg);
}

int pager_calm_churn(struct pager *pg, unsigned max_pages)
{
    if (!pg->has_churn)
        return 0;
    for (uint32_t i = 0; i < pg->watched.nr; i++) {
        struct interval *w = &pg->watched.items[i];
        if (watch_state_of(w) != WATCH_CHURNING)
            continue;
        page_number first = w->first, end = w->end, cursor = first;
        int r;
        do
            r = pager_drain(pg, &cursor, end, DRAIN_FORGET_ZEROS, max_pages);
        while (r == -EIO); /* a lost page stays poisoned; the cursor is behind it */
        if (r != 1)
            return 1;
        /* What mremap has just brought here would lose its registration with pages out. */
        if (pager_is_changing(pg))
            return 1;
        pager_unwatch(pg, first, end);
        refuse(pg, first, end, STAT_ranges_refused_churn);
        return 1;
    }
    pg->has_churn = false;
    return 0;
}

void pager_forget_refusals(struct pager *pg)
{
    pager_shut_out_touchers(pg);
    for (uint32_t i = pg->watched.nr; i-- > 0;)
        if (watch_state_of(&pg->watched.items[i]) == WATCH_REFUSED)
            (void)intervals_clear(&pg->watched, pg->watched.items[i].first, pg->watched.items[i].end);
    pager_let_in_touchers(pg);
    pg->has_gaps = true;
}

void pager_unwatch(struct pager *pg, page_number first, page_number end)
{
    if (!intervals_overlap(&pg->watched, first, end))
        return;
    /* Each piece by itself: between them there may be no mapping, or one that is not ours. */
    for (uint32_t i = intervals_from(&pg->watched, first);
         i < pg->watched.nr && pg->watched.items[i].first < end; i++) {
        struct interval *w = &pg->watched.items[i];
        page_number from = w->first > first ? w->first : first;
        page_number to = w->end < end ? w->end : end;
        if (watch_state_of(w) != WATCH_REFUSED)
            pager_unregister(pg, page_address(from), pages_to_bytes(to - from));
    }
    pager_shut_out_touchers(pg);
    (void)intervals_clear(&pg->watched, first, end); /* full: stays listed, is registered anew */
    pager_let_in_touchers(pg);
    pager_forget_paged_out(pg, first, end);
    if (pg->on_unwatched)
        pg->on_unwatched(pg->context, first, end);
}

/* Neighbours of an interval that lie in the same mapping and are not armed either: a mapping that was
 * shrunk and grown again, or registered in parts, is several intervals. */
static void whole_mapping(struct pager *pg, uint32_t at, uint32_t *ret_from, uint32_t *ret_to)
{
    const struct interval *items = pg->watched.items;
    struct maps_vma vma;
    *ret_from = at;
    *ret_to = at + 1;
    if (maps_find(&pg->maps, page_address(items[at].first), &vma))
        return;
    while (*ret_from > 0 && items[*ret_from - 1].end == items[*ret_from].first &&
           items[*ret_from].first > page_of(vma.start) &&
           watch_state_of(&items[*ret_from - 1]) == WATCH_WRITES)
        --*ret_from;
    while (*ret_to < pg->watched.nr && items[*ret_to].first == items[*ret_to - 1].end &&
           items[*ret_to].first < page_of(vma.end) && watch_state_of(&items[*ret_to]) == WATCH_WRITES)
        ++*ret_to;
}

/* All of a mapping is armed when the first page of it leaves: one that is armed in part can't be moved
 * by mremap. */
static bool arm(struct pager *pg, struct interval *w)
{
    if (watch_state_of(w) == WATCH_ARMED)
        return true;
    if (watch_state_of(w) != WATCH_WRITES)
        return false;
    uint32_t from, to;
    whole_mapping(pg, (uint32_t)(w - pg->watched.items), &from, &to);
    page_number first = pg->watched.items[from].first, end = pg->watched.items[to - 1].end;
    if (intervals_overlap(&pg->unmapped, first, end))
        return false;
    int r = register_and_check(pg, first, end, UFFD_ARM);
    if (r == -EINVAL)
        refuse(pg, w->first, w->end, STAT_ranges_refused_kernel); /* the neighbours are asked for themselves */
    if (r)
        return false;
    pager_shut_out_touchers(pg);
    for (uint32_t i = from; i < to; i++)
        pg->watched.items[i].tag = WATCH_ARMED;
    pager_let_in_touchers(pg);
    return true;
}

void pager_lift_bars(struct pager *pg, struct page_leaf *leaf)
{
    if (!leaf->nr_barred || leaf->bar_epoch > pg->table.bars_over)
        return;
    for (unsigned i = 0; i < LEAF_PAGES; i++)
        page_on_bar_over(&leaf->pages[i]);
    leaf->nr_barred = 0;
}

bool pager_may_leave_now(struct pager *pg, struct page *p, page_number page, pagemap_entry e,
                         bool if_unwritten)
{
    if (!pagemap_is_present(e)) {
        if (!pagemap_is_swapped(e))
            page_on_seen_absent(p);
        return false;
    }
    if (!page_may_leave(p) || pagemap_is_file_or_shared(e))
        return false;
    if (if_unwritten && !pagemap_is_unwritten(e))
        return false;
    if (!pagemap_is_exclusive(e)) { /* shared after a fork, or the zero page */
        if (pg->on_feedback)
            (void)pg->on_feedback(pg->context, FEEDBACK_BUSY, page);
        return false;
    }
    return true;
}

/* The kernel does not let go of what is left in landing: copy it. Those landing pages stay occupied for
 * good (discarding them would raise an event that we would have to read ourselves); never seen. */
static void copy_hop(struct pager *pg, uint32_t slot, unsigned from, unsigned nr)
{
    const unsigned char *landing = pg->landing + pages_to_bytes(pg->landing_first);
    for (unsigned i = from; i < nr; i++)
        memcpy(pg->staging_memory + pages_to_bytes(slot + i), landing + pages_to_bytes(i), PAGE_BYTES);
    pg->landing_first += nr;
}

/* Who reads our memory from outside (a debugger, a core dump) leaves a zero page in every hole, and the
 * next MOVE there says EEXIST. Staging raises no events: what no page holds is dropped at once. */
static void drop_from_slot(struct pager *pg, uint32_t slot)
{
    (void)madvise(pg->staging_memory + pages_to_bytes(slot), PAGE_BYTES, MADV_DONTNEED);
}

/* The same for landing, when nothing of any page is in it. Discarding there would raise an event that
 * only we can read, so what is in it goes by way of a free slot. */
static void clear_landing(struct pager *pg)
{
    uint32_t slot;
    if (!staging_run(&pg->staging, 1, &slot))
        return;
    page_number landing = page_of((uintptr_t)pg->landing);
    pagemap_entry entries[MOVE_RUN_MAX];
    if (pagemap_read(pg->pagemap_fd, landing, MOVE_RUN_MAX, entries))
        return;
    bool is_clear = true;
    for (unsigned i = 0; i < MOVE_RUN_MAX; i++) {
        if (!pagemap_is_present(entries[i]))
            continue;
        uint64_t moved;
        drop_from_slot(pg, slot);
        is_clear &= uffd_move(pg->uffd_staging, (uintptr_t)pg->staging_memory + pages_to_bytes(slot),
                              page_address(landing + i), PAGE_BYTES, &moved) == 0;
        drop_from_slot(pg, slot);
    }
    if (is_clear)
        pg->landing_first = 0;
}

/* From landing to staging. The descriptor has no events, nobody touches either side: what fails is
 * ageing's doing and goes at the next try. */
static void second_hop(struct pager *pg, uint32_t slot, unsigned nr)
{
    unsigned done = 0;
    for (int try = 0; done < nr && try < 1000; try++) {
        int error;
        unsigned unreported;
        done += move_run(pg->uffd_staging, pg->pagemap_fd,
                         (uintptr_t)pg->staging_memory + pages_to_bytes(slot + done),
                         (uintptr_t)pg->landing + pages_to_bytes(pg->landing_first + done), nr - done, &error,
                         &unreported);
        stats_add(pg->stats, STAT_evict_moved_with_error, unreported);
        if (error == -EEXIST)
            drop_from_slot(pg, slot + done);
    }
    if (done < nr)
        copy_hop(pg, slot, done, nr);
}

static void note_staged(struct pager *pg, struct page_leaf *leaf, page_number first, uint32_t slot,
                        unsigned nr)
{
    for (unsigned i = 0; i < nr; i++) {
        struct page *p = leaf_page(leaf, first + i);
        page_on_moved(p, slot + i);
        pager_count(pg, leaf, p, +1);
        uint32_t generation = staging_take(&pg->staging, slot + i, first + i);
        struct porter_order order = { .op = PORTER_COPY,
                                      .slot = slot + i,
                                      .generation = generation,
                                      .session = pg->session };
        if (ring_put(&pg->to_porter, &order))
            invariant_broken("the porter's orders can't be more than the slots");
        point_kills(POINT_STAGED);
        if (mutant_is(MUTANT_FREE_STAGED_EARLY)) {
            order.op = PORTER_FREE;
            (void)ring_put(&pg->to_porter, &order);
        }
    }
    stats_add(pg->stats, STAT_client_evict_success, nr);
    stats_add(pg->stats, STAT_evicted_bytes_raw, pages_to_bytes(nr));
}

/* What MADV_FREE announced stays clean over a MOVE, and the kernel may still drop it from staging: a page
 * with no copy anywhere. A write that changes nothing makes it ordinary memory; if it has been dropped
 * already, what is read is zeros, which is what MADV_FREE promises. Only where discards were announced. */
static void make_dirty(struct pager *pg, uint32_t slot, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++)
        (void)__atomic_fetch_or(pg->staging_memory + pages_to_bytes(slot + i), 0, __ATOMIC_RELAXED);
}

/* Moves a run out whose pages all may leave. Returns how many pages have been dealt with. */
static unsigned move_out(struct pager *pg, struct page_leaf *leaf, page_number first, unsigned nr,
                         enum evict_result *ret_result)
{
    uint32_t slot;
    unsigned room = staging_run(&pg->staging, nr, &slot);
    if (pg->landing_first == MOVE_RUN_MAX)
        clear_landing(pg);
    if (room > MOVE_RUN_MAX - pg->landing_first)
        room = MOVE_RUN_MAX - pg->landing_first;
    if (!room) {
        *ret_result = EVICT_FULL;
        return 0;
    }
    room = pager_begin_leaving(pg, leaf, first, room);
    if (!room)
        return 1; /* its own thread is bringing it back, or has just done so */
    int error;
    unsigned unreported;
    int uffd = mutant_is(MUTANT_MOVE_ON_SECOND_UFFD) ? pg->uffd_staging : pg->uffd;
    uintptr_t to = uffd == pg->uffd ? (uintptr_t)pg->landing + pages_to_bytes(pg->landing_first)
                                    : (uintptr_t)pg->staging_memory + pages_to_bytes(slot);
    unsigned moved = move_run(uffd, pg->pagemap_fd, to, page_address(first), room, &error, &unreported);
    stats_add(pg->stats, STAT_evict_moved_with_error, unreported);
    point_kills(POINT_LANDED);
    if (moved && uffd == pg->uffd)
        second_hop(pg, slot, moved);
    point_kills(POINT_HOPPED);
    if (leaf->bar_epoch || pg->table.has_forgotten_bars)
        make_dirty(pg, slot, moved);
    note_staged(pg, leaf, first, slot, moved);
    pager_end_leaving(pg, leaf, first, room);

    switch (error) {
    case 0:
        break;
    case -EAGAIN:
        stats_add(pg->stats, STAT_changing_retries, 1);
        pg->needs_events = true;
        *ret_result = EVICT_CHANGING;
        break;
    case -ENOENT:
        moved++; /* a hole since we looked */
        break;
    case -EEXIST:
        clear_landing(pg);
        moved++; /* it is asked again another time */
        break;
    default: /* -EBUSY: pinned; -EINVAL: locked, executable, …: leave it for longer each time */
        stats_add(pg->stats, STAT_evict_busy, 1);
        if (pg->on_feedback)
            (void)pg->on_feedback(pg->context, FEEDBACK_BUSY, first + moved);
        moved++;
        break;
    }
    return moved;
}

unsigned pager_clip(const struct interval *managed, const struct interval *watched,
                    page_number first, unsigned nr)
{
    page_number end = first + nr;
    if (end > managed->end)
        end = managed->end;
    if (end > watched->end)
        end = watched->end;
    return (unsigned)(end - first);
}

/* How much of [first, first + nr) is one interval that may be evicted from, armed, and in one leaf; 0:
 * none at first. */
static unsigned clip_and_arm(struct pager *pg, page_number first, unsigned nr)
{
    struct interval *managed = intervals_find(&pg->managed, first);
    struct interval *watched = intervals_find(&pg->watched, first);
    if (!managed || !watched ||
        intervals_overlap(&pg->unmapped, first, first + nr) || !arm(pg, watched))
        return 0;
    unsigned in_leaf = (unsigned)(leaf_end(first) - first);
    return pager_clip(managed, intervals_find(&pg->watched, first), first, nr < in_leaf ? nr : in_leaf);
}

enum evict_result pager_evict(struct pager *pg, page_number first, unsigned nr, bool if_unwritten,
                              unsigned *ret_looked)
{
    *ret_looked = nr;
    unsigned run = clip_and_arm(pg, first, nr < MOVE_RUN_MAX ? nr : MOVE_RUN_MAX);
    if (!run || pg->store_now < 0) {
        *ret_looked = nr < MOVE_RUN_MAX ? nr : MOVE_RUN_MAX;
        return EVICT_DONE;
    }
    *ret_looked = run;
    struct page_leaf *leaf = pager_grow(pg, first);
    if (!leaf)
        return EVICT_DONE;
    pager_lift_bars(pg, leaf);
    pager_learn_returned_in(pg, leaf);
    if (pagemap_read(pg->pagemap_fd, first, run, pg->entries))
        return EVICT_DONE;

    bool may[MOVE_RUN_MAX];
    bool has_pins = pins_overlap(&pg->pins, first, first + run);
    for (unsigned i = 0; i < run; i++)
        may[i] = pager_may_leave_now(pg, leaf_page(leaf, first + i), first + i, pg->entries[i],
                                     if_unwritten) &&
                 !(has_pins && pins_overlap(&pg->pins, first + i, first + i + 1));
    for (unsigned i = 0; i < run;) {
        unsigned j = i;
        while (j < run && may[j])
            j++;
        if (j == i) {
            i++;
            continue;
        }
        enum evict_result result = EVICT_DONE;
        unsigned dealt = move_out(pg, leaf, first + i, j - i, &result);
        i += dealt;
        if (result != EVICT_DONE) {
            *ret_looked = i;
            return result;
        }
    }
    return EVICT_DONE;
}
