/* ageing - UFFDIO_MOVE can move a page and report an error when somebody changes the entry's bits
 * meanwhile. Method: two threads age the pages (MADV_COLD) without rest while they are evicted and
 * brought back as fast as it goes, by pinning: no faults, and a daemon that never answers. Single
 * pages between holes: it is then seen once in one or two thousand moves, on the same machine at other times once in
 * thirty thousand, and the test goes on until it has been seen some times. test_model has it always. */
#include "actor.h"
#include "rogue.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define NR 128u /* every other one is a hole */
#define ENOUGH 5u
#define MS_MAX 5000u

static struct arena a;
static _Atomic bool is_over;

static void age(void *argument)
{
    (void)argument;
    while (!atomic_load(&is_over))
        (void)madvise(a.pages.memory, pages_to_bytes(NR), MADV_COLD);
}

static void check_all(void)
{
    for (uint32_t i = 0; i < NR; i += 2)
        pages_check(&a.pages, i);
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("a MOVE that moved and reports an error loses nothing", 20);
    arena_begin(&a, r, NR);
    for (uint32_t i = 1; i < NR; i += 2) {
        CHECK_EQ(madvise(pages_at(&a.pages, i), PAGE_BYTES, MADV_DONTNEED), 0);
        a.pages.versions[i] = 0;
    }
    struct actor agers[2];
    rogue_answers(r, ROGUE_NEVER);
    rogue_offer_only(r, a.pages.memory, NR);
    for (int i = 0; i < 2; i++) {
        actor_begin(&agers[i], i % (int)sysconf(_SC_NPROCESSORS_ONLN), 0); /* one on each CPU */
        actor_do(&agers[i], age, NULL);
    }
    uint64_t begin = test_now_ms(), nr_seen = 0;
    while (test_now_ms() < begin + MS_MAX && nr_seen < ENOUGH) {
        CHECK_EQ(pp_pin(a.pager, a.pages.memory, pages_to_bytes(NR)), 0);
        check_all();
        for (uint32_t i = 0; i < NR; i += 32)
            pages_write(&a.pages, i);
        CHECK_EQ(pp_unpin(a.pager, a.pages.memory, pages_to_bytes(NR)), 0);
        test_nap_us(200);
        nr_seen = pager_stat(a.pager, "evict_moved_with_error");
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < 2; i++)
        actor_wait(&agers[i]);
    rogue_pause(r);
    rogue_answers(r, ROGUE_HONEST);
    printf("%lu evictions, %lu moved with an error\n",
           (unsigned long)pager_stat(a.pager, "client_evict_success"),
           (unsigned long)pager_stat(a.pager, "evict_moved_with_error"));
    check_all();
    arena_end(&a);
    if (!nr_seen)
        test_skip("the kernel of this machine did not move a page with an error just now: nothing was shown");
    return test_end();
}
