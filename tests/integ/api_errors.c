/* api_errors - what include/process_pager.h promises of each call that is asked for the impossible.
 * Method: each error once, and after it the call that is in order. */
#include "rogue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define NR 16u

static struct arena a;

static void opening(void)
{
    test_case("open");
    struct pp_pager *pager = NULL;
    struct pp_config config = PP_CONFIG_INIT;
    config.size = 3;
    CHECK_EQ(pp_open(&config, &pager), -EINVAL);
    CHECK_EQ(pp_open(NULL, NULL), -EINVAL);
    CHECK(!pager);
    struct pp_pager *many[16];
    int nr = 0, r = 0;
    while (nr < 16 && (r = pp_open(NULL, &many[nr])) == 0)
        nr++;
    CHECK_EQ(nr, 15); /* the arena has the sixteenth */
    CHECK_EQ(r, -EMFILE);
    while (nr > 0)
        CHECK(!pp_close(many[--nr]));
    CHECK_EQ(pp_open(NULL, &pager), 0);
    CHECK(!*pp_error(pager));
    pp_close(pager);
}

static void ranges(void)
{
    test_case("ranges");
    unsigned char *m = a.pages.memory;
    CHECK_EQ(pp_register(a.pager, m, pages_to_bytes(1)), -EEXIST);
    CHECK(*pp_error(a.pager));
    CHECK_EQ(pp_register(a.pager, m + pages_to_bytes(NR - 1), pages_to_bytes(2)), -EEXIST);
    CHECK_EQ(pp_register(a.pager, m + 1, PAGE_BYTES), -EINVAL);
    CHECK_EQ(pp_register(a.pager, m, 0), -EINVAL);
    CHECK_EQ(pp_register(a.pager, m, SIZE_MAX), -EINVAL);
    CHECK_EQ(pp_unregister(a.pager, m, pages_to_bytes(1)), -ENOENT);
    CHECK_EQ(pp_unregister(a.pager, m, 5), -EINVAL);
    test_case("rounding");
    struct pages p;
    pages_map(&p, 4);
    CHECK_EQ(pp_register(a.pager, p.memory + 100, pages_to_bytes(4) - 200), 0); /* pages 1 and 2 */
    pages_write_all(&p);
    rogue_offer_all(a.rogue);
    WAIT_UNTIL(pages_nr_present(&p, 1, 2) == 0);
    rogue_pause(a.rogue);
    CHECK_EQ(pages_nr_present(&p, 0, 4), 2);
    pages_check_all(&p);
    CHECK_EQ(pp_unregister(a.pager, p.memory + 1, pages_to_bytes(3)), 0); /* the same two */
    pages_check_all(&p);
    pages_unmap(&p);
}

/* Memory that can't be paged is left alone, not refused: the range may come to hold other memory. */
static void memory_that_cannot_be_paged(void)
{
    test_case("shared, file-backed and absent memory");
    unsigned char *shared = mmap(NULL, pages_to_bytes(4), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    memset(shared, 7, pages_to_bytes(4));
    uint64_t refused = pager_stat(a.pager, "ranges_refused");
    CHECK_EQ(pp_register(a.pager, shared, pages_to_bytes(4)), 0);
    WAIT_UNTIL(pager_stat(a.pager, "ranges_refused") > refused);
    rogue_offer_only(a.rogue, shared, 4);
    test_nap_us(5000);
    rogue_pause(a.rogue);
    for (size_t i = 0; i < pages_to_bytes(4); i++)
        CHECK_EQ(shared[i], 7);
    CHECK_EQ(pp_unregister(a.pager, shared, pages_to_bytes(4)), 0);
    munmap(shared, pages_to_bytes(4));
    CHECK_EQ(pp_register(a.pager, shared, pages_to_bytes(4)), 0); /* nothing there */
    test_nap_us(5000);
    CHECK_EQ(pp_unregister(a.pager, shared, pages_to_bytes(4)), 0);
}

static void starting(void)
{
    test_case("start");
    CHECK_EQ(pp_start(a.pager), -EALREADY);
    struct pp_pager *pager = pager_open(test_path("nobody"));
    CHECK_EQ(pp_start(pager), -ENOENT);
    CHECK(strstr(pp_error(pager), "nobody"));
    CHECK_EQ(pp_stop(pager), -EALREADY);
    CHECK_EQ(pp_pin(pager, a.pages.memory, pages_to_bytes(1)), 0);
    CHECK_EQ(pp_register(pager, (void *)(uintptr_t)(1 << 30), pages_to_bytes(1)), 0);
    CHECK_EQ(pp_unregister(pager, (void *)(uintptr_t)(1 << 30), pages_to_bytes(1)), 0);
    pp_close(pager);
    rogue_kill(a.rogue);
    pager = pager_open(a.rogue->socket_path); /* the socket is still there, nobody behind it */
    CHECK_EQ(pp_start(pager), -ECONNREFUSED);
    pp_close(pager);
    rogue_start(a.rogue);
}

static void numbers(void)
{
    test_case("numbers and version");
    CHECK(pp_stats_count() > 30);
    for (size_t i = 0; i < pp_stats_count(); i++)
        CHECK(pp_stats_name(i) && *pp_stats_name(i));
    CHECK(!pp_stats_name(pp_stats_count()));
    CHECK_EQ(pp_stats_value(a.pager, pp_stats_count()), 0);
    char version[32];
    (void)snprintf(version, sizeof version, "%d.%d.%d", PP_VERSION_MAJOR, PP_VERSION_MINOR,
                   PP_VERSION_PATCH);
    CHECK(!strcmp(pp_version(), version));
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("impossible calls fail as the header says", 20);
    arena_begin(&a, r, NR);
    opening();
    ranges();
    memory_that_cannot_be_paged();
    numbers();
    starting();
    arena_end(&a);
    return test_end();
}
