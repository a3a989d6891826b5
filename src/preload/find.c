/* find.c - see find.h. A pass over the mappings costs about 1 us for each (PROCMAP_QUERY). It is made
 * in pieces of 16, and the next one begins when 500 times as long has gone by: 0.2 % of a CPU, at most. */
#include "preload/find.h"

#include <gnu/libc-version.h>
#include <link.h>
#include <pthread.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "client/client.h"
#include "preload/threads.h"

#ifndef MADV_COLD
#define MADV_COLD 20
#endif

#define MAPPINGS_PER_PIECE 16u
#define COST_FACTOR 500u
#define PAUSE_MAX_NS NS_PER_S /* or the cold age, if that is less */
#define PAUSE_MIN_NS (10 * NS_PER_MS)
#define DRAIN_SLICE 16u
/* Below a thread's control block lie its static thread-local memory and its stack: so much of that is
 * left alone. The rest of a larger stack may leave; a touch brings it back like anything else. */
#define STACK_PAGES (((size_t)8 << 20) / PAGE_BYTES)
#define CONTROL_PAGES 16u /* above its robust list */
/* A mapping that grows all the time is not worth a range for each piece of growth. */
#define GROWTH_SHARE 32u
#define OWN_THREADS 2u
#define EXCLUDED_MAX (CONTROL_BLOCKS_MAX + 128)

enum left_reason { LEFT_SMALL, LEFT_STACK, LEFT_LOCKED, LEFT_PROTECTED, LEFT_SHARED, LEFT_UNLISTED,
                   LEFT_NR };

/* All of it lies in this library's own data, which is excluded with the rest of our memory. */
static struct {
    struct pp_pager *pp;
    page_number min_pages;
    struct intervals fixed;    /* ours, libc's, the loader's: set at birth */
    struct intervals excluded; /* and the threads' of this pass */
    struct threads threads;
    page_number cursor;        /* of the pass; 0: none is under way */
    uint64_t cost_ns;          /* of the pass */
    uint64_t nr_found, nr_left[LEFT_NR];
    page_number leaving, leaving_cursor, leaving_end; /* being brought back; leaving == end: nothing */
} f;
static struct interval fixed_items[64], excluded_items[EXCLUDED_MAX];

/* ---- what is never taken */

/* Tags: what is counted as left out, and what goes without saying. */
enum { EXCLUDED_STACK, EXCLUDED_OURS };

static void exclude(struct intervals *s, const void *from, size_t bytes, uint64_t tag)
{
    uint64_t start = (uintptr_t)from;
    (void)intervals_set(s, page_of(start), page_of(page_round_up(start + bytes)), tag);
}

/* The writable segments of this library, of libc and of the loader, with what follows in bss. */
static int exclude_object(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    (void)context;
    const uintptr_t inside[] = { (uintptr_t)&f, (uintptr_t)&gnu_get_libc_version, getauxval(AT_BASE) };
    bool is_wanted = false;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + p->p_vaddr;
        for (unsigned j = 0; j < sizeof inside / sizeof *inside; j++)
            is_wanted |= p->p_type == PT_LOAD && inside[j] >= start && inside[j] < start + p->p_memsz;
    }
    for (unsigned i = 0; is_wanted && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_W))
            exclude(&f.fixed, (const void *)(info->dlpi_addr + p->p_vaddr), p->p_memsz, EXCLUDED_OURS);
    }
    return 0;
}

/* The loader's: where the first thread's stack begins. */
extern void *__libc_stack_end;

static void exclude_main_stack(void)
{
    struct maps_vma vma;
    uint64_t end = (uintptr_t)__libc_stack_end;
    if (maps_find(&f.pp->agent->pg.maps, end, &vma) == 0 && vma.start <= end)
        exclude(&f.excluded, (const void *)vma.start, vma.end - vma.start, EXCLUDED_STACK);
}

static void exclude_control_block(const struct control_block *b, const struct maps_vma *vma)
{
    page_number first = b->page, end = b->page + CONTROL_PAGES;
    if (!b->is_of_main)
        first = first > STACK_PAGES ? first - STACK_PAGES : 0;
    if (first < page_of(vma->start))
        first = page_of(vma->start);
    if (end > page_of(vma->end))
        end = page_of(vma->end);
    (void)intervals_set(&f.excluded, first, end, b->is_of_caller ? EXCLUDED_OURS : EXCLUDED_STACK);
}

static bool begin_pass(void)
{
    if (threads_list(&f.threads))
        return false;
    memcpy(excluded_items, fixed_items, f.fixed.nr * sizeof *fixed_items);
    f.excluded = (struct intervals){ .items = excluded_items, .nr = f.fixed.nr, .nr_max = EXCLUDED_MAX };
    exclude_main_stack();
    for (uint32_t i = 0; i < f.threads.nr_blocks; i++) {
        const struct control_block *b = &f.threads.blocks[i];
        struct maps_vma vma;
        if (!intervals_find(&f.fixed, b->page) && /* the porter's */
            maps_find(&f.pp->agent->pg.maps, page_address(b->page), &vma) == 0 &&
            page_of(vma.start) <= b->page)
            exclude_control_block(b, &vma);
    }
    f.cost_ns = f.nr_found = 0;
    memset(f.nr_left, 0, sizeof f.nr_left);
    f.cursor = 1;
    return true;
}

/* ---- ranges given back */

/* No longer managed. True: some of it is known to the kernel still, and f.leaving says so. */
static bool drop(page_number first, page_number end)
{
    struct pp_pager *pp = f.pp;
    struct pager *pg = &pp->agent->pg;
    for (uint32_t i; (i = intervals_from(&pp->ranges, first)) < pp->ranges.nr;) {
        const struct interval *range = &pp->ranges.items[i];
        page_number from = range->first > first ? range->first : first;
        page_number to = range->end < end ? range->end : end;
        if (from >= to)
            return false;
        if (intervals_clear(&pp->ranges, from, to) || intervals_clear(&pg->managed, from, to))
            return false; /* no room for the cut: the next pass tries again */
        atomic_fetch_add_explicit(&pp->nr_range_del, 1, memory_order_relaxed);
        if (!intervals_overlap(&pg->watched, from, to))
            continue;
        f.leaving = f.leaving_cursor = from;
        f.leaving_end = to;
        return true;
    }
    return false;
}

/* A slice of bringing back what is being given up. */
static void drop_slice(void)
{
    struct pager *pg = &f.pp->agent->pg;
    int r = pager_drain(pg, &f.leaving_cursor, f.leaving_end, DRAIN_FORGET_ZEROS, DRAIN_SLICE);
    if (r != 1 || pager_is_changing(pg))
        return;
    pager_unwatch(pg, f.leaving, f.leaving_end);
    f.leaving = f.leaving_end;
}

/* ---- ranges taken */

/* The kernel's own answer, without a look through smaps: it refuses this advice for memory that is locked,
 * and for the rest it means little. */
static bool is_locked(page_number page)
{
    return madvise((void *)page_address(page), PAGE_BYTES, MADV_COLD) != 0;
}

/* How many pages of ranges lie side by side up to this one. */
static page_number pages_before(page_number end)
{
    const struct intervals *ranges = &f.pp->ranges;
    page_number first = end;
    for (uint32_t i = intervals_from(ranges, end); i-- > 0 && ranges->items[i].end == first;)
        first = ranges->items[i].first;
    return end - first;
}

static void take_gap(page_number first, page_number end)
{
    struct pp_pager *pp = f.pp;
    page_number nr = end - first, least = pages_before(first) / GROWTH_SHARE;
    if (nr < (least > f.min_pages ? least : f.min_pages)) {
        f.nr_left[LEFT_SMALL] += nr;
    } else if (is_locked(first)) {
        f.nr_left[LEFT_LOCKED] += nr;
    } else if (intervals_set(&pp->ranges, first, end, range_tag(now_ns(), false))) {
        f.nr_left[LEFT_UNLISTED] += nr;
    } else {
        f.nr_found += nr;
        atomic_fetch_add_explicit(&pp->nr_range_add, 1, memory_order_relaxed);
    }
}

/* What of [first, end) is no range yet. */
static void take(page_number first, page_number end)
{
    const struct intervals *ranges = &f.pp->ranges;
    while (first < end) {
        uint32_t i = intervals_from(ranges, first);
        page_number next = i < ranges->nr && ranges->items[i].first < end ? ranges->items[i].first : end;
        if (next > first)
            take_gap(first, next);
        i = intervals_from(ranges, next);
        page_number stop = next == end ? end : ranges->items[i].end < end ? ranges->items[i].end : end;
        f.nr_found += stop - next;
        first = stop;
    }
}

/* A mapping that may be managed, without what is excluded. True: something has to be given back first. */
static bool take_mapping(page_number first, page_number end)
{
    while (first < end) {
        uint32_t i = intervals_from(&f.excluded, first);
        const struct interval *x = i < f.excluded.nr ? &f.excluded.items[i] : NULL;
        page_number stop = x && x->first < end ? x->first : end;
        if (stop > first)
            take(first, stop);
        if (stop == end)
            break;
        page_number after = x->end < end ? x->end : end;
        f.nr_left[LEFT_STACK] += x->tag == EXCLUDED_STACK ? after - stop : 0;
        if (drop(stop, after))
            return true;
        first = after;
    }
    return false;
}

/* True: something has to be given back before the pass goes on. */
static bool look_at(const struct maps_vma *vma, page_number first, page_number end)
{
    if (!vma->is_private_anonymous) {
        if (vma->is_read_write)
            f.nr_left[LEFT_SHARED] += end - first;
        return drop(first, end);
    }
    if (vma->is_read_write)
        return take_mapping(first, end);
    if (vma->is_accessible) /* protected for a while, perhaps: what is a range stays one */
        f.nr_left[LEFT_PROTECTED] += end - first;
    return false;
}

/* ---- the pass */

static void end_pass(void)
{
    struct agent *a = f.pp->agent;
    struct stats_block *st = &f.pp->agent_stats;
    stats_set(st, STAT_found_pages, f.nr_found);
    stats_set(st, STAT_left_small_pages, f.nr_left[LEFT_SMALL]);
    stats_set(st, STAT_left_stack_pages, f.nr_left[LEFT_STACK]);
    stats_set(st, STAT_left_locked_pages, f.nr_left[LEFT_LOCKED]);
    stats_set(st, STAT_left_protected_pages, f.nr_left[LEFT_PROTECTED]);
    stats_set(st, STAT_left_shared_pages, f.nr_left[LEFT_SHARED]);
    stats_set(st, STAT_left_unlisted_pages, f.nr_left[LEFT_UNLISTED]);
    uint64_t pause_ns = a->is_joined ? a->session.cold_age_ns : PAUSE_MAX_NS;
    pause_ns = pause_ns < PAUSE_MIN_NS ? PAUSE_MIN_NS : pause_ns < PAUSE_MAX_NS ? pause_ns : PAUSE_MAX_NS;
    if (pause_ns < f.cost_ns * COST_FACTOR)
        pause_ns = f.cost_ns * COST_FACTOR;
    a->next_find_ns = now_ns() + pause_ns;
    f.cursor = 0;
}

static void look_on(void)
{
    struct maps *maps = &f.pp->agent->pg.maps;
    for (unsigned i = 0; i < MAPPINGS_PER_PIECE; i++) {
        struct maps_vma vma;
        if (maps_find(maps, page_address(f.cursor), &vma)) {
            if (!drop(f.cursor, (page_number)1 << 35))
                end_pass();
            return;
        }
        page_number first = page_of(vma.start) > f.cursor ? page_of(vma.start) : f.cursor;
        if (drop(f.cursor, first) || look_at(&vma, first, page_of(vma.end)))
            return; /* and look again from here: what was dropped is no range any more */
        f.cursor = page_of(vma.end);
    }
}

/* Main has called pthread_exit() and every other thread has ended: the last one out ends the process. */
static void end_if_orphaned(void)
{
    struct pp_pager *pp = f.pp;
    if (!threads_are_orphans(&f.threads, OWN_THREADS) || pthread_mutex_trylock(&pp->command_lock))
        return;
    pp->command.op = COMMAND_STOP; /* the lock stays taken: nobody is left to want it */
    atomic_store_explicit(&pp->command.state, COMMAND_POSTED, memory_order_release);
}

void find_piece(struct pp_pager *pp)
{
    struct agent *a = pp->agent;
    uint64_t begin_ns = thread_cpu_ns(); /* where others have the CPU, a pass is not dearer for it */
    a->next_find_ns = 0; /* go on at once */
    if (f.leaving != f.leaving_end) {
        drop_slice();
    } else if (!f.cursor && !begin_pass()) {
        a->next_find_ns = now_ns() + PAUSE_MAX_NS;
    } else if (pthread_mutex_trylock(&pp->ranges_lock) == 0) {
        if (f.cursor == 1)
            end_if_orphaned();
        look_on();
        pthread_mutex_unlock(&pp->ranges_lock);
    }
    f.cost_ns += thread_cpu_ns() - begin_ns;
}

void find_begin(struct pp_pager *pp, uint64_t min_range_bytes)
{
    f.pp = pp;
    f.min_pages = page_of(page_round_up(min_range_bytes));
    f.cursor = f.leaving = f.leaving_end = 0;
    f.fixed = (struct intervals){ .items = fixed_items,
                                  .nr_max = sizeof fixed_items / sizeof *fixed_items };
    (void)dl_iterate_phdr(exclude_object, NULL);
    exclude(&f.fixed, pp, pp->pager_bytes, EXCLUDED_OURS);
    exclude(&f.fixed, pp->region, pp->region_bytes, EXCLUDED_OURS);
    exclude(&f.fixed, pp->bell_page, PAGE_BYTES, EXCLUDED_OURS);
    pp->find = find_piece;
}
