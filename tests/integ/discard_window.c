/* discard_window - a page does not leave between the announcement of its discard and the zap: it would
 * come back with old bytes after madvise has returned. Nor is a thread that runs taken for one that
 * is outside the zap.
 *
 * Method: a thread discards much memory; in the middle of its zap a real-time thread takes its CPU;
 * meanwhile the last pages, not yet zapped, are offered for a while. */
#include "actor.h"
#include "rogue.h"

#include <stdio.h>
#include <sys/mman.h>

#define NR 32768u
#define TAIL 64u
#define HELD_MS 350 /* three times what the agent takes to look whether threads are outside */

static struct arena a;
static struct actor discarder, hog;

static void discard_all(void *argument)
{
    (void)argument;
    (void)madvise(a.pages.memory, pages_to_bytes(NR), MADV_DONTNEED);
}

/* True: the tail was still there while it was offered. */
static bool round_of(unsigned delay_us)
{
    _Atomic bool is_over = false;
    for (uint32_t i = 0; i < NR; i++) /* resident, one word is enough to see old bytes */
        *(volatile uint32_t *)pages_at(&a.pages, i) = i + 1;
    uint64_t events = pager_stat(a.pager, "events_remove");
    actor_do(&discarder, discard_all, NULL);
    WAIT_UNTIL(pager_stat(a.pager, "events_remove") > events);
    test_nap_us(delay_us);
    actor_do(&hog, actor_hog, &is_over);
    rogue_offer_only(a.rogue, pages_at(&a.pages, NR - TAIL), TAIL);
    test_nap_us(1000);
    bool was_inside = atomic_load(&discarder.is_busy) && pages_nr_present(&a.pages, NR - 1, 1) == 1;
    test_nap_us(HELD_MS * 1000);
    atomic_store(&is_over, true);
    actor_wait(&hog);
    actor_wait(&discarder);
    rogue_pause(a.rogue);
    for (uint32_t i = NR - TAIL; i < NR; i++) {
        uint32_t is = *(volatile uint32_t *)pages_at(&a.pages, i);
        if (is)
            test_fail(__FILE__, __LINE__, "page %u reads %u after its discard has returned", i, is);
    }
    return was_inside;
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("nothing leaves between the announcement of a discard and the zap", 20);
    stage_begin();
    arena_begin(&a, r, NR);
    arena_out(&a, 0, TAIL); /* arms all of it */
    actor_begin(&discarder, 1, PRIORITY_ACTOR);
    actor_begin(&hog, 1, PRIORITY_HIGH_HOG);
    stage_direct();
    unsigned nr_inside = 0;
    for (unsigned round = 0; round < 8 && nr_inside < 2; round++)
        nr_inside += round_of(round % 4 * 100);
    CHECK(nr_inside > 0); /* else nothing was shown */
    CHECK(pager_stat(a.pager, "pages_barred") > 0);
    CHECK_EQ(pp_stop(a.pager), 0);
    pp_close(a.pager);
    return test_end();
}
