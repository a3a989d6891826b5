/* squeeze - the second tier, and every way out of it: pages that are in groups are touched,
 * written, discarded, moved by mremap, inherited by a child, left by a dead daemon and brought back
 * by a stop, and read as they were. An answer that comes when its page has changed is not taken; a
 * daemon that lies about a group makes touches raise SIGBUS, or is dropped, and never gives other
 * bytes. Method: a rogue daemon that overwrites each place as soon as it is given up, holds its
 * answers, or lies; a squeeze age of 20 ms. */
#include "rogue.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR 256u
#define HELD 96u /* fewer than may be asked for at a time: the pager could ask for more */

static struct arena a;

static void begin(struct rogue *r)
{
    r->answer = ROGUE_HONEST;
    r->squeeze = ROGUE_SQUEEZE_HONEST;
    arena_begin(&a, r, NR);
}

static void all_squeezed(void)
{
    arena_all_out(&a);
    WAIT_UNTIL(pager_stat(a.pager, "pages_squeezed") == NR);
}

static void touched_and_written(void)
{
    test_case("touched and written");
    all_squeezed();
    pages_check_all(&a.pages);
    all_squeezed();
    pages_check(&a.pages, 5); /* one of a group; the others stay */
    CHECK_EQ(pages_nr_present(&a.pages, 0, NR), 1);
    WAIT_UNTIL(pager_stat(a.pager, "pages_squeezed") == NR - 1);
    pages_write_all(&a.pages);
    pages_check_all(&a.pages);
    all_squeezed();
    pages_check_all(&a.pages);
    CHECK_EQ(pager_stat(a.pager, "restore_fail"), 0);
    CHECK_EQ(pager_stat_now(a.pager, "pages_squeezed"), 0);
}

static void discarded_and_moved(void)
{
    test_case("discarded, and moved by mremap");
    all_squeezed();
    for (uint32_t i = 0; i < NR / 4; i += 3) {
        CHECK_EQ(madvise(pages_at(&a.pages, i), PAGE_BYTES, MADV_DONTNEED), 0);
        a.pages.versions[i] = 0;
    }
    /* The second half to another place, and back: in between its groups are half here, half there. */
    size_t bytes = pages_to_bytes(NR / 2 - 2);
    void *elsewhere = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(elsewhere != MAP_FAILED);
    void *half = pages_at(&a.pages, NR / 2 + 2);
    CHECK(mremap(half, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere) == elsewhere);
    test_nap_us(100000); /* some laps */
    CHECK(mremap(elsewhere, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, half) == half);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages); /* a zero page does not leave */
}

static void inherited(void)
{
    test_case("a child inherits them");
    all_squeezed();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (uint32_t i = 0; i < NR; i++)
            if (!pages_is_right(&a.pages, i))
                _exit(1);
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    pages_write_all(&a.pages); /* exclusive again */
}

static void moved_in_the_store(void)
{
    test_case("moved in the store, all the time, groups and single ones");
    a.rogue->moves = true;
    all_squeezed();
    uint64_t moved = pager_stat(a.pager, "squeeze_moved");
    for (int round = 0; round < 5; round++) {
        WAIT_UNTIL(pager_stat(a.pager, "squeeze_moved") > moved + NR);
        moved = pager_stat(a.pager, "squeeze_moved");
        pages_check(&a.pages, (uint32_t)round * 17);
        pages_write(&a.pages, (uint32_t)round * 17 + 1);
        arena_all_out(&a);
    }
    a.rogue->moves = false;
    rogue_squeezes(a.rogue, ROGUE_SQUEEZE_HONEST);
    pages_check_all(&a.pages);
}

static void held_while_pages_change(void)
{
    test_case("answers are held while the pages come back, change, leave, and are at the same places again");
    for (int round = 0; round < 4; round++) {
        pages_write_all(&a.pages);
        test_nap_us((unsigned)test_limit_ms(50) * 1000); /* what was asked for before is answered */
        rogue_squeezes(a.rogue, ROGUE_SQUEEZE_HOLD);
        arena_out(&a, 0, HELD);
        WAIT_UNTIL(a.rogue->nr_squeezed_held == HELD);
        uint64_t late = pager_stat(a.pager, "squeeze_late");
        for (uint32_t i = 0; i < HELD; i += 4) { /* about one of each group */
            pages_check(&a.pages, i);
            pages_write(&a.pages, i);
            if (round % 2 == 0)
                arena_out(&a, i, 1); /* what it gave up was the last: it gets the same place */
        }
        if (round % 2)
            arena_out(&a, 0, HELD);
        test_nap_us(150000); /* it is old enough to be asked for again, and is not */
        CHECK_EQ(a.rogue->nr_squeezed_held, HELD);
        rogue_squeezes(a.rogue, ROGUE_SQUEEZE_HONEST);
        WAIT_UNTIL(pager_stat(a.pager, "squeeze_late") >= late + HELD / 4 ||
                   pager_stat(a.pager, "pages_squeezed") >= HELD);
        pages_check_all(&a.pages);
        CHECK(pager_stat(a.pager, "squeeze_late") >= late + HELD / 4);
        rogue_squeezes(a.rogue, ROGUE_SQUEEZE_HONEST); /* what was asked for meanwhile is answered, not held */
    }
    all_squeezed();
    pages_check_all(&a.pages);
}

static void daemon_dies(void)
{
    test_case("the daemon dies: with all squeezed, and half-way");
    for (int round = 0; round < 2; round++) {
        if (round == 0) {
            all_squeezed();
        } else {
            rogue_squeezes(a.rogue, ROGUE_SQUEEZE_HOLD);
            arena_all_out(&a);
            WAIT_UNTIL(a.rogue->nr_squeezed_held >= NR / 2);
        }
        uint64_t joins = a.rogue->nr_joins;
        rogue_kill(a.rogue);
        for (uint32_t i = 0; i < NR; i += 3)
            pages_check(&a.pages, i);
        a.rogue->squeeze = ROGUE_SQUEEZE_HONEST;
        rogue_start(a.rogue);
        WAIT_UNTIL(a.rogue->nr_joins > joins && a.rogue->nr_ranges > 0);
        pages_check_all(&a.pages);
        WAIT_UNTIL(pager_stat(a.pager, "pages_squeezed") == 0);
        all_squeezed();
        pages_check_all(&a.pages);
    }
}

static void stopped(void)
{
    test_case("stop brings all back");
    all_squeezed();
    arena_end(&a);
}

/* Whose bytes are wrong is lost, and no other. */
static void wrong_group(struct rogue *r, enum rogue_squeeze how, const char *name)
{
    test_case(name);
    begin(r);
    rogue_squeezes(r, how);
    arena_out(&a, 0, NR / 2);
    WAIT_UNTIL(pager_stat(a.pager, "pages_squeezed") == NR / 2);
    CHECK_EQ(arena_nr_lost(&a, 0, NR), NR / 2);
    CHECK_EQ(arena_nr_lost(&a, 0, NR), NR / 2); /* and stays so */
    /* Whoever is woken may run before the agent has counted him. */
    WAIT_UNTIL(pager_stat(a.pager, "restore_fail") >= NR / 2);
    CHECK_EQ(pager_stat(a.pager, "restore_fail"), NR / 2);
    arena_end_lost(&a);
}

static void broken_protocol(struct rogue *r, enum rogue_squeeze how, const char *name)
{
    test_case(name);
    begin(r);
    uint64_t joins = pager_stat(a.pager, "daemon_joins");
    rogue_squeezes(r, how);
    rogue_offer_all(r);
    WAIT_UNTIL(pager_stat(a.pager, "daemon_joins") > joins); /* dropped, and joined anew */
    rogue_squeezes(r, ROGUE_SQUEEZE_HONEST);
    rogue_pause(r);
    CHECK_EQ(arena_nr_lost(&a, 0, NR), 0);
    pages_write_all(&a.pages);
    WAIT_UNTIL(r->nr_clients == test_sessions_of_one() && r->nr_ranges > 0);
    all_squeezed();
    arena_end(&a);
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    r->squeeze_age_ms = 20;
    test_begin("pages in groups come back as they were", 50);
    begin(r);
    touched_and_written();
    discarded_and_moved();
    inherited();
    moved_in_the_store();
    held_while_pages_change();
    daemon_dies();
    stopped();
    arena_catch_sigbus();
    wrong_group(r, ROGUE_SQUEEZE_MIXED_UP, "a group whose pages are told each other's places");
    wrong_group(r, ROGUE_SQUEEZE_OTHER_BYTES, "a group of other bytes");
    wrong_group(r, ROGUE_SQUEEZE_NO_FRAME, "bytes that are no group");
    broken_protocol(r, ROGUE_SQUEEZE_OUT_OF_RANGE, "a group outside the store");
    broken_protocol(r, ROGUE_SQUEEZE_NOT_ASKED, "an answer to what was not asked");
    broken_protocol(r, ROGUE_SQUEEZE_SAME_PLACE, "a place where the page is already");
    broken_protocol(r, ROGUE_SQUEEZE_BROKEN_RING, "a broken ring of such answers");
    return test_end();
}
