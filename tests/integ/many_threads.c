/* many_threads - several threads on one page, and one page wanted again and again: all get the newest
 * bytes, none waits for ever. Method: counters that threads add to atomically in pages that leave all
 * the time: a lost or doubled page shows in the sums. */
#include "rogue.h"

#include <pthread.h>

#define NR 16u
#define THREADS 6
#define MS 1200u

static struct arena a;
static _Atomic bool is_over;

static _Atomic uint64_t *counter(uint32_t page, unsigned which)
{
    return (_Atomic uint64_t *)(void *)pages_at(&a.pages, page) + 64 * which; /* a line each, and more */
}

static void *adder(void *argument)
{
    uint64_t *added = argument, random = (uintptr_t)argument | 1;
    while (!atomic_load(&is_over))
        for (int k = 0; k < 16; k++) {
            uint32_t page = (uint32_t)(test_random(&random) % NR);
            if (random >> 60 < 8)
                page = 0; /* the page that everybody wants */
            atomic_fetch_add(counter(page, (unsigned)(random >> 40) % 8), 1);
            added[page]++;
        }
    return NULL;
}

/* Who restores for himself does not wait for the agent, so these threads leave it less time. */
static bool has_much_left(void)
{
    return pager_stat(a.pager, "client_evict_success") > (test_is_direct() ? 10 : 100) * NR;
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("several threads on one page, wanted again and again", 20);
    arena_begin(&a, r, NR);
    for (uint32_t i = 0; i < NR; i++)
        for (unsigned k = 0; k < 8; k++)
            atomic_store(counter(i, k), 0);
    rogue_offer_all(r);
    pthread_t threads[THREADS];
    static uint64_t added[THREADS][NR];
    for (int t = 0; t < THREADS; t++)
        CHECK_EQ(pthread_create(&threads[t], NULL, adder, added[t]), 0);
    test_nap_us(MS * 1000);
    WAIT_UNTIL(has_much_left()); /* an emulated machine, or one that has stalled, takes longer for as much */
    atomic_store(&is_over, true);
    for (int t = 0; t < THREADS; t++)
        CHECK_EQ(pthread_join(threads[t], NULL), 0);
    rogue_pause(r);
    CHECK(has_much_left());
    for (uint32_t i = 0; i < NR; i++) {
        uint64_t sum = 0, expected = 0;
        for (unsigned k = 0; k < 8; k++)
            sum += atomic_load(counter(i, k));
        for (int t = 0; t < THREADS; t++)
            expected += added[t][i];
        CHECK_EQ(sum, expected);
    }
    CHECK_EQ(pp_stop(a.pager), 0);
    pp_close(a.pager);
    return test_end();
}
