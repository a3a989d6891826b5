/* The queue keeps order and bytes and believes no impossible position; the doorbell loses no
 * wake-up. Method: hand-made positions for one thread; two threads and 10^6 entries; then two
 * threads where the consumer sleeps between almost all entries. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "wire/ring.h"

struct entry24 {
    uint64_t a, b;
    uint32_t c, d;
};

#define CAPACITY 8u

struct pair {
    struct ring_shared shared;
    struct entry24 entries[CAPACITY];
    struct ring producer, consumer;
};

static void pair_init(struct pair *p, uint32_t start)
{
    memset(p, 0, sizeof(*p));
    atomic_store(&p->shared.head, start);
    atomic_store(&p->shared.tail, start);
    ring_init(&p->producer, &p->shared, p->entries, CAPACITY, sizeof(struct entry24));
    ring_init(&p->consumer, &p->shared, p->entries, CAPACITY, sizeof(struct entry24));
    p->producer.position = p->producer.other = start;
    p->consumer.position = p->consumer.other = start;
}

static struct entry24 entry_nr(uint64_t n)
{
    return (struct entry24){n, ~n, (uint32_t)(n * 7), (uint32_t)(n * 13)};
}

static void put_nr(struct pair *p, uint64_t n)
{
    struct entry24 e = entry_nr(n);
    assert_int_equal(ring_put(&p->producer, &e), 0);
}

static void take_nr(struct pair *p, uint64_t n)
{
    struct entry24 e, expected = entry_nr(n);
    assert_int_equal(ring_take(&p->consumer, &e), 1);
    assert_memory_equal(&e, &expected, sizeof(e));
}

static void order_and_bytes_survive_the_wrap_of_positions(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p, UINT32_MAX - 100); /* positions pass 2^32 on the way */
    uint64_t put = 0, taken = 0;
    for (int round = 0; round < 1000; round++) {
        unsigned nr = (unsigned)round % (CAPACITY + 1);
        for (unsigned i = 0; i < nr; i++)
            put_nr(&p, put++);
        assert_int_equal(ring_room(&p.producer), CAPACITY - nr);
        for (unsigned i = 0; i < nr; i++)
            take_nr(&p, taken++);
        struct entry24 none;
        assert_int_equal(ring_take(&p.consumer, &none), 0);
        assert_true(ring_is_empty(&p.consumer));
    }
    assert_int_equal(atomic_load(&p.shared.head), (uint32_t)(UINT32_MAX - 100 + put));
}

static void a_full_ring_takes_nothing_more(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p, 0);
    for (unsigned i = 0; i < CAPACITY; i++)
        put_nr(&p, i);
    struct entry24 e = entry_nr(99);
    assert_int_equal(ring_put(&p.producer, &e), -ENOSPC);
    assert_int_equal(ring_room(&p.producer), 0);
    assert_false(ring_is_empty(&p.consumer));
    take_nr(&p, 0);
    put_nr(&p, CAPACITY);
    assert_int_equal(ring_put(&p.producer, &e), -ENOSPC);
    for (unsigned i = 1; i <= CAPACITY; i++)
        take_nr(&p, i);
    assert_true(ring_is_empty(&p.consumer));
}

static void the_producer_refuses_impossible_tails(void **state)
{
    (void)state;
    static const uint32_t bad[] = {1, 5, 0x80000000u, UINT32_MAX - CAPACITY};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pair p;
        pair_init(&p, 0);
        for (unsigned n = 0; n < CAPACITY; n++)
            put_nr(&p, n);
        /* head is 8: tails 0 to 8 can be, all else can't */
        atomic_store(&p.shared.tail, CAPACITY + bad[i]);
        struct entry24 e = entry_nr(77);
        assert_int_equal(ring_room(&p.producer), -EPROTO);
        assert_int_equal(ring_put(&p.producer, &e), -EPROTO);
        struct entry24 first = entry_nr(0);
        assert_memory_equal(&p.entries[0], &first, sizeof(first));
        assert_int_equal(atomic_load(&p.shared.head), CAPACITY);
        atomic_store(&p.shared.tail, 7); /* seven were taken: that can be */
        assert_int_equal(ring_room(&p.producer), 7);
    }
}

static void what_was_taken_stays_taken(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p, UINT32_MAX - 2); /* across the wrap of positions */
    for (unsigned n = 0; n < CAPACITY; n++)
        put_nr(&p, n);
    for (unsigned n = 0; n < 5; n++)
        take_nr(&p, n);
    assert_int_equal(ring_room(&p.producer), 5);
    struct entry24 e = entry_nr(77);
    for (uint32_t back = 1; back <= 5; back++) {
        atomic_store(&p.shared.tail, UINT32_MAX - 2 + 5 - back);
        assert_int_equal(ring_room(&p.producer), -EPROTO);
    }
    for (unsigned n = 0; n < 5; n++) /* what was believed is room still: nobody looks */
        assert_int_equal(ring_put(&p.producer, &e), 0);
    assert_int_equal(ring_put(&p.producer, &e), -EPROTO);
    atomic_store(&p.shared.tail, UINT32_MAX - 2 + 6);
    assert_int_equal(ring_put(&p.producer, &e), 0);
}

static void the_consumer_refuses_impossible_heads(void **state)
{
    (void)state;
    static const uint32_t bad[] = {CAPACITY + 1, 0x7fffffffu, 0x80000000u, UINT32_MAX};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pair p;
        pair_init(&p, 1000);
        atomic_store(&p.shared.head, 1000 + bad[i]);
        struct entry24 e = entry_nr(5), before = e;
        assert_int_equal(ring_take(&p.consumer, &e), -EPROTO);
        assert_memory_equal(&e, &before, sizeof(e));
        assert_true(ring_is_empty(&p.consumer));
        assert_int_equal(atomic_load(&p.shared.tail), 1000);
    }
    struct pair p;
    pair_init(&p, 1000);
    atomic_store(&p.shared.head, 1000 + CAPACITY); /* the most there can be */
    struct entry24 e;
    assert_int_equal(ring_take(&p.consumer, &e), 1);
}

/* --- two threads --------------------------------------------------------------------------- */

#define MANY 1000000u
#define BIG_CAPACITY 256u

struct run {
    struct ring_shared shared;
    struct doorbell bell;
    int eventfd;
    struct entry24 entries[BIG_CAPACITY];
    uint32_t nr;
    bool one_by_one; /* the producer waits until each entry has been taken */
};

/* Where two threads share one CPU, spinning through a time slice would take minutes. */
static void yield_sometimes(uint32_t spins)
{
    if (spins % 256 == 255)
        sched_yield();
}

static void dawdle(uint32_t turns)
{
    for (volatile uint32_t left = turns; left; left--)
        ;
}

static void *produce(void *arg)
{
    struct run *run = arg;
    struct ring r;
    ring_init(&r, &run->shared, run->entries, BIG_CAPACITY, sizeof(struct entry24));
    uint32_t random = 12345;
    for (uint32_t n = 0; n < run->nr;) {
        struct entry24 e = entry_nr(n);
        int result = ring_put(&r, &e);
        if (result == -ENOSPC) {
            sched_yield();
            continue;
        }
        if (result < 0)
            return (void *)(intptr_t)-result;
        n++;
        doorbell_ring(&run->bell, run->eventfd);
        if (!run->one_by_one)
            continue;
        for (uint32_t spins = 0;
             atomic_load_explicit(&run->shared.tail, memory_order_acquire) != n; spins++)
            yield_sometimes(spins);
        /* Put the next one somewhere around the consumer's going to sleep. */
        random = random * 1664525u + 1013904223u;
        dawdle(random >> 24);
    }
    return NULL;
}

static void consumer_sees_all_in_order(struct run *run, bool does_sleep)
{
    struct ring r;
    ring_init(&r, &run->shared, run->entries, BIG_CAPACITY, sizeof(struct entry24));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, produce, run), 0);
    uint64_t nr_sleeps = 0;
    uint32_t nr_empty = 0;
    for (uint32_t n = 0; n < run->nr;) {
        struct entry24 e;
        int result = ring_take(&r, &e);
        assert_true(result >= 0);
        if (result) {
            struct entry24 expected = entry_nr(n++);
            if (memcmp(&e, &expected, sizeof(e)))
                fail_msg("entry %u is not what was put", n - 1);
            continue;
        }
        if (!does_sleep) {
            yield_sometimes(++nr_empty);
            continue;
        }
        doorbell_will_sleep(&run->bell);
        if (ring_is_empty(&r)) {
            struct pollfd p = {.fd = run->eventfd, .events = POLLIN};
            int got = poll(&p, 1, 10000);
            if (got == 0)
                fail_msg("a wake-up was lost before entry %u (ring %s)", n,
                         ring_is_empty(&r) ? "empty" : "not empty");
            nr_sleeps++;
        }
        doorbell_awake(&run->bell, run->eventfd);
    }
    void *result;
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result);
    if (does_sleep && run->one_by_one)
        assert_true(nr_sleeps > run->nr / 100); /* else nothing was tried */
}

static struct run *run_new(uint32_t nr, bool one_by_one)
{
    struct run *run = aligned_alloc(RING_LINE, sizeof(*run));
    assert_non_null(run);
    memset(run, 0, sizeof(*run));
    run->nr = nr;
    run->one_by_one = one_by_one;
    run->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(run->eventfd >= 0);
    return run;
}

static void run_free(struct run *run)
{
    close(run->eventfd);
    free(run);
}

static void two_threads_pass_a_million_entries(void **state)
{
    (void)state;
    struct run *run = run_new(MANY, false);
    consumer_sees_all_in_order(run, false);
    run_free(run);
}

static void no_wake_up_is_lost(void **state)
{
    (void)state;
    for (int one_by_one = 0; one_by_one < 2; one_by_one++) {
        struct run *run = run_new(60000, one_by_one);
        consumer_sees_all_in_order(run, true);
        run_free(run);
    }
}

/* The same without sleeping, so that the instructions meet more closely than two system calls
 * would let them: in each round one thread puts and rings while the other announces and looks.
 * Both may see each other; that neither does is the lost wake-up. */
struct litmus {
    struct run *run;
    _Atomic uint32_t arrived;
    _Atomic bool is_over; /* read by both after the same meeting */
    cpu_set_t cpus;       /* where both may run; set before the threads are */
};

static void meet(struct litmus *l, uint32_t round)
{
    atomic_fetch_add(&l->arrived, 1);
    for (uint32_t spins = 0;
         atomic_load_explicit(&l->arrived, memory_order_acquire) < 2 * (round + 1); spins++)
        yield_sometimes(spins);
}

/* One CPU of its own for each of the two: on the same one they take turns and never meet. */
static void pin_to_nth(const cpu_set_t *cpus, int n)
{
    int cpu = 0;
    while (!CPU_ISSET(cpu, cpus) || n-- > 0)
        cpu++;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    (void)sched_setaffinity(0, sizeof(one), &one); /* refused: it may still meet */
}

static void *litmus_producer(void *arg)
{
    struct litmus *l = arg;
    pin_to_nth(&l->cpus, 1);
    struct ring r;
    ring_init(&r, &l->run->shared, l->run->entries, BIG_CAPACITY, sizeof(struct entry24));
    intptr_t failed = 0;
    for (uint32_t round = 0; !l->is_over; round++) {
        struct entry24 e = entry_nr(round);
        meet(l, 2 * round);
        dawdle(round >> 7 & 31);
        failed |= ring_put(&r, &e);
        doorbell_ring(&l->run->bell, l->run->eventfd);
        meet(l, 2 * round + 1);
    }
    return (void *)failed;
}

static void ringer_or_sleeper_sees_the_other(void **state)
{
    (void)state;
    cpu_set_t cpus;
    assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
    if (CPU_COUNT(&cpus) < 2) {
        print_message("needs two CPUs\n");
        skip();
    }
    struct litmus l = {.run = run_new(0, false), .cpus = cpus};
    struct ring r;
    ring_init(&r, &l.run->shared, l.run->entries, BIG_CAPACITY, sizeof(struct entry24));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, litmus_producer, &l), 0);
    pin_to_nth(&cpus, 0);
    uint32_t nr_lost = 0, nr_slept = 0, round;
    uint64_t end_ns = now_ns() + 10 * NS_PER_S; /* a busy machine does fewer rounds */
    for (round = 0; !l.is_over; round++) {
        meet(&l, 2 * round);
        dawdle(round & 127);
        doorbell_will_sleep(&l.run->bell);
        bool saw_nothing = ring_is_empty(&r);
        if (round == 300000 || (round % 1000 == 0 && now_ns() > end_ns))
            l.is_over = true;
        meet(&l, 2 * round + 1);
        struct pollfd p = {.fd = l.run->eventfd, .events = POLLIN};
        nr_slept += saw_nothing;
        nr_lost += saw_nothing && poll(&p, 1, 0) == 0;
        doorbell_awake(&l.run->bell, l.run->eventfd);
        struct entry24 e;
        if (ring_take(&r, &e) != 1)
            nr_lost++;
    }
    void *failed;
    assert_int_equal(pthread_join(thread, &failed), 0);
    (void)sched_setaffinity(0, sizeof(cpus), &cpus);
    assert_null(failed);
    assert_int_equal(nr_lost, 0);
    print_message("nothing to take in %u of %u rounds\n", nr_slept, round);
    assert_in_range(nr_slept, 1, round - 1); /* else they never met */
    run_free(l.run);
}

static void the_bell_writes_only_for_a_sleeper_and_never_blocks(void **state)
{
    (void)state;
    struct doorbell bell = {0};
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    uint64_t count;
    doorbell_ring(&bell, fd);
    assert_int_equal(read(fd, &count, sizeof(count)), -1);
    assert_int_equal(errno, EAGAIN);

    doorbell_will_sleep(&bell);
    count = UINT64_MAX - 1; /* full: a write would have to wait */
    assert_int_equal(write(fd, &count, sizeof(count)), sizeof(count));
    doorbell_ring(&bell, fd);
    doorbell_awake(&bell, fd);
    assert_int_equal(atomic_load(&bell.is_asleep), 0);
    assert_int_equal(read(fd, &count, sizeof(count)), -1);
    assert_int_equal(errno, EAGAIN);

    /* The peer has the same open file and makes it a waiting one: still nothing waits. */
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    alarm(5);
    doorbell_awake(&bell, fd);
    alarm(0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_and_bytes_survive_the_wrap_of_positions),
        cmocka_unit_test(a_full_ring_takes_nothing_more),
        cmocka_unit_test(the_producer_refuses_impossible_tails),
        cmocka_unit_test(what_was_taken_stays_taken),
        cmocka_unit_test(the_consumer_refuses_impossible_heads),
        cmocka_unit_test(two_threads_pass_a_million_entries),
        cmocka_unit_test(no_wake_up_is_lost),
        cmocka_unit_test(ringer_or_sleeper_sees_the_other),
        cmocka_unit_test(the_bell_writes_only_for_a_sleeper_and_never_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
