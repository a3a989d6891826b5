/* What DAMON says becomes idle times, never longer ones than we have watched; regions are cut at the borders
 * of what is watched; what has no region counts as touched; the watcher is told what is watched, in few
 * enough pieces. Method: real memory and pagemap of this process; the watcher's calls are this file's,
 * and hand over views as DAMON would give them. The real DAMON is tests/vm/damon.sh's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heat/damon.h"
#include "heat/heat.h"
#include "sys/uffd.h"

#define COLD_MS 5000u
#define AGGREGATION_US 100000u
#define NR_PAGES 1024u
#define REGIONS_MAX 16u

/* ---- the watcher */

struct damon_client {
    struct damon_range *ranges; /* as last told */
    size_t nr, nr_told;
    struct damon_region next[REGIONS_MAX]; /* the view to come; nr_next 0: none */
    size_t nr_next;
    uint64_t taken_ms;
};

static struct damon_client watched;

struct damon_client *damon_watcher_join(struct damon_watcher *w, pid_t pid)
{
    (void)w;
    assert_int_equal(pid, getpid());
    watched = (struct damon_client){ .nr = 0 };
    return &watched;
}

void damon_watcher_leave(struct damon_watcher *w, struct damon_client *c)
{
    (void)w;
    free(c->ranges);
    c->ranges = NULL;
}

void damon_watcher_set(struct damon_watcher *w, struct damon_client *c, struct damon_range *ranges,
                       size_t nr)
{
    (void)w;
    free(c->ranges);
    c->ranges = ranges;
    c->nr = nr;
    c->nr_told++;
}

bool damon_watcher_take(struct damon_watcher *w, struct damon_client *c, struct damon_view *view)
{
    (void)w;
    if (!c->nr_next)
        return false;
    free(view->regions);
    view->regions = malloc(c->nr_next * sizeof *view->regions);
    assert_non_null(view->regions);
    memcpy(view->regions, c->next, c->nr_next * sizeof *view->regions);
    view->nr = c->nr_next;
    view->taken_ms = c->taken_ms;
    c->nr_next = 0;
    return true;
}

uint64_t damon_watcher_aggregation_us(struct damon_watcher *w)
{
    (void)w;
    return AGGREGATION_US;
}

/* ---- a client */

static int pagemap_fd = -1, uffd = -1;
static unsigned char *memory;
static page_number first_page;
static struct heat *heat;
static uint64_t now_ms;

static int area_begin(void **state)
{
    (void)state;
    unsigned char *at = mmap(NULL, pages_to_bytes(2 * NR_PAGES), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return -1;
    (void)madvise(at, pages_to_bytes(2 * NR_PAGES), MADV_NOHUGEPAGE);
    first_page = (page_of((uintptr_t)at) / 512 + 1) * 512; /* so that the chunks are whole */
    memory = at + (page_address(first_page) - (uintptr_t)at);
    if (uffd_register(uffd, (uintptr_t)memory, pages_to_bytes(NR_PAGES), UFFD_WATCH))
        return -1;
    memset(memory, 1, pages_to_bytes(NR_PAGES));
    struct heat_client client = { .pagemap_fd = pagemap_fd, .pid = getpid(), .cold_age_ms = COLD_MS };
    now_ms = 1000;
    return heat_damon_ops.create(&client, &heat);
}

static int area_end(void **state)
{
    (void)state;
    heat = heat_damon_ops.destroy(heat);
    int r = uffd_unregister(uffd, (uintptr_t)memory, pages_to_bytes(NR_PAGES));
    return r ? r : munmap(memory, pages_to_bytes(NR_PAGES));
}

static void tick_all(void)
{
    for (int i = 0; i < 1000 && heat_damon_ops.tick(heat, now_ms); i++)
        ;
}

/* DAMON has seen this, just now. Pages are counted from the area's first one. */
static void see(size_t nr, const struct damon_region *regions)
{
    assert_true(nr <= REGIONS_MAX);
    for (size_t i = 0; i < nr; i++) {
        watched.next[i] = regions[i];
        watched.next[i].first += first_page;
        watched.next[i].end += first_page;
    }
    watched.nr_next = nr;
    watched.taken_ms = now_ms;
    tick_all();
}

/* The same for so long, every second; ages count on from `regions`. */
static void see_for(uint64_t ms, size_t nr, const struct damon_region *regions)
{
    struct damon_region now[REGIONS_MAX];
    memcpy(now, regions, nr * sizeof *now);
    for (uint64_t passed = 0; passed <= ms; passed += 1000) {
        see(nr, now);
        for (size_t i = 0; i < nr; i++)
            now[i].age += 1000u * 1000 / AGGREGATION_US;
        now_ms += 1000;
    }
}

/* All that can be picked now. */
static bool is_picked[NR_PAGES];

static size_t pick_all(void)
{
    static struct heat_run runs[NR_PAGES];
    size_t sum = 0, nr;
    memset(is_picked, 0, sizeof is_picked);
    while ((nr = heat_damon_ops.pick(heat, now_ms, SIZE_MAX, runs, NR_PAGES)) > 0)
        for (size_t i = 0; i < nr; i++)
            for (uint32_t p = 0; p < runs[i].nr_pages; p++) {
                size_t page = (size_t)(runs[i].first - first_page) + p;
                assert_true(page < NR_PAGES && !is_picked[page]);
                is_picked[page] = true;
                sum++;
            }
    return sum;
}

static size_t nr_picked(size_t from, size_t to)
{
    size_t nr = 0;
    for (size_t i = from; i < to; i++)
        nr += is_picked[i];
    return nr;
}

/* ---- */

static void untouched_regions_are_found_and_no_others(void **state)
{
    (void)state;
    assert_int_equal(heat_damon_ops.add(heat, first_page, first_page + NR_PAGES), 0);
    /* Borders that are no chunk's, and a hole of DAMON's from 900 to 1000. */
    const struct damon_region regions[] = { { 0, 100, 5, 70 },
                                            { 100, 700, 0, 70 },
                                            { 700, 900, 1, 70 },
                                            { 1000, NR_PAGES, 0, 70 } };
    see_for(8000, 4, regions);
    assert_int_equal(pick_all(), 624);
    assert_int_equal(nr_picked(100, 700), 600);
    assert_int_equal(nr_picked(1000, NR_PAGES), 24);
}

static void an_age_is_never_believed_beyond_what_was_watched(void **state)
{
    (void)state;
    assert_int_equal(heat_damon_ops.add(heat, first_page, first_page + NR_PAGES), 0);
    const struct damon_region regions[] = { { 0, NR_PAGES, 0, 100000 } };
    see_for(4000, 1, regions);
    assert_int_equal(pick_all(), 0);
    see_for(2000, 1, regions);
    assert_int_equal(pick_all(), NR_PAGES);
}

static void a_young_region_is_not_old_because_we_have_watched_for_long(void **state)
{
    (void)state;
    assert_int_equal(heat_damon_ops.add(heat, first_page, first_page + NR_PAGES), 0);
    const struct damon_region touched[] = { { 0, NR_PAGES, 3, 0 } };
    see_for(20000, 1, touched);
    assert_int_equal(pick_all(), 0);
    const struct damon_region young[] = { { 0, NR_PAGES, 0, 0 } };
    see_for(3000, 1, young);
    assert_int_equal(pick_all(), 0);
    const struct damon_region older[] = { { 0, NR_PAGES, 0, 40 } };
    see_for(2000, 1, older);
    assert_int_equal(pick_all(), NR_PAGES);
}

/* Untouched for long, then touched between two looks: DAMON's age begins anew, though no look saw it. */
static void a_touch_between_two_looks_shows_in_the_age(void **state)
{
    (void)state;
    assert_int_equal(heat_damon_ops.add(heat, first_page, first_page + NR_PAGES), 0);
    const struct damon_region idle[] = { { 0, NR_PAGES, 0, 0 } };
    see_for(4000, 1, idle);
    see_for(3000, 1, idle); /* age 0 again */
    assert_int_equal(pick_all(), 0);
}

/* Regions of different ages that are merged have the mean of them, and an interval may take longer than it was
 * measured to take: an age that reaches back to the last look says no more than that look. */
static void an_age_says_nothing_of_the_time_before_the_last_look(void **state)
{
    (void)state;
    assert_int_equal(heat_damon_ops.add(heat, first_page, first_page + NR_PAGES), 0);
    const struct damon_region touched[] = { { 0, NR_PAGES, 3, 0 } };
    see_for(3000, 1, touched);
    for (int i = 0; i < 7; i++) {
        const struct damon_region merged[] = { { 0, NR_PAGES, 0, 10 } };
        see(1, merged);
        now_ms += 1000;
    }
    assert_int_equal(pick_all(), NR_PAGES);
}

static void what_is_not_there_is_not_picked(void **state)
{
    (void)state;
    assert_int_equal(heat_damon_ops.add(heat, first_page, first_page + NR_PAGES), 0);
    assert_int_equal(madvise(memory, pages_to_bytes(300), MADV_DONTNEED), 0);
    const struct damon_region regions[] = { { 0, NR_PAGES, 0, 70 } };
    see_for(8000, 1, regions);
    assert_int_equal(pick_all(), NR_PAGES - 300);
    assert_int_equal(nr_picked(0, 300), 0);
}

static void damon_is_told_what_is_watched(void **state)
{
    (void)state;
    assert_int_equal(heat_damon_ops.add(heat, first_page, first_page + 100), 0);
    assert_int_equal(heat_damon_ops.add(heat, first_page + 200, first_page + 300), 0);
    tick_all();
    assert_int_equal(watched.nr_told, 1);
    assert_int_equal(watched.nr, 2);
    assert_int_equal(watched.ranges[0].first, first_page);
    assert_int_equal(watched.ranges[0].end, first_page + 100);
    assert_int_equal(watched.ranges[1].first, first_page + 200);
    heat_damon_ops.remove(heat, first_page + 50, first_page + 60);
    tick_all();
    assert_int_equal(watched.nr_told, 1); /* changes wait for others */
    now_ms += 500;
    tick_all();
    assert_int_equal(watched.nr_told, 2);
    assert_int_equal(watched.nr, 3);
    assert_int_equal(watched.ranges[0].end, first_page + 50);
    assert_int_equal(watched.ranges[1].first, first_page + 60);
}

/* Each range is a directory of files for DAMON. */
static void many_pieces_are_watched_with_their_gaps(void **state)
{
    (void)state;
    const size_t nr = 5000;
    for (size_t i = 0; i < nr; i++)
        assert_int_equal(heat_damon_ops.add(heat, 1000 + i * 512, 1000 + i * 512 + 1), 0);
    tick_all();
    assert_in_range(watched.nr, 1, 1024);
    assert_int_equal(watched.ranges[0].first, 1000);
    assert_int_equal(watched.ranges[watched.nr - 1].end, 1000 + (nr - 1) * 512 + 1);
    for (size_t i = 1; i < watched.nr; i++)
        assert_true(watched.ranges[i].first > watched.ranges[i - 1].end);
}

int main(void)
{
    pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uffd = uffd_open(-1);
    uint64_t offered;
    if (uffd >= 0 && uffd_handshake(uffd, UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED, &offered))
        uffd = -1;
    if (pagemap_fd < 0 || uffd < 0) {
        print_message("no userfaultfd with asynchronous write-protection here\n");
        return 77;
    }
#define TEST(name) cmocka_unit_test_setup_teardown(name, area_begin, area_end)
    const struct CMUnitTest tests[] = {
        TEST(untouched_regions_are_found_and_no_others),
        TEST(an_age_is_never_believed_beyond_what_was_watched),
        TEST(a_young_region_is_not_old_because_we_have_watched_for_long),
        TEST(a_touch_between_two_looks_shows_in_the_age),
        TEST(an_age_says_nothing_of_the_time_before_the_last_look),
        TEST(what_is_not_there_is_not_picked),
        TEST(damon_is_told_what_is_watched),
        TEST(many_pieces_are_watched_with_their_gaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
