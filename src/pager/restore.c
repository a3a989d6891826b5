/* restore.c - bringing one page back: the only place that installs. */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "base/point.h"
#include "base/stage.h"
#include "pager/pager.h"

/* Zeros, only ever read: what a touch of nothing gets where the zero page can't be mapped. */
static const unsigned char zeros[PAGE_BYTES] __attribute__((aligned(4096)));

/* 1, 0, or a negative errno: it can't be told just now. */
static int is_there(struct pager *pg, page_number page)
{
    pagemap_entry e;
    int r = point_fails(POINT_LOOK_BACK) ? -errno : pagemap_read(pg->pagemap_fd, page, 1, &e);
    return r ? r : pagemap_is_there(e);
}

static int changing(struct pager *pg)
{
    stats_add(pg->stats, STAT_changing_retries, 1);
    pg->needs_events = true;
    while (mutant_is(MUTANT_RETRY_WITHOUT_EVENTS)) /* its answer would be the same for ever */
        sched_yield();
    return -EAGAIN;
}

static int copy(struct pager *pg, page_number page, const void *bytes)
{
    bool must_fail = point_fails(POINT_COPY_NO_MEMORY) || point_fails(POINT_COPY_CHANGING) ||
                     point_fails(POINT_COPY_REFUSED);
    stage_note(STAGE_READY, now_ns());
    int r = must_fail ? -errno : uffd_copy(pg->uffd, page_address(page), bytes);
    stage_note(STAGE_INSTALLED, now_ns());
    return r;
}

/* COPY's answer, given its meaning. -EEXIST becomes 0: it is there, and who waits is woken. An error that has
 * no meaning here is believed when it comes twice: these bytes can't be given back. */
static int install_copy(struct pager *pg, page_number page, const void *bytes)
{
    for (int try = 0; try < 2; try++) {
        int r = copy(pg, page, bytes);
        switch (r) {
        case 0:
        case -ENOENT: /* no mapping, or not ours any more */
        case -ENOMEM:
        case -ESRCH: /* the process ends */
            return r;
        case -EAGAIN:
            return changing(pg);
        case -EEXIST:
            uffd_wake(pg->uffd, page_address(page), PAGE_BYTES);
            return 0;
        default:
            break;
        }
    }
    pg->is_copy_refused = true;
    return -EILSEQ;
}

/* *ret_was_there: somebody was quicker; nothing was installed. */
static int install_zeros(struct pager *pg, page_number page, bool *ret_was_there)
{
    int r = point_fails(POINT_ZEROPAGE) ? -errno : uffd_zeropage(pg->uffd, page_address(page));
    if (r == -EAGAIN)
        return changing(pg);
    if (r != -EEXIST) {
        stats_add(pg->stats, STAT_faults_zero, r == 0);
        return r;
    }
    /* Present, not only swapped: a write-protect marker in a hole reads as that. The zero page can't go
     * there, COPY can, and says EEXIST where a page is really swapped. */
    pagemap_entry e = 0;
    (void)pagemap_read(pg->pagemap_fd, page, 1, &e);
    if (!pagemap_is_present(e))
        return install_copy(pg, page, zeros);
    *ret_was_there = true;
    stats_add(pg->stats, STAT_faults_late, 1);
    uffd_wake(pg->uffd, page_address(page), PAGE_BYTES);
    return 0;
}

static int move_back(struct pager *pg, page_number page, uint32_t slot)
{
    const unsigned char *staged = pg->staging_memory + pages_to_bytes(slot);
    uint64_t moved;
    int r = point_fails(POINT_MOVE_BACK)
                ? -errno
                : uffd_move(pg->uffd, page_address(page), (uintptr_t)staged, PAGE_BYTES, &moved);
    if (r == 0)
        return 0;
    int has_arrived = is_there(pg, page), is_left = is_there(pg, page_of((uintptr_t)staged));
    bool is_known = has_arrived >= 0 && is_left >= 0;
    if (is_known && has_arrived && !is_left) { /* moved and said otherwise */
        stats_add(pg->stats, STAT_evict_moved_with_error, 1);
        uffd_wake(pg->uffd, page_address(page), PAGE_BYTES);
        return 0;
    }
    if (r == -EAGAIN)
        return changing(pg);
    if (!is_known)
        return -EAGAIN; /* one of the two has it: looked at again, nothing is given up yet */
    if (!is_left)
        return -EILSEQ;
    /* Locked, made executable, differently protected, or a marker in the hole: copy instead. */
    if (mutant_is(MUTANT_ZEROS_IF_MOVE_REFUSED))
        staged = zeros;
    return install_copy(pg, page, staged);
}

static int decompress(struct pager *pg, page_number page, const struct page_leaf *leaf,
                      const struct page *p)
{
    uint32_t checksum = leaf->checksums[page % LEAF_PAGES];
    const struct store_map *map = &pg->stores[p->store];
    const unsigned char *decoded = pager_ahead_bytes(pg, page);
    if (decoded)
        return install_copy(pg, page, decoded);
    int r = store_read(map, p->where, checksum, &pg->scratch, pg->page);
    if (r)
        r = store_read(map, p->where, checksum, &pg->scratch, pg->page); /* once more, then it is lost */
    if (r && mutant_is(MUTANT_ZEROS_ON_BAD_CHECKSUM)) {
        memset(pg->page, 0, PAGE_BYTES);
        r = 0;
    }
    return r ? r : install_copy(pg, page, pg->page);
}

static void count_out(struct pager *pg, const struct page *p, int change)
{
    uint64_t by = (uint64_t)(int64_t)change;
    switch ((enum page_state)p->state) {
    case PAGE_STAGED:   pg->nr_staged += by; break;
    case PAGE_STORED:
        pg->nr_stored += by;
        pg->store_pages[p->store] += by;
        pg->nr_same += locator_kind_of(p->where) == LOCATOR_FILL32 ? by : 0;
        pg->nr_squeezed += locator_kind_of(p->where) == LOCATOR_ZSTD ? by : 0;
        break;
    case PAGE_ZERO:     pg->nr_zero += by; break;
    case PAGE_POISONED: pg->nr_poisoned += by; break;
    case PAGE_RESIDENT: break;
    case PAGE_STATE_NR: break;
    }
}

void pager_count(struct pager *pg, struct page_leaf *leaf, const struct page *p, int change)
{
    leaf->is_settled = false;
    if (p->state != PAGE_RESIDENT)
        leaf->nr_out = (uint8_t)(leaf->nr_out + change);
    if (p->is_paged_out) {
        leaf->nr_paged_out = (uint8_t)(leaf->nr_paged_out + change);
        pg->nr_paged_out += (uint64_t)(int64_t)change;
    }
    count_out(pg, p, change);
}

/* The page is lost and its next touch must say so. -EIO, or -EAGAIN from the kernel. */
static int poison(struct pager *pg, struct page_leaf *leaf, struct page *p, page_number page)
{
    int r = point_fails(POINT_POISON) ? -errno : uffd_poison(pg->uffd, page_address(page));
    if (r == -EAGAIN)
        return changing(pg);
    if (r == -ENOENT)
        return r; /* its mapping has gone: nothing is left to poison */
    if (p->state != PAGE_POISONED) {
        stats_add(pg->stats, STAT_restore_fail, 1);
        pager_count(pg, leaf, p, -1);
        pager_release(pg, page_on_lost(p));
        pager_count(pg, leaf, p, +1);
        enum feedback_kind why = pg->is_copy_refused ? FEEDBACK_LOST_REFUSED : FEEDBACK_LOST;
        if (pg->on_feedback) /* for its log */
            (void)pg->on_feedback(pg->context, why, page);
    }
    uffd_wake(pg->uffd, page_address(page), PAGE_BYTES);
    return -EIO;
}

static void note_answered(struct pager *pg, page_number page)
{
    if (pg->nr_answered < ANSWERED_MAX)
        pg->answered[pg->nr_answered++] =
            (struct answered_fault){ .page = page, .thread = pg->serving_thread };
    if (pg->on_feedback)
        (void)pg->on_feedback(pg->context, FEEDBACK_REFAULT, page);
}

int pager_restore(struct pager *pg, page_number page)
{
    struct page_leaf *leaf;
    struct page *p = pager_page(pg, page, &leaf);
    bool was_there = false;
    pg->is_copy_refused = false;
    if (!p)
        return install_zeros(pg, page, &was_there);

    if (pager_is_returned(pg, leaf, page)) { /* its own thread was quicker */
        pager_learn_returned_in(pg, leaf);
        return 0;
    }
    int r;
    enum fault_answer how = page_on_missing_fault(p);
    switch (how) {
    case ANSWER_ZERO_OR_WAKE:
    case ANSWER_ZERO_PAGE:  r = install_zeros(pg, page, &was_there); break;
    case ANSWER_MOVE_BACK:  r = move_back(pg, page, (uint32_t)p->where); break;
    case ANSWER_DECOMPRESS: r = decompress(pg, page, leaf, p); break;
    case ANSWER_POISON:     return poison(pg, leaf, p, page);
    default:                invariant_broken("fault answer");
    }
    if (r == -EILSEQ)
        return poison(pg, leaf, p, page);
    if (r)
        return r;
    if (how == ANSWER_ZERO_OR_WAKE && was_there)
        return 0; /* nothing came in: a bar stays, its discard may still be under way */
    if (how != ANSWER_ZERO_OR_WAKE) {
        stats_add(pg->stats, STAT_restore_success, 1);
        if (how == ANSWER_MOVE_BACK)
            stats_add(pg->stats, STAT_restore_staged, 1);
        if (pg->is_serving_fault)
            note_answered(pg, page);
    }
    point_kills(POINT_INSTALLED);
    pager_count(pg, leaf, p, -1);
    pager_release(pg, page_on_installed(p));
    return 0;
}

uint64_t pager_nr_out(const struct pager *pg)
{
    return pg->nr_staged + pg->nr_stored + pg->nr_zero;
}

/* One page of a drain. 0: it is back (or stays poisoned); negative: as pager_restore. */
static int drain_page(struct pager *pg, struct page_leaf *leaf, page_number page,
                      enum drain_mode mode)
{
    struct page *p = leaf_page(leaf, page);
    if (p->state == PAGE_ZERO && mode == DRAIN_FORGET_ZEROS) {
        pager_count(pg, leaf, p, -1);
        pager_release(pg, page_on_installed(p));
        return 0;
    }
    int r = pager_restore(pg, page);
    if (r == -ENOENT && pager_is_changing(pg))
        return changing(pg); /* it is being moved elsewhere: the kernel looks for the mapping before it
                                looks whether anything changes */
    if (r == -ENOENT) { /* no mapping: its bytes went with it, or the UNMAP is about to be settled */
        pager_count(pg, leaf, p, -1);
        pager_release(pg, page_on_discard(p, false));
        return 0;
    }
    return r;
}

/* Drains one leaf from *page on. 1: to its end; else as pager_drain. */
static int drain_leaf(struct pager *pg, struct page_leaf *leaf, page_number *page, page_number end,
                      enum drain_mode mode, int only_store, unsigned *left)
{
    int worst = 0;
    for (; *page < end && leaf->nr_out; ++*page) {
        struct page *p = leaf_page(leaf, *page);
        if (p->state == PAGE_RESIDENT ||
            (only_store >= 0 && (p->state != PAGE_STORED || (int)p->store != only_store)))
            continue;
        if (!*left)
            return 0;
        --*left;
        int r = drain_page(pg, leaf, *page, mode);
        if (r == -EAGAIN || r == -ENOMEM)
            return r;
        if (r)
            worst = r;
    }
    *page = end;
    return worst ? worst : 1;
}

int pager_drain(struct pager *pg, page_number *cursor, page_number end, enum drain_mode mode,
                unsigned max_pages)
{
    if (!pager_nr_out(pg) && !pg->nr_poisoned)
        *cursor = end; /* not to look for leaves all over a large reservation */
    while (*cursor < end) {
        page_number stop = leaf_end(*cursor) < end ? leaf_end(*cursor) : end;
        struct page_leaf *leaf = page_table_find(&pg->table, *cursor);
        if (!leaf || !leaf->nr_out) {
            *cursor = stop;
            continue;
        }
        int r = drain_leaf(pg, leaf, cursor, stop, mode, -1, &max_pages);
        if (r != 1)
            return r;
    }
    return 1;
}

/* *cursor: leaf index * LEAF_PAGES + page of the leaf. A leaf that is used again between two slices is
 * looked at from the middle on; callers go round until nothing of what they want is out. */
static int drain_leaves(struct pager *pg, int only_store, uint64_t *cursor, unsigned max_pages)
{
    while (*cursor / LEAF_PAGES < pg->table.nr_leaves) {
        struct page_leaf *leaf = &pg->table.leaves[*cursor / LEAF_PAGES];
        page_number page = leaf->first + *cursor % LEAF_PAGES;
        int r = 1;
        if (leaf->nr_out)
            r = drain_leaf(pg, leaf, &page, leaf->first + LEAF_PAGES, DRAIN_FORGET_ZEROS, only_store,
                           &max_pages);
        else
            page = leaf->first + LEAF_PAGES;
        *cursor = *cursor / LEAF_PAGES * LEAF_PAGES + (page - leaf->first);
        if (r != 1)
            return r;
    }
    *cursor = 0;
    return 1;
}

int pager_drain_all(struct pager *pg, uint64_t *cursor, unsigned max_pages)
{
    return drain_leaves(pg, -1, cursor, max_pages);
}

int pager_drain_store(struct pager *pg, unsigned store, uint64_t *cursor, unsigned max_pages)
{
    return drain_leaves(pg, (int)store, cursor, max_pages);
}
