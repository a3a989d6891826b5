/* pins - what is pinned is back when pp_pin returns and stays until as many unpins. Method: everything
 * is offered all the time; presence is read from pagemap, without a touch. */
#include "rogue.h"

#include <errno.h>

#define NR 1024u

static struct arena a;

static const void *middle(void)
{
    return pages_at(&a.pages, 300);
}

static bool is_middle_in(void)
{
    return pages_nr_present(&a.pages, 300, 100) == 100;
}

static void stays_for(unsigned ms)
{
    for (uint64_t until = test_now_ms() + ms; test_now_ms() < until; test_nap_us(500))
        CHECK(is_middle_in());
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("pinned memory is back and stays", 15);
    arena_begin(&a, r, NR);
    CHECK_EQ(pp_unpin(a.pager, middle(), pages_to_bytes(100)), -ENOENT);
    rogue_offer_all(r);
    WAIT_UNTIL(pages_nr_present(&a.pages, 0, NR) == 0);
    CHECK_EQ(pp_pin(a.pager, middle(), pages_to_bytes(100)), 0);
    CHECK(is_middle_in());
    stays_for(50);
    CHECK_EQ(pp_pin(a.pager, middle(), pages_to_bytes(100)), 0);
    CHECK_EQ(pp_pin(a.pager, pages_at(&a.pages, 350), pages_to_bytes(10)), 0); /* inside the first */
    CHECK_EQ(pp_unpin(a.pager, middle(), pages_to_bytes(100)), 0);
    stays_for(50);
    CHECK_EQ(pp_unpin(a.pager, middle(), pages_to_bytes(99)), -ENOENT);
    CHECK_EQ(pp_unpin(a.pager, middle(), pages_to_bytes(100)), 0);
    WAIT_UNTIL(pages_nr_present(&a.pages, 300, 100) == 10);
    CHECK_EQ(pages_nr_present(&a.pages, 350, 10), 10);
    CHECK_EQ(pp_unpin(a.pager, pages_at(&a.pages, 350), pages_to_bytes(10)), 0);
    CHECK_EQ(pp_unpin(a.pager, pages_at(&a.pages, 350), pages_to_bytes(10)), -ENOENT);
    WAIT_UNTIL(pages_nr_present(&a.pages, 0, NR) == 0);

    test_case("a pin outlives a stop and comes before a start");
    CHECK_EQ(pp_pin(a.pager, middle(), pages_to_bytes(100)), 0);
    CHECK_EQ(pp_stop(a.pager), 0);
    CHECK_EQ(pp_pin(a.pager, pages_at(&a.pages, 350), pages_to_bytes(60)), 0);
    CHECK_EQ(pp_start(a.pager), 0);
    WAIT_UNTIL(pages_nr_present(&a.pages, 0, NR) == 110);
    CHECK_EQ(pages_nr_present(&a.pages, 300, 110), 110);
    CHECK_EQ(pp_unpin(a.pager, middle(), pages_to_bytes(100)), 0);
    CHECK_EQ(pp_unpin(a.pager, pages_at(&a.pages, 350), pages_to_bytes(60)), 0);
    WAIT_UNTIL(pages_nr_present(&a.pages, 0, NR) == 0);

    test_case("too many pins");
    int r_pin = 0;
    uint32_t nr = 0;
    for (; nr < 2000 && !r_pin; nr++)
        r_pin = pp_pin(a.pager, pages_at(&a.pages, nr % NR), pages_to_bytes(1 + nr / NR));
    CHECK_EQ(r_pin, -ENOSPC);
    for (uint32_t i = 0; i + 1 < nr; i++)
        CHECK_EQ(pp_unpin(a.pager, pages_at(&a.pages, i % NR), pages_to_bytes(1 + i / NR)), 0);
    WAIT_UNTIL(pages_nr_present(&a.pages, 0, NR) == 0);
    rogue_pause(r);
    arena_end(&a);
    return test_end();
}
