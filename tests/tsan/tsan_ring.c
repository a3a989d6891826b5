/* What was written before an entry is put can be read after it is taken, and an entry's place is
 * written again only after it was read. Method: a producer and a consumer over a ring of 8,
 * entries that name plain memory; first memory that is used once, so that nothing but the ring
 * orders anything, then memory that comes back through a second ring. */
#include "tsan.h"

#include <sched.h>

#include "wire/ring.h"

#define CAPACITY 8u
#define ONCE_NR 20000u
#define AGAIN_NR 20000u
#define SLOTS_NR 6u

struct payload {
    uint64_t words[4];
};

struct entry {
    uint32_t payload, number;
    uint64_t reserved; /* more than one word, so that a torn one would be seen */
};

static struct ring_shared shared[2];
static struct entry entries[CAPACITY];
static uint32_t free_entries[CAPACITY];
static struct payload once[ONCE_NR], again[SLOTS_NR];

static void write_payload(struct payload *p, uint32_t number)
{
    for (unsigned i = 0; i < 4; i++)
        p->words[i] = (uint64_t)number * 4 + i;
}

static void check_payload(const struct payload *p, uint32_t number)
{
    for (unsigned i = 0; i < 4; i++)
        CHECK(p->words[i] == (uint64_t)number * 4 + i);
}

static void put(struct ring *r, const void *entry)
{
    int result;
    while ((result = ring_put(r, entry)))
        sched_yield();
}

static void take(struct ring *r, void *ret_entry)
{
    int result;
    while ((result = ring_take(r, ret_entry)) == 0)
        sched_yield();
    CHECK(result == 1);
}

static void *produce(void *argument)
{
    (void)argument;
    struct ring to, from;
    ring_init(&to, &shared[0], entries, CAPACITY, sizeof *entries);
    ring_init(&from, &shared[1], free_entries, CAPACITY, sizeof *free_entries);
    for (uint32_t i = 0; i < ONCE_NR; i++) {
        write_payload(&once[i], i);
        put(&to, &(struct entry){ .payload = i, .number = i, .reserved = i });
    }
    for (uint32_t i = 0; i < AGAIN_NR; i++) {
        uint32_t slot = i;
        if (i >= SLOTS_NR)
            take(&from, &slot);
        write_payload(&again[slot], i);
        put(&to, &(struct entry){ .payload = slot, .number = i, .reserved = i });
    }
    return NULL;
}

static void *consume(void *argument)
{
    (void)argument;
    struct ring to, from;
    struct entry e;
    ring_init(&to, &shared[0], entries, CAPACITY, sizeof *entries);
    ring_init(&from, &shared[1], free_entries, CAPACITY, sizeof *free_entries);
    for (uint32_t i = 0; i < ONCE_NR; i++) {
        take(&to, &e);
        CHECK(e.number == i && e.payload == i && e.reserved == i);
        check_payload(&once[e.payload], i);
    }
    for (uint32_t i = 0; i < AGAIN_NR; i++) {
        take(&to, &e);
        CHECK(e.number == i && e.payload < SLOTS_NR && e.reserved == i);
        check_payload(&again[e.payload], i);
        put(&from, &e.payload);
    }
    return NULL;
}

int main(void)
{
    pthread_t producer = begin(produce, NULL), consumer = begin(consume, NULL);
    join(producer);
    join(consumer);
    return 0;
}
