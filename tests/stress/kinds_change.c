/* kinds_change.c - the application changes its mappings while pages leave: discards by other threads,
 * munmap, mremap, MAP_FIXED over parts, mprotect, mlock. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stress/field.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

static void *map_at(void *at, uint32_t nr, int how)
{
    return mmap(at, pages_to_bytes(nr), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | how, -1, 0);
}

/* A part of the block: *ret_first, and how many pages. */
static uint32_t any_part(struct worker *w, uint32_t *ret_first)
{
    uint32_t all = w->client->field->shape->block_pages;
    *ret_first = random_below(&w->random, all);
    return 1 + random_below(&w->random, all - *ret_first);
}

/* ---- discard */

/* Readers go on meanwhile: only another discard of the block is kept out. */
bool op_discard(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = field_lock_any(w, false);
    if (!b)
        return false;
    uint32_t before = atomic_load(&b->discards), first;
    if (before & 1 || !field_may_raise(f, b->range) ||
        !atomic_compare_exchange_strong(&b->discards, &before, before + 1)) {
        field_unlock(b);
        return false;
    }
    uint32_t nr = any_part(w, &first);
    if (madvise(block_page(b, first), pages_to_bytes(nr), MADV_DONTNEED))
        stress_complain(f->run, "MADV_DONTNEED failed: %m");
    for (uint32_t i = first; i < first + nr; i++)
        __atomic_store_n(field_version(f, b, i), 0, __ATOMIC_RELEASE);
    for (int k = 0; k < 3; k++)
        field_check(f, b, first + random_below(&w->random, nr), "after MADV_DONTNEED");
    atomic_store(&b->discards, before + 2);
    atomic_fetch_add(&f->run->shared[0], 1);
    field_unlock(b);
    return true;
}

/* Discarded and written at once: the zap of the one must not meet the eviction of the other. */
bool op_discard_and_write(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = field_lock_any(w, true);
    if (!b)
        return false;
    if (!field_may_raise(f, b->range)) {
        field_unlock(b);
        return false;
    }
    uint32_t first, nr = any_part(w, &first);
    bool is_locked_kind = w->random >> 40 & 1;
    if (madvise(block_page(b, first), pages_to_bytes(nr),
                is_locked_kind ? MADV_DONTNEED_LOCKED : MADV_DONTNEED))
        stress_complain(f->run, "MADV_DONTNEED failed: %m");
    for (uint32_t i = first; i < first + nr; i++)
        field_expect(f, b, i, 0);
    for (uint32_t i = first; i < first + (nr + 1) / 2; i++)
        field_write(f, b, i);
    for (uint32_t i = first; i < first + nr; i++)
        field_check(f, b, i, "discarded, then written");
    atomic_fetch_add(&f->run->shared[0], 1);
    field_unlock(b);
    return true;
}

bool op_free(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = field_lock_any(w, true);
    if (!b)
        return false;
    if (!field_may_raise(f, b->range)) {
        field_unlock(b);
        return false;
    }
    uint32_t first, nr = any_part(w, &first);
    if (madvise(block_page(b, first), pages_to_bytes(nr), MADV_FREE))
        stress_complain(f->run, "MADV_FREE failed: %m");
    for (uint32_t i = first; i < first + nr; i++)
        *field_version(f, b, i) |= VERSION_FREED;
    for (uint32_t i = first; i < first + nr; i++)
        field_check(f, b, i, "after MADV_FREE");
    for (uint32_t i = first; i < first + nr / 2; i++)
        field_write(f, b, i);
    atomic_fetch_add(&f->run->shared[1], 1);
    field_unlock(b);
    return true;
}

/* A writer of the address space beside it, for some hundred microseconds: who was woken from its event
 * waits for the lock, so there is time between the event and the zap. */
#define SCRATCH_BYTES ((size_t)32 << 20)
static unsigned char *scratch;
static _Atomic bool is_scratch_busy;

static void discard_prepare(struct client *c)
{
    (void)c;
    scratch = mmap(NULL, SCRATCH_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (scratch == MAP_FAILED)
        stress_broken("mmap");
    (void)madvise(scratch, SCRATCH_BYTES, MADV_NOHUGEPAGE);
    memset(scratch, 1, SCRATCH_BYTES);
}

/* Two threads that anybody interrupts, most easily just after their event has been read. */
static void discard_begin(struct worker *w)
{
    if (w->index < 2)
        (void)sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){ 0 });
}

static bool op_scratch(struct worker *w)
{
    (void)w;
    if (atomic_exchange(&is_scratch_busy, true))
        return false;
    if (mprotect(scratch, SCRATCH_BYTES, PROT_READ) ||
        mprotect(scratch, SCRATCH_BYTES, PROT_READ | PROT_WRITE))
        stress_broken("mprotect");
    atomic_store(&is_scratch_busy, false);
    return true;
}

static void discard_conclude(struct run *r, struct result *ret)
{
    (void)snprintf(ret->note, sizeof ret->note, "%lu DONTNEED, %lu FREE, %lu pages barred",
                   (unsigned long)r->shared[0], (unsigned long)r->shared[1],
                   (unsigned long)r->sums.barred);
}

static const struct field_shape shape_discard = {
    .nr_pages = 8192, .block_pages = 256, .nr_ranges = 4, .nr_shared = 256,
};

static const struct weighted discard_operations[] = {
    { op_read, "read", 45 },
    { op_write, "write", 30 },
    { op_shared, "shared page", 5 },
    { op_discard, "MADV_DONTNEED beside readers", 8 },
    { op_discard_and_write, "MADV_DONTNEED, then write", 8 },
    { op_free, "MADV_FREE", 4 },
    { op_scratch, "mprotect of something else", 4 },
    { 0 },
};

const struct kind kind_discard = {
    .name = "discard", .share = 3, .nr_clients = 1, .nr_threads = 8,
    .shape = &shape_discard, .operations = discard_operations,
    .prepare = discard_prepare, .worker_begin = discard_begin, .conclude = discard_conclude,
};

/* ---- remap */

/* A block to be changed, not so often that its pages never grow old enough to leave in between. */
static struct block *lock_to_change(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = field_lock_any(w, true);
    if (!b || field_may_raise(f, b->range))
        return b;
    field_unlock(b);
    return NULL;
}

/* With a hole for a moment, or without: what is there afterwards is new. */
bool op_unmap(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = lock_to_change(w);
    if (!b)
        return false;
    uint32_t first = 0, nr = f->shape->block_pages;
    if (w->random >> 41 & 1)
        nr = any_part(w, &first);
    int how = MAP_FIXED;
    if (w->random >> 42 & 1) {
        munmap(block_page(b, first), pages_to_bytes(nr));
        how = MAP_FIXED_NOREPLACE;
    }
    if (map_at(block_page(b, first), nr, how) != block_page(b, first))
        stress_broken("somebody else was faster where a block was");
    for (uint32_t i = first; i < first + nr; i++)
        field_expect(f, b, i, 0);
    for (uint32_t i = first; i < first + nr / 2; i++)
        field_write(f, b, i);
    for (uint32_t i = first; i < first + nr; i++)
        field_check(f, b, i, "mapped anew");
    b->is_split = nr < f->shape->block_pages;
    atomic_fetch_add(&f->run->shared[0], 1);
    field_unlock(b);
    return true;
}

static unsigned char *other_place(struct field *f, const struct block *b)
{
    size_t bytes = pages_to_bytes(f->shape->block_pages);
    return b->is_at_spare ? b->home - bytes : b->home + bytes;
}

/* mremap takes a block that is one mapping. The pager watches and arms mappings as wholes, but one that
 * grows in the very moment in which it is first watched is two for the kernel from then on, and mremap
 * says EFAULT. That is counted, and done again page by page. NULL: several mappings by our own doing. */
static struct block *lock_whole(struct worker *w)
{
    struct block *b = lock_to_change(w);
    if (!b || !b->is_split)
        return b;
    field_unlock(b);
    return NULL;
}

static void note_refusal(struct field *f, struct block *b, const char *what)
{
    if (errno != EFAULT)
        stress_complain(f->run, "%s failed: %m", what);
    b->is_split = true;
    atomic_fetch_add(&f->run->shared[3], 1);
}

/* Since Linux 6.17 an mremap that fails may have moved the first of several mappings. */
static void move_page_by_page(struct field *f, unsigned char *from, unsigned char *to)
{
    unsigned char is_resident;
    for (uint32_t i = 0; i < f->shape->block_pages; i++, from += PAGE_BYTES, to += PAGE_BYTES)
        if (mincore(from, PAGE_BYTES, &is_resident) == 0 &&
            mremap(from, PAGE_BYTES, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
            stress_complain(f->run, "mremap of one page failed: %m");
}

/* The old place is filled at once: a hole there might become somebody else's mapping. */
bool op_move(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = lock_whole(w);
    if (!b)
        return false;
    size_t bytes = pages_to_bytes(f->shape->block_pages);
    unsigned char *from = b->home, *to = other_place(f, b);
    if (mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to) {
        note_refusal(f, b, "mremap");
        move_page_by_page(f, from, to);
    }
    b->home = to;
    b->is_at_spare = !b->is_at_spare;
    if (map_at(from, f->shape->block_pages, MAP_FIXED_NOREPLACE) != from)
        stress_broken("somebody else was faster at the place a block has left");
    for (int k = 0; k < 3; k++)
        field_check(f, b, random_below(&w->random, f->shape->block_pages), "after mremap");
    atomic_fetch_add(&f->run->shared[1], 1);
    field_unlock(b);
    return true;
}

/* Shrinks in place and grows again: the tail is new. */
bool op_shrink_and_grow(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = lock_whole(w);
    if (!b)
        return false;
    uint32_t all = f->shape->block_pages, left = 1 + random_below(&w->random, all - 1);
    if (mremap(b->home, pages_to_bytes(all), pages_to_bytes(left), 0) != b->home)
        stress_complain(f->run, "mremap to less failed: %m");
    for (uint32_t i = left; i < all; i++)
        field_expect(f, b, i, 0);
    if (mremap(b->home, pages_to_bytes(left), pages_to_bytes(all), 0) != b->home) {
        note_refusal(f, b, "mremap to more");
        if (map_at(block_page(b, left), all - left, MAP_FIXED_NOREPLACE) != block_page(b, left))
            stress_broken("somebody else was faster at the tail of a block");
    }
    for (uint32_t i = 0; i < all; i += 1 + random_below(&w->random, 4))
        field_check(f, b, i, "after shrinking and growing");
    atomic_fetch_add(&f->run->shared[2], 1);
    field_unlock(b);
    return true;
}

static void remap_conclude(struct run *r, struct result *ret)
{
    (void)snprintf(ret->note, sizeof ret->note, "%lu mapped anew, %lu moved, %lu shrunk and grown, %lu EFAULT",
                   (unsigned long)r->shared[0], (unsigned long)r->shared[1],
                   (unsigned long)r->shared[2], (unsigned long)r->shared[3]);
}

static const struct field_shape shape_remap = {
    .nr_pages = 16384, .block_pages = 32, .nr_ranges = 4, .nr_shared = 256, .has_spare_slots = true,
};

static const struct weighted remap_operations[] = {
    { op_read, "read", 500 },
    { op_write, "write", 300 },
    { op_shared, "shared page", 50 },
    { op_unmap, "mmap over", 15 },
    { op_move, "mremap", 30 },
    { op_shrink_and_grow, "mremap to less and more", 10 },
    { 0 },
};

const struct kind kind_remap = {
    .name = "remap", .share = 2, .nr_clients = 1, .nr_threads = 8,
    .shape = &shape_remap, .operations = remap_operations, .conclude = remap_conclude,
};

/* ---- protect */

/* Where reading stays allowed, other threads read, protect and lock meanwhile. */
bool op_protect(struct worker *w)
{
    struct field *f = w->client->field;
    static const int protections[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE | PROT_EXEC };
    int protection = protections[random_below(&w->random, 3)];
    struct block *b = field_lock_any(w, protection == PROT_NONE);
    if (!b)
        return false;
    uint32_t first, nr = any_part(w, &first);
    if (mprotect(block_page(b, first), pages_to_bytes(nr), protection))
        stress_complain(f->run, "mprotect failed: %m");
    if (protection != PROT_NONE)
        for (int k = 0; k < 4; k++)
            field_check(f, b, first + random_below(&w->random, nr), "while protected");
    if (w->random >> 44 & 1)
        test_nap_us(1000 + random_below(&w->random, 3000)); /* time to leave, or to come back */
    if (protection == PROT_READ)
        field_check(f, b, first + random_below(&w->random, nr), "while still protected");
    if (mprotect(block_page(b, first), pages_to_bytes(nr), PROT_READ | PROT_WRITE))
        stress_complain(f->run, "mprotect failed: %m");
    for (int k = 0; k < 4; k++)
        field_check(f, b, first + random_below(&w->random, nr), "after it was protected");
    field_unlock(b);
    atomic_fetch_add(&f->run->shared[0], 1);
    return true;
}

/* Directly: ASan makes the functions do nothing. */
bool op_lock(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = field_lock_any(w, false);
    if (!b)
        return false;
    uint32_t first, nr = any_part(w, &first);
    unsigned on_fault = (unsigned)(w->random >> 45 & 1); /* MLOCK_ONFAULT */
    if (syscall(SYS_mlock2, block_page(b, first), pages_to_bytes(nr), on_fault) == 0) {
        atomic_fetch_add(&f->run->shared[1], 1);
        field_check(f, b, first + random_below(&w->random, nr), "locked");
        if (w->random >> 46 & 1)
            test_nap_us(random_below(&w->random, 3000));
        field_check(f, b, first + random_below(&w->random, nr), "still locked");
        if (syscall(SYS_munlock, block_page(b, first), pages_to_bytes(nr)))
            stress_complain(f->run, "munlock failed: %m");
    } else if (errno != EPERM && errno != ENOMEM && errno != EAGAIN) {
        stress_complain(f->run, "mlock failed: %m");
    }
    field_unlock(b);
    return true;
}

/* What eight threads write to without any lock of ours. */
bool op_lock_shared(struct worker *w)
{
    struct field *f = w->client->field;
    uint32_t first = random_below(&w->random, f->shape->nr_shared);
    uint32_t nr = 1 + random_below(&w->random, f->shape->nr_shared - first);
    unsigned char *at = f->shared + pages_to_bytes(first);
    if (syscall(SYS_mlock2, at, pages_to_bytes(nr), (unsigned)(w->random >> 45 & 1)))
        return false;
    atomic_fetch_add(&f->run->shared[1], 1);
    if (w->random >> 46 & 1)
        test_nap_us(random_below(&w->random, 3000));
    if (syscall(SYS_munlock, at, pages_to_bytes(nr)))
        stress_complain(f->run, "munlock failed: %m");
    return true;
}

static void protect_conclude(struct run *r, struct result *ret)
{
    (void)snprintf(ret->note, sizeof ret->note, "%lu times protected, %lu locked",
                   (unsigned long)r->shared[0], (unsigned long)r->shared[1]);
}

static const struct field_shape shape_protect = {
    .nr_pages = 32768, .block_pages = 16, .nr_ranges = 8, .nr_shared = 256,
};

static const struct weighted protect_operations[] = {
    { op_read, "read", 500 },
    { op_write, "write", 300 },
    { op_shared, "shared page", 50 },
    { op_protect, "mprotect", 20 },
    { op_lock, "mlock", 20 },
    { op_lock_shared, "mlock of shared pages", 3 },
    { 0 },
};

const struct kind kind_protect = {
    .name = "protect", .share = 2, .nr_clients = 1, .nr_threads = 8,
    .shape = &shape_protect, .operations = protect_operations, .conclude = protect_conclude,
};
