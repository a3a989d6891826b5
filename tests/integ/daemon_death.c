/* daemon_death - the daemon is killed, restarted, stopped, or never answers: no byte is lost, and the
 * client joins the next one. Method: a rogue daemon is killed with pages stored, with pages staged,
 * and in the middle of everything; all pages are read at once, or after the next daemon has come. */
#include "rogue.h"

#include <errno.h>
#include <signal.h>

#include "base/point.h"

#define NR 2048u

static struct arena a;

static void joins_again(uint64_t joins_before)
{
    WAIT_UNTIL(pager_stat(a.pager, "daemon_joins") > joins_before);
    WAIT_UNTIL(a.rogue->nr_ranges > 0);
}

static void killed_with_pages_stored(void)
{
    test_case("killed with pages stored, touched without a daemon");
    arena_all_out(&a);
    rogue_kill(a.rogue);
    pages_check_all(&a.pages);
    uint64_t joins = pager_stat(a.pager, "daemon_joins");
    rogue_start(a.rogue);
    joins_again(joins);
    pages_write_all(&a.pages);

    test_case("killed with pages stored, the next daemon comes first");
    arena_all_out(&a);
    rogue_kill(a.rogue);
    rogue_start(a.rogue);
    joins_again(joins + 1);
    pages_check_all(&a.pages);
}

static void killed_with_pages_staged(void)
{
    test_case("killed with pages staged and stored");
    arena_out(&a, 0, NR / 2);
    rogue_answers(a.rogue, ROGUE_NEVER);
    arena_out(&a, NR / 2, 400);
    WAIT_UNTIL(pager_stat(a.pager, "pages_staged") >= 400);
    uint64_t joins = pager_stat(a.pager, "daemon_joins");
    rogue_kill(a.rogue);
    a.rogue->answer = ROGUE_HONEST;
    WAIT_UNTIL(pages_nr_present(&a.pages, NR / 2, 400) == 400); /* what was staged goes back by itself */
    rogue_start(a.rogue);
    joins_again(joins);
    pages_check_all(&a.pages);
}

static void old_stores_are_drained(void)
{
    test_case("pages of a daemon that has gone come back by themselves");
    arena_all_out(&a);
    uint64_t joins = pager_stat(a.pager, "daemon_joins");
    rogue_kill(a.rogue);
    rogue_start(a.rogue);
    joins_again(joins);
    WAIT_UNTIL(pages_nr_present(&a.pages, 0, NR) == NR);
    pages_check_all(&a.pages);
}

static void killed_under_fire(void)
{
    test_case("killed again and again while pages are read and written");
    uint64_t random = 99;
    for (int round = 0; round < 5; round++) {
        uint64_t joins = pager_stat(a.pager, "daemon_joins");
        rogue_offer_all(a.rogue);
        for (int k = 0; k < 4000; k++) {
            uint32_t i = (uint32_t)(test_random(&random) % NR);
            pages_check(&a.pages, i);
            if (random >> 40 & 1)
                pages_write(&a.pages, i);
            if (k == 2000)
                rogue_kill(a.rogue);
        }
        rogue_start(a.rogue);
        joins_again(joins);
    }
    rogue_pause(a.rogue);
    pages_check_all(&a.pages);
}

static void stopped(void)
{
    test_case("SIGSTOP");
    arena_out(&a, 0, NR / 2);
    rogue_offer_all(a.rogue);
    test_nap_us(3000);
    rogue_freeze(a.rogue);
    test_nap_us(10000);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
    pages_check_all(&a.pages);
    CHECK_EQ(pp_unregister(a.pager, a.pages.memory, pages_to_bytes(NR)), 0);
    CHECK_EQ(pp_register(a.pager, a.pages.memory, pages_to_bytes(NR)), 0);
    rogue_thaw(a.rogue);
    WAIT_UNTIL(a.rogue->nr_ranges > 0);
    arena_all_out(&a);
    pages_check_all(&a.pages);

    test_case("stop with a stopped daemon");
    arena_all_out(&a);
    rogue_freeze(a.rogue);
    CHECK_EQ(pp_stop(a.pager), 0);
    pages_check_all(&a.pages);
    rogue_thaw(a.rogue);
    pager_start(a.pager);
    WAIT_UNTIL(a.rogue->nr_ranges > 0);
}

static void never_answers(void)
{
    test_case("a daemon that takes and never answers");
    rogue_answers(a.rogue, ROGUE_NEVER);
    rogue_offer_all(a.rogue);
    WAIT_UNTIL(pager_stat(a.pager, "pages_staged") >= 400);
    pages_check_all(&a.pages);
    CHECK_EQ(pp_stop(a.pager), 0);
    pages_check_all(&a.pages);
    rogue_answers(a.rogue, ROGUE_HONEST);
    pager_start(a.pager);
}

static void stop_without_daemon(void)
{
    test_case("stop when the daemon has gone");
    WAIT_UNTIL(a.rogue->nr_ranges > 0);
    arena_all_out(&a);
    rogue_kill(a.rogue);
    CHECK_EQ(pp_stop(a.pager), 0);
    CHECK(pp_start(a.pager) < 0);
    CHECK(*pp_error(a.pager));
    pages_check_all(&a.pages);
    rogue_start(a.rogue);
    pager_start(a.pager);
    WAIT_UNTIL(a.rogue->nr_ranges > 0);
}

/* None of their pages can come back meanwhile, so that there are four stores with pages in them. */
static void four_in_a_row(void)
{
    test_case("four die in a row with pages stored, and the fifth is joined");
    WAIT_UNTIL(pages_nr_present(&a.pages, 0, NR) == NR);
    point_arm(POINT_COPY_NO_MEMORY, 1, POINT_FOR_GOOD);
    uint64_t joins = pager_stat(a.pager, "daemon_joins");
    for (uint32_t k = 0; k < 4; k++) {
        arena_out(&a, k * NR / 4, NR / 4);
        rogue_kill(a.rogue);
        rogue_start(a.rogue);
        if (k < 3)
            joins_again(joins++);
    }
    CHECK_EQ(pages_nr_present(&a.pages, 0, NR), 0);
    point_disarm_all();
    joins_again(joins);
    pages_check_all(&a.pages);
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("the daemon's death loses nothing, and the next one is joined", 25);
    arena_begin(&a, r, NR);
    killed_with_pages_stored();
    killed_with_pages_staged();
    old_stores_are_drained();
    killed_under_fire();
    stopped();
    never_answers();
    stop_without_daemon();
    four_in_a_row();
    arena_end(&a);
    return test_end();
}
