/* No wake-up is lost. Method: two threads play ball over two rings, each sleeping on its eventfd
 * whenever there is nothing to take, after pauses of random length before each step, so that
 * ringing and going to sleep meet in every order. A sleeper that is not woken within five seconds
 * has missed it. */
#include "tsan.h"

#include <poll.h>
#include <sys/eventfd.h>

#include "wire/ring.h"

#define CAPACITY 4u
#define ROUNDS 20000u
#define PATIENCE_MS 5000

struct side {
    struct ring_shared shared; /* of the ring that this side takes from */
    uint64_t entries[CAPACITY];
    struct doorbell bell;
    int bell_fd;
    uint64_t plain; /* written before the entry is put */
};

static struct side sides[2];

static void pause_for(uint32_t spins)
{
    for (volatile uint32_t i = 0; i < spins; i++)
        ;
}

static uint64_t take_or_sleep(struct side *own, struct ring *in, uint32_t *random)
{
    uint64_t entry;
    while (ring_take(in, &entry) != 1) {
        pause_for(next_random(random) % 64);
        doorbell_will_sleep(&own->bell);
        if (!ring_is_empty(in)) {
            doorbell_awake(&own->bell, own->bell_fd);
            continue;
        }
        int r = poll(&(struct pollfd){ .fd = own->bell_fd, .events = POLLIN }, 1, PATIENCE_MS);
        CHECK(r == 1); /* else the wake-up was lost */
        doorbell_awake(&own->bell, own->bell_fd);
    }
    return entry;
}

static void *play(void *argument)
{
    struct side *own = argument, *other = own == sides ? sides + 1 : sides;
    bool serves = own == sides;
    struct ring in, out;
    ring_init(&in, &own->shared, own->entries, CAPACITY, sizeof *own->entries);
    ring_init(&out, &other->shared, other->entries, CAPACITY, sizeof *other->entries);
    uint32_t random = serves ? 1 : 2;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        if (!serves || i)
            CHECK(take_or_sleep(own, &in, &random) == own->plain);
        pause_for(next_random(&random) % 64);
        other->plain = i * 2 + serves;
        uint64_t entry = other->plain;
        CHECK(ring_put(&out, &entry) == 0);
        doorbell_ring(&other->bell, other->bell_fd);
    }
    return NULL;
}

int main(void)
{
    for (int i = 0; i < 2; i++) {
        sides[i].bell_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        CHECK(sides[i].bell_fd >= 0);
    }
    pthread_t one = begin(play, &sides[0]), two = begin(play, &sides[1]);
    join(one);
    join(two);
    return 0;
}
