/* late_answers - what the daemon says too late, twice, or of another generation changes nothing.
 * Method: a rogue daemon holds its answers while the pages are touched, rewritten and evicted again;
 * says each twice; or answers for the slot's earlier generation first, with a place full of other
 * bytes. */
#include "rogue.h"

#define NR 400u /* fits into staging */

static struct arena a;

static void held_while_pages_come_back(void)
{
    test_case("held while the pages come back and change");
    for (int round = 0; round < 3; round++) {
        uint64_t late = pager_stat(a.pager, "stored_late");
        rogue_answers(a.rogue, ROGUE_HOLD);
        arena_out(&a, 0, NR);
        WAIT_UNTIL(a.rogue->nr_held == NR);
        pages_check_all(&a.pages);
        pages_write_all(&a.pages);
        rogue_answers(a.rogue, ROGUE_HONEST);
        WAIT_UNTIL(pager_stat(a.pager, "stored_late") == late + NR);
        pages_check_all(&a.pages);
        arena_all_out(&a);
        pages_check_all(&a.pages);
    }
}

static void held_while_pages_leave_again(void)
{
    test_case("held while the pages come back, change and leave again");
    rogue_answers(a.rogue, ROGUE_HOLD);
    for (int round = 0; round < 2; round++) {
        arena_out(&a, 0, 150);
        WAIT_UNTIL(a.rogue->nr_held == 150u * (unsigned)(round + 1));
        for (uint32_t i = 0; i < 150; i++)
            pages_write(&a.pages, i);
    }
    arena_out(&a, 0, 150);
    WAIT_UNTIL(a.rogue->nr_held == 450);
    rogue_answers(a.rogue, ROGUE_HONEST);
    WAIT_UNTIL(pager_stat_now(a.pager, "pages_staged") == 0);
    pages_check_all(&a.pages);
}

static void other_generations(enum rogue_answer how, const char *name)
{
    test_case(name);
    uint64_t late = pager_stat(a.pager, "stored_late");
    rogue_answers(a.rogue, how);
    for (int round = 0; round < 3; round++) {
        arena_out(&a, 0, NR);
        WAIT_UNTIL(pager_stat_now(a.pager, "pages_staged") == 0);
        pages_check_all(&a.pages);
        pages_write_all(&a.pages);
    }
    CHECK(pager_stat(a.pager, "stored_late") >= late + 3 * NR);
    rogue_answers(a.rogue, ROGUE_HONEST);
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("late, doubled and outdated answers change nothing", 20);
    arena_begin(&a, r, NR);
    held_while_pages_come_back();
    held_while_pages_leave_again();
    other_generations(ROGUE_STALE_FIRST, "an answer for the slot's earlier generation comes first");
    other_generations(ROGUE_TWICE, "every answer comes twice");
    arena_end(&a);
    return test_end();
}
