/* stop_with_all_out - stop, unregister and close with everything out lose nothing, and a stopped
 * pager starts again. Method: each is called while no page is present; the bytes are then checked
 * where no pager answers any more. */
#include "rogue.h"

#include <errno.h>

#define NR 2048u

static struct arena a;

static void unregister(void)
{
    test_case("unregister");
    arena_all_out(&a);
    CHECK_EQ(pp_unregister(a.pager, a.pages.memory, pages_to_bytes(NR)), 0);
    pages_check_all(&a.pages);
    WAIT_UNTIL(pager_stat(a.pager, "pages_staged") + pager_stat(a.pager, "pages_stored") == 0);
    pages_write_all(&a.pages);
    CHECK_EQ(pp_register(a.pager, a.pages.memory, pages_to_bytes(NR)), 0);
}

/* Half of the memory is a range of its own: the other half stays out. */
static void unregister_one_of_two(void)
{
    test_case("unregister one of two ranges");
    CHECK_EQ(pp_unregister(a.pager, a.pages.memory, pages_to_bytes(NR)), 0);
    CHECK_EQ(pp_register(a.pager, a.pages.memory, pages_to_bytes(NR / 2)), 0);
    CHECK_EQ(pp_register(a.pager, pages_at(&a.pages, NR / 2), pages_to_bytes(NR / 2)), 0);
    arena_all_out(&a);
    CHECK_EQ(pp_unregister(a.pager, a.pages.memory, pages_to_bytes(NR / 2)), 0);
    CHECK_EQ(pages_nr_present(&a.pages, NR / 2, NR / 2), 0);
    CHECK_EQ(pages_nr_present(&a.pages, 0, NR / 2), NR / 2);
    pages_check_all(&a.pages);
    CHECK_EQ(pp_register(a.pager, a.pages.memory, pages_to_bytes(NR / 2)), 0);
}

static void stop_and_start(void)
{
    for (int round = 0; round < 3; round++) {
        test_case("stop");
        arena_all_out(&a);
        CHECK_EQ(pp_stop(a.pager), 0);
        CHECK_EQ(pages_nr_present(&a.pages, 0, NR), NR);
        pages_check_all(&a.pages);
        pages_write_all(&a.pages);
        CHECK_EQ(pp_stop(a.pager), -EALREADY);
        test_case("start again");
        pager_start(a.pager);
        CHECK_EQ(pp_start(a.pager), -EALREADY);
        WAIT_UNTIL(a.rogue->nr_ranges == 2);
    }
}

static void close_it(void)
{
    test_case("close");
    arena_all_out(&a);
    a.pager = pp_close(a.pager);
    CHECK(!a.pager);
    pages_check_all(&a.pages);
    CHECK(!pp_close(NULL));
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("stop, unregister and close with everything out lose nothing", 15);
    arena_begin(&a, r, NR);
    unregister();
    unregister_one_of_two();
    stop_and_start();
    close_it();
    WAIT_UNTIL(r->nr_clients == 0);
    return test_end();
}
