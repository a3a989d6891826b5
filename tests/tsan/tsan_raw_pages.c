/* A page's way through three threads: the agent fills a staging slot and orders its copy, the
 * porter copies it and notes its checksum, the compressor reads the copy and answers, the agent
 * compares the answer with the note and orders the slot to be freed; then slot and raw page are
 * used again. Method: the real porter_main, staging.c and rings; the pages are plain memory,
 * filled with their version where the agent really moves them in. Staging is small, so everything
 * is used again and again. */
#include "tsan.h"

#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "client/client.h"
#include "codec/codec.h"

#define SLOTS_NR 16u
#define RAW_NR 8u
#define PAGES_NR 4000u

static struct pp_pager pp;
static struct agent agent;
static struct porter porter;
static struct ahead ahead; /* nothing is wanted */
static struct porter_note notes[SLOTS_NR];
static struct staging staging;
static struct staging_slot slots[SLOTS_NR];
static struct ring_shared shared[2];
static struct porter_order orders[PORTER_ORDERS_NR];
static uint32_t freed[PORTER_ORDERS_NR];
static struct ring to_porter, from_porter;
static struct session_memory *memory;
static _Atomic bool is_over;

static void fill(unsigned char *page, uint64_t version)
{
    for (size_t i = 0; i < PAGE_BYTES; i += sizeof version)
        memcpy(page + i, &version, sizeof version);
}

/* As the daemon: reads the page, answers with its version as the place, gives the raw page back. */
static void *compress(void *argument)
{
    (void)argument;
    struct ring raw, raw_free, stored;
    ring_init(&raw, &memory->raw, memory->raw_entries, RAW_SLOTS_MAX, sizeof(struct raw_entry));
    ring_init(&raw_free, &memory->raw_free, memory->raw_free_entries, RAW_SLOTS_MAX,
              sizeof(struct raw_free_entry));
    ring_init(&stored, &memory->stored, memory->stored_entries, STAGING_SLOTS_MAX,
              sizeof(struct stored_entry));
    while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
        struct raw_entry e;
        if (ring_take(&raw, &e) != 1) {
            sched_yield();
            continue;
        }
        uint64_t version;
        unsigned char page[PAGE_BYTES];
        memcpy(page, session_raw_page(memory, e.raw_slot), PAGE_BYTES);
        memcpy(&version, page, sizeof version);
        CHECK(!memcmp(page, page + sizeof version, PAGE_BYTES - sizeof version));
        CHECK(ring_put(&raw_free, &(struct raw_free_entry){ .raw_slot = e.raw_slot }) == 0);
        doorbell_ring(&memory->porter_bell, porter.sessions[1].porter_bell);
        CHECK(ring_put(&stored, &(struct stored_entry){ .place = version,
                                                        .staging_slot = e.staging_slot,
                                                        .generation = e.generation }) == 0);
    }
    return NULL;
}

static void order(enum porter_op op, uint32_t slot, uint32_t generation)
{
    struct porter_order o = { .op = op, .slot = slot, .generation = generation, .session = 1 };
    CHECK(ring_put(&to_porter, &o) == 0);
    doorbell_ring(&porter.bell, porter.bell_fd);
}

static void evict_one(uint64_t version)
{
    uint32_t slot;
    if (!staging_run(&staging, 1, &slot)) {
        staging.next = (staging.next + 1) % SLOTS_NR;
        sched_yield();
        return;
    }
    uint32_t generation = staging_take(&staging, slot, version);
    fill(porter.staging_memory + pages_to_bytes(slot), version);
    order(PORTER_COPY, slot, generation);
}

static void take_answers(struct ring *stored)
{
    uint32_t slot;
    while (ring_take(&from_porter, &slot) == 1)
        CHECK(staging_freed(&staging, slot));
    struct stored_entry e;
    while (ring_take(stored, &e) == 1) {
        CHECK(staging_is_current(&staging, e.staging_slot, e.generation));
        CHECK(staging.slots[e.staging_slot].page == e.place);
        uint64_t note = atomic_load_explicit(&notes[e.staging_slot].word, memory_order_acquire);
        unsigned char page[PAGE_BYTES];
        fill(page, e.place);
        CHECK(note == ((uint64_t)e.generation << 32 | page_checksum(page)));
        staging_let_go(&staging, e.staging_slot);
        order(PORTER_FREE, e.staging_slot, 0);
    }
}

static void *map(size_t bytes, int flags)
{
    void *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED);
    return m;
}

static void be_born(void)
{
    memory = map(SESSION_MEMORY_BYTES, MAP_SHARED);
    staging_init(&staging, slots, SLOTS_NR);
    ring_init(&to_porter, &shared[0], orders, PORTER_ORDERS_NR, sizeof *orders);
    ring_init(&porter.orders, &shared[0], orders, PORTER_ORDERS_NR, sizeof *orders);
    ring_init(&from_porter, &shared[1], freed, PORTER_ORDERS_NR, sizeof *freed);
    ring_init(&porter.freed, &shared[1], freed, PORTER_ORDERS_NR, sizeof *freed);
    pp.agent = &agent;
    porter.pp = &pp;
    porter.ahead = &ahead;
    porter.notes = notes;
    porter.stats = &pp.porter_stats;
    porter.staging_memory = map(pages_to_bytes(SLOTS_NR), MAP_PRIVATE);
    porter.bell_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    agent.porter_bell_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    porter.raw_limit = RAW_NR;
    porter.session = 1;
    porter.sessions[1] = (struct porter_session){
        .memory = memory, .daemon_bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
        .porter_bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
    ring_init(&porter.sessions[1].raw, &memory->raw, memory->raw_entries, RAW_SLOTS_MAX,
              sizeof(struct raw_entry));
    ring_init(&porter.sessions[1].raw_free, &memory->raw_free, memory->raw_free_entries,
              RAW_SLOTS_MAX, sizeof(struct raw_free_entry));
}

int main(void)
{
    be_born();
    struct ring stored;
    ring_init(&stored, &memory->stored, memory->stored_entries, STAGING_SLOTS_MAX,
              sizeof(struct stored_entry));
    pthread_t compressor = begin(compress, NULL);
    pthread_t carrier = begin(porter_main, &porter);
    for (uint64_t version = 1; staging.generation < PAGES_NR; version++) {
        evict_one(version);
        take_answers(&stored);
    }
    while (staging.nr_used) {
        take_answers(&stored);
        sched_yield();
    }
    atomic_store(&is_over, true);
    atomic_store(&porter.must_end, true);
    CHECK(eventfd_write(porter.bell_fd, 1) == 0);
    join(carrier);
    join(compressor);
    return 0;
}
