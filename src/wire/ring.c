/* ring.c - the queue and the doorbell. Runs in threads that may neither allocate nor touch the
 * application's memory: nothing here but atomics, memcpy and two system calls.
 *
 * Budget: put and take ~10 ns each when the other side's line is cached, because the other
 * position is read only when the last believed one says full (or empty). */
#include "wire/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mutant.h"

void ring_init(struct ring *r, struct ring_shared *shared, void *entries, uint32_t capacity,
               uint32_t entry_bytes)
{
    assert(capacity && (capacity & (capacity - 1)) == 0);
    *r = (struct ring){
        .shared = shared, .entries = entries, .capacity = capacity, .entry_bytes = entry_bytes};
}

static unsigned char *entry_at(const struct ring *r, uint32_t position)
{
    return r->entries + (size_t)(position & (r->capacity - 1)) * r->entry_bytes;
}

/* With release: who sees the position sees what was done before. (Two calls, because a memory order that
 * is not a constant is none that the compiler, or a race detector, can use.) */
static void publish(_Atomic uint32_t *position, uint32_t value, enum mutant relaxed)
{
    if (mutant_is(relaxed))
        atomic_store_explicit(position, value, memory_order_relaxed);
    else
        atomic_store_explicit(position, value, memory_order_release);
}

/* Reads the consumer's tail once and believes it if it lies between the last one and our head: what has been
 * taken stays taken. Who counts on from what was taken before would else go once around. */
static int refresh_tail(struct ring *r)
{
    uint32_t tail = atomic_load_explicit(&r->shared->tail, memory_order_acquire);
    if (r->position - tail > r->position - r->other && !mutant_is(MUTANT_RING_BELIEVE_POSITION))
        return -EPROTO;
    r->other = tail;
    return 0;
}

static int refresh_head(struct ring *r)
{
    uint32_t head = atomic_load_explicit(&r->shared->head, memory_order_acquire);
    if (head - r->position > r->capacity && !mutant_is(MUTANT_RING_BELIEVE_POSITION))
        return -EPROTO;
    r->other = head;
    return 0;
}

int ring_put(struct ring *r, const void *entry)
{
    if (r->position - r->other >= r->capacity) {
        int result = refresh_tail(r);
        if (result < 0)
            return result;
        if (r->position - r->other >= r->capacity)
            return -ENOSPC;
    }
    memcpy(entry_at(r, r->position), entry, r->entry_bytes);
    r->position++;
    publish(&r->shared->head, r->position, MUTANT_RING_RELAXED_PUBLISH);
    return 0;
}

int64_t ring_room(struct ring *r)
{
    int result = refresh_tail(r);
    if (result < 0)
        return result;
    return (int64_t)(r->capacity - (r->position - r->other));
}

int ring_take(struct ring *r, void *ret_entry)
{
    if (r->other == r->position) {
        int result = refresh_head(r);
        if (result < 0)
            return result;
        if (r->other == r->position)
            return 0;
    }
    memcpy(ret_entry, entry_at(r, r->position), r->entry_bytes);
    /* The producer may be lying and still writing. What the caller checks must be what it uses:
     * the compiler may not read the shared bytes a second time. */
    __asm__ volatile("" ::: "memory");
    r->position++;
    publish(&r->shared->tail, r->position, MUTANT_RING_RELAXED_TAKE);
    return 1;
}

int ring_look(struct ring *r)
{
    if (r->other != r->position)
        return 1;
    int result = refresh_head(r);
    return result < 0 ? result : r->other != r->position;
}

bool ring_is_empty(struct ring *r)
{
    return ring_look(r) != 1;
}

void doorbell_ring(struct doorbell *bell, int eventfd)
{
    /* Pairs with the fence in doorbell_will_sleep: either we see the announcement here, or the
     * sleeper's second look sees what was put. Every ringer writes; clearing the word first would
     * save some writes, but a ringer killed between the two would take the others' wake-up along. */
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&bell->is_asleep, memory_order_relaxed))
        return;
    uint64_t one = 1;
    /* EAGAIN: the counter is full, so the eventfd is readable already. EINTR can't be before the
     * counter was raised: a write that does not wait is not interrupted. Nothing else is to do. */
    ssize_t written = write(eventfd, &one, sizeof(one));
    (void)written;
}

void doorbell_will_sleep(struct doorbell *bell)
{
    if (mutant_is(MUTANT_DOORBELL_UNANNOUNCED))
        return;
    atomic_store_explicit(&bell->is_asleep, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

void doorbell_awake_unrung(struct doorbell *bell)
{
    atomic_store_explicit(&bell->is_asleep, 0, memory_order_relaxed);
}

void doorbell_awake(struct doorbell *bell, int eventfd)
{
    doorbell_awake_unrung(bell);
    /* RWF_NOWAIT and not only O_NONBLOCK: the open file is the peer's too, who could clear the
     * flag and let us wait here. */
    uint64_t count;
    struct iovec into = {&count, sizeof(count)};
    ssize_t got = preadv2(eventfd, &into, 1, -1, RWF_NOWAIT);
    (void)got; /* EAGAIN: nobody rang */
}
