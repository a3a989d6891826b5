/* ring.h - a bounded queue of fixed-size entries in memory that two threads, perhaps of two
 * processes that do not trust each other, share: one producer, one consumer, no lock.
 *
 * What is shared is only `struct ring_shared` and the entries. Each side keeps its own position in
 * its private `struct ring` and believes the other side's word only after checking it: a position
 * that can't be is -EPROTO, and the caller ends the session.
 *
 * Memory order: the producer writes the entry, then publishes head with release; the consumer
 * loads head with acquire, copies the entry out, then publishes tail with release; the producer
 * loads tail with acquire before it reuses the place. Nothing else is ordered.
 *
 * Sleeping: struct doorbell. A consumer that is about to block announces it, looks once more, and
 * blocks on an eventfd; a producer rings only when somebody sleeps. Both sides put a full fence
 * between their store and their load, so one of the two sees the other. */
#ifndef WIRE_RING_H
#define WIRE_RING_H

#include <stdbool.h>
#include <stdint.h>

#define RING_LINE 64

struct ring_shared {
    _Alignas(RING_LINE) _Atomic uint32_t head; /* entries ever put, modulo 2^32; producer writes */
    _Alignas(RING_LINE) _Atomic uint32_t tail; /* entries ever taken; consumer writes */
};

struct ring {
    struct ring_shared *shared; /* set at birth */
    unsigned char *entries;     /* set at birth; capacity * entry_bytes, in shared memory */
    uint32_t capacity;          /* set at birth; a power of two */
    uint32_t entry_bytes;       /* set at birth */
    uint32_t position;          /* own side only: our head or our tail */
    uint32_t other;             /* own side only: the other side's last believed position */
};

void ring_init(struct ring *r, struct ring_shared *shared, void *entries, uint32_t capacity,
               uint32_t entry_bytes);

/* Producer. 0; -ENOSPC: full, nothing put; -EPROTO: the consumer's position can't be, or has gone back. */
int ring_put(struct ring *r, const void *entry);
/* Producer: how many more fit now; -EPROTO as above. */
int64_t ring_room(struct ring *r);
/* Consumer. 1 and *ret_entry; 0: empty; -EPROTO: the producer's position can't be. */
int ring_take(struct ring *r, void *ret_entry);
/* Consumer: is there nothing to take? Fresh, with acquire; true also for a broken position. */
bool ring_is_empty(struct ring *r);
/* The same as a number. 1: there is something; 0: nothing; -EPROTO: the producer's position can't
 * be. */
int ring_look(struct ring *r);

struct doorbell {
    _Alignas(RING_LINE) _Atomic uint32_t is_asleep;
};

/* After putting: wakes the sleeper through its eventfd if there is one. Never blocks while the
 * eventfd is O_NONBLOCK. That flag belongs to the open file, and so to both processes: a peer who
 * clears it and fills the counter can stop us here, because the kernel offers no write to an
 * eventfd that does not wait by itself (RWF_NOWAIT: EOPNOTSUPP). */
void doorbell_ring(struct doorbell *bell, int eventfd);
/* Before blocking: announce, then look at the rings once more; if there is something call
 * doorbell_awake, else block on the eventfd. */
void doorbell_will_sleep(struct doorbell *bell);
/* After waking or deciding not to sleep: take the announcement back and empty the eventfd. */
void doorbell_awake(struct doorbell *bell, int eventfd);
/* The same where poll said that the eventfd is empty: saves the read. */
void doorbell_awake_unrung(struct doorbell *bell);

#endif
