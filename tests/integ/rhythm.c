/* rhythm - memory that is used in a regular rhythm is back before its next burst, and only then.
 * Method: bursts one and a half seconds apart, each a pass over all pages, after which all is taken out and
 * nothing more offered: not before 0.4 s, when the zones have been looked at and nothing of them was
 * out. The cold age is longer than a burst's pause, so the agent's clock runs more slowly than what it has to be
 * in time for. Before each burst it is asked of pagemap how much is there. Then a burst
 * does not come: what was brought back for it counts as wasted, and there is no next time. No speed
 * is asked for, only that it happens within a number of bursts: on a busy machine the first may not
 * come in time. On an emulated one all of this is slower. */
#include "rogue.h"

#define NR 4096u /* 16 MiB: eight zones, or nine */
#define LEFT_OUT_MAX 4u /* two leaders at most, and one zone that says how much of it is wanted */
#define PERIOD_MS test_limit_ms(1500)
#define REST_MS test_limit_ms(400)
#define BURSTS_MAX 20u

static struct arena a;

static void sleep_until(uint64_t ms)
{
    while (test_now_ms() < ms)
        test_nap_us((unsigned)(ms - test_now_ms()) * 500 + 100);
}

static void burst(void)
{
    uint64_t begin_ms = test_now_ms();
    for (uint32_t i = 0; i < NR; i++) {
        pages_check(&a.pages, i);
        if (i % 3 == 0)
            pages_write(&a.pages, i);
    }
    sleep_until(begin_ms + REST_MS);
    arena_all_out(&a);
}

static bool is_back(void)
{
    return pages_nr_present(&a.pages, 0, NR) > NR * 3 / 4;
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    r->prefetches = true;
    r->cold_age_ms = (uint32_t)test_limit_ms(2000);
    test_begin("what is used in a rhythm is back before its next burst", 50);
    arena_begin(&a, r, NR);
    test_case("a regular rhythm");
    arena_all_out(&a);
    uint64_t begin_ms = test_now_ms() + 100;
    unsigned nr = 0;
    for (; nr < BURSTS_MAX; nr++, begin_ms += PERIOD_MS) {
        sleep_until(begin_ms);
        if (is_back())
            break;
        burst();
        CHECK(nr || pages_nr_present(&a.pages, 0, NR) == 0); /* later they may be on their way already */
    }
    CHECK(nr > 1); /* not before there can have been a period */
    CHECK(nr < BURSTS_MAX);
    CHECK(pager_stat(a.pager, "prefetch_bursts") >= NR / 512 * 3 / 4);

    test_case("the burst comes");
    uint64_t used = pager_stat(a.pager, "prefetch_used"), least = UINT64_MAX;
    for (unsigned i = 0; least > LEFT_OUT_MAX && i < BURSTS_MAX / 2; i++) { /* not all may have been in time */
        uint64_t faults = pager_stat(a.pager, "faults_missing");
        sleep_until(begin_ms);
        burst();
        faults = pager_stat(a.pager, "faults_missing") - faults;
        least = faults < least ? faults : least;
        begin_ms += PERIOD_MS;
    }
    CHECK(pager_stat(a.pager, "prefetch_used") >= used + NR / 2);
    CHECK(least <= LEFT_OUT_MAX);
    begin_ms -= PERIOD_MS;

    test_case("a burst that does not come");
    uint64_t wasted = pager_stat(a.pager, "prefetch_wasted"), bursts = pager_stat(a.pager, "prefetch_bursts");
    sleep_until(begin_ms + 5 * PERIOD_MS / 2);
    bool was_expected = pager_stat(a.pager, "prefetch_bursts") > bursts;
    CHECK(!was_expected || pager_stat(a.pager, "prefetch_wasted") > wasted);
    arena_all_out(&a);
    bursts = pager_stat(a.pager, "prefetch_bursts");
    sleep_until(test_now_ms() + 2 * PERIOD_MS);
    CHECK_EQ(pager_stat(a.pager, "prefetch_bursts"), bursts);
    arena_end(&a);
    return test_end();
}
