/* A session's memory is given back only when the porter has let go of it, and the porter sees a
 * new session complete. Method: the real porter_main() of porter.c, included so that the mutant
 * can take the release of its acknowledgement away; an agent that does with a session what
 * session.c does: binds the rings, orders copies, abandons it at any moment, waits for the
 * acknowledgement, and takes the memory away. Sessions without an order are among them: nothing
 * but the acknowledgement orders those. */
#include "tsan.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "base/mutant.h"

#undef atomic_store_explicit
#define atomic_store_explicit(word, value, order)                                                  \
    do {                                                                                           \
        if ((void *)(word) == (void *)&porter.abandoned_ack &&                                     \
            mutant_is(MUTANT_SESSION_RELAXED_ACK))                                                 \
            __atomic_store_n(word, value, __ATOMIC_RELAXED);                                       \
        else                                                                                       \
            __atomic_store_n(word, value, order);                                                  \
    } while (0)
struct porter;
#include "client/client.h"
static struct porter porter;
static struct ahead ahead; /* nothing is wanted */
#include "client/porter.c"

#define SLOTS_NR 32u
#define SESSIONS_NR 400u

static struct pp_pager pp;
static struct agent agent;
static struct porter_note notes[SLOTS_NR];
static struct ring_shared shared[2];
static struct porter_order orders[PORTER_ORDERS_NR];
static uint32_t freed[PORTER_ORDERS_NR];
static struct ring to_porter, from_porter;
static unsigned nr_freed, nr_to_free;

static void *map(size_t bytes, int flags)
{
    void *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED);
    return m;
}

static void be_born(void)
{
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
    porter.raw_limit = SLOTS_NR;
}

/* As bind_rings() of session.c: written before the first order of the session. */
static void bind(uint32_t number, struct session_memory *memory, int daemon_bell, int porter_bell)
{
    struct porter_session *s = &porter.sessions[number & 1];
    *s = (struct porter_session){ .memory = memory, .daemon_bell = daemon_bell,
                                  .porter_bell = porter_bell };
    ring_init(&s->raw, &memory->raw, memory->raw_entries, RAW_SLOTS_MAX, sizeof(struct raw_entry));
    ring_init(&s->raw_free, &memory->raw_free, memory->raw_free_entries, RAW_SLOTS_MAX,
              sizeof(struct raw_free_entry));
    __atomic_store_n(&porter.session, number, __ATOMIC_RELEASE);
}

static void order(enum porter_op op, uint32_t slot, uint32_t session)
{
    struct porter_order o = { .op = op, .slot = slot, .generation = session, .session = session };
    CHECK(ring_put(&to_porter, &o) == 0);
    doorbell_ring(&porter.bell, porter.bell_fd);
}

/* Copies and frees of some slots, of which the porter may be anywhere when the session is
 * abandoned. */
static void use(uint32_t number, uint32_t *random)
{
    unsigned nr = 1 + next_random(random) % SLOTS_NR;
    for (uint32_t slot = 0; slot < nr; slot++)
        order(PORTER_COPY, slot, number);
    for (unsigned i = next_random(random) % 200; i; i--)
        sched_yield();
    for (uint32_t slot = 0; slot < nr; slot++)
        order(PORTER_FREE, slot, number);
    nr_to_free += nr;
}

static void take_freed(void)
{
    uint32_t slot;
    while (ring_take(&from_porter, &slot) == 1)
        nr_freed++;
}

static void abandon(uint32_t number, struct session_memory *memory)
{
    __atomic_store_n(&porter.abandoned, number, __ATOMIC_RELEASE);
    doorbell_ring(&porter.bell, porter.bell_fd);
    while (__atomic_load_n(&porter.abandoned_ack, __ATOMIC_ACQUIRE) != number)
        sched_yield();
    memset(memory, 0xa5, sizeof *memory); /* whoever still uses it is seen */
    CHECK(munmap(memory, SESSION_MEMORY_BYTES) == 0);
}

int main(void)
{
    be_born();
    pthread_t carrier = begin(porter_main, &porter);
    int daemon_bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int porter_bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    uint32_t random = 1;
    for (uint32_t number = 1; number <= SESSIONS_NR; number++) {
        struct session_memory *memory = map(SESSION_MEMORY_BYTES, MAP_SHARED);
        bind(number, memory, daemon_bell, porter_bell);
        if (number % 5 < 3)
            use(number, &random);
        if (number % 3 == 0)
            while (nr_freed < nr_to_free) /* the porter comes to rest in this session */
                take_freed();
        abandon(number, memory);
        if (number % 4 == 0)
            take_freed();
    }
    while (nr_freed < nr_to_free)
        take_freed();
    atomic_store(&porter.must_end, true);
    CHECK(eventfd_write(porter.bell_fd, 1) == 0);
    join(carrier);
    return 0;
}
