/* prefetch - pages that come back ahead of a pass have their newest bytes, whatever other threads
 * do to them meanwhile. Method: everything is out; a thread passes in order, and how many pages
 * came back ahead is counted. Then passes up and down run over memory of which every other block
 * belongs to threads that write, discard, replace and move it, while a daemon offers all of it all
 * the time and overwrites at once what is given up: windows are full of pages that change under
 * them. Expected versions lie outside. */
#include "rogue.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define NR 4096u
#define BLOCK 8u /* pages; every second block is a changer's, so that each window has some */
#define CHANGERS 2u
#define MS 2500u

static struct arena a;

static uint64_t stat_of(const char *name)
{
    return pager_stat(a.pager, name);
}

/* How many pages came back ahead of reading these places. */
static uint64_t pass(int64_t from, int64_t step, uint32_t nr)
{
    uint64_t before = stat_of("prefetch_pages");
    for (uint32_t i = 0; i < nr; i++, from += step)
        pages_check(&a.pages, (uint32_t)from);
    return stat_of("prefetch_pages") - before;
}

/* More than half comes back ahead; on a busy machine, where whoever reads outruns the agent, not each time. */
static void pass_ahead(int64_t from, int64_t step, uint32_t nr)
{
    for (unsigned i = 0; i < 8; i++) {
        arena_all_out(&a);
        if (pass(from, step, nr) > nr / 2)
            return;
    }
    test_fail(__FILE__, __LINE__, "of eight passes not one had half of its pages ahead");
}

static void passes(void)
{
    test_case("up");
    uint64_t used = stat_of("prefetch_used");
    pass_ahead(0, 1, NR);
    CHECK(stat_of("prefetch_windows") > NR / 256);
    CHECK(stat_of("prefetch_used") > used + NR / 4);
    test_case("down");
    pass_ahead(NR - 1, -1, NR);
    test_case("every third");
    pass_ahead(0, 3, NR / 3);
    pages_check_all(&a.pages);
}

static void what_is_left_of_a_pass(void)
{
    test_case("a pass that stops");
    arena_all_out(&a);
    CHECK(pass(0, 1, NR / 8) <= NR / 8 + 256);
    CHECK(pages_nr_present(&a.pages, 0, NR) <= NR / 8 + 256);
    uint64_t wasted = stat_of("prefetch_wasted");
    WAIT_UNTIL(stat_of("prefetch_wasted") > wasted);
}

/* Three pages each, far apart: when that is known, most come back with their first. Where whoever reads
 * outruns the agent the second is wanted before it is back, and is a fault as well: so one round of many will
 * do. A pass that is seen in three faults saves none of them. */
static void values(void)
{
    test_case("values of three pages, in any order");
    enum { NR_VALUES = NR / 128, NR_PAGES = 3 * NR_VALUES };
    uint32_t places[NR_VALUES] = { 0 };
    uint64_t random = 4711, nr_faults = NR_PAGES;
    for (unsigned round = 0; round < 32 && nr_faults > NR_PAGES * 3 / 4; round++) {
        arena_all_out(&a);
        uint64_t before = pager_stat_now(a.pager, "faults_missing");
        for (uint32_t i = 0; i < NR_VALUES; i++) {
            uint32_t other = (uint32_t)(test_random(&random) % (i + 1));
            places[i] = places[other];
            places[other] = i * NR / NR_VALUES;
        }
        for (uint32_t i = 0; i < NR_VALUES; i++)
            for (uint32_t j = 0; j < 3; j++)
                pages_check(&a.pages, places[i] + j);
        bool is_little_more = pages_nr_present(&a.pages, 0, NR) < NR_VALUES * 4;
        nr_faults = is_little_more ? pager_stat_now(a.pager, "faults_missing") - before : NR_PAGES;
    }
    CHECK(nr_faults <= NR_PAGES * 3 / 4); /* with none late, and one of eight left alone: 40 of 96 */
}

/* This and what_is_left_of_a_pass before all passes: on a slow machine those have a rhythm, and all of it comes
 * back for the next. */
static void random_touches(void)
{
    test_case("random touches");
    arena_all_out(&a);
    uint64_t before = stat_of("prefetch_pages"), random = 4711;
    for (int i = 0; i < 1000; i++)
        pages_check(&a.pages, (uint32_t)(test_random(&random) % NR));
    CHECK(stat_of("prefetch_pages") - before < 100);
    CHECK(pages_nr_present(&a.pages, 0, NR) < 1100);
}

/* ---- while everything changes */

static atomic_bool is_over;

static bool is_changers(uint32_t page)
{
    return page / BLOCK % 2;
}

/* Passes over its half, up and down in turns, and writes some of what it reads. */
static void *passer(void *argument)
{
    uint32_t half = (uint32_t)(uintptr_t)argument, first = half * NR / 2, nr = NR / 2;
    uint64_t random = 17 + half;
    for (bool is_up = half == 0; !atomic_load(&is_over); is_up = !is_up)
        for (uint32_t i = 0; i < nr && !atomic_load(&is_over); i++) {
            uint32_t page = first + (is_up ? i : nr - 1 - i);
            if (is_changers(page))
                continue;
            pages_check(&a.pages, page);
            if (test_random(&random) % 8 == 0)
                pages_write(&a.pages, page);
        }
    return NULL;
}

static void forget(uint32_t first)
{
    memset(a.pages.versions + first, 0, BLOCK * sizeof *a.pages.versions);
}

/* There and back again: what is out goes along. */
static void move_about(unsigned char *block, unsigned char *aside)
{
    CHECK(mremap(block, pages_to_bytes(BLOCK), pages_to_bytes(BLOCK), MREMAP_MAYMOVE | MREMAP_FIXED,
                 aside) == aside);
    CHECK(mremap(aside, pages_to_bytes(BLOCK), pages_to_bytes(BLOCK), MREMAP_MAYMOVE | MREMAP_FIXED,
                 block) == block);
}

static void change(uint32_t first, unsigned char *aside, uint64_t *random)
{
    unsigned char *block = pages_at(&a.pages, first);
    size_t bytes = pages_to_bytes(BLOCK);
    switch (test_random(random) % 16) {
    case 0:
    case 1:
    case 2:
        CHECK_EQ(madvise(block, bytes, MADV_DONTNEED), 0);
        forget(first);
        break;
    case 3:
        CHECK(mmap(block, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
              block);
        forget(first);
        break;
    case 4:
        CHECK_EQ(munmap(block, bytes), 0);
        test_nap_us(100);
        CHECK(mmap(block, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == block);
        forget(first);
        break;
    case 5:
        move_about(block, aside);
        break;
    default:
        for (uint32_t i = 0; i < BLOCK; i++)
            if (test_random(random) % 2)
                pages_write(&a.pages, first + i);
    }
}

struct changer {
    uint64_t who;
    unsigned char *aside;
};

/* Its own blocks, at random. */
static void *changer(void *argument)
{
    struct changer *c = argument;
    uint64_t who = c->who, random = 4711 + who;
    unsigned char *aside = c->aside;
    while (!atomic_load(&is_over)) {
        uint32_t nth = (uint32_t)(test_random(&random) % (NR / BLOCK / 2));
        if (nth % CHANGERS != who)
            continue;
        uint32_t first = (2 * nth + 1) * BLOCK;
        for (uint32_t i = 0; i < BLOCK; i++)
            pages_check(&a.pages, first + i);
        change(first, aside, &random);
    }
    return NULL;
}

static void under_change(void)
{
    test_case("passes over memory that others write, discard, replace and move");
    uint64_t before = stat_of("prefetch_pages");
    pthread_t threads[2 + CHANGERS];
    struct changer changers[CHANGERS];
    /* Before any of them runs: a block that has gone back leaves a hole, which would be the next one's place. */
    for (unsigned i = 0; i < CHANGERS; i++) {
        changers[i] = (struct changer){i, mmap(NULL, pages_to_bytes(BLOCK), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
                                               -1, 0)};
        CHECK(changers[i].aside != MAP_FAILED);
    }
    atomic_store(&is_over, false);
    rogue_offer_all(a.rogue);
    for (uintptr_t i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, passer, (void *)i), 0);
    for (uintptr_t i = 0; i < CHANGERS; i++)
        CHECK_EQ(pthread_create(&threads[2 + i], NULL, changer, &changers[i]), 0);
    test_nap_us(MS * 1000);
    WAIT_UNTIL(stat_of("prefetch_pages") > before + NR); /* else nothing was shown */
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < 2 + CHANGERS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < CHANGERS; i++)
        munmap(changers[i].aside, pages_to_bytes(BLOCK));
    rogue_pause(a.rogue);
    pages_check_all(&a.pages);
}

static void told_not_to(struct rogue *r)
{
    test_case("a daemon that does not ask for it");
    arena_begin(&a, r, NR);
    arena_all_out(&a);
    CHECK_EQ(pass(0, 1, NR), 0);
    arena_end(&a);
}

/* Four passes may have a rhythm: what has come back for a fifth leaves once more. */
static bool is_in_groups(void)
{
    if (stat_of("pages_squeezed") > NR * 3 / 4)
        return true;
    if (pages_nr_present(&a.pages, 0, NR))
        arena_all_out(&a);
    return false;
}

/* What comes back is in groups, and is moved about in the store all the time. */
static void out_of_groups(void)
{
    test_case("passes over groups that are moved");
    uint64_t nr_ahead = 0;
    for (unsigned i = 0; i < 4; i++) {
        arena_all_out(&a);
        WAIT_UNTIL(is_in_groups());
        nr_ahead += i % 2 ? pass(NR - 1, -1, NR) : pass(0, 1, NR);
    }
    CHECK(nr_ahead > NR / 2); /* else nothing was shown */
    CHECK_EQ(stat_of("restore_fail"), 0);
}

/* The old store's map goes when its last page is back, and may not go before who decodes from it is done. */
static void while_daemons_come_and_go(struct rogue *r)
{
    test_case("passes while daemons come and go");
    for (unsigned i = 0; i < 6; i++) {
        pages_write_all(&a.pages); /* what was discarded is the zero page now, which does not leave */
        arena_all_out(&a);
        (void)pass(0, 1, NR / 4);
        uint64_t nr_joins = r->nr_joins;
        rogue_kill(r);
        (void)pass(NR / 4, 1, NR / 4);
        rogue_start(r);
        (void)pass(NR / 2, 1, NR / 2);
        WAIT_UNTIL(r->nr_joins > nr_joins && r->nr_ranges > 0);
        pages_check_all(&a.pages);
    }
    CHECK_EQ(stat_of("restore_fail"), 0);
}

static void beside_the_second_tier(struct rogue *r)
{
    arena_begin(&a, r, NR);
    out_of_groups();
    under_change();
    while_daemons_come_and_go(r);
    arena_end(&a);
}

int main(void)
{
    struct rogue *r = rogue_new("rogue"), *plain = rogue_new("plain"), *dense = rogue_new("dense");
    r->prefetches = dense->prefetches = true;
    dense->squeeze_age_ms = 20;
    dense->moves = true;
    test_begin("what comes back ahead of a pass is right, whatever changes meanwhile", 110);
    arena_begin(&a, r, NR);
    random_touches();
    values();
    what_is_left_of_a_pass();
    passes();
    under_change();
    arena_end(&a);
    told_not_to(plain);
    beside_the_second_tier(dense);
    return test_end();
}
