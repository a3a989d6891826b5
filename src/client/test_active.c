/* Which threads have run lately. Method: this process, with threads that wait, run, begin late, and are called
 * as ours are; the looks' clock is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "client/active.h"
#include "wire/session_memory.h"

#define MANY 300u

static pthread_barrier_t begun, end;
static _Atomic unsigned rounds, must_run;

static void *waits(void *name)
{
    if (name)
        (void)pthread_setname_np(pthread_self(), name);
    (void)pthread_barrier_wait(&begun);
    (void)pthread_barrier_wait(&end);
    return NULL;
}

static void *runs(void *name)
{
    if (name)
        (void)pthread_setname_np(pthread_self(), name);
    (void)pthread_barrier_wait(&begun);
    while (atomic_load(&must_run)) {
        atomic_fetch_add(&rounds, 1);
        (void)usleep(500);
    }
    (void)pthread_barrier_wait(&end);
    return NULL;
}

/* So that those that run have run since the last look, whatever the machine does. */
static void let_them_run(void)
{
    unsigned from = atomic_load(&rounds);
    while (atomic_load(&must_run) && atomic_load(&rounds) < from + 20)
        (void)usleep(500);
    (void)usleep(20000); /* what a thread has run is counted when it is scheduled: this one is, too */
}

static uint32_t look(struct active *a, uint64_t after_ns, uint64_t *now_ns)
{
    _Atomic uint32_t told = 0;
    let_them_run();
    *now_ns += after_ns;
    active_step(a, *now_ns, &told);
    return told;
}

/* A window later each time: who has run since counts. A slow machine has some come to where they wait later. */
static bool comes_down_to(struct active *a, uint32_t nr, uint64_t *now_ns)
{
    for (unsigned tries = 0; tries < 200; tries++)
        if (look(a, ACTIVE_WINDOW_NS, now_ns) == nr)
            return true;
    return false;
}

/* This one; and one of its own that a sanitizer has. */
static uint32_t nr_alone(struct active *a, uint64_t *now_ns)
{
    uint32_t least = UINT32_MAX;
    for (unsigned i = 0; i < 10; i++) {
        uint32_t nr = look(a, ACTIVE_WINDOW_NS, now_ns);
        least = nr && nr < least ? nr : least;
    }
    assert_in_range(least, 1, 2);
    return least;
}

static void begin(pthread_t *thread, void *(*main)(void *), const char *name)
{
    assert_int_equal(pthread_create(thread, NULL, main, (void *)(uintptr_t)name), 0);
}

static void barriers(unsigned nr_threads)
{
    assert_int_equal(pthread_barrier_init(&begun, NULL, nr_threads + 1), 0);
    assert_int_equal(pthread_barrier_init(&end, NULL, nr_threads + 1), 0);
}

static void those_that_wait_do_not_count(void **state)
{
    (void)state;
    static struct active alone, a;
    pthread_t threads[5];
    uint64_t now = NS_PER_S;
    uint32_t nr = nr_alone(&alone, &now);
    barriers(5);
    atomic_store(&must_run, 1);
    begin(&threads[0], waits, NULL);
    begin(&threads[1], waits, NULL);
    begin(&threads[2], waits, PORTER_NAME);
    begin(&threads[3], runs, AGENT_NAME);
    begin(&threads[4], runs, NULL);
    (void)pthread_barrier_wait(&begun);
    (void)usleep(100000);
    assert_int_equal(look(&a, 0, &now), 0); /* the first look says nothing */
    assert_in_range(look(&a, NS_PER_S, &now), nr, nr + 3); /* who was slow, too; never ours */
    assert_true(comes_down_to(&a, nr + 1, &now)); /* one of the five */
    atomic_store(&must_run, 0);
    (void)look(&a, ACTIVE_WINDOW_NS / 2, &now);
    assert_in_range(look(&a, ACTIVE_WINDOW_NS / 2 - 1, &now), nr + 1, nr + 2); /* it has run since */
    assert_true(comes_down_to(&a, nr, &now));
    (void)pthread_barrier_wait(&end);
    for (unsigned i = 0; i < 5; i++)
        (void)pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < 200 && a.nr > 2; i++)
        (void)look(&a, ACTIVE_PAUSE_MAX_NS, &now);
    assert_in_range(a.nr, 1, 2); /* those that have ended are forgotten */
}

static void one_that_begins_late_has_run(void **state)
{
    (void)state;
    static struct active a;
    pthread_t thread;
    uint64_t now = NS_PER_S;
    uint32_t nr = nr_alone(&a, &now);
    barriers(1);
    begin(&thread, waits, NULL);
    (void)pthread_barrier_wait(&begun);
    assert_in_range(look(&a, ACTIVE_PAUSE_MAX_NS, &now), nr + 1, nr + 2); /* a sanitizer's has run or not */
    assert_true(comes_down_to(&a, nr, &now));
    (void)pthread_barrier_wait(&end);
    (void)pthread_join(thread, NULL);
}

static void more_than_are_known_all_count(void **state)
{
    (void)state;
    static struct active a;
    pthread_t threads[MANY];
    uint64_t now = NS_PER_S;
    barriers(MANY);
    for (unsigned i = 0; i < MANY; i++)
        begin(&threads[i], waits, NULL);
    (void)pthread_barrier_wait(&begun);
    (void)look(&a, 0, &now);
    for (unsigned i = 0; i < 20; i++)
        assert_in_range(look(&a, ACTIVE_WINDOW_NS, &now), MANY + 1 - ACTIVE_THREADS_MAX, MANY + 2);
    assert_int_equal(a.nr, ACTIVE_THREADS_MAX);
    (void)pthread_barrier_wait(&end);
    for (unsigned i = 0; i < MANY; i++)
        (void)pthread_join(threads[i], NULL);
}

static void looks_become_rare(void **state)
{
    (void)state;
    static struct active a;
    _Atomic uint32_t told = 0;
    uint64_t now = NS_PER_S;
    unsigned nr_looks = 0;
    for (uint64_t at = now; at < now + ACTIVE_WINDOW_NS; at += 100 * NS_PER_MS) {
        uint64_t next_ns = a.next_ns;
        active_step(&a, at, &told);
        nr_looks += a.next_ns != next_ns;
    }
    assert_in_range(nr_looks, 10, 12); /* 0, 0.3, 0.8, 1.8, 3.8, 7.8, 15.8 s, then every ten */
    assert_int_equal(a.pause_ns, ACTIVE_PAUSE_MAX_NS);
    assert_true(told >= 1 && told != NR_ACTIVE_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_that_wait_do_not_count),
        cmocka_unit_test(one_that_begins_late_has_run),
        cmocka_unit_test(more_than_are_known_all_count),
        cmocka_unit_test(looks_become_rare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
