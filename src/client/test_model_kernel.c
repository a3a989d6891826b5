/* The kernel of the model: the calls of sys/uffd.h, sys/pagemap.h and sys/maps.h, answered from
 * struct world as Linux answers them. Linked in place of sys/uffd.c, pagemap.c and maps.c, and of
 * libc's madvise and sched_yield. */
#include "client/test_model.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "codec/codec.h"

#define MAIN_UFFD 100

static _Alignas(4096) unsigned char staging[WORLD_SLOTS * PAGE_BYTES];
static _Alignas(4096) unsigned char landing[MOVE_RUN_MAX * PAGE_BYTES];

unsigned char *model_staging(void)
{
    return staging;
}

unsigned char *model_landing(void)
{
    return landing;
}

/* ---- the three kinds of memory, seen alike */

struct place {
    enum pte *pte; /* NULL: not mapped */
    uint64_t *word;
    bool *is_exclusive;
    struct vpage *vpage; /* NULL: staging or landing */
    uint32_t slot;       /* staging */
    bool is_staging;
    int uffd; /* which may move and copy to it */
};

static uint64_t unused_word;

static struct place place_at(uint64_t address)
{
    uintptr_t in_staging = address - (uintptr_t)staging, in_landing = address - (uintptr_t)landing;
    if (in_staging < sizeof staging) {
        uint32_t slot = (uint32_t)bytes_to_pages(in_staging);
        return (struct place){ .pte = &world.staged[slot], .word = &unused_word, .slot = slot,
                               .is_exclusive = &world.staged_is_exclusive[slot],
                               .is_staging = true, .uffd = MAIN_UFFD + 1 };
    }
    if (in_landing < sizeof landing) {
        size_t i = bytes_to_pages(in_landing);
        return (struct place){ .pte = &world.landed[i], .word = &world.landed_words[i],
                               .is_exclusive = &world.landed_is_exclusive[i], .uffd = MAIN_UFFD };
    }
    struct vpage *v = vpage_at(page_of(address));
    if (!v || !v->is_mapped)
        return (struct place){ .uffd = -1 };
    return (struct place){ .pte = &v->pte, .word = &v->word, .is_exclusive = &v->is_exclusive,
                           .vpage = v,
                           .uffd = v->is_watched || v->is_armed ? MAIN_UFFD : -1 };
}

static void fill(unsigned char *page, uint64_t word)
{
    for (size_t i = 0; i < PAGE_BYTES; i += sizeof word)
        memcpy(page + i, &word, sizeof word);
}

/* A page is one word repeated; anything else was put together from two versions. */
static uint64_t word_of(const unsigned char *page)
{
    uint64_t word;
    memcpy(&word, page, sizeof word);
    if (memcmp(page, page + sizeof word, PAGE_BYTES - sizeof word))
        walk_failed("a page is torn");
    return word;
}

static uint64_t read_place(const struct place *p)
{
    return p->is_staging ? word_of(staging + pages_to_bytes(p->slot)) : *p->word;
}

static void put_at(const struct place *p, uint64_t word, bool is_exclusive)
{
    *p->pte = PTE_PRESENT;
    *p->is_exclusive = is_exclusive;
    if (p->is_staging)
        fill(staging + pages_to_bytes(p->slot), word);
    else
        *p->word = word;
    if (p->vpage) {
        tell("  page %ld gets %lu", p->vpage - world.pages, word);
        p->vpage->is_wp = false;
        kernel_wake((unsigned)(p->vpage - world.pages), 1);
    }
}

void kernel_wake(unsigned first, unsigned nr)
{
    for (struct thread *t = world.threads; t < world.threads + WORLD_THREADS; t++)
        if (t->state == THREAD_FAULTS && t->page - first < nr) {
            t->is_woken = true;
            t->is_fault_queued = false;
        }
}

void kernel_free_staged(uint32_t slot)
{
    world.staged[slot] = PTE_NONE;
}

/* The porter's read of a slot. A hole that is read gets the zero page. */
uint64_t kernel_read_staged(uint32_t slot)
{
    struct place p = place_at((uintptr_t)staging + pages_to_bytes(slot));
    if (*p.pte == PTE_NONE)
        put_at(&p, 0, false);
    return read_place(&p);
}

void kernel_read_from_outside(void)
{
    bool is_landing = one_in(4);
    uint64_t at = is_landing ? choose(MOVE_RUN_MAX) : choose(WORLD_SLOTS);
    struct place p = place_at((is_landing ? (uintptr_t)landing : (uintptr_t)staging) +
                              pages_to_bytes(at));
    if (*p.pte == PTE_NONE)
        put_at(&p, 0, false);
}

/* ---- sys/uffd.h */

static struct uffd_msg event_message(const struct world_event *e)
{
    struct uffd_msg m = { 0 };
    uint64_t start = page_address(WORLD_FIRST + e->at), bytes = pages_to_bytes(e->nr);
    switch (e->call) {
    case CALL_DONTNEED:
    case CALL_FREE:
        m.event = UFFD_EVENT_REMOVE;
        break;
    case CALL_MUNMAP:
    case CALL_MAP_FIXED:
    case CALL_MAP_FIXED_FAILS:
        m.event = UFFD_EVENT_UNMAP;
        break;
    case CALL_MREMAP:
        if (e->is_over) {
            m.event = UFFD_EVENT_UNMAP;
            start = page_address(WORLD_FIRST + e->to);
            break;
        }
        m.event = UFFD_EVENT_REMAP;
        m.arg.remap.from = start;
        m.arg.remap.to = page_address(WORLD_FIRST + e->to);
        m.arg.remap.len = bytes;
        return m;
    }
    m.arg.remove.start = start;
    m.arg.remove.end = start + bytes;
    return m;
}

/* Faults come out before events, whatever order they happened in. Who raised an event may run on
 * from the moment it is read. */
int uffd_read(int fd, struct uffd_msg *ret_messages, size_t nr)
{
    (void)fd;
    world_steps_between();
    size_t n = 0;
    unsigned from = (unsigned)choose(WORLD_THREADS);
    for (unsigned i = 0; i < WORLD_THREADS && n < nr; i++) {
        struct thread *t = &world.threads[(from + i) % WORLD_THREADS];
        if (t->state != THREAD_FAULTS || !t->is_fault_queued)
            continue;
        t->is_fault_queued = false;
        ret_messages[n] = (struct uffd_msg){ .event = UFFD_EVENT_PAGEFAULT };
        ret_messages[n].arg.pagefault.address = page_address(WORLD_FIRST + t->page);
        ret_messages[n++].arg.pagefault.feat.ptid = (uint32_t)(t - world.threads + 1);
    }
    unsigned nr_read = 0;
    for (; nr_read < world.nr_events && n < nr; nr_read++) {
        ret_messages[n++] = event_message(&world.events[nr_read]);
        tell("  agent reads the event of thread %u", world.events[nr_read].thread);
        world.threads[world.events[nr_read].thread].state = THREAD_WAS_READ;
    }
    world.nr_events -= nr_read;
    memmove(world.events, world.events + nr_read, world.nr_events * sizeof *world.events);
    return (int)n;
}

/* One page. 0, or why not. */
static int move_page(int fd, uint64_t to, uint64_t from)
{
    struct place d = place_at(to), s = place_at(from);
    if (!d.pte || d.uffd != fd)
        return d.pte ? -EINVAL : -ENOENT;
    if (!s.pte || *s.pte == PTE_NONE)
        return -ENOENT;
    if (*d.pte != PTE_NONE)
        return -EEXIST;
    if (*s.pte != PTE_PRESENT || (s.vpage && one_in(40)))
        return -EBUSY; /* pinned for the moment */
    if (s.vpage)
        tell("  page %ld leaves with %lu", s.vpage - world.pages, s.vpage->word);
    put_at(&d, read_place(&s), *s.is_exclusive);
    *s.pte = PTE_NONE;
    return 0;
}

int uffd_move(int fd, uint64_t to, uint64_t from, uint64_t bytes, uint64_t *ret_moved)
{
    world_steps_between();
    *ret_moved = 0;
    if (fd == MAIN_UFFD && world.nr_changing)
        return -EAGAIN;
    size_t nr = bytes_to_pages(bytes);
    /* The page whose entry somebody ages at this moment: it moves, and is not counted. */
    size_t aged = world.has_ageing && one_in(8) ? choose(nr) : nr;
    for (size_t i = 0; i < nr; i++) {
        int r = move_page(fd, to + pages_to_bytes(i), from + pages_to_bytes(i));
        if (r == 0 && i == aged)
            r = -EEXIST;
        if (r)
            return *ret_moved ? -EAGAIN : r;
        *ret_moved += PAGE_BYTES;
    }
    return 0;
}

static int install(int fd, uint64_t to, const void *bytes, bool is_zero_page)
{
    world_steps_between();
    if (world.nr_changing)
        return -EAGAIN;
    struct place d = place_at(to);
    if (!d.pte || d.uffd != fd)
        return -ENOENT;
    if (*d.pte != PTE_NONE && (is_zero_page || *d.pte != PTE_MARKER))
        return -EEXIST;
    put_at(&d, is_zero_page ? 0 : word_of(bytes), !is_zero_page);
    return 0;
}

int uffd_copy(int fd, uint64_t to, const void *page)
{
    return install(fd, to, page, false);
}

static bool is_one_mapping(const struct vpage *a, const struct vpage *b);

/* In one mapping, or nothing of it; not interrupted; what is there already ends it. */
int uffd_copy_run(int fd, uint64_t to, const void *pages, uint64_t bytes, uint64_t *ret_copied)
{
    world_steps_between();
    *ret_copied = 0;
    if (world.nr_changing)
        return -EAGAIN;
    const unsigned char *page = pages;
    struct vpage *before = NULL;
    for (size_t i = 0; i < bytes_to_pages(bytes); i++) {
        struct vpage *v = vpage_at(page_of(to) + i);
        if (!v || !v->is_mapped || (before && !is_one_mapping(before, v)))
            return -ENOENT;
        before = v;
    }
    for (size_t i = 0; i < bytes_to_pages(bytes); i++, page += PAGE_BYTES) {
        struct place d = place_at(to + pages_to_bytes(i));
        int r = d.uffd != fd ? -ENOENT : *d.pte != PTE_NONE && *d.pte != PTE_MARKER ? -EEXIST : 0;
        if (r)
            return *ret_copied ? -EAGAIN : r;
        put_at(&d, word_of(page), true);
        *ret_copied += PAGE_BYTES;
    }
    return 0;
}

int uffd_zeropage(int fd, uint64_t to)
{
    return install(fd, to, NULL, true);
}

int uffd_poison(int fd, uint64_t to)
{
    world_steps_between();
    if (world.nr_changing)
        return -EAGAIN;
    struct place d = place_at(to);
    if (!d.pte || d.uffd != fd)
        return -ENOENT;
    if (*d.pte != PTE_NONE)
        return -EEXIST;
    *d.pte = PTE_POISON;
    return 0;
}

int uffd_wake(int fd, uint64_t start, uint64_t bytes)
{
    (void)fd;
    kernel_wake((unsigned)(page_of(start) - WORLD_FIRST), (unsigned)bytes_to_pages(bytes));
    return 0;
}

int uffd_writeprotect(int fd, uint64_t start, uint64_t bytes, bool is_protected)
{
    (void)bytes;
    world_steps_between();
    if (world.nr_changing)
        return -EAGAIN;
    struct place d = place_at(start);
    if (!d.pte || d.uffd != fd)
        return -ENOENT;
    if (!d.vpage)
        return 0;
    if (*d.pte == PTE_PRESENT || *d.pte == PTE_SWAPPED)
        d.vpage->is_wp = is_protected;
    else if (*d.pte == PTE_NONE && is_protected)
        *d.pte = PTE_MARKER;
    else if (*d.pte == PTE_MARKER && !is_protected)
        *d.pte = PTE_NONE;
    return 0;
}

int uffd_register(int fd, uint64_t start, uint64_t bytes, enum uffd_mode mode)
{
    (void)fd;
    world_steps_between();
    bool is_any = false;
    for (size_t i = 0; i < bytes_to_pages(bytes); i++) {
        struct vpage *v = vpage_at(page_of(start) + i);
        if (!v || !v->is_mapped)
            continue;
        is_any = true;
        v->is_watched = true;
        v->is_armed |= mode == UFFD_ARM; /* one-way */
        tell("  page %ld is %s", v - world.pages, mode == UFFD_ARM ? "armed" : "watched");
    }
    return is_any ? 0 : -EINVAL;
}

int uffd_unregister(int fd, uint64_t start, uint64_t bytes)
{
    (void)fd;
    for (size_t i = 0; i < bytes_to_pages(bytes); i++) {
        struct vpage *v = vpage_at(page_of(start) + i);
        if (v)
            v->is_watched = v->is_armed = false;
    }
    return uffd_wake(fd, start, bytes);
}

/* ---- sys/pagemap.h, sys/maps.h */

static pagemap_entry entry_of(uint64_t address)
{
    struct place p = place_at(address);
    bool is_wp = p.vpage && p.vpage->is_wp;
    switch (p.pte ? *p.pte : PTE_NONE) {
    case PTE_NONE:   return 0;
    case PTE_SWAPPED: return (pagemap_entry)1 << 62 | (pagemap_entry)is_wp << 57;
    case PTE_MARKER: return (pagemap_entry)1 << 62 | (pagemap_entry)1 << 57;
    case PTE_POISON: return (pagemap_entry)1 << 62;
    case PTE_PRESENT: break;
    }
    return (pagemap_entry)1 << 63 | (pagemap_entry)is_wp << 57 |
           (pagemap_entry)*p.is_exclusive << 56;
}

int pagemap_read(int pagemap_fd, page_number first, size_t nr, pagemap_entry *ret_entries)
{
    (void)pagemap_fd;
    world_steps_between();
    for (size_t i = 0; i < nr; i++)
        ret_entries[i] = entry_of(page_address(first + i));
    return 0;
}

/* b is above a. */
static bool is_one_mapping(const struct vpage *a, const struct vpage *b)
{
    return b->origin == a->origin + 1 && a->is_mapped && b->is_mapped &&
           a->is_watched == b->is_watched && a->is_armed == b->is_armed;
}

int maps_find(struct maps *m, uint64_t address, struct maps_vma *ret_vma)
{
    (void)m;
    world_steps_between();
    page_number page = page_of(address) < WORLD_FIRST ? WORLD_FIRST : page_of(address);
    while (vpage_at(page) && !vpage_at(page)->is_mapped)
        page++;
    if (!vpage_at(page))
        return -ENOENT;
    page_number first = page, end = page + 1;
    while (vpage_at(first - 1) && is_one_mapping(vpage_at(first - 1), vpage_at(first)))
        first--;
    while (vpage_at(end) && is_one_mapping(vpage_at(end - 1), vpage_at(end)))
        end++;
    *ret_vma = (struct maps_vma){ .start = page_address(first), .end = page_address(end),
                                  .is_private_anonymous = true, .is_read_write = true };
    return 0;
}

/* ---- libc's: staging is dropped without an event; who would spin for ever spins in here */

/* Pages that nobody shares go into swap, most of them; the word stays where it is. */
static int page_out(uintptr_t address, size_t bytes)
{
    world_steps_between();
    for (page_number page = page_of(address); page < page_of(address + bytes); page++) {
        struct vpage *v = vpage_at(page);
        if (!v)
            walk_failed("a page is paged out that is nobody's");
        if (!v->is_mapped || v->pte != PTE_PRESENT || !v->is_exclusive)
            continue;
        if (one_in(40))
            return -1; /* locked: what is behind is not looked at */
        if (one_in(10))
            continue; /* in some CPU's batch */
        tell("  page %ld is paged out with %lu", v - world.pages, v->word);
        v->pte = PTE_SWAPPED;
        v->has_returned = false;
    }
    world_steps_between(); /* before anybody looks what became of it */
    return 0;
}

int madvise(void *address, size_t bytes, int advice)
{
    if (advice == MADV_PAGEOUT && world.is_pageout)
        return page_out((uintptr_t)address, bytes);
    uintptr_t at = (uintptr_t)address - (uintptr_t)staging;
    if (at >= sizeof staging || bytes != PAGE_BYTES || advice != MADV_DONTNEED)
        walk_failed("madvise of something else than a staging slot");
    kernel_free_staged((uint32_t)bytes_to_pages(at));
    return 0;
}

int sched_yield(void)
{
    if (++world.nr_yields > 1000)
        walk_failed("the agent spins");
    return 0;
}
