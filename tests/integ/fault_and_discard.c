/* fault_and_discard - one read of the userfaultfd returns a fault first and then the discard of the
 * same page: answered in that order, the discarding thread would read old bytes. And a fault whose
 * answer says EAGAIN, because the thread that raised an event has not run again, is answered later.
 *
 * Method: the agent is kept off its CPU while one thread touches and another discards; which of them
 * runs on when the agent has read both is decided by real-time priorities. */
#include "actor.h"
#include "rogue.h"

#include <sys/mman.h>

#define NR 64u
#define ROUNDS 5

static struct arena a;
static struct actor toucher, discarder_here, discarder_there, hog_here, hog_there;

static void touch(void *argument)
{
    (void)*(volatile unsigned char *)argument;
}

static void discard(void *argument)
{
    (void)madvise(argument, PAGE_BYTES, MADV_DONTNEED);
}

/* The discarding thread has the agent's CPU and goes before it: it is back from madvise when the agent
 * comes to its answers. */
static void same_page(uint32_t i)
{
    test_case("fault and discard of one page in one read");
    _Atomic bool is_over = false;
    arena_out(&a, 0, NR);
    actor_do(&hog_here, actor_hog, &is_over);
    test_nap_us(2000);
    actor_do(&toucher, touch, pages_at(&a.pages, i));
    test_nap_us(2000);
    actor_do(&discarder_here, discard, pages_at(&a.pages, i));
    test_nap_us(2000);
    CHECK(atomic_load(&toucher.is_busy) && atomic_load(&discarder_here.is_busy));
    atomic_store(&is_over, true);
    actor_wait(&discarder_here);
    actor_wait(&toucher);
    actor_wait(&hog_here);
    a.pages.versions[i] = 0;
    pages_check_all(&a.pages);
    pages_write(&a.pages, i);
}

/* The discarding thread is kept off its CPU after the agent has read its event. False: it was kept off before. */
static bool answered_later(uint32_t i)
{
    test_case("a fault whose answer says EAGAIN");
    _Atomic bool is_over = false, is_over_there = false;
    uint32_t other = (i + 1) % NR;
    arena_out(&a, 0, NR);
    uint64_t retries = pager_stat(a.pager, "changing_retries");
    actor_do(&hog_here, actor_hog, &is_over);
    test_nap_us(2000);
    actor_do(&toucher, touch, pages_at(&a.pages, i));
    actor_do(&discarder_there, discard, pages_at(&a.pages, other));
    test_nap_us(2000);
    CHECK(atomic_load(&toucher.is_busy) && atomic_load(&discarder_there.is_busy));
    actor_do(&hog_there, actor_hog, &is_over_there);
    test_nap_us(2000);
    atomic_store(&is_over, true);
    bool is_shown = false;
    for (int ms = 0; ms < 500 && !is_shown; ms++) {
        test_nap_us(1000);
        is_shown = pager_stat(a.pager, "changing_retries") > retries;
    }
    atomic_store(&is_over_there, true);
    actor_wait(&discarder_there);
    actor_wait(&toucher);
    actor_wait(&hog_here);
    actor_wait(&hog_there);
    a.pages.versions[other] = 0;
    pages_check_all(&a.pages);
    pages_write(&a.pages, other);
    return is_shown;
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("events of a read come before the faults of that read", 10);
    stage_begin();
    arena_begin(&a, r, NR);
    actor_begin(&hog_here, 0, PRIORITY_HOG);
    actor_begin(&toucher, 0, PRIORITY_ACTOR);
    actor_begin(&discarder_here, 0, PRIORITY_ACTOR);
    actor_begin(&discarder_there, 1, PRIORITY_ACTOR);
    actor_begin(&hog_there, 1, PRIORITY_HIGH_HOG);
    stage_direct();
    unsigned nr_shown = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        same_page(7 * round);
        nr_shown += answered_later(7 * round + 3);
    }
    CHECK(nr_shown > ROUNDS / 2);
    arena_end(&a);
    return test_end();
}
