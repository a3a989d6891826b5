/* discard - what the application discards reads as zeros from then on, never as what it was. Method:
 * MADV_DONTNEED and MADV_FREE over pages that are present, staged and stored, while a rogue daemon
 * evicts as fast as it can; then new versions are written and must stay. */
#include "rogue.h"

#include <sys/mman.h>

#define NR 1024u

static struct arena a;

static void drop(uint32_t first, uint32_t nr)
{
    CHECK_EQ(madvise(pages_at(&a.pages, first), pages_to_bytes(nr), MADV_DONTNEED), 0);
    for (uint32_t i = 0; i < nr; i++)
        a.pages.versions[first + i] = 0;
}

static void everything_at_once(void)
{
    test_case("all stored, all discarded");
    arena_all_out(&a);
    uint64_t given_up = a.rogue->nr_given_up;
    drop(0, NR);
    pages_check_all(&a.pages);
    WAIT_UNTIL(a.rogue->nr_given_up >= given_up + NR); /* the daemon's memory goes back */
    pages_write_all(&a.pages);
    test_case("all staged, all discarded");
    rogue_answers(a.rogue, ROGUE_NEVER);
    arena_out(&a, 0, 400);
    drop(0, 400);
    pages_check_all(&a.pages);
    rogue_answers(a.rogue, ROGUE_HONEST);
    pages_write_all(&a.pages);
}

static void under_fire(void)
{
    test_case("under fire");
    uint64_t random = 31;
    rogue_offer_all(a.rogue);
    for (uint64_t until = test_now_ms() + 800; test_now_ms() < until;)
        for (int k = 0; k < 16; k++) {
            uint32_t first = (uint32_t)(test_random(&random) % (NR - 64));
            uint32_t nr = 1 + (uint32_t)(random >> 40) % 64;
            drop(first, nr);
            for (uint32_t i = first; i < first + nr; i++) {
                if (random >> (i % 32) & 1)
                    pages_check(&a.pages, i); /* zeros, this very moment */
                pages_write(&a.pages, i);
            }
            for (int j = 0; j < 64; j++)
                pages_check(&a.pages, (uint32_t)(test_random(&random) % NR));
        }
    rogue_pause(a.rogue);
    pages_check_all(&a.pages);
}

/* MADV_FREE gives the old bytes or zeros, until written; what is out is given up like DONTNEED. */
static void lazily(void)
{
    test_case("MADV_FREE");
    arena_out(&a, 0, NR / 2);
    CHECK_EQ(madvise(pages_at(&a.pages, 0), pages_to_bytes(NR), MADV_FREE), 0);
    for (uint32_t i = 0; i < NR; i++) {
        uint32_t version = a.pages.versions[i];
        if (!pages_is_right(&a.pages, i)) {
            a.pages.versions[i] = 0;
            pages_check(&a.pages, i);
        }
        a.pages.versions[i] = version;
        pages_write(&a.pages, i);
    }
    arena_all_out(&a);
    pages_check_all(&a.pages);
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("discarded memory reads as zeros", 20);
    arena_begin(&a, r, NR);
    everything_at_once();
    under_fire();
    lazily();
    arena_end(&a);
    return test_end();
}
