/* two_clients - several pagers at one daemon do not mix up their pages: two in one process, and two
 * more in a process each. Method: all write different bytes at the same time under eviction. */
#include "rogue.h"

#include <pthread.h>

#define NR 512u
#define MS 700u

static struct rogue *shared_rogue;

/* Much has left by then, on a machine that has stalled a little later. */
static void work(const struct pages *p_in, const struct pp_pager *pager, uint64_t seed)
{
    struct pages p = *p_in;
    uint64_t random = seed * 77 + 1;
    uint64_t until = test_now_ms() + MS;
    while (test_now_ms() < until ||
           (pager_stat(pager, "client_evict_success") <= p.nr && test_now_ms() < until + test_limit_ms(5000)))
        for (int k = 0; k < 32; k++) {
            uint32_t i = (uint32_t)(test_random(&random) % p.nr);
            pages_check(&p, i);
            if (random >> 40 & 1)
                pages_write(&p, i);
        }
    pages_check_all(&p);
}

static int one_client(void *argument)
{
    struct pages p;
    pages_map(&p, NR);
    p.salt += (uint32_t)(uintptr_t)argument * 1000;
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(shared_rogue->socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    work(&p, pager, (uintptr_t)argument);
    CHECK(pager_stat(pager, "client_evict_success") > NR);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    return 0;
}

static void *one_thread(void *argument)
{
    (void)one_client(argument);
    return NULL;
}

int main(void)
{
    shared_rogue = rogue_new("rogue");
    test_begin("several clients at once do not mix up their pages", 20);
    rogue_start(shared_rogue);
    rogue_offer_all(shared_rogue);
    pid_t processes[2];
    for (uintptr_t i = 0; i < 2; i++)
        processes[i] = helper_start(one_client, (void *)(i + 1));
    pthread_t threads[2];
    for (uintptr_t i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, one_thread, (void *)(i + 3)), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
        CHECK_EQ(helper_wait(processes[i]), 0);
    }
    CHECK_EQ(shared_rogue->nr_joins, 4 * test_sessions_of_one());
    WAIT_UNTIL(shared_rogue->nr_clients == 0);
    return test_end();
}
