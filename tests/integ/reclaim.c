/* reclaim - pp_reclaim takes out at once what may leave, and says so only when it is stored. Method: a
 * cold age of an hour, so that nothing leaves by itself; what is present is asked of pagemap, what is
 * stored of the statistics, and all bytes are compared. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#define NR 10000u /* three commands' worth, the last of them in part */

static struct pages p;
static struct pp_pager *pager;
static struct daemon d;

static uint64_t reclaim(uint32_t first, uint32_t nr)
{
    CHECK_EQ(pp_reclaim(pager, pages_at(&p, first), pages_to_bytes(nr)), 0);
    return pages_nr_present(&p, first, nr);
}

static void without_a_daemon(void)
{
    test_case("before pp_start");
    CHECK_EQ(pp_reclaim(pager, p.memory, pages_to_bytes(NR)), -ENOTCONN);
    CHECK(*pp_error(pager));
    CHECK_EQ(pp_reclaim(pager, p.memory + 1, PAGE_BYTES), -EINVAL);
}

static void a_young_range_at_once(void)
{
    test_case("a range that is registered a moment ago");
    CHECK_EQ(pp_reclaim(pager, p.memory, pages_to_bytes(NR)), 0);
    CHECK_EQ(pager_stat(pager, "compress_success"), NR);
    CHECK_EQ(pages_nr_present(&p, 0, NR), 0);
    CHECK_EQ(pager_stat_now(pager, "pages_staged"), 0);
    pages_check_all(&p);
}

/* The call's own event is what nothing may be watched beside: its caller must have run again first. */
static void young_ranges_again_and_again(void)
{
    test_case("a hundred ranges, each registered a moment ago");
    struct pages young;
    for (int i = 0; i < 100; i++) {
        pages_map(&young, 16);
        pages_write_all(&young);
        CHECK_EQ(pp_register(pager, young.memory, pages_to_bytes(16)), 0);
        CHECK_EQ(pp_reclaim(pager, young.memory, pages_to_bytes(16)), 0);
        CHECK_EQ(pages_nr_present(&young, 0, 16), 0);
        pages_check_all(&young);
        CHECK_EQ(pp_unregister(pager, young.memory, pages_to_bytes(16)), 0);
        pages_unmap(&young);
    }
}

static void a_part_and_what_stays(void)
{
    test_case("a part");
    CHECK_EQ(reclaim(100, 50), 0);
    CHECK_EQ(pages_nr_present(&p, 0, NR), NR - 50);
    test_case("pinned and unregistered memory stays");
    CHECK_EQ(pp_pin(pager, pages_at(&p, 200), pages_to_bytes(10)), 0);
    CHECK_EQ(reclaim(195, 20), 10);
    CHECK_EQ(pages_nr_present(&p, 200, 10), 10);
    CHECK_EQ(pp_unpin(pager, pages_at(&p, 200), pages_to_bytes(10)), 0);
    struct pages other;
    pages_map(&other, 64);
    pages_write_all(&other);
    CHECK_EQ(pp_reclaim(pager, other.memory, pages_to_bytes(64)), 0);
    CHECK_EQ(pages_nr_present(&other, 0, 64), 64);
    pages_check_all(&other);
    pages_unmap(&other);
    pages_check_all(&p);
}

static atomic_bool is_over;

static void *write_and_read(void *unused)
{
    (void)unused;
    uint64_t random = 7;
    while (!atomic_load(&is_over)) {
        uint32_t i = (uint32_t)(test_random(&random) % NR);
        if (test_random(&random) % 2)
            pages_write(&p, i);
        pages_check(&p, i);
    }
    return NULL;
}

/* It returns although somebody brings pages back all the time. */
static void beside_a_writer(void)
{
    test_case("beside a thread that writes");
    pthread_t t;
    CHECK_EQ(pthread_create(&t, NULL, write_and_read, NULL), 0);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(pp_reclaim(pager, p.memory, pages_to_bytes(NR)), 0);
    atomic_store(&is_over, true);
    pthread_join(t, NULL);
    pages_check_all(&p);
}

static void the_daemon_dies(void)
{
    test_case("the daemon is killed, and another one comes");
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(helper_kill(d.pid, SIGKILL), SIGKILL);
        WAIT_UNTIL(pp_reclaim(pager, p.memory, pages_to_bytes(NR)) == -ENOTCONN);
        pages_check_all(&p);
        daemon_start(&d, (const char *const[]){ "--cold-age", "1h", NULL });
        WAIT_LONG_UNTIL(pp_reclaim(pager, p.memory, pages_to_bytes(NR)) == 0);
        CHECK_EQ(pages_nr_present(&p, 0, NR), 0);
    }
    pages_check_all(&p);
}

int main(void)
{
    test_begin("pp_reclaim takes out what may leave, and loses nothing", 50);
    daemon_start(&d, (const char *const[]){ "--cold-age", "1h", NULL });
    pages_map(&p, NR);
    pages_write_all(&p);
    pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    without_a_daemon();
    pager_start(pager);
    a_young_range_at_once();
    young_ranges_again_and_again();
    a_part_and_what_stays();
    beside_a_writer();
    the_daemon_dies();
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    return test_end();
}
