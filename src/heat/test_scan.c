/* What is not written for the cold age is found, and nothing else; the writer's price stays within its
 * ration and is shared out fairly; what comes back when it is probed stays. Method: a real userfaultfd region of this process with asynchronous
 * write-protection; time is a number that the test counts up, writes are real. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heat/heat.h"
#include "heat/pages.h"
#include "sys/pagemap.h"
#include "sys/pagemap_scan.h"
#include "sys/uffd.h"

#define COLD_MS 5000u
#define CHUNK 512u
#define RUNS_MAX 4096u

static int pagemap_fd = -1, uffd = -1;
static bool is_probing;
static struct heat_run runs[RUNS_MAX];
static struct pagemap_region regions[CHUNK];

struct area {
    unsigned char *memory;
    page_number first;
    size_t nr;
    struct heat *heat;
    uint64_t now_ms;
};

static bool is_governed; /* the next area's */

static struct area area_new(size_t nr, uint64_t cold_ms)
{
    struct area a = { .nr = nr, .now_ms = 1000 };
    /* Aligned, so that the chunks are whole. */
    unsigned char *memory = mmap(NULL, pages_to_bytes(nr + CHUNK), PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    (void)madvise(memory, pages_to_bytes(nr + CHUNK), MADV_NOHUGEPAGE);
    a.first = (page_of((uintptr_t)memory) / CHUNK + 1) * CHUNK;
    a.memory = memory + (page_address(a.first) - (uintptr_t)memory);
    assert_int_equal(uffd_register(uffd, (uintptr_t)a.memory, pages_to_bytes(nr), UFFD_WATCH), 0);
    struct heat_client client = { .pagemap_fd = pagemap_fd, .cold_age_ms = cold_ms,
                                  .is_probing = is_probing, .is_governed = is_governed };
    assert_int_equal(heat_scan_ops.create(&client, &a.heat), 0);
    assert_int_equal(heat_scan_ops.add(a.heat, a.first, a.first + nr), 0);
    return a;
}

static void area_free(struct area *a)
{
    a->heat = heat_scan_ops.destroy(a->heat);
    assert_int_equal(uffd_unregister(uffd, (uintptr_t)a->memory, pages_to_bytes(a->nr)), 0);
    munmap(a->memory, pages_to_bytes(a->nr));
}

static void write_pages(struct area *a, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        a->memory[i * PAGE_BYTES + i % PAGE_BYTES]++;
}

static void tick_all(struct area *a)
{
    for (int i = 0; i < 10000 && heat_scan_ops.tick(a->heat, a->now_ms); i++)
        ;
}

static void pass(struct area *a, uint64_t ms)
{
    for (uint64_t until_ms = a->now_ms + ms; a->now_ms < until_ms;) {
        a->now_ms += until_ms - a->now_ms < 100 ? until_ms - a->now_ms : 100;
        tick_all(a);
    }
}

/* All of it is written, so many times, a tenth of a second after each other. */
static void be_busy(struct area *a, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        write_pages(a, 0, a->nr);
        pass(a, 100);
    }
}

/* Everything that can be picked; each page once, all of them in the area. */
static size_t pick_all(struct area *a, bool *ret_picked)
{
    size_t sum = 0, nr;
    memset(ret_picked, 0, a->nr * sizeof(bool));
    while ((nr = heat_scan_ops.pick(a->heat, a->now_ms, SIZE_MAX, runs, RUNS_MAX)) > 0)
        for (size_t i = 0; i < nr; i++) {
            assert_in_range(runs[i].nr_pages, 1, CHUNK);
            assert_true(runs[i].first >= a->first);
            for (uint32_t p = 0; p < runs[i].nr_pages; p++) {
                size_t page = (size_t)(runs[i].first - a->first) + p;
                assert_true(page < a->nr && !ret_picked[page]);
                ret_picked[page] = true;
                sum++;
            }
        }
    assert_int_equal(heat_scan_ops.nr_ready(a->heat), 0);
    return sum;
}

static void idle_pages_are_found_and_no_others(void **state)
{
    (void)state;
    struct area a = area_new(1000, COLD_MS);
    static bool picked[1000];
    write_pages(&a, 0, 700); /* beyond that there is nothing */
    volatile unsigned char zero = a.memory[800 * PAGE_BYTES]; /* only read: the zero page */
    (void)zero;
    uint64_t written_ms = a.now_ms;
    tick_all(&a);
    for (int i = 0; i < 10; i++) { /* every other page among the first 100 stays busy */
        for (size_t p = 0; p < 100; p += 2)
            write_pages(&a, p, p + 1);
        pass(&a, 400);
        assert_int_equal(pick_all(&a, picked), 0);
    }
    while (a.now_ms < written_ms + COLD_MS - 100) {
        write_pages(&a, 98, 99);
        pass(&a, 100);
        assert_int_equal(pick_all(&a, picked), 0);
    }
    pass(&a, 1500 + 625); /* a look's pause and the unit in which ages are counted */
    size_t nr = pick_all(&a, picked);
    for (size_t p = 0; p < a.nr; p++)
        assert_int_equal(picked[p], p < 700 && (p >= 100 || p % 2));
    assert_int_equal(nr, 650);
    area_free(&a);
}

static void what_is_said_is_never_too_long(void **state)
{
    (void)state;
    struct area a = area_new(64, COLD_MS);
    uint64_t written_ms[64], seed = 1;
    write_pages(&a, 0, 64);
    for (size_t p = 0; p < 64; p++)
        written_ms[p] = a.now_ms;
    size_t nr_found = 0;
    for (int step = 0; step < 4000; step++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t p = seed >> 33 & 63;
        if (seed >> 50 & 1) {
            write_pages(&a, p, p + 1);
            written_ms[p] = a.now_ms;
        }
        a.now_ms += seed >> 40 & 255;
        tick_all(&a);
        size_t nr = heat_scan_ops.pick(a.heat, a.now_ms, 8, runs, RUNS_MAX);
        for (size_t i = 0; i < nr; i++)
            for (uint32_t j = 0; j < runs[i].nr_pages; j++) {
                uint64_t idle_ms = a.now_ms - written_ms[runs[i].first - a.first + j];
                pagemap_entry entry; /* written since the last look: the client passes it over */
                assert_int_equal(pagemap_read(pagemap_fd, runs[i].first + j, 1, &entry), 0);
                if (!pagemap_is_unwritten(entry))
                    continue;
                assert_true(runs[i].idle_ms <= idle_ms && idle_ms >= COLD_MS);
                nr_found++;
            }
    }
    assert_true(nr_found > 100);
    area_free(&a);
}

static uint64_t nr_protected(struct area *a, size_t from, size_t to)
{
    uint64_t nr = 0;
    for (size_t i = from; i < to; i += CHUNK) {
        int n = pagemap_scan(pagemap_fd, a->first + i, a->first + i + CHUNK, PAGEMAP_SCAN_LOOK, regions,
                             CHUNK);
        for (int k = 0; k < n; k++)
            if (!pagemap_region_is_written(&regions[k]))
                nr += page_of(regions[k].end) - page_of(regions[k].start);
    }
    return nr;
}

#define NR_HOT (40 * CHUNK)
#define NR_IDLE (8 * CHUNK)

static void the_price_is_rationed_and_idle_ones_do_not_wait_for_it(void **state)
{
    (void)state;
    struct area a = area_new(NR_HOT + NR_IDLE, COLD_MS);
    static bool picked[NR_HOT + NR_IDLE];
    static uint64_t turns[NR_HOT / CHUNK];
    write_pages(&a, 0, a.nr);
    tick_all(&a);
    uint64_t paid = 0, seconds = 60, found_ms = 0;
    assert_int_equal(nr_protected(&a, 0, a.nr), a.nr / CHUNK * 32); /* at first only the trials */
    write_pages(&a, 0, NR_HOT);
    for (uint64_t ms = 0; ms < seconds * 1000; ms += 100) {
        pass(&a, 100);
        for (size_t c = 0; c < NR_HOT / CHUNK; c++) {
            uint64_t nr = nr_protected(&a, c * CHUNK, (c + 1) * CHUNK);
            turns[c] += nr > 32; /* not a trial */
            paid += nr;
        }
        write_pages(&a, 0, NR_HOT); /* all of it is hot, all the time */
        if (pick_all(&a, picked) && !found_ms) {
            found_ms = ms;
            for (size_t p = 0; p < a.nr; p++)
                assert_int_equal(picked[p], p >= NR_HOT);
        }
    }
    assert_in_range(found_ms, COLD_MS - 200, COLD_MS + 2000);
    assert_in_range(paid, 500 * seconds, 2500 * (seconds + 2));
    uint64_t least = UINT64_MAX, most = 0;
    for (size_t c = 0; c < NR_HOT / CHUNK; c++) {
        least = turns[c] < least ? turns[c] : least;
        most = turns[c] > most ? turns[c] : most;
    }
    print_message("%lu pages protected in %lu s; turns of a chunk: %lu to %lu\n", (unsigned long)paid,
                  (unsigned long)seconds, (unsigned long)least, (unsigned long)most);
    assert_true(least >= 3 && most <= least + 2);
    area_free(&a);
}

static void a_short_cold_age_is_not_rationed(void **state)
{
    (void)state;
    struct area a = area_new(NR_HOT, 1);
    static bool picked[NR_HOT];
    write_pages(&a, 0, a.nr);
    for (int i = 0; i < 20; i++) {
        a.now_ms += 2;
        tick_all(&a);
        write_pages(&a, 0, a.nr / 2);
    }
    for (int i = 0; i < 5; i++) {
        a.now_ms += 1;
        tick_all(&a);
    }
    assert_int_equal(pick_all(&a, picked), a.nr);
    area_free(&a);
}

/* How long until a page, untouched from now on, is offered. */
static uint64_t wait_for(struct area *a, size_t page)
{
    static bool picked[CHUNK];
    uint64_t from_ms = a->now_ms;
    while (a->now_ms < from_ms + 1000 * COLD_MS) {
        pass(a, 100);
        (void)pick_all(a, picked);
        if (picked[page])
            return a->now_ms - from_ms;
    }
    return UINT64_MAX;
}

static void comes_back(struct area *a, size_t page)
{
    write_pages(a, page, page + 1);
    heat_scan_ops.feedback(a->heat, a->first + page, FEEDBACK_REFAULT);
}

static void who_is_wanted_back_soon_waits_twice_as_long_each_time(void **state)
{
    (void)state;
    struct area a = area_new(CHUNK, COLD_MS);
    write_pages(&a, 0, 32);
    tick_all(&a);
    uint64_t slack_ms = 4500; /* looks, units, and turns that have become rarer */
    assert_in_range(wait_for(&a, 3), COLD_MS, COLD_MS + slack_ms);
    uint64_t expected_ms = COLD_MS;
    for (int i = 0; i < 8; i++) {
        expected_ms = i < 6 ? expected_ms * 2 : expected_ms; /* there is a ceiling: 64 times */
        comes_back(&a, 3);
        assert_in_range(wait_for(&a, 3), expected_ms, expected_ms + slack_ms + expected_ms / 10);
    }
    /* It stays out for long: forgiven, a step each time. */
    for (int i = 0; i < 6; i++) {
        pass(&a, 17 * COLD_MS + 20000);
        expected_ms /= 2;
        static bool picked[CHUNK];
        (void)pick_all(&a, picked); /* it was there all the time and has been offered again and again */
        (void)madvise(a.memory + 3 * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED);
        pass(&a, 17 * COLD_MS);
        comes_back(&a, 3);
        assert_in_range(wait_for(&a, 3), expected_ms, expected_ms + slack_ms + expected_ms / 10);
    }
    area_free(&a);
}

/* ---- governed: the cold age changes, and what is how old is counted */

static void set_pace(struct area *a, uint64_t cold_ms)
{
    heat_scan_ops.pace(a->heat, &(struct heat_pace){ .cold_age_ms = cold_ms, .protects_per_s = 100000 });
}

static struct area area_new_governed(size_t nr, uint64_t cold_ms)
{
    is_governed = true;
    struct area a = area_new(nr, COLD_MS);
    is_governed = false;
    set_pace(&a, cold_ms);
    return a;
}

static uint64_t at_least(const uint64_t by_age[AGES_NR], uint64_t age_ms)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < AGES_NR; i++)
        sum += ages_ms[i] >= age_ms ? by_age[i] : 0;
    return sum;
}

static struct heat_ages ages_of(const struct area *a)
{
    struct heat_ages ages;
    heat_scan_ops.ages(a->heat, &ages);
    return ages;
}

static void ages_are_counted_there_and_out_and_when_touched(void **state)
{
    (void)state;
    struct area a = area_new_governed(3 * CHUNK, 4000);
    static bool picked[3 * CHUNK];
    write_pages(&a, 0, 1000);
    tick_all(&a);
    pass(&a, 7500); /* 500 ms of it until the protection, and a look's pause */
    struct heat_ages ages = ages_of(&a);
    assert_int_equal(ages.nr_pages_there, 1000);
    assert_int_equal(at_least(ages.nr_there, 4000), 1000);
    assert_int_equal(at_least(ages.nr_there, 8000), 0);
    assert_int_equal(at_least(ages.nr_reused, 1000), 0);
    write_pages(&a, 0, 100); /* touched again at an age of 7 s */
    pass(&a, 2000);
    ages = ages_of(&a);
    assert_int_equal(at_least(ages.nr_reused, 6000), 100);
    assert_int_equal(at_least(ages.nr_reused, 12000), 0);
    assert_int_equal(ages.nr_rewritten, 100);
    pass(&a, 1000);
    assert_int_equal(at_least(ages_of(&a).nr_there, 4000), 900);
    assert_int_equal(pick_all(&a, picked), 900);
    (void)madvise(a.memory + 200 * PAGE_BYTES, 300 * PAGE_BYTES, MADV_DONTNEED); /* out */
    pass(&a, 6000);
    ages = ages_of(&a);
    assert_int_equal(ages.nr_pages_there, 700);
    assert_int_equal(at_least(ages.nr_out, 8000), 300); /* 4 s before, and 6 */
    assert_int_equal(at_least(ages.nr_reused, 1000), 100);
    for (size_t i = 200; i < 260; i++)
        comes_back(&a, i);
    pass(&a, 2000);
    ages = ages_of(&a);
    assert_int_equal(at_least(ages.nr_reused, 8000), 60);
    assert_int_equal(at_least(ages.nr_reused, 1000), 160); /* each once, whoever saw it first */
    assert_int_equal(at_least(ages.nr_out, 1000), 240);
    heat_scan_ops.remove(a.heat, a.first, a.first + a.nr);
    ages = ages_of(&a);
    assert_int_equal(ages.nr_pages_there, 0);
    assert_int_equal(at_least(ages.nr_there, 0) + at_least(ages.nr_out, 0), 0);
    area_free(&a);
}

static void a_chunk_that_is_out_as_a_whole_stays_on_the_list(void **state)
{
    (void)state;
    struct area a = area_new_governed(CHUNK, 1000);
    static bool picked[CHUNK];
    write_pages(&a, 0, CHUNK);
    while (heat_scan_ops.nr_ready(a.heat) < CHUNK)
        pass(&a, 100);
    assert_int_equal(pick_all(&a, picked), CHUNK);
    (void)madvise(a.memory, CHUNK * PAGE_BYTES, MADV_DONTNEED);
    pass(&a, 20000);
    assert_int_equal(at_least(ages_of(&a).nr_out, 16000), CHUNK);
    assert_int_equal(ages_of(&a).nr_pages_there, 0);
    area_free(&a);
}

/* What is written all the time is not touched again: it has never been idle. */
static void what_is_busy_is_not_counted(void **state)
{
    (void)state;
    struct area a = area_new_governed(CHUNK, 8000);
    for (int i = 0; i < 300; i++) {
        write_pages(&a, 0, CHUNK);
        pass(&a, 100);
    }
    struct heat_ages ages = ages_of(&a);
    assert_int_equal(at_least(ages.nr_there, 1000), 0);
    assert_int_equal(at_least(ages.nr_reused, 1000), 0);
    area_free(&a);
}

/* How long the first `nr` pages of a chunk have been idle when the last of them can be picked, of those that all
 * were written. */
static uint64_t leaves_after_ms(struct area *a, size_t nr)
{
    static bool picked[CHUNK];
    write_pages(a, 0, CHUNK);
    pass(a, 700); /* the trial is over, and all of it is protected */
    write_pages(a, 0, nr);
    uint64_t written_ms = a->now_ms;
    for (size_t sum = 0; sum < nr && a->now_ms < written_ms + 5000; sum += pick_all(a, picked))
        pass(a, 50);
    return a->now_ms - written_ms;
}

static void a_chunk_written_as_a_whole_leaves_a_unit_earlier(void **state)
{
    (void)state;
    is_governed = true;
    struct area a = area_new(CHUNK, 1000), b = area_new(CHUNK, 1000);
    uint64_t whole_ms = leaves_after_ms(&a, CHUNK), part_ms = leaves_after_ms(&b, CHUNK - 1);
    is_governed = false;
    printf("%d and %d ms\n", (int)whole_ms, (int)part_ms);
    assert_in_range(whole_ms, 1000, 1250);
    assert_in_range(part_ms, 1300, 1500);
    area_free(&a);
    area_free(&b);
}

static void another_cold_age_is_taken_at_the_next_look(void **state)
{
    (void)state;
    struct area a = area_new_governed(CHUNK, 16000);
    static bool picked[CHUNK];
    write_pages(&a, 0, 64);
    pass(&a, 6000);
    assert_int_equal(pick_all(&a, picked), 0);
    set_pace(&a, 4000);
    pass(&a, 1000);
    assert_int_equal(heat_scan_ops.nr_ready(a.heat), 64);
    set_pace(&a, 32000);
    pass(&a, 2500);
    assert_int_equal(heat_scan_ops.nr_ready(a.heat), 0);
    area_free(&a);
}

static void out_for_longer_than_it_had_to_wait_is_not_too_soon(void **state)
{
    (void)state;
    struct area a = area_new_governed(CHUNK, 1000);
    write_pages(&a, 0, 16);
    tick_all(&a);
    assert_in_range(wait_for(&a, 3), 1000, 2500);
    for (int i = 0; i < 5; i++) {
        pass(&a, 2000);
        comes_back(&a, 3);
        assert_in_range(wait_for(&a, 3), 1000, 2500);
    }
    comes_back(&a, 3); /* at once: twice as long */
    assert_in_range(wait_for(&a, 3), 2000, 3500);
    comes_back(&a, 3);
    assert_in_range(wait_for(&a, 3), 4000, 5500);
    area_free(&a);
}

/* All of the area leaves and comes back at once. */
static void comes_back_too_soon(struct area *a, bool *picked)
{
    write_pages(a, 0, a->nr);
    while (heat_scan_ops.nr_ready(a->heat) < a->nr)
        pass(a, 100);
    assert_int_equal(pick_all(a, picked), a->nr);
    for (size_t p = 0; p < a->nr; p++)
        comes_back(a, p);
}

/* There are no ages above 255 s: a step back must be within reach, out or there. */
static void steps_are_taken_back_at_the_longest_cold_age_too(void **state)
{
    (void)state;
    for (unsigned is_there = 0; is_there < 2; is_there++) {
        struct area a = area_new_governed(CHUNK, 128000);
        write_pages(&a, 0, 1);
        tick_all(&a);
        assert_in_range(wait_for(&a, 0), 128000, 134000);
        comes_back(&a, 0);
        if (is_there) {
            pass(&a, 260000);
            write_pages(&a, 0, 1);
            pass(&a, 2500); /* is seen */
        } else {
            assert_in_range(wait_for(&a, 0), 250000, 262000);
            (void)madvise(a.memory, PAGE_BYTES, MADV_DONTNEED);
            pass(&a, 600000);
            comes_back(&a, 0);
        }
        assert_in_range(wait_for(&a, 0), 125000, 134000);
        area_free(&a);
    }
}

static void a_chunk_that_comes_back_too_soon_is_barred_for_longer_each_time(void **state)
{
    (void)state;
    struct area a = area_new_governed(CHUNK, 1000);
    static bool picked[CHUNK];
    uint64_t bar_ms = 16000;
    for (size_t i = 0; i < 4; i++) {
        comes_back_too_soon(&a, picked);
        assert_in_range(wait_for(&a, 3), bar_ms - 1000, bar_ms + 4000);
        bar_ms *= 2;
    }
    area_free(&a);
}

/* Memory is worth more than time then. */
static void nothing_is_too_soon_while_there_is_something_to_spare(void **state)
{
    (void)state;
    struct area a = area_new_governed(CHUNK, 1000);
    static bool picked[CHUNK];
    heat_scan_ops.pace(a.heat, &(struct heat_pace){ 1000, 100000, .has_spare = true });
    for (int i = 0; i < 4; i++) {
        comes_back_too_soon(&a, picked);
        assert_in_range(wait_for(&a, 3), 1000, 2500);
    }
    set_pace(&a, 1000);
    comes_back_too_soon(&a, picked);
    assert_in_range(wait_for(&a, 3), 15000, 20000);
    area_free(&a);
}

static void what_is_barred_stays_on_the_list_and_a_bar_follows_the_cold_age(void **state)
{
    (void)state;
    struct area a = area_new_governed(CHUNK, 4000);
    static bool picked[CHUNK];
    comes_back_too_soon(&a, picked);
    pass(&a, 20000); /* of 64 s */
    struct heat_ages ages = ages_of(&a);
    assert_int_equal(at_least(ages.nr_there, 1000), 0);
    assert_int_equal(at_least(ages.nr_barred, 8000), CHUNK);
    set_pace(&a, 1000); /* 16 s are over */
    pass(&a, 1000);
    assert_int_equal(heat_scan_ops.nr_ready(a.heat), CHUNK);
    ages = ages_of(&a);
    assert_int_equal(at_least(ages.nr_there, 8000), CHUNK);
    assert_int_equal(at_least(ages.nr_barred, 1000), 0);
    heat_scan_ops.remove(a.heat, a.first, a.first + a.nr);
    ages = ages_of(&a);
    assert_int_equal(at_least(ages.nr_there, 0) + at_least(ages.nr_barred, 0), 0);
    area_free(&a);
}

static void a_small_budget_pays_a_whole_chunk_too(void **state)
{
    (void)state;
    struct area a = area_new_governed(2 * CHUNK, 4000);
    write_pages(&a, 0, a.nr);
    pass(&a, 5000);
    heat_scan_ops.pace(a.heat, &(struct heat_pace){ .cold_age_ms = 4000, .protects_per_s = 25 });
    for (int i = 0; i < 6; i++) { /* what has been saved up is spent */
        write_pages(&a, 0, a.nr);
        pass(&a, 1000);
    }
    assert_true(nr_protected(&a, 0, a.nr) < a.nr);
    pass(&a, a.nr * 1000 / 25);
    assert_int_equal(nr_protected(&a, 0, a.nr), a.nr);
    area_free(&a);
}

/* Whatever the trials found while it was filled: at 50 pages a second for all that is written, all of it would be
 * dear for seven minutes. A trial of each chunk is 26 s of that. */
static void what_was_filled_and_rests_is_tried_again(void **state)
{
    (void)state;
    struct area a = area_new_governed(NR_HOT, 4000);
    static bool picked[NR_HOT];
    heat_scan_ops.pace(a.heat, &(struct heat_pace){ .cold_age_ms = 4000, .protects_per_s = 50 });
    be_busy(&a, 60);
    pass(&a, 60000);
    assert_int_equal(pick_all(&a, picked), a.nr);
    area_free(&a);
}

/* What it would cost to protect again is known to be dear; an eighth of that, and a trial, is 80 s. */
static void what_was_busy_and_rests_is_tried_too(void **state)
{
    (void)state;
    struct area a = area_new_governed(NR_HOT, 4000);
    static bool picked[NR_HOT];
    be_busy(&a, 60);
    heat_scan_ops.pace(a.heat, &(struct heat_pace){ .cold_age_ms = 4000, .protects_per_s = 50 });
    be_busy(&a, 100);
    assert_true(nr_protected(&a, 0, a.nr) < a.nr / 4);
    pass(&a, 100000);
    assert_int_equal(pick_all(&a, picked), a.nr);
    area_free(&a);
}

/* What is written all the time has been tried again and again, and been protected as it came to its turn. */
static void what_stays_busy_pays_for_trials(void **state)
{
    (void)state;
    struct area a = area_new_governed(NR_HOT, 4000);
    static bool picked[NR_HOT];
    heat_scan_ops.pace(a.heat, &(struct heat_pace){ .cold_age_ms = 4000, .protects_per_s = 50 });
    write_pages(&a, 0, a.nr);
    tick_all(&a);
    write_pages(&a, 0, a.nr);
    uint64_t paid = 0, seconds = 120;
    for (uint64_t ms = 0; ms < seconds * 1000; ms += 100) {
        pass(&a, 100);
        paid += nr_protected(&a, 0, a.nr);
        write_pages(&a, 0, a.nr);
        assert_int_equal(pick_all(&a, picked), 0);
    }
    print_message("%lu pages protected in %lu s\n", (unsigned long)paid, (unsigned long)seconds);
    assert_in_range(paid, 50 * seconds / 2, 2500 + 50 * (seconds + 4));
    area_free(&a);
}

/* More than trials of all could ever be paid for as often as they fall due: everything has its turn. */
static void trials_leave_something_for_protection(void **state)
{
    (void)state;
    struct area a = area_new_governed(NR_HOT, 4000);
    static bool had_turn[NR_HOT / CHUNK];
    heat_scan_ops.pace(a.heat, &(struct heat_pace){ .cold_age_ms = 4000, .protects_per_s = 10 });
    write_pages(&a, 0, a.nr);
    tick_all(&a);
    size_t nr = 0;
    for (int i = 0; i < 4000 && nr < NR_HOT / CHUNK; i++) {
        write_pages(&a, 0, a.nr);
        pass(&a, 1000);
        nr = 0;
        for (size_t c = 0; c < NR_HOT / CHUNK; c++) {
            had_turn[c] |= nr_protected(&a, c * CHUNK, (c + 1) * CHUNK) == CHUNK;
            nr += had_turn[c];
        }
    }
    assert_int_equal(nr, NR_HOT / CHUNK);
    area_free(&a);
}

/* Where all is out or gone there is nothing to see: every second for four, then later and later, every eight in
 * the end. What is there again is found. */
static void where_nothing_is_looks_become_rare(void **state)
{
    (void)state;
    struct area a = area_new(CHUNK, 1000);
    static bool picked[CHUNK];
    write_pages(&a, 0, a.nr);
    pass(&a, 3000);
    assert_int_equal(madvise(a.memory, pages_to_bytes(a.nr), MADV_DONTNEED), 0);
    size_t nr_looks = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t looked_ms = a.heat->chunks[0].looked_ms;
        pass(&a, 100);
        nr_looks += a.heat->chunks[0].looked_ms != looked_ms;
        if (i < 140 || i > 180) /* 16 s after the first such look, in seconds */
            assert_int_equal(ages_of(&a).is_resting, i > 180);
    }
    assert_in_range(nr_looks, 19, 25);
    write_pages(&a, 0, a.nr);
    pass(&a, 8000);
    assert_false(ages_of(&a).is_resting);
    pass(&a, 1000 + 500); /* when it was looked at, has been protected then, and is found cold */
    assert_int_equal(pick_all(&a, picked), a.nr);
    area_free(&a);
}

/* A 64th of it may be busy; but not while pages come back, nor where what is there only waits for its turn. */
static void who_rests_is_told_apart(void **state)
{
    (void)state;
    enum { NR = 70 * CHUNK };
    struct area a = area_new_governed(NR, 1000);
    pass(&a, 20000);
    assert_true(ages_of(&a).is_resting);
    (void)heat_scan_ops.feedback(a.heat, a.first, FEEDBACK_REFAULT);
    pass(&a, 100);
    assert_false(ages_of(&a).is_resting);
    pass(&a, 100);
    assert_true(ages_of(&a).is_resting);
    heat_scan_ops.pace(a.heat, &(struct heat_pace){ .cold_age_ms = 1000, .protects_per_s = 1 });
    write_pages(&a, 0, 6 * CHUNK); /* one can be paid for */
    pass(&a, 9000);
    assert_false(ages_of(&a).is_resting);
    area_free(&a);
}

/* But where nothing is rationed. */
static void looks_stay_frequent_for_a_short_cold_age(void **state)
{
    (void)state;
    struct area a = area_new(CHUNK, 100);
    static bool picked[CHUNK];
    pass(&a, 60000);
    write_pages(&a, 0, a.nr);
    pass(&a, 400);
    assert_int_equal(pick_all(&a, picked), a.nr);
    area_free(&a);
}

static void a_bar_that_is_over_stays_so(void **state)
{
    (void)state;
    struct area a = area_new_governed(CHUNK, 1000);
    static bool picked[CHUNK];
    comes_back_too_soon(&a, picked);
    pass(&a, 300000); /* of 16 s */
    assert_int_equal(heat_scan_ops.nr_ready(a.heat), CHUNK);
    set_pace(&a, 64000); /* 1024 s, had it been then */
    pass(&a, 3000);
    assert_int_equal(heat_scan_ops.nr_ready(a.heat), CHUNK);
    area_free(&a);
}

static void a_bar_is_up_while_there_is_something_to_spare(void **state)
{
    (void)state;
    struct area a = area_new_governed(CHUNK, 4000);
    static bool picked[CHUNK];
    comes_back_too_soon(&a, picked);
    pass(&a, 10000); /* of 64 s */
    assert_int_equal(heat_scan_ops.nr_ready(a.heat), 0);
    heat_scan_ops.pace(a.heat, &(struct heat_pace){ 4000, 100000, .has_spare = true });
    pass(&a, 2500);
    assert_int_equal(heat_scan_ops.nr_ready(a.heat), CHUNK);
    set_pace(&a, 4000);
    pass(&a, 2500);
    assert_int_equal(heat_scan_ops.nr_ready(a.heat), 0);
    assert_int_equal(at_least(ages_of(&a).nr_barred, 4000), CHUNK);
    pass(&a, 55000);
    assert_int_equal(heat_scan_ops.nr_ready(a.heat), CHUNK);
    area_free(&a);
}

/* A burst, all of it, after ten seconds of rest, again and again: it is idle as soon as it is over. */
static void what_rests_in_between_is_not_hot(void **state)
{
    (void)state;
    struct area a = area_new_governed(CHUNK, 1000);
    for (int i = 0; i < 6; i++) {
        for (int j = 0; j < 4; j++) { /* a protection may lie within */
            write_pages(&a, 0, CHUNK);
            pass(&a, 100);
        }
        uint64_t end_ms = a.now_ms;
        while (heat_scan_ops.nr_ready(a.heat) < CHUNK)
            pass(&a, 50);
        assert_in_range(a.now_ms - end_ms, 900, 2200);
        pass(&a, 10000);
    }
    area_free(&a);
}

/* All of the area is out, and there again as a client puts it back: not protected, and nobody has come yet. */
static struct area area_back_ahead(bool *picked)
{
    struct area a = area_new_governed(CHUNK, 1000);
    write_pages(&a, 0, CHUNK);
    while (heat_scan_ops.nr_ready(a.heat) < CHUNK)
        pass(&a, 100);
    assert_int_equal(pick_all(&a, picked), CHUNK);
    (void)madvise(a.memory, CHUNK * PAGE_BYTES, MADV_DONTNEED);
    pass(&a, 5000);
    write_pages(&a, 0, CHUNK);
    return a;
}

static void what_is_back_ahead_is_not_protected_before_its_use(void **state)
{
    (void)state;
    static bool picked[CHUNK];
    struct area a = area_back_ahead(picked);
    pass(&a, 2500);
    assert_int_equal(nr_protected(&a, 0, CHUNK), 0);
    assert_int_equal(ages_of(&a).nr_rewritten, 0); /* putting back is no fault */
    for (size_t p = 0; p < CHUNK; p++)
        heat_scan_ops.feedback(a.heat, a.first + p, FEEDBACK_REFAULT); /* somebody has come */
    pass(&a, 1000);
    assert_int_equal(nr_protected(&a, 0, CHUNK), CHUNK);
    area_free(&a);
    a = area_back_ahead(picked); /* nobody comes */
    pass(&a, 6000);
    assert_int_equal(nr_protected(&a, 0, CHUNK), CHUNK);
    area_free(&a);
}

/* What is told of before a look sees it is no fault either, whoever wanted it. */
static void what_is_put_back_is_not_counted_as_written_again(void **state)
{
    (void)state;
    static bool picked[CHUNK];
    for (unsigned i = 0; i < 2; i++) {
        struct area a = area_back_ahead(picked);
        for (size_t p = 0; p < CHUNK; p++)
            heat_scan_ops.feedback(a.heat, a.first + p, i ? FEEDBACK_PREFETCHED : FEEDBACK_REFAULT);
        pass(&a, 4000); /* protected in between */
        assert_int_equal(nr_protected(&a, 0, CHUNK), CHUNK);
        assert_int_equal(ages_of(&a).nr_rewritten, 0);
        write_pages(&a, 0, 100);
        pass(&a, 1000);
        assert_int_equal(ages_of(&a).nr_rewritten, 100);
        area_free(&a);
    }
}

static void a_chunk_that_is_cut_is_not_counted_as_written_again(void **state)
{
    (void)state;
    struct area a = area_new_governed(CHUNK, 4000);
    write_pages(&a, 0, CHUNK);
    pass(&a, 3000);
    heat_scan_ops.pace(a.heat, &(struct heat_pace){ .cold_age_ms = 4000 });
    pass(&a, 5000);
    write_pages(&a, 0, CHUNK); /* and not protected any more */
    pass(&a, 3000);
    assert_int_equal(ages_of(&a).nr_rewritten, CHUNK);
    heat_scan_ops.remove(a.heat, a.first + 500, a.first + 504);
    pass(&a, 3000);
    assert_int_equal(ages_of(&a).nr_rewritten, CHUNK);
    area_free(&a);
}

static void what_does_not_shrink_is_left_alone_until_written(void **state)
{
    (void)state;
    struct area a = area_new(CHUNK, COLD_MS);
    static bool picked[CHUNK];
    write_pages(&a, 0, 8);
    pass(&a, COLD_MS + 2500);
    assert_int_equal(pick_all(&a, picked), 8);
    heat_scan_ops.feedback(a.heat, a.first + 2, FEEDBACK_INCOMPRESSIBLE);
    heat_scan_ops.feedback(a.heat, a.first + 5, FEEDBACK_BUSY);
    pass(&a, COLD_MS + 2500); /* those that are still there are offered again; the busy one later */
    assert_int_equal(pick_all(&a, picked), 6);
    assert_true(!picked[2] && !picked[5]);
    pass(&a, 20 * COLD_MS);
    assert_int_equal(pick_all(&a, picked), 7);
    assert_true(!picked[2] && picked[5]);
    write_pages(&a, 2, 3);
    assert_in_range(wait_for(&a, 2), COLD_MS, COLD_MS + 4500);
    area_free(&a);
}

/* It came back ahead of a touch that did not come: not offered again at once, as what could not leave is,
 * and no reason to wait for longer than others. */
static void what_came_back_in_vain_is_young_again(void **state)
{
    (void)state;
    struct area a = area_new(CHUNK, COLD_MS);
    static bool picked[CHUNK];
    write_pages(&a, 0, 8);
    pass(&a, COLD_MS + 2500);
    assert_int_equal(pick_all(&a, picked), 8);
    heat_scan_ops.feedback(a.heat, a.first + 2, FEEDBACK_PREFETCHED);
    pass(&a, COLD_MS - 1000);
    assert_int_equal(pick_all(&a, picked), 7);
    assert_false(picked[2]);
    assert_in_range(wait_for(&a, 2), 500, 4500);
    area_free(&a);
}

static void holes_get_no_markers(void **state)
{
    (void)state;
    struct area a = area_new(CHUNK, COLD_MS);
    write_pages(&a, 0, CHUNK);
    pass(&a, COLD_MS);
    (void)madvise(a.memory + 10 * PAGE_BYTES, pages_to_bytes(100), MADV_DONTNEED);
    pass(&a, 3 * COLD_MS);
    pagemap_entry entries[CHUNK];
    assert_int_equal(pagemap_read(pagemap_fd, a.first, CHUNK, entries), 0);
    for (size_t i = 0; i < CHUNK; i++)
        assert_true((i >= 10 && i < 110) ? entries[i] == 0 || !pagemap_is_unwritten(entries[i])
                                         : pagemap_is_unwritten(entries[i]));
    area_free(&a);
}

/* As a client does: probes leave, and those below `read_to` are wanted back at once, or none is told of that. */
static size_t serve_probes(struct area *a, size_t read_to, bool tells)
{
    size_t sum = 0, nr;
    while ((nr = heat_scan_ops.pick_probes(a->heat, a->now_ms, runs, 7)) > 0)
        for (size_t i = 0; i < nr; i++, sum++) {
            assert_int_equal(runs[i].nr_pages, 1);
            size_t page = (size_t)(runs[i].first - a->first);
            assert_true(page < a->nr);
            (void)madvise(a->memory + page * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED);
            if (page >= read_to)
                continue;
            write_pages(a, page, page + 1);
            assert_true(!tells || heat_scan_ops.feedback(a->heat, runs[i].first, FEEDBACK_REFAULT));
        }
    return sum;
}

static void what_is_read_stays(void **state)
{
    is_probing = true;
    for (int tells = 0; tells < 2; tells++) {
        struct area a = area_new(8 * CHUNK, COLD_MS);
        static bool picked[8 * CHUNK], was_picked[8 * CHUNK];
        memset(was_picked, 0, sizeof(was_picked));
        write_pages(&a, 0, a.nr);
        size_t nr_probes = 0;
        for (uint64_t begin_ms = a.now_ms; a.now_ms < begin_ms + 10000; pass(&a, 100)) {
            nr_probes += serve_probes(&a, 4 * CHUNK, tells);
            (void)pick_all(&a, picked);
            for (size_t i = 0; i < a.nr; i++)
                was_picked[i] |= picked[i];
            bool is_early = a.now_ms < begin_ms + COLD_MS / 2;
            assert_true(!is_early || nr_probes == 0);
        }
        size_t nr_cold = 0;
        for (size_t i = 0; i < a.nr; i++) {
            assert_true(i >= 4 * CHUNK || !was_picked[i]);
            nr_cold += i >= 4 * CHUNK && was_picked[i];
        }
        print_message("%zu probes, %zu of %u cold pages\n", nr_probes, nr_cold, 4 * CHUNK);
        assert_in_range(nr_cold, 4 * (CHUNK - 32), 4 * CHUNK); /* the others left as probes */
        assert_in_range(nr_probes, 4 * 32, 4 * 32 + (tells ? 4 * 32 : 4 * CHUNK));
        area_free(&a);
    }
    is_probing = false;
    (void)state;
}

/* Each page is written every four seconds, and all are read in between: protecting at each turn (1.25 s)
 * costs a fault for each page that is written, and none could leave. Once nobody comes, all of it does. */
static void what_is_read_is_protected_to_be_asked(void **state)
{
    (void)state;
    is_probing = true;
    struct area a = area_new(CHUNK, COLD_MS);
    static bool picked[CHUNK];
    uint64_t nr_before = 0;
    size_t nr_probes = 0, nr_cold = 0;
    write_pages(&a, 0, CHUNK);
    for (size_t i = 0; i < 1600; i++, pass(&a, 100)) {
        for (size_t p = i % 40; p < CHUNK; p += 40)
            write_pages(&a, p, p + 1);
        nr_probes += serve_probes(&a, CHUNK, true);
        assert_int_equal(pick_all(&a, picked), 0);
        nr_before = i == 400 ? ages_of(&a).nr_rewritten : nr_before;
    }
    uint64_t nr_rewritten = ages_of(&a).nr_rewritten - nr_before;
    print_message("%zu probes, %u pages written again in 120 s\n", nr_probes, (unsigned)nr_rewritten);
    assert_in_range(nr_rewritten, 1, 8 * CHUNK); /* every 16 s, and a look later */
    for (int i = 0; i < 1000; i++, pass(&a, 100)) {
        (void)serve_probes(&a, 0, true);
        nr_cold += pick_all(&a, picked);
        for (size_t p = 0; p < CHUNK; p++)
            if (picked[p])
                (void)madvise(a.memory + p * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED);
    }
    assert_in_range(nr_cold, CHUNK - 64, CHUNK); /* the others left as probes */
    area_free(&a);
    is_probing = false;
}

/* The first half is read and never written, and asked all the time. The second was read and written, and
 * dies with all of it written: it does not wait for the first. */
static void what_was_read_is_found_beside_what_is(void **state)
{
    (void)state;
    is_probing = true;
    struct area a = area_new(CHUNK, COLD_MS);
    static bool picked[CHUNK];
    write_pages(&a, 0, CHUNK);
    for (size_t i = 0; i < 600; i++, pass(&a, 100)) {
        for (size_t p = CHUNK / 2 + i % 40; p < CHUNK; p += 40)
            write_pages(&a, p, p + 1);
        (void)serve_probes(&a, CHUNK, true);
        (void)pick_all(&a, picked);
    }
    write_pages(&a, CHUNK / 2, CHUNK);
    uint64_t dead_ms = a.now_ms;
    size_t nr_cold = 0;
    for (; a.now_ms < dead_ms + 60000 && nr_cold < CHUNK / 2 - 64; pass(&a, 100)) {
        (void)serve_probes(&a, CHUNK / 2, true);
        (void)pick_all(&a, picked);
        for (size_t p = CHUNK / 2; p < CHUNK; p++)
            if (picked[p]) {
                (void)madvise(a.memory + p * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED);
                nr_cold++;
            }
    }
    print_message("%zu found %u ms later\n", nr_cold, (unsigned)(a.now_ms - dead_ms));
    assert_true(nr_cold >= CHUNK / 2 - 64);
    assert_true(a.now_ms < dead_ms + 40000);
    area_free(&a);
    is_probing = false;
}

/* All of it is read. 50 pages a second are a budget of 0.4 ms; half of it is for probes, 30 us each. */
static void probes_stay_within_a_small_budget(void **state)
{
    (void)state;
    is_probing = true;
    struct area a = area_new_governed(32 * CHUNK, 4000);
    heat_scan_ops.pace(a.heat, &(struct heat_pace){ .cold_age_ms = 4000, .protects_per_s = 50 });
    write_pages(&a, 0, a.nr);
    size_t nr_probes = 0, seconds = 120;
    for (size_t i = 0; i < seconds * 10; i++, pass(&a, 100)) {
        nr_probes += serve_probes(&a, a.nr, true);
        assert_int_equal(heat_scan_ops.nr_ready(a.heat), 0);
    }
    print_message("%zu probes in %zu s\n", nr_probes, seconds);
    assert_in_range(nr_probes, 100, 200000 * (seconds + 4) / 30000);
    area_free(&a);
    is_probing = false;
}

static void what_is_barred_is_not_asked(void **state)
{
    (void)state;
    is_probing = true;
    struct area a = area_new_governed(CHUNK, 4000);
    static bool picked[CHUNK];
    write_pages(&a, 0, CHUNK);
    while (heat_scan_ops.nr_ready(a.heat) < CHUNK / 2) {
        (void)serve_probes(&a, 0, true);
        pass(&a, 100);
    }
    (void)pick_all(&a, picked);
    for (size_t p = 0; p < CHUNK; p++)
        if (picked[p])
            comes_back(&a, p);
    size_t nr_probes = 0;
    for (int i = 0; i < 500; i++, pass(&a, 100)) { /* of 64 s */
        assert_int_equal(heat_scan_ops.nr_ready(a.heat), 0);
        nr_probes += serve_probes(&a, 0, true);
    }
    assert_int_equal(nr_probes, 0);
    assert_true(at_least(ages_of(&a).nr_barred, 8000) > CHUNK / 2);
    for (int i = 0; i < 400 && heat_scan_ops.nr_ready(a.heat) == 0; i++, pass(&a, 100))
        nr_probes += serve_probes(&a, 0, true);
    assert_true(nr_probes > 0 && heat_scan_ops.nr_ready(a.heat) > 0); /* then it is, and leaves */
    area_free(&a);
    is_probing = false;
}

/* All of it is swept every ten seconds; by a cold age of 4 s it would leave after 2 s of asking. What could be
 * out with a cold age of 1 s must be seen meanwhile. */
static void what_waits_for_an_answer_is_on_the_list(void **state)
{
    (void)state;
    is_probing = true;
    struct area a = area_new_governed(4 * CHUNK, 4000);
    static bool picked[4 * CHUNK], is_out[4 * CHUNK];
    uint64_t sum_ms[2] = { 0 };
    heat_scan_ops.pace(a.heat, &(struct heat_pace){ 4000, 100000, .has_spare = true }); /* no bars */
    write_pages(&a, 0, a.nr);
    for (unsigned burst = 0; burst < 5; burst++) {
        uint64_t end_ms = a.now_ms + 10000;
        while (a.now_ms < end_ms) {
            pass(&a, 100);
            (void)serve_probes(&a, 0, true);
            (void)pick_all(&a, picked);
            for (size_t p = 0; p < a.nr; p++)
                if (picked[p])
                    (void)madvise(a.memory + p * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED);
            struct heat_ages ages = ages_of(&a);
            for (unsigned i = 0; burst > 1 && i < 2; i++) {
                uint64_t age_ms = i ? 4000 : 1000;
                uint64_t nr = at_least(ages.nr_there, age_ms) + at_least(ages.nr_barred, age_ms);
                sum_ms[i] += 100 * (nr + at_least(ages.nr_out, age_ms)) / a.nr;
            }
        }
        for (size_t p = 0; p < a.nr; p++) {
            pagemap_entry entry;
            assert_int_equal(pagemap_read(pagemap_fd, a.first + p, 1, &entry), 0);
            is_out[p] = !pagemap_is_present(entry);
        }
        write_pages(&a, 0, a.nr);
        for (size_t p = 0; p < a.nr; p++)
            if (is_out[p])
                (void)heat_scan_ops.feedback(a.heat, a.first + p, FEEDBACK_REFAULT);
    }
    print_message("of 30 s: %lu ms idle for 1 s, %lu ms for 4 s\n", (unsigned long)sum_ms[0],
                  (unsigned long)sum_ms[1]);
    assert_true(sum_ms[0] > 21000);
    assert_true(sum_ms[0] > sum_ms[1] * 5 / 4);
    area_free(&a);
    is_probing = false;
}

static void a_chunk_may_change_while_it_is_asked(void **state)
{
    (void)state;
    is_probing = true;
    struct area a = area_new(4 * CHUNK, COLD_MS);
    static bool picked[4 * CHUNK];
    write_pages(&a, 0, a.nr);
    while (serve_probes(&a, 0, true) == 0)
        pass(&a, 100);
    /* A hole in one, half of another, all of the third; the fourth is as it was. */
    heat_scan_ops.remove(a.heat, a.first + 100, a.first + 200);
    heat_scan_ops.remove(a.heat, a.first + CHUNK, a.first + CHUNK + CHUNK / 2);
    heat_scan_ops.remove(a.heat, a.first + 2 * CHUNK, a.first + 3 * CHUNK);
    for (size_t i = 0; i < a.nr; i++)
        (void)heat_scan_ops.feedback(a.heat, a.first + i, FEEDBACK_BUSY);
    bool was_picked = false;
    for (int i = 0; i < 300; i++) {
        (void)serve_probes(&a, 0, true);
        (void)pick_all(&a, picked);
        for (size_t p = 0; p < a.nr; p++)
            assert_true(!picked[p] || p < 100 || (p >= 200 && p < CHUNK) ||
                        (p >= CHUNK + CHUNK / 2 && p < 2 * CHUNK) || p >= 3 * CHUNK);
        was_picked |= picked[3 * CHUNK + 1] || picked[3 * CHUNK + 2];
        pass(&a, 100);
    }
    assert_true(was_picked);
    area_free(&a);
    is_probing = false;
}

#define MODEL_PAGES 4096u

static void ranges_come_and_go(void **state)
{
    (void)state;
    struct area a = area_new(MODEL_PAGES, 1);
    static bool is_watched[MODEL_PAGES], picked[MODEL_PAGES];
    memset(is_watched, 1, sizeof(is_watched));
    write_pages(&a, 0, a.nr);
    uint64_t seed = 7;
    for (int step = 0; step < 3000; step++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t from = seed >> 33 & (MODEL_PAGES - 1), nr = 1 + (seed >> 50 & 1023);
        size_t to = from + nr < MODEL_PAGES ? from + nr : MODEL_PAGES;
        bool adds = seed >> 31 & 1;
        if (adds)
            assert_int_equal(heat_scan_ops.add(a.heat, a.first + from, a.first + to), 0);
        else
            heat_scan_ops.remove(a.heat, a.first + from, a.first + to);
        for (size_t i = from; i < to; i++)
            is_watched[i] = adds;
        heat_scan_ops.feedback(a.heat, a.first + from, (enum feedback_kind)(seed >> 60 & 3));
        uint64_t nr_watched = 0;
        for (size_t i = 0; i < MODEL_PAGES; i++)
            nr_watched += is_watched[i];
        assert_int_equal(heat_scan_ops.nr_pages(a.heat), nr_watched);
        a.now_ms += seed >> 45 & 15;
        if (step % 3 == 0)
            tick_all(&a);
        if (step % 7 == 0) {
            (void)pick_all(&a, picked);
            for (size_t i = 0; i < MODEL_PAGES; i++)
                assert_true(!picked[i] || is_watched[i]);
        }
    }
    heat_scan_ops.remove(a.heat, 0, UINT64_MAX);
    assert_int_equal(heat_scan_ops.nr_pages(a.heat), 0);
    assert_int_equal(heat_scan_ops.add(a.heat, a.first, a.first + a.nr), 0);
    write_pages(&a, 0, a.nr);
    for (int i = 0; i < 10; i++) {
        a.now_ms++;
        tick_all(&a);
    }
    assert_int_equal(pick_all(&a, picked), a.nr);
    area_free(&a);
}

static void memory_that_is_gone_is_passed_over(void **state)
{
    (void)state;
    struct area a = area_new(4 * CHUNK, 1);
    static bool picked[4 * CHUNK];
    write_pages(&a, 0, a.nr);
    /* One chunk has no mapping any more, one has another that is not ours. */
    munmap(a.memory + pages_to_bytes(CHUNK), pages_to_bytes(CHUNK));
    void *other = mmap(a.memory + pages_to_bytes(2 * CHUNK), pages_to_bytes(CHUNK),
                       PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    assert_ptr_not_equal(other, MAP_FAILED);
    write_pages(&a, 2 * CHUNK, 3 * CHUNK);
    for (int i = 0; i < 20; i++) {
        a.now_ms++;
        tick_all(&a);
    }
    assert_int_equal(pick_all(&a, picked), 2 * CHUNK);
    assert_true(picked[0] && !picked[CHUNK] && !picked[2 * CHUNK] && picked[3 * CHUNK]);
    a.heat = heat_scan_ops.destroy(a.heat);
    munmap(a.memory, pages_to_bytes(a.nr));
}

/* All that a sweep finds, a few runs at a time; each page once. */
static size_t sweep_all(struct area *a, uint64_t idle_ms, bool *ret_found)
{
    struct heat_sweep s = { .idle_ms = idle_ms };
    size_t sum = 0;
    memset(ret_found, 0, a->nr * sizeof(bool));
    for (int calls = 0; !s.is_over; calls++) {
        assert_true(calls < 100000);
        size_t nr = heat_sweep(a->heat, &s, 100, runs, 3);
        for (size_t i = 0; i < nr; i++)
            for (uint32_t p = 0; p < runs[i].nr_pages; p++) {
                size_t page = (size_t)(runs[i].first - a->first) + p;
                assert_true(page < a->nr && !ret_found[page]);
                ret_found[page] = true;
                sum++;
            }
    }
    return sum;
}

static void a_sweep_finds_what_is_old_enough_for_who_asks(void **state)
{
    (void)state;
    struct area a = area_new(3 * CHUNK, 2 * COLD_MS);
    static bool found[3 * CHUNK];
    write_pages(&a, 0, 1000);
    tick_all(&a);
    pass(&a, 6000);
    write_pages(&a, 0, 100);
    pass(&a, 2100); /* all has been looked at since, and nothing is cold yet */
    assert_int_equal(heat_scan_ops.nr_ready(a.heat), 0);
    assert_int_equal(sweep_all(&a, 8100, found), 0);
    assert_int_equal(sweep_all(&a, 3000, found), 900);
    assert_true(!found[99] && found[100]);
    assert_int_equal(sweep_all(&a, 3000, found), 0); /* what has been offered is not, a moment later */
    pass(&a, 4 * COLD_MS);
    assert_true(heat_scan_ops.nr_ready(a.heat) > 0);
    heat_scan_ops.feedback(a.heat, a.first + 500, FEEDBACK_INCOMPRESSIBLE);
    /* Whatever its age, there or not, but for what does not shrink. */
    assert_int_equal(sweep_all(&a, 0, found), 3 * CHUNK - 1);
    assert_true(!found[500] && found[3 * CHUNK - 1]);
    assert_int_equal(heat_scan_ops.nr_ready(a.heat), 0);
    static bool picked[3 * CHUNK];
    assert_int_equal(pick_all(&a, picked), 0); /* it counts anew, for pick(), too */
    heat_scan_ops.remove(a.heat, a.first + CHUNK, a.first + 2 * CHUNK);
    assert_int_equal(sweep_all(&a, 0, found), 2 * CHUNK - 1);
    area_free(&a);
}

static void bookkeeping_is_two_bytes_a_page(void **state)
{
    (void)state;
    size_t nr = 64 * CHUNK;
    struct area a = area_new(nr, COLD_MS);
    uint64_t before = heat_scan_ops.bookkeeping_bytes(a.heat);
    assert_in_range(before, 1, nr / 2 + 16384); /* what was never touched costs hardly anything */
    write_pages(&a, 0, nr);
    tick_all(&a);
    a.now_ms += 1000; /* what became of the trials: now all is looked at */
    tick_all(&a);
    uint64_t after = heat_scan_ops.bookkeeping_bytes(a.heat);
    assert_in_range(after, 2 * nr, 2 * nr + nr / 4 + 16384);
    assert_int_equal(heat_scan_ops.add(a.heat, 0, (uint64_t)1 << 24), 0); /* a sixteenth of a terabyte of nothing */
    tick_all(&a);
    assert_in_range(heat_scan_ops.bookkeeping_bytes(a.heat), 1, after + ((uint64_t)4 << 20));
    assert_int_equal(heat_scan_ops.add(a.heat, (uint64_t)1 << 24, (uint64_t)1 << 28), 0); /* the rest */
    for (int i = 0; i < 100; i++)
        (void)heat_scan_ops.tick(a.heat, a.now_ms); /* all of it would take half a minute */
    assert_in_range(heat_scan_ops.bookkeeping_bytes(a.heat), 1, (uint64_t)64 << 20);
    area_free(&a);
}

int main(void)
{
    uint64_t offered;
    pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uffd = uffd_open(-1);
    if (uffd < 0 || uffd_handshake(uffd, UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED, &offered)) {
        printf("SKIP: needs the right to userfaultfd and asynchronous write-protection (Linux 6.8)\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_pages_are_found_and_no_others),
        cmocka_unit_test(what_is_said_is_never_too_long),
        cmocka_unit_test(the_price_is_rationed_and_idle_ones_do_not_wait_for_it),
        cmocka_unit_test(a_short_cold_age_is_not_rationed),
        cmocka_unit_test(who_is_wanted_back_soon_waits_twice_as_long_each_time),
        cmocka_unit_test(ages_are_counted_there_and_out_and_when_touched),
        cmocka_unit_test(a_chunk_that_is_out_as_a_whole_stays_on_the_list),
        cmocka_unit_test(what_is_busy_is_not_counted),
        cmocka_unit_test(a_chunk_written_as_a_whole_leaves_a_unit_earlier),
        cmocka_unit_test(another_cold_age_is_taken_at_the_next_look),
        cmocka_unit_test(out_for_longer_than_it_had_to_wait_is_not_too_soon),
        cmocka_unit_test(steps_are_taken_back_at_the_longest_cold_age_too),
        cmocka_unit_test(a_chunk_that_comes_back_too_soon_is_barred_for_longer_each_time),
        cmocka_unit_test(nothing_is_too_soon_while_there_is_something_to_spare),
        cmocka_unit_test(what_is_barred_stays_on_the_list_and_a_bar_follows_the_cold_age),
        cmocka_unit_test(a_small_budget_pays_a_whole_chunk_too),
        cmocka_unit_test(what_was_filled_and_rests_is_tried_again),
        cmocka_unit_test(what_was_busy_and_rests_is_tried_too),
        cmocka_unit_test(what_stays_busy_pays_for_trials),
        cmocka_unit_test(trials_leave_something_for_protection),
        cmocka_unit_test(where_nothing_is_looks_become_rare),
        cmocka_unit_test(who_rests_is_told_apart),
        cmocka_unit_test(looks_stay_frequent_for_a_short_cold_age),
        cmocka_unit_test(a_bar_that_is_over_stays_so),
        cmocka_unit_test(a_bar_is_up_while_there_is_something_to_spare),
        cmocka_unit_test(what_rests_in_between_is_not_hot),
        cmocka_unit_test(what_is_back_ahead_is_not_protected_before_its_use),
        cmocka_unit_test(what_is_put_back_is_not_counted_as_written_again),
        cmocka_unit_test(a_chunk_that_is_cut_is_not_counted_as_written_again),
        cmocka_unit_test(what_does_not_shrink_is_left_alone_until_written),
        cmocka_unit_test(what_came_back_in_vain_is_young_again),
        cmocka_unit_test(holes_get_no_markers),
        cmocka_unit_test(what_is_read_stays),
        cmocka_unit_test(what_is_read_is_protected_to_be_asked),
        cmocka_unit_test(what_was_read_is_found_beside_what_is),
        cmocka_unit_test(probes_stay_within_a_small_budget),
        cmocka_unit_test(what_is_barred_is_not_asked),
        cmocka_unit_test(what_waits_for_an_answer_is_on_the_list),
        cmocka_unit_test(a_chunk_may_change_while_it_is_asked),
        cmocka_unit_test(ranges_come_and_go),
        cmocka_unit_test(memory_that_is_gone_is_passed_over),
        cmocka_unit_test(a_sweep_finds_what_is_old_enough_for_who_asks),
        cmocka_unit_test(bookkeeping_is_two_bytes_a_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
