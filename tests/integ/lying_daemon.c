/* lying_daemon - a daemon that gives back wrong bytes makes touches raise SIGBUS, and never hands out
 * other bytes or zeros; one that breaks the protocol is dropped, and the client lives. Method: a
 * rogue daemon for each lie; the touch stands in a handler's shadow (sigsetjmp). */
#include "rogue.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#define NR 256u

static struct arena a;

static void begin(struct rogue *r)
{
    r->answer = ROGUE_HONEST;
    arena_begin(&a, r, NR);
}

static void wrong_bytes(struct rogue *r, enum rogue_answer how, const char *name)
{
    test_case(name);
    begin(r);
    arena_out(&a, NR / 2, NR / 2); /* honestly */
    rogue_answers(r, how);
    arena_out(&a, 0, NR / 2);
    CHECK_EQ(arena_nr_lost(&a, 0, NR), NR / 2);
    CHECK_EQ(arena_nr_lost(&a, 0, NR), NR / 2); /* and stays so */
    CHECK(!arena_is_lost(&a, NR - 1));
    CHECK_EQ(pager_stat(a.pager, "restore_fail"), NR / 2);
    arena_end_lost(&a);
}

static void spoil_store(struct rogue *r)
{
    r->spoils_store = true;
    WAIT_UNTIL(!r->spoils_store);
    uint64_t rounds = r->rounds;
    WAIT_UNTIL(r->rounds > rounds); /* it has done what it has read */
}

static void spoilt_store(struct rogue *r)
{
    test_case("bytes that change after they were stored; stop says so");
    begin(r);
    arena_all_out(&a);
    spoil_store(r);
    CHECK_EQ(pp_stop(a.pager), -EIO);
    CHECK_EQ(arena_nr_lost(&a, 0, NR), NR);
    CHECK(*pp_error(a.pager));
    arena_end_lost(&a);

    test_case("the same, and unregister says so");
    begin(r);
    arena_all_out(&a);
    spoil_store(r);
    CHECK_EQ(pp_unregister(a.pager, a.pages.memory, pages_to_bytes(NR)), -EIO);
    CHECK_EQ(arena_nr_lost(&a, 0, NR), NR);
    arena_end_lost(&a);
}

/* Written over, a lost page is a page again only in a new mapping; DONTNEED makes it zeros. */
static void poison_ends_with_the_page(struct rogue *r)
{
    test_case("a lost page that is discarded reads as zeros");
    begin(r);
    rogue_answers(r, ROGUE_WRONG_BYTES);
    arena_out(&a, 0, NR);
    CHECK(arena_is_lost(&a, 3));
    CHECK_EQ(madvise(pages_at(&a.pages, 3), PAGE_BYTES, MADV_DONTNEED), 0);
    a.pages.versions[3] = 0;
    CHECK(!arena_is_lost(&a, 3));
    arena_end_lost(&a);
}

static void broken_protocol(struct rogue *r, enum rogue_answer how, const char *name)
{
    test_case(name);
    begin(r);
    /* A producer looks at the other side's position only when the ring seems full: 1024 entries. */
    for (int round = 0; round < 7; round++) {
        arena_out(&a, NR / 2, NR / 2);
        CHECK_EQ(arena_nr_lost(&a, 0, NR), 0);
    }
    uint64_t joins = pager_stat(a.pager, "daemon_joins");
    rogue_answers(r, how);
    rogue_offer_all(r);
    WAIT_UNTIL(pager_stat(a.pager, "daemon_joins") > joins); /* dropped, and joined anew */
    CHECK_EQ(arena_nr_lost(&a, 0, NR), 0);
    rogue_answers(r, ROGUE_HONEST);
    rogue_pause(r);
    CHECK_EQ(arena_nr_lost(&a, 0, NR), 0);
    pages_write_all(&a.pages);
    WAIT_UNTIL(r->nr_clients == test_sessions_of_one());
    WAIT_UNTIL(test_is_direct() || r->nr_ranges > 0); /* the last session's: a companion's partner has none */
    arena_all_out(&a);
    arena_end(&a);
}

static void lies_that_do_not_matter(struct rogue *r)
{
    test_case("a daemon that frees raw slots that were not lent");
    begin(r);
    rogue_answers(r, ROGUE_LENDS_LIES);
    rogue_offer_all(r);
    for (int round = 0; round < 20; round++) {
        volatile uint32_t i = 0;
        for (; i < NR; i++)
            (void)arena_is_lost(&a, i); /* its own copies may be spoilt: noticed, or right */
        test_nap_us(2000);
    }
    rogue_pause(r);
    arena_end_lost(&a);
}

static void joining(struct rogue *r)
{
    test_case("a daemon that refuses, one that says nothing");
    rogue_start(r);
    rogue_answers(r, ROGUE_REFUSES);
    struct pp_pager *pager = pager_open(r->socket_path);
    CHECK_EQ(pp_start(pager), -EUSERS);
    rogue_answers(r, ROGUE_DEAF);
    uint64_t begun_ms = test_now_ms();
    CHECK_EQ(pp_start(pager), -ETIMEDOUT);
    CHECK(test_now_ms() - begun_ms < test_limit_ms(15000));
    rogue_answers(r, ROGUE_HONEST);
    pager_start(pager);
    pp_close(pager);
    rogue_kill(r);
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("a lying daemon is found out", 40);
    arena_catch_sigbus();
    wrong_bytes(r, ROGUE_WRONG_BYTES, "stored bytes that do not decode");
    wrong_bytes(r, ROGUE_OTHER_BYTES, "stored bytes that are not the page's");
    wrong_bytes(r, ROGUE_SAYS_ZERO, "a page that is not zeros is called zeros");
    spoilt_store(r);
    poison_ends_with_the_page(r);
    broken_protocol(r, ROGUE_OUT_OF_RANGE, "a place outside the store");
    broken_protocol(r, ROGUE_NO_SUCH_SLOT, "a staging slot that can't be");
    broken_protocol(r, ROGUE_BROKEN_STORED, "a broken ring of answers");
    broken_protocol(r, ROGUE_BROKEN_RAW, "a broken ring of raw pages");
    broken_protocol(r, ROGUE_BROKEN_RAW_FREE, "a broken ring of free raw slots");
    broken_protocol(r, ROGUE_BROKEN_CANDIDATES, "a broken ring of candidates");
    broken_protocol(r, ROGUE_WRONG_ORDER, "an order that is not for clients");
    lies_that_do_not_matter(r);
    joining(r);
    return test_end();
}
