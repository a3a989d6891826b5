/* What is only read is found and left alone, what is not read is found in time, and the price is bounded.
 * Method: chunks of which each page is read at times of its own; the test does what scan.c and a client do:
 * looks, takes out what it is told to, tells what came back. Time is a number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "heat/probe.h"

#define PAGES 512u
#define COLD_MS 5000u
#define STEP_MS 50u
#define TICK_MS 250u
#define LOOK_MS 1250u
#define CHUNKS_MAX 512u

struct sim_page {
    uint32_t every_ms; /* read so often; 0: never */
    bool is_random;    /* at random, so often on average */
    bool is_written;   /* all the time: never idle */
    bool is_out, was_offered, is_pinned;
    uint64_t next_ms;  /* of the next read */
    uint64_t idle_ms;  /* from when on it looks idle */
};

static struct sim {
    size_t nr;
    uint64_t now_ms, seed;
    uint64_t nr_ordinary_returns;
    struct probe_purse purse;
    struct probe_region regions[CHUNKS_MAX];
    uint64_t looked_ms[CHUNKS_MAX];
    struct sim_page pages[CHUNKS_MAX][PAGES];
    struct { uint32_t chunk, page; } back[CHUNKS_MAX * PAGES]; /* not told yet */
    size_t nr_back;
} sim;

static uint64_t sim_random(void)
{
    sim.seed = sim.seed * 6364136223846793005u + 1442695040888963407u;
    return sim.seed >> 33;
}

static void sim_begin(size_t nr_chunks)
{
    memset(&sim, 0, sizeof(sim));
    sim.nr = nr_chunks;
    sim.now_ms = 1000;
    sim.seed = 1;
    probe_purse_init(&sim.purse, COLD_MS);
    for (size_t c = 0; c < nr_chunks; c++) {
        sim.looked_ms[c] = sim.now_ms - sim_random() % LOOK_MS;
        for (size_t i = 0; i < PAGES; i++)
            sim.pages[c][i].idle_ms = sim.now_ms;
    }
}

static void set_read(size_t chunk, size_t from, size_t to, uint32_t every_ms, bool is_random)
{
    for (size_t i = from; i < to; i++) {
        struct sim_page *p = &sim.pages[chunk][i];
        p->every_ms = every_ms;
        p->is_random = is_random;
        p->next_ms = sim.now_ms + (every_ms ? 1 + sim_random() % every_ms : 0);
    }
}

static void set_all_read(uint32_t every_ms)
{
    for (size_t c = 0; c < sim.nr; c++)
        set_read(c, 0, PAGES, every_ms, false);
}

static void set_sweep(size_t chunk, size_t from, size_t to, uint32_t every_ms)
{
    set_read(chunk, from, to, every_ms, false);
    uint64_t next_ms = sim.now_ms + 1 + sim_random() % every_ms;
    for (size_t i = from; i < to; i++)
        sim.pages[chunk][i].next_ms = next_ms;
}

/* Reads of this step; what is out comes back, and reads as written from then on. */
static void read_pages(void)
{
    for (uint32_t c = 0; c < sim.nr; c++)
        for (uint32_t i = 0; i < PAGES; i++) {
            struct sim_page *p = &sim.pages[c][i];
            bool is_read = p->is_random ? sim_random() % p->every_ms < STEP_MS
                                        : p->every_ms && sim.now_ms >= p->next_ms;
            if (!is_read)
                continue;
            if (!p->is_random)
                p->next_ms += p->every_ms;
            while (!p->is_random && p->next_ms <= sim.now_ms)
                p->next_ms += p->every_ms;
            if (!p->is_out)
                continue;
            p->is_out = false;
            p->idle_ms = sim.now_ms + LOOK_MS;
            sim.back[sim.nr_back].chunk = c;
            sim.back[sim.nr_back++].page = i;
        }
}

static void look(size_t c)
{
    struct probe_region *r = &sim.regions[c];
    struct probe_sight sight = { .idle = { { 0 } } };
    for (uint32_t i = 0; i < PAGES; i++) {
        const struct sim_page *p = &sim.pages[c][i];
        if (p->is_out)
            page_set_add(&sight.out, i);
        else if (p->is_pinned && page_set_has(&r->asked, i))
            page_set_add(&sight.stays, i);
        else if (!p->is_written && sim.now_ms >= p->idle_ms + COLD_MS / 2)
            page_set_add(&sight.idle, i);
    }
    probe_look(r, &sim.purse, &sight, sim.now_ms);
    sim.looked_ms[c] = sim.now_ms;
}

static void take_out(size_t c, uint32_t i)
{
    struct sim_page *p = &sim.pages[c][i];
    p->was_offered = true;
    if (!p->is_pinned && !p->is_written)
        p->is_out = true;
}

static void tick(void)
{
    for (size_t k = 0; k < sim.nr_back; k++)
        if (!probe_on_return(&sim.regions[sim.back[k].chunk], &sim.purse, sim.back[k].page, sim.now_ms))
            sim.nr_ordinary_returns++;
    sim.nr_back = 0;
    probe_purse_earn(&sim.purse, sim.now_ms);
    for (size_t c = 0; c < sim.nr; c++) {
        struct probe_region *r = &sim.regions[c];
        if (sim.now_ms >= sim.looked_ms[c] + LOOK_MS || (r->due_ms && sim.now_ms >= r->due_ms))
            look(c);
        for (int i; (i = probe_next(r, &sim.purse, sim.now_ms)) >= 0;)
            take_out(c, (uint32_t)i);
        for (uint32_t i = 0; i < PAGES; i++) {
            const struct sim_page *p = &sim.pages[c][i];
            if (!p->is_out && !p->is_written && sim.now_ms >= p->idle_ms + COLD_MS &&
                !(r->closed >> i / PROBE_CELL_PAGES & 1) && sim.looked_ms[c] >= p->idle_ms + COLD_MS)
                take_out(c, i);
        }
    }
}

static void pass(uint64_t ms)
{
    for (uint64_t until_ms = sim.now_ms + ms; sim.now_ms < until_ms;) {
        sim.now_ms += STEP_MS;
        read_pages();
        if (sim.now_ms % TICK_MS == 0)
            tick();
    }
}

/* Per mille of the pages that are read (or not) and not written that were ever offered. */
static unsigned offered(bool is_read)
{
    uint64_t nr = 0, nr_offered = 0;
    for (size_t c = 0; c < sim.nr; c++)
        for (size_t i = 0; i < PAGES; i++) {
            const struct sim_page *p = &sim.pages[c][i];
            if (p->is_written || (p->every_ms > 0) != is_read)
                continue;
            nr++;
            nr_offered += p->was_offered;
        }
    return nr ? (unsigned)(nr_offered * 1000 / nr) : 0;
}

static void forget_offers(void)
{
    for (size_t c = 0; c < sim.nr; c++)
        for (size_t i = 0; i < PAGES; i++)
            sim.pages[c][i].was_offered = false;
}

static void say(const char *what)
{
    print_message("%s: %u per mille of the cold, %u of the read; %lu probes back, %lu others, %lu us paid "
                  "in %lu ms\n", what, offered(false), offered(true),
                  (unsigned long)sim.purse.nr_returns, (unsigned long)sim.nr_ordinary_returns,
                  (unsigned long)(sim.purse.spent_ns / 1000), (unsigned long)(sim.now_ms - 1000));
}

/* 0.4 % of the time, and the two seconds that the purse holds at first. */
static void assert_price(void)
{
    assert_true(sim.purse.spent_ns <= (sim.now_ms - 1000 + 2000) * 4000);
}

#define NR 32u /* 64 MiB, as in tests/vm/half_hot.c */

static void what_is_not_read_leaves_in_time(void **state)
{
    (void)state;
    sim_begin(NR);
    pass(COLD_MS - STEP_MS);
    assert_in_range(offered(false), 0, 70); /* only probes, before they are that old */
    pass(2000);
    say("cold");
    assert_int_equal(offered(false), 1000);
    assert_int_equal(sim.purse.spent_ns, 0);
}

static void what_is_read_stays(void **state)
{
    (void)state;
    for (uint32_t every_ms = 50; every_ms <= 2000; every_ms *= 4) {
        sim_begin(NR);
        for (size_t c = 0; c < NR; c++)
            set_read(c, 0, PAGES, every_ms < 200 ? every_ms : every_ms / 4 * 4, every_ms > 50);
        pass(15000);
        print_message("every %u ms, ", every_ms);
        say("hot");
        assert_in_range(offered(true), 1, every_ms > 50 ? 80 : 30);
        assert_price();
    }
}

static void seldom_reads_are_waited_for(void **state)
{
    (void)state;
    sim_begin(NR);
    for (size_t c = 0; c < NR; c++)
        set_read(c, 0, PAGES, 2000, c % 2);
    pass(15000);
    say("each page every 2 s");
    assert_in_range(offered(true), 1, 160); /* probes only */
    assert_int_equal(sim.nr_ordinary_returns, 0);
    assert_price();
}

static void half_is_found(void **state)
{
    (void)state;
    sim_begin(NR);
    for (size_t c = 0; c < NR / 2; c++)
        set_read(c, 0, PAGES, 50, false);
    pass(7000);
    say("half, by chunks");
    assert_int_equal(offered(false), 1000);
    assert_in_range(offered(true), 1, 30);
    sim_begin(NR);
    for (size_t c = 0; c < NR; c++)
        set_read(c, 0, PAGES / 2, 50, false);
    pass(10000);
    say("half of each chunk");
    assert_in_range(offered(false), 900, 1000);
    assert_in_range(offered(true), 1, 90);
    assert_price();
}

static void stripes_are_found(void **state)
{
    (void)state;
    sim_begin(NR);
    for (size_t c = 0; c < NR; c++)
        for (size_t i = 0; i < PAGES; i += 2 * PROBE_CELL_PAGES) {
            set_read(c, i, i + PROBE_CELL_PAGES, 50, false);
            for (size_t k = i; k < i + PROBE_CELL_PAGES / 2; k++)
                sim.pages[c][k].is_written = true;
        }
    pass(12000);
    say("stripes of 64 KiB");
    assert_in_range(offered(false), 900, 1000);
    assert_in_range(offered(true), 1, 250);
    assert_price();
}

static void scattered_pages_are_paid_for(void **state)
{
    (void)state;
    sim_begin(NR);
    for (size_t c = 0; c < NR; c++)
        for (size_t i = 0; i < PAGES; i++)
            if (sim_random() % 10 == 0)
                set_read(c, i, i + 1, 50, false);
    pass(10000);
    say("scattered, 10 s");
    pass(50000);
    say("scattered, 60 s");
    assert_in_range(offered(false), 700, 1000);
    assert_price();
    /* What slipped through was foretold: on average not more than the same half per cent. */
    assert_true(sim.nr_ordinary_returns * sim.purse.return_ns <= (sim.now_ms + 2000) * 4000);
}

/* A chunk of which half was read and half was written, and then nothing of either. */
static void who_becomes_idle_later_need_not_wait_for_the_others(void **state)
{
    (void)state;
    sim_begin(NR);
    for (size_t c = 0; c < NR; c++) {
        set_read(c, 0, PAGES / 2, 50, false);
        for (size_t i = PAGES / 2; i < PAGES; i++)
            sim.pages[c][i].is_written = true;
    }
    pass(20000);
    for (size_t c = 0; c < NR; c++) {
        set_read(c, 0, PAGES / 2, 0, false);
        for (size_t i = PAGES / 2; i < PAGES; i++) {
            sim.pages[c][i].is_written = false;
            sim.pages[c][i].idle_ms = sim.now_ms + 1000;
        }
    }
    forget_offers();
    pass(7000); /* asked one after the other: six in ten by then */
    say("half read, half written, then idle for 7 s");
    assert_in_range(offered(false), 900, 1000);
}

/* Each question about what stays hot is two returns to another place of the machine's memory. Not much later
 * than it had been hot it is found cold all the same. */
static void what_stays_hot_is_asked_rarely(void **state)
{
    (void)state;
    sim_begin(NR);
    set_all_read(50);
    pass(60000);
    uint64_t nr_before = sim.purse.nr_returns;
    pass(60000);
    uint64_t nr = sim.purse.nr_returns - nr_before;
    print_message("hot for two minutes: %u probes back in the second, of %u chunks\n", (unsigned)nr,
                  (unsigned)NR);
    assert_in_range(nr, 2 * 2 * NR, 2 * 4 * NR); /* every 4 cold ages */
    forget_offers();
    set_all_read(0);
    pass(25000);
    say("hot for two minutes, cold for 25 s");
    assert_in_range(offered(false), 900, 1000);
}

/* Pages look idle from the beginning, but none may leave: neither is any asked, nor all at once afterwards. */
static void nothing_is_asked_while_nothing_may_leave(void **state)
{
    (void)state;
    sim_begin(CHUNKS_MAX);
    set_all_read(50);
    sim.purse.is_shut = true;
    pass(25000);
    assert_int_equal(sim.purse.nr_returns, 0);
    assert_int_equal(offered(true), 0);
    sim.purse.is_shut = false;
    pass(2000);
    print_message("2 s after 25 s of grace: %u probes back\n", (unsigned)sim.purse.nr_returns);
    assert_in_range(sim.purse.spent_ns, 1, (2000 + 2 * 2000) * 4000);
}

/* However long a cold age. */
static void what_was_hot_for_long_is_found_cold_within_a_minute_and_a_cold_age(void **state)
{
    (void)state;
    sim_begin(4);
    sim.purse.cold_age_ms = 64000;
    set_all_read(50);
    pass(600000);
    forget_offers();
    set_all_read(0);
    pass(60000 + 64000);
    say("hot for ten minutes with a cold age of 64 s, then cold for 124 s");
    assert_in_range(offered(false), 900, 1000);
}

/* A cell that is always read does not keep what becomes idle beside it from being asked. */
static void what_becomes_idle_does_not_wait_for_what_is_hot(void **state)
{
    (void)state;
    sim_begin(NR);
    for (size_t c = 0; c < NR; c++) {
        set_read(c, 0, PAGES / 2, 50, false);
        for (size_t i = PAGES / 2; i < PAGES; i++)
            sim.pages[c][i].is_written = true;
    }
    pass(120000);
    for (size_t c = 0; c < NR; c++)
        for (size_t i = PAGES / 2; i < PAGES; i++) {
            sim.pages[c][i].is_written = false;
            sim.pages[c][i].idle_ms = sim.now_ms + 1000;
        }
    forget_offers();
    pass(12000);
    say("half read for two minutes, the other half then idle for 12 s");
    assert_in_range(offered(false), 900, 1000);
}

static void it_may_change_its_mind(void **state)
{
    (void)state;
    sim_begin(NR);
    set_all_read(50);
    pass(20000);
    forget_offers();
    set_all_read(0);
    pass(9500);
    say("hot for 20 s, cold for 9.5 s");
    assert_in_range(offered(false), 900, 1000);
    set_all_read(50);
    pass(10000); /* all comes back, and looks idle again */
    forget_offers();
    pass(20000);
    say("and hot again");
    assert_in_range(offered(true), 0, 100);
    assert_price();
}

static void a_sweep_is_learnt(void **state)
{
    (void)state;
    sim_begin(NR);
    for (size_t c = 0; c < NR; c++)
        set_sweep(c, 0, PAGES, 4000);
    pass(30000);
    say("all at once every 4 s, 30 s");
    uint64_t nr_before = sim.nr_ordinary_returns;
    assert_in_range(nr_before, 1, NR * PAGES / 2); /* some slip through, once */
    forget_offers();
    pass(120000);
    say("2 minutes later");
    assert_in_range(sim.nr_ordinary_returns - nr_before, 0, NR * PAGES / 16);
    assert_price();
}

static unsigned nr_chunks_hot(void)
{
    unsigned nr = 0;
    for (size_t c = 0; c < CHUNKS_MAX; c++)
        nr += sim.regions[c].hot_ms > 0;
    return nr;
}

static void a_large_memory_is_asked_slowly(void **state)
{
    (void)state;
    sim_begin(CHUNKS_MAX);
    set_all_read(50);
    pass(5000);
    assert_price();
    pass(60000);
    say("1 GiB, hot");
    assert_price();
    assert_in_range(offered(true), 1, 50);
    assert_int_equal(nr_chunks_hot(), CHUNKS_MAX); /* everybody has had a turn */
    sim_begin(CHUNKS_MAX);
    pass(15000);
    say("1 GiB, cold");
    assert_int_equal(offered(false), 1000);
}

/* As above; who may lose more has the answers sooner. */
static void a_larger_budget_asks_sooner(void **state)
{
    (void)state;
    uint64_t took_ms[2];
    for (unsigned i = 0; i < 2; i++) {
        sim_begin(CHUNKS_MAX);
        probe_purse_set_income(&sim.purse, i ? 32000 : 4000);
        for (size_t c = 0; c < CHUNKS_MAX; c++)
            set_read(c, 0, PAGES, 50, false);
        for (took_ms[i] = 0; nr_chunks_hot() < CHUNKS_MAX && took_ms[i] < 100000; took_ms[i] += 500)
            pass(500);
        assert_true(sim.purse.spent_ns <= (took_ms[i] + 2000) * (i ? 32000 : 4000));
    }
    print_message("1 GiB, hot, known after %lu and %lu ms\n", (unsigned long)took_ms[0], (unsigned long)took_ms[1]);
    assert_true(took_ms[1] < took_ms[0] / 2);
}

/* 0.004 % of a thread: the purse holds less than a question costs. */
static void a_small_budget_asks_slowly_and_does_ask(void **state)
{
    (void)state;
    sim_begin(4);
    probe_purse_set_income(&sim.purse, 40);
    sim.purse.ns = 0;
    set_read(0, 0, PAGES, 50, false);
    pass(600000);
    say("8 MiB, a quarter hot, 0.004 %");
    assert_int_equal(offered(false), 1000);
    assert_int_equal(sim.nr_ordinary_returns, 0);
    assert_true(sim.purse.spent_ns <= sim.now_ms * 40 + PROBE_CELLS * sim.purse.return_ns);
}

static void what_does_not_leave_says_nothing(void **state)
{
    (void)state;
    sim_begin(1);
    for (size_t i = 0; i < PAGES; i++)
        sim.pages[0][i].is_pinned = true; /* or the client stands still */
    set_read(0, 0, PAGES, 50, false);
    for (int i = 0; i < 240; i++) {
        pass(250);
        assert_int_equal(sim.regions[0].open, 0);
    }
    assert_in_range(sim.purse.ns, 7500000, 8000000); /* paid in advance, and refunded */
    for (size_t i = 0; i < PAGES; i++)
        sim.pages[0][i].is_pinned = false;
    pass(10000);
    assert_true(sim.regions[0].hot != 0);
    assert_int_equal(sim.nr_ordinary_returns, 0);
}

static void a_return_that_nobody_told_is_seen(void **state)
{
    (void)state;
    sim_begin(1);
    set_read(0, 0, PAGES, 50, false);
    for (int i = 0; i < 60; i++) {
        sim.nr_back = 0;
        pass(STEP_MS * 4); /* never across two ticks */
        sim.nr_back = 0;
        assert_int_equal(sim.regions[0].open, 0);
    }
    assert_true(sim.regions[0].hot != 0 && sim.purse.nr_returns > 0);
}

static void a_few_pages_are_not_asked(void **state)
{
    (void)state;
    sim_begin(1);
    for (size_t i = PROBE_FROM_PAGES - 1; i < PAGES; i++)
        sim.pages[0][i].is_written = true;
    pass(COLD_MS - STEP_MS);
    assert_int_equal(offered(false), 0);
    pass(LOOK_MS + TICK_MS);
    assert_int_equal(offered(false), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_read_leaves_in_time),
        cmocka_unit_test(what_is_read_stays),
        cmocka_unit_test(seldom_reads_are_waited_for),
        cmocka_unit_test(half_is_found),
        cmocka_unit_test(stripes_are_found),
        cmocka_unit_test(scattered_pages_are_paid_for),
        cmocka_unit_test(who_becomes_idle_later_need_not_wait_for_the_others),
        cmocka_unit_test(what_stays_hot_is_asked_rarely),
        cmocka_unit_test(nothing_is_asked_while_nothing_may_leave),
        cmocka_unit_test(what_was_hot_for_long_is_found_cold_within_a_minute_and_a_cold_age),
        cmocka_unit_test(what_becomes_idle_does_not_wait_for_what_is_hot),
        cmocka_unit_test(it_may_change_its_mind),
        cmocka_unit_test(a_sweep_is_learnt),
        cmocka_unit_test(a_large_memory_is_asked_slowly),
        cmocka_unit_test(a_larger_budget_asks_sooner),
        cmocka_unit_test(a_small_budget_asks_slowly_and_does_ask),
        cmocka_unit_test(what_does_not_leave_says_nothing),
        cmocka_unit_test(a_return_that_nobody_told_is_seen),
        cmocka_unit_test(a_few_pages_are_not_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
