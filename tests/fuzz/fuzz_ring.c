/* fuzz_ring - a ring whose other side may be honest or write anything anywhere at any moment. Method:
 * both sides of one ring of eight entries, in memory of its exact size, driven in any order from any
 * position; a plain queue beside it while nobody has lied. After the first lie the queue is given up,
 * and what is left is what must hold whatever the other side does: no entry is taken or put beyond the
 * capacity, a position that cannot be, or a tail that goes back, is -EPROTO when it is looked at, our own position moves by the
 * entries we handled. Doorbells: who announced that he sleeps is woken, and his eventfd is empty
 * afterwards.
 *
 *   input: u32 first position, then one byte an operation and its arguments */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fuzz.h"
#include "wire/ring.h"

#define CAPACITY 8u
#define ENTRY_BYTES 12u

struct queue {
    uint32_t values[CAPACITY];
    uint32_t nr_put, nr_taken;
};

struct world {
    struct ring_shared *shared;
    unsigned char *entries;
    struct ring producer, consumer;
    struct queue queue;
    bool has_lied;
    struct doorbell bell;
};

static int bell_fd = -1;

static void fill(unsigned char *entry, uint32_t value)
{
    memset(entry, 0x5a, ENTRY_BYTES);
    memcpy(entry, &value, sizeof value);
    memcpy(entry + 8, &value, sizeof value);
}

static void world_begin(struct world *w, uint32_t position)
{
    *w = (struct world){ .has_lied = false };
    w->shared = aligned_alloc(RING_LINE, sizeof *w->shared);
    w->entries = malloc(CAPACITY * ENTRY_BYTES);
    CHECK(w->shared && w->entries);
    memset(w->entries, 0, CAPACITY * ENTRY_BYTES);
    atomic_store(&w->shared->head, position);
    atomic_store(&w->shared->tail, position);
    ring_init(&w->producer, w->shared, w->entries, CAPACITY, ENTRY_BYTES);
    ring_init(&w->consumer, w->shared, w->entries, CAPACITY, ENTRY_BYTES);
    w->producer.position = w->producer.other = position; /* as after so many entries */
    w->consumer.position = w->consumer.other = position;
}

static uint32_t in_queue(const struct queue *q)
{
    return q->nr_put - q->nr_taken;
}

/* ---- the producer */

static bool is_tail_possible(const struct world *w)
{
    return w->producer.position - atomic_load(&w->shared->tail) <= w->producer.position - w->producer.other;
}

static void put(struct world *w, uint32_t value)
{
    unsigned char entry[ENTRY_BYTES], *place;
    uint32_t before = w->producer.position;
    bool looks = before - w->producer.other >= CAPACITY;
    place = w->entries + (size_t)(before % CAPACITY) * ENTRY_BYTES;
    fill(entry, value);
    int r = ring_put(&w->producer, entry);
    CHECK(r == 0 || r == -ENOSPC || r == -EPROTO);
    CHECK((r == -EPROTO) == (looks && !is_tail_possible(w)));
    CHECK(w->producer.position - before == (r == 0));
    CHECK(w->producer.position - w->producer.other <= CAPACITY);
    if (r == 0) {
        CHECK(memcmp(place, entry, ENTRY_BYTES) == 0);
        CHECK(atomic_load(&w->shared->head) == w->producer.position);
    }
    if (w->has_lied)
        return;
    CHECK((r == -ENOSPC) == (in_queue(&w->queue) == CAPACITY));
    if (r == 0)
        w->queue.values[w->queue.nr_put++ % CAPACITY] = value;
}

static void look_for_room(struct world *w)
{
    int64_t room = ring_room(&w->producer);
    CHECK((room == -EPROTO) == !is_tail_possible(w));
    CHECK(room == -EPROTO || (room >= 0 && room <= CAPACITY));
    if (!w->has_lied)
        CHECK(room == (int64_t)(CAPACITY - in_queue(&w->queue)));
}

/* ---- the consumer */

static bool is_head_possible(const struct world *w)
{
    return atomic_load(&w->shared->head) - w->consumer.position <= CAPACITY;
}

static void take(struct world *w)
{
    unsigned char entry[ENTRY_BYTES], should_be[ENTRY_BYTES];
    uint32_t before = w->consumer.position;
    bool looks = w->consumer.other == before;
    memcpy(should_be, w->entries + (size_t)(before % CAPACITY) * ENTRY_BYTES, ENTRY_BYTES);
    int r = ring_take(&w->consumer, entry);
    CHECK(r == 0 || r == 1 || r == -EPROTO);
    CHECK((r == -EPROTO) == (looks && !is_head_possible(w)));
    CHECK(w->consumer.position - before == (r == 1));
    CHECK(w->consumer.other - w->consumer.position <= CAPACITY);
    if (r == 1) {
        CHECK(memcmp(entry, should_be, ENTRY_BYTES) == 0);
        CHECK(atomic_load(&w->shared->tail) == w->consumer.position);
    }
    if (w->has_lied)
        return;
    CHECK((r == 0) == (in_queue(&w->queue) == 0));
    if (r == 1) {
        fill(should_be, w->queue.values[w->queue.nr_taken++ % CAPACITY]);
        CHECK(memcmp(entry, should_be, ENTRY_BYTES) == 0);
    }
}

static void look_whether_empty(struct world *w)
{
    bool has_believed = w->consumer.other != w->consumer.position;
    bool is_empty = ring_is_empty(&w->consumer);
    CHECK(!is_empty || !has_believed);
    CHECK(has_believed || is_head_possible(w) || is_empty);
    if (!w->has_lied)
        CHECK(is_empty == (in_queue(&w->queue) == 0));
}

/* ---- doorbells */

static bool is_rung(void)
{
    struct pollfd p = { .fd = bell_fd, .events = POLLIN };
    return poll(&p, 1, 0) == 1;
}

static void doorbells(struct world *w, uint8_t op)
{
    switch (op % 4) {
    case 0:
        doorbell_will_sleep(&w->bell);
        doorbell_ring(&w->bell, bell_fd);
        CHECK(is_rung());
        break;
    case 1:
        doorbell_ring(&w->bell, bell_fd);
        break;
    case 2:
        doorbell_awake(&w->bell, bell_fd);
        CHECK(!is_rung());
        doorbell_ring(&w->bell, bell_fd); /* nobody sleeps: costs no system call */
        CHECK(!is_rung());
        break;
    default:
        doorbell_awake_unrung(&w->bell);
        doorbell_ring(&w->bell, bell_fd);
        break;
    }
}

static void lie(struct world *w, struct input *in, uint8_t op)
{
    w->has_lied = true;
    switch (op % 5) {
    case 0:  atomic_store(&w->shared->head, input_u32(in)); break;
    case 1:  atomic_store(&w->shared->tail, input_u32(in)); break;
    case 2:  atomic_store(&w->shared->head, w->consumer.position + input_u8(in) % 20); break;
    case 3:  atomic_store(&w->shared->tail, w->producer.position - input_u8(in) % 20); break;
    default: w->entries[input_u8(in) % (CAPACITY * ENTRY_BYTES)] = input_u8(in); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (bell_fd < 0)
        bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct input in = { data, data + size };
    struct world w;
    world_begin(&w, input_u32(&in));
    while (!input_is_empty(&in)) {
        uint8_t op = input_u8(&in);
        switch (op % 8) {
        case 0:
        case 1:  put(&w, op * 0x01010101u); break;
        case 2:
        case 3:  take(&w); break;
        case 4:  look_for_room(&w); break;
        case 5:  look_whether_empty(&w); break;
        case 6:  doorbells(&w, op / 8); break;
        default: lie(&w, &in, op / 8); break;
        }
    }
    doorbell_awake(&w.bell, bell_fd);
    CHECK(!is_rung());
    free(w.shared);
    free(w.entries);
    return 0;
}
