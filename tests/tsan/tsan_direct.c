/* A thread that restores its own page, and some beside it, never installs old bytes, nor zeros over a page
 * that is out. Method: the real direct.c, restore.c and passes.c, with the real table, staging and store
 * reader, over a kernel of plain data: one lock a page stands for what the kernel does in one step, and an
 * event is raised, read and zapped in its order. Owners write and discard their pages and know what must be
 * in them; bystanders touch all of them; one thread is the agent and evicts, stores, drains, reads events
 * and learns what returned. At each step that a thread can be preempted in, it is, at random. What is found
 * is a wrong version (mutants of the protocol) or a race that ThreadSanitizer reports (mutants of its memory
 * orders). */
#include "tsan.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"

static void preempt(void);

#undef atomic_fetch_or
#define atomic_fetch_or(word, value) (preempt(), __atomic_fetch_or(word, value, __ATOMIC_SEQ_CST))
#include "direct/direct.c"

/* restore.c's kernel is ours. */
#define uffd_copy_quietly model_copy
#define uffd_copy_run_quietly model_copy_run
#define uffd_zeropage_quietly model_zeropage
#define uffd_move model_move
#include "direct/passes.c"
#include "direct/restore.c"
#include "direct/whose.c"
#include "codec/codec.h"
#include "page/staging.h"

#define PAGES_NR 4u
#define FIRST_PAGE (UINT64_C(100) * LEAF_PAGES)
#define OWNERS_NR 2u
#define BYSTANDERS_NR 2u
#define SLOTS_NR 2u
#define PLACES_NR 6u
#define STEPS_NR 8000u
/* A mutant ends the run where it is found. The rarest is found every 2,000 steps: with 8,000 one run in fifty
 * would miss it. */
#define MUTANT_STEPS_NR 16000u
#define HOLE UINT64_C(0x123000) /* an address of no page */

static __thread uint32_t random_state;

static void preempt(void)
{
    uint32_t r = next_random(&random_state), yields = r % 64 == 0 ? 80 : r % 4 == 0 ? r / 64 % 12 : 0;
    for (; yields; yields--)
        sched_yield();
}

/* ---- the kernel: pages of a target and of staging, and events */

struct cell {
    pthread_mutex_t lock;
    bool is_present, is_changing;
    uint64_t version; /* what the page holds; 0: zeros */
};

static struct cell target[PAGES_NR], slots[SLOTS_NR], hole;

struct event {
    _Atomic bool is_raised; /* and not yet read */
    _Atomic bool is_zapped; /* rule 4: until then a page that was there may not leave */
};
static struct event events[PAGES_NR];

static int install(struct cell *c, uint64_t version)
{
    preempt();
    pthread_mutex_lock(&c->lock);
    int r = c->is_changing ? -EAGAIN : c->is_present ? -EEXIST : 0;
    if (r == 0) {
        c->is_present = true;
        c->version = version;
    }
    pthread_mutex_unlock(&c->lock);
    preempt();
    return r;
}

static struct cell *cell_at(uint64_t address)
{
    return &target[page_of(address) - FIRST_PAGE];
}

int model_copy(int fd, uint64_t to, const void *page)
{
    (void)fd;
    uint64_t version;
    memcpy(&version, page, sizeof version);
    return install(cell_at(to), version);
}

/* One page after the other, no further than the first that does not go, and at times not that far: what came
 * before is there. */
int model_copy_run(int fd, uint64_t to, const void *pages, uint64_t bytes, uint64_t *ret_copied)
{
    for (*ret_copied = 0; *ret_copied < bytes; *ret_copied += PAGE_BYTES) {
        if (*ret_copied && next_random(&random_state) % 4 == 0)
            return -EAGAIN;
        int r = model_copy(fd, to + *ret_copied, (const unsigned char *)pages + *ret_copied);
        if (r)
            return *ret_copied ? -EAGAIN : r;
    }
    return 0;
}

int model_zeropage(int fd, uint64_t to)
{
    (void)fd;
    return install(cell_at(to), 0);
}

/* guard: the one of the two that is the target's; its lock first. */
static int move(struct cell *to, struct cell *from, struct cell *guard)
{
    preempt();
    pthread_mutex_lock(&guard->lock);
    pthread_mutex_lock(guard == to ? &from->lock : &to->lock);
    int r = guard->is_changing ? -EAGAIN : to->is_present ? -EEXIST : !from->is_present ? -ENOENT : 0;
    if (r == 0) {
        to->is_present = true;
        to->version = from->version;
        from->is_present = false;
    }
    pthread_mutex_unlock(guard == to ? &from->lock : &to->lock);
    pthread_mutex_unlock(&guard->lock);
    preempt();
    return r;
}

/* At times the table of what is watched does not know: then a MOVE from a hole is asked. */
static bool is_registered(const struct interval *watched)
{
    (void)watched;
    return next_random(&random_state) % 2;
}

int model_move(int fd, uint64_t to, uint64_t from, uint64_t bytes, uint64_t *ret_moved)
{
    (void)fd, (void)bytes;
    *ret_moved = 0;
    struct cell *c = cell_at(to);
    if (from == HOLE)
        return move(c, &hole, c);
    return move(c, &slots[page_of(from)], c); /* staging_memory is 0 here: the address is the slot */
}

/* madvise(MADV_DONTNEED), in the kernel's order. */
static void discard(unsigned i)
{
    pthread_mutex_lock(&target[i].lock);
    target[i].is_changing = true;
    pthread_mutex_unlock(&target[i].lock);
    atomic_store(&events[i].is_zapped, false);
    atomic_store(&events[i].is_raised, true);
    while (atomic_load(&events[i].is_raised))
        sched_yield();
    pthread_mutex_lock(&target[i].lock);
    target[i].is_changing = false;
    pthread_mutex_unlock(&target[i].lock);
    preempt();
    pthread_mutex_lock(&target[i].lock);
    target[i].is_present = false;
    target[i].version = 0;
    pthread_mutex_unlock(&target[i].lock);
    atomic_store(&events[i].is_zapped, true);
}

/* ---- application threads */

static struct direct direct;
static struct direct_leaf direct_leaves[64];
static _Atomic uint64_t dirty[8];
static struct direct_scratch scratch[DIRECT_SLOTS_NR];
static struct interval watched_items[] = { { FIRST_PAGE, FIRST_PAGE + PAGES_NR, 0 } };
static const struct intervals watched = { .items = watched_items, .nr = 1, .nr_max = 1 }, unsettled;
static _Atomic unsigned nr_owners_left = OWNERS_NR;

/* A pass that comes to this page by now, upwards or downwards, with a run of any length behind it. */
static void make_pass(struct passes *p, page_number page)
{
    uint32_t r = next_random(&random_state);
    struct pass *s = &p->all[0];
    *s = (struct pass){ .nr_places = (uint8_t)(1 + r % 2), .nr_ahead = r / 2 % 2 };
    s->direction = r / 4 % 2 ? 1 : -1;
    s->first = s->direction > 0 ? page - s->nr_places : page + 1;
    s->end = s->first + s->nr_places;
}

/* Reads or, with a version, writes; faults until the page is there. Both in one step, as an access is. */
static uint64_t access_page(unsigned i, uint64_t version, unsigned hint)
{
    for (;;) {
        pthread_mutex_lock(&target[i].lock);
        bool is_present = target[i].is_present;
        if (is_present && version)
            target[i].version = version;
        uint64_t found = target[i].version;
        pthread_mutex_unlock(&target[i].lock);
        if (is_present)
            return found;
        preempt(); /* the signal is on its way */
        struct passes passes = { .turn = 0 };
        struct direct_touch touch = { .page = FIRST_PAGE + i, .since_ns = now_ns(), .hint = hint % 2 };
        if (next_random(&random_state) % 4) {
            make_pass(&passes, touch.page);
            touch.passes = &passes;
        }
        enum direct_result r = direct_restore(&direct, &touch);
        CHECK(r == DIRECT_DONE || r == DIRECT_WAIT);
        if (r == DIRECT_WAIT)
            sched_yield();
    }
}

static void *be_owner(void *argument)
{
    unsigned own = (unsigned)(uintptr_t)argument;
    uint64_t expected[PAGES_NR] = { 0 }, last[PAGES_NR] = { 0 };
    random_state = own + 1;
    unsigned nr_steps = getenv("PP_MUTANT") ? MUTANT_STEPS_NR : STEPS_NR;
    for (unsigned step = 0; step < nr_steps; step++) {
        uint32_t r = next_random(&random_state);
        unsigned i = r % (PAGES_NR / OWNERS_NR) * OWNERS_NR + own;
        if (r / 1024 % 4 == 0) { /* mostly of what is out */
            discard(i);
            expected[i] = 0;
        }
        uint64_t found = access_page(i, 0, own);
        if (found != expected[i])
            printf("page %u holds %llu, should hold %llu\n", i, (unsigned long long)found,
                   (unsigned long long)expected[i]);
        CHECK(found == expected[i]);
        if (r / 64 % 2) {
            expected[i] = ++last[i] * PAGES_NR + i; /* no two pages ever hold the same */
            access_page(i, expected[i], own);
        }
        for (r = r / 4096 % 16; r; r--) /* time for it to leave */
            sched_yield();
    }
    atomic_fetch_sub(&nr_owners_left, 1);
    return NULL;
}

static void *be_bystander(void *argument)
{
    unsigned number = OWNERS_NR + (unsigned)(uintptr_t)argument;
    random_state = number + 1;
    while (atomic_load(&nr_owners_left)) {
        unsigned i = next_random(&random_state) % PAGES_NR;
        uint64_t found = access_page(i, 0, number);
        CHECK(!found || found % PAGES_NR == i);
        sched_yield();
    }
    return NULL;
}

/* ---- the agent */

static unsigned char table_memory[64 * (sizeof(struct page_leaf) + 2 * sizeof(uint32_t))] __attribute__((aligned(64)));
static struct page_table table;
static struct staging staging;
static struct staging_slot staging_slots[SLOTS_NR];
static struct store_map stores[PAGE_STORES_NR];
static unsigned char store[PLACES_NR * STORE_UNIT_BYTES];
static bool is_place_used[PLACES_NR], is_barred[PAGES_NR];
static uint32_t waiting_slots[SLOTS_NR];
static unsigned nr_waiting_slots;

static struct page *entry(unsigned i)
{
    return leaf_page(page_table_find(&table, FIRST_PAGE + i), FIRST_PAGE + i);
}

/* The porter frees at once here. */
static void free_slot(uint32_t slot)
{
    pthread_mutex_lock(&slots[slot].lock);
    slots[slot].is_present = false;
    pthread_mutex_unlock(&slots[slot].lock);
    CHECK(staging_freed(&staging, slot));
}

static void give_up(unsigned i, struct page_release release)
{
    switch (release.kind) {
    case RELEASE_NOTHING:
        return;
    case RELEASE_PLACE:
        is_place_used[locator_offset(release.place) / STORE_UNIT_BYTES] = false;
        return;
    case RELEASE_SLOT:
        staging_let_go(&staging, release.slot);
        if (direct_is_touched(&direct, FIRST_PAGE + i))
            waiting_slots[nr_waiting_slots++] = release.slot;
        else
            free_slot(release.slot);
        return;
    }
}

static void free_waiting_slots(void)
{
    unsigned nr_left = 0;
    for (unsigned i = 0; i < nr_waiting_slots; i++) {
        uint32_t slot = waiting_slots[i];
        if (direct_is_touched(&direct, staging_slots[slot].page))
            waiting_slots[nr_left++] = slot;
        else
            free_slot(slot);
    }
    nr_waiting_slots = nr_left;
}

static bool may_leave(unsigned i)
{
    if (is_barred[i] && !atomic_load(&events[i].is_zapped))
        return false;
    is_barred[i] = false;
    pthread_mutex_lock(&target[i].lock);
    bool is_present = target[i].is_present;
    pthread_mutex_unlock(&target[i].lock);
    return is_present && page_may_leave(entry(i));
}

static void evict(unsigned i, unsigned nr)
{
    uint32_t slot;
    nr = nr < PAGES_NR - i ? nr : PAGES_NR - i;
    for (unsigned j = 0; j < nr; j++)
        if (!may_leave(i + j))
            nr = j;
    nr = nr ? staging_run(&staging, nr, &slot) : 0;
    nr = nr ? direct_begin_leaving(&direct, 0, FIRST_PAGE + i, nr) : 0;
    for (unsigned j = 0; j < nr; j++) {
        struct cell *c = &target[i + j];
        /* One at a time, and the first that does not go is the last. */
        pthread_mutex_lock(&c->lock);
        bool must_stop = c->is_changing;
        pthread_mutex_unlock(&c->lock);
        if (must_stop || move(&slots[slot + j], c, c)) {
            direct_end_leaving(&direct, 0, FIRST_PAGE + i + j, nr - j);
            return;
        }
        preempt();
        page_on_moved(entry(i + j), slot + j);
        (void)staging_take(&staging, slot + j, FIRST_PAGE + i + j);
        direct_end_leaving(&direct, 0, FIRST_PAGE + i + j, 1);
    }
}

/* The daemon's memory: not ours to be ordered with. */
__attribute__((no_sanitize("thread"))) static void write_place(unsigned place, uint64_t version)
{
    for (unsigned i = 0; i < sizeof version; i++)
        ((volatile unsigned char *)store)[place * STORE_UNIT_BYTES + i] = (unsigned char)(version >> 8 * i);
}

/* The slot's page goes to the store: as porter, daemon and pager_on_stored() do. */
static void store_slot(uint32_t slot)
{
    unsigned place = 0;
    while (place < PLACES_NR && is_place_used[place])
        place++;
    if (staging_slots[slot].state != SLOT_HOLDS || place == PLACES_NR)
        return;
    pthread_mutex_lock(&slots[slot].lock);
    uint64_t version = slots[slot].is_present ? slots[slot].version : 0; /* a toucher has emptied it */
    pthread_mutex_unlock(&slots[slot].lock);
    unsigned i = (unsigned)(staging_slots[slot].page - FIRST_PAGE);
    uint64_t page[PAGE_BYTES / sizeof(uint64_t)];
    for (unsigned j = 0; j < PAGE_BYTES / sizeof *page; j++)
        page[j] = version;
    write_place(place, version);
    is_place_used[place] = true;
    __atomic_store_n(&page_table_find(&table, FIRST_PAGE + i)->checksums[i], page_checksum(page),
                     __ATOMIC_RELAXED);
    CHECK(page_on_stored(entry(i), slot, 0, locator_make(LOCATOR_FILL64, place * STORE_UNIT_BYTES, 8)));
    give_up(i, (struct page_release){ .kind = RELEASE_SLOT, .slot = slot });
}

static void learn_returned(void)
{
    uint32_t cursor = 0;
    while (direct_next_dirty(&direct, &cursor) != UINT32_MAX)
        for (unsigned i = 0; i < PAGES_NR; i++) {
            if (!direct_is_returned(&direct, 0, FIRST_PAGE + i))
                continue;
            struct page_release release = page_on_installed(entry(i));
            preempt();
            direct_forget_returned(&direct, 0, FIRST_PAGE + i);
            give_up(i, release);
        }
}

/* The agent's own restore: a drain, a pin. */
static void drain(unsigned i)
{
    struct page p = page_read(entry(i));
    int r = -ENOENT;
    if (direct_is_returned(&direct, 0, FIRST_PAGE + i)) {
        return;
    } else if (p.state == PAGE_STAGED) {
        r = move(&target[i], &slots[p.where], &target[i]);
        if (r == -ENOENT)
            r = 0; /* a toucher was quicker */
    } else if (p.state == PAGE_STORED) {
        uint64_t version[PAGE_BYTES / 8];
        static struct store_scratch own;
        uint32_t checksum = page_table_find(&table, FIRST_PAGE + i)->checksums[i];
        CHECK(store_read(&stores[0], p.where, checksum, &own, version) == 0);
        r = install(&target[i], version[0]);
    }
    if (r && r != -EEXIST)
        return;
    give_up(i, page_on_installed(entry(i)));
}

static void read_events(void)
{
    bool is_any = false;
    for (unsigned i = 0; i < PAGES_NR; i++)
        is_any |= atomic_load(&events[i].is_raised);
    if (!is_any)
        return;
    direct_close_gate(&direct);
    learn_returned();
    for (unsigned i = 0; i < PAGES_NR; i++) {
        if (!atomic_load(&events[i].is_raised))
            continue;
        pthread_mutex_lock(&target[i].lock);
        is_barred[i] = target[i].is_present;
        pthread_mutex_unlock(&target[i].lock);
        atomic_store(&events[i].is_raised, false);
        for (int j = 0; j < 20; j++) /* who raised it may go on from here */
            sched_yield();
        give_up(i, page_on_discard(entry(i), false));
    }
    direct_open_gate(&direct);
}

static void *be_agent(void *argument)
{
    (void)argument;
    random_state = 99;
    while (atomic_load(&nr_owners_left)) {
        uint32_t r = next_random(&random_state);
        read_events();
        if (r % 16 < 6)
            evict(r / 16 % PAGES_NR, 1 + r / 128 % 3);
        else if (r % 16 < 11)
            store_slot(r / 16 % SLOTS_NR);
        else if (r % 16 < 15)
            drain(r / 16 % PAGES_NR);
        else
            learn_returned();
        free_waiting_slots();
        if (r / 1024 % 16 == 0)
            sched_yield();
    }
    return NULL;
}

int main(void)
{
    for (unsigned i = 0; i < PAGES_NR; i++)
        pthread_mutex_init(&target[i].lock, NULL);
    for (unsigned i = 0; i < SLOTS_NR; i++)
        pthread_mutex_init(&slots[i].lock, NULL);
    page_table_init(&table, table_memory, sizeof table_memory);
    CHECK(page_table_grow(&table, FIRST_PAGE));
    staging_init(&staging, staging_slots, SLOTS_NR);
    stores[0] = (struct store_map){ .bytes = store, .nr_bytes = sizeof store };
    direct.table = &table;
    direct.stores = stores;
    direct.leaves = direct_leaves;
    direct.dirty = dirty;
    direct.scratch = scratch;

    pthread_mutex_init(&hole.lock, NULL);
    direct.watched = &watched;
    direct.is_registered = is_registered;
    direct.unsettled = &unsettled;
    direct.hole = HOLE;
    direct.may_go_ahead = true;

    pthread_t agent = begin(be_agent, NULL), owners[OWNERS_NR], bystanders[BYSTANDERS_NR];
    for (unsigned i = 0; i < OWNERS_NR; i++)
        owners[i] = begin(be_owner, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < BYSTANDERS_NR; i++)
        bystanders[i] = begin(be_bystander, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < OWNERS_NR; i++)
        join(owners[i]);
    for (unsigned i = 0; i < BYSTANDERS_NR; i++)
        join(bystanders[i]);
    join(agent);
    return 0;
}
