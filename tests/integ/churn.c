/* churn - thousands of register and unregister pairs, with and without their mappings, beside pages
 * that leave and come back. Method: one thread maps, registers, touches, unregisters and unmaps; another
 * does so with what has already been evicted; the main thread checks pages of its own. */
#include "rogue.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define NR 512u
#define MS 1500u
#define PAIRS_LEAST 500u

static struct arena a;
static _Atomic uint64_t nr_pairs;

/* A slow machine does as much, and takes longer for it. */
static bool goes_on(uint64_t begun_ms)
{
    uint64_t ms = test_now_ms() - begun_ms;
    return ms < MS || (ms < test_limit_ms(5000) && atomic_load(&nr_pairs) <= PAIRS_LEAST);
}

/* Old enough at once here (cold age 0): each may be adopted at any moment of its short life. */
static void *short_lived(void *argument)
{
    uint64_t random = (uintptr_t)argument;
    for (uint64_t begun_ms = test_now_ms(); goes_on(begun_ms); atomic_fetch_add(&nr_pairs, 1)) {
        uint32_t nr = 1 + (uint32_t)(test_random(&random) % 32);
        unsigned char *m = mmap(NULL, pages_to_bytes(nr), PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(m != MAP_FAILED);
        CHECK_EQ(pp_register(a.pager, m, pages_to_bytes(nr)), 0);
        for (uint32_t i = 0; i < nr; i++)
            memset(m + pages_to_bytes(i), (int)(i + 1), PAGE_BYTES);
        if (random >> 60 == 0)
            test_nap_us(3000); /* some live long enough to be out */
        for (uint32_t i = 0; i < nr; i++)
            for (size_t b = 0; b < PAGE_BYTES; b += 511)
                CHECK_EQ(m[pages_to_bytes(i) + b], i + 1);
        bool is_gone_first = random >> 59 & 1; /* replaced: a hole might become another thread's */
        if (is_gone_first)
            CHECK(mmap(m, pages_to_bytes(nr), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                       0) == m);
        CHECK_EQ(pp_unregister(a.pager, m, pages_to_bytes(nr)), 0);
        for (uint32_t i = 0; i < nr && !is_gone_first; i++)
            CHECK_EQ(m[pages_to_bytes(i) + 17], i + 1);
        CHECK_EQ(munmap(m, pages_to_bytes(nr)), 0);
    }
    return NULL;
}

static void young_ranges(void)
{
    test_case("ranges that are never old enough cost nothing");
    CHECK_EQ(pp_stop(a.pager), 0);
    rogue_kill(a.rogue);
    a.rogue->cold_age_ms = 60000;
    rogue_start(a.rogue);
    pager_start(a.pager);
    uint64_t begun_ms = test_now_ms(), watched = pager_stat(a.pager, "ranges_watched");
    for (int i = 0; i < 20000; i++) {
        CHECK_EQ(pp_register(a.pager, (char *)0x10000000 + (size_t)i % 9 * 65536, 65536), 0);
        CHECK_EQ(pp_unregister(a.pager, (char *)0x10000000 + (size_t)i % 9 * 65536, 65536), 0);
    }
    uint64_t ms = test_now_ms() - begun_ms;
    printf("20000 young pairs in %lu ms\n", (unsigned long)ms);
    CHECK(ms < test_limit_ms(4000)); /* it takes some 10 ms */
    CHECK_EQ(pager_stat(a.pager, "ranges_watched"), watched);
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("register and unregister by the thousand", 30);
    arena_begin(&a, r, NR);
    rogue_offer_all(r);
    pthread_t threads[2];
    for (uintptr_t t = 0; t < 2; t++)
        CHECK_EQ(pthread_create(&threads[t], NULL, short_lived, (void *)(t + 71)), 0);
    uint64_t random = 12;
    for (uint64_t begun_ms = test_now_ms(); goes_on(begun_ms);) {
        uint32_t i = (uint32_t)(test_random(&random) % NR);
        pages_check(&a.pages, i);
        pages_write(&a.pages, i);
    }
    for (int t = 0; t < 2; t++)
        CHECK_EQ(pthread_join(threads[t], NULL), 0);
    rogue_pause(r);
    printf("%lu pairs\n", (unsigned long)nr_pairs);
    CHECK(nr_pairs > PAIRS_LEAST);
    pages_check_all(&a.pages);
    young_ranges();
    arena_end(&a);
    return test_end();
}
