/* tiers - the real daemon squeezes what stays out, gives memory back after holes, and keeps to the
 * cap that all sessions share; whatever it does, pages read as they were. Method: pages of
 * hexadecimal digits, a half page twice, which LZ4 takes to a half and zstd to a quarter; the
 * daemon's own status says what it holds. */
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NR 8192u

static struct daemon d;
static struct pp_pager *pager;
static unsigned char *memory;
static uint32_t versions[NR];
static uint64_t seed = 0x9e3779b97f4a7c15u;

static void digits(unsigned char *ret_page, uint32_t i, uint32_t version)
{
    uint64_t state = ((uint64_t)version << 32 | i) * 0x9e3779b97f4a7c15 + 1;
    if (!version) {
        memset(ret_page, 0, PAGE_BYTES);
        return;
    }
    for (unsigned at = 0; at < PAGE_BYTES / 2; at++) {
        if (at % 16 == 0)
            (void)test_random(&state);
        ret_page[at] = (unsigned char)"0123456789abcdef"[state >> 4 * (at % 16) & 15];
    }
    memcpy(ret_page + PAGE_BYTES / 2, ret_page, PAGE_BYTES / 2);
}

static unsigned char *page_at(uint32_t i)
{
    return memory + pages_to_bytes(i);
}

static void write_page(uint32_t i)
{
    digits(page_at(i), i, ++versions[i]);
}

static void write_all(void)
{
    for (uint32_t i = 0; i < NR; i++)
        write_page(i);
}

static void check_page(uint32_t i)
{
    static unsigned char expected[PAGE_BYTES];
    digits(expected, i, versions[i]);
    if (memcmp(page_at(i), expected, PAGE_BYTES))
        test_fail(__FILE__, __LINE__, "page %u does not read as version %u", i, versions[i]);
}

static void check_all(void)
{
    for (uint32_t i = 0; i < NR; i++)
        check_page((uint32_t)((uint64_t)i * 5 % NR));
}

static uint64_t daemon_says(const char *from, const char *name)
{
    return status_number(daemon_status(&d), from, name);
}

#define ZSTD "\"name\":\"zstd\""
#define LZ4 "\"name\":\"lz4\""

static void begin(const char *const options[])
{
    daemon_start(&d, options);
    pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
}

static void end(void)
{
    CHECK_EQ(pp_stop(pager), 0);
    check_all();
    CHECK_EQ(pager_stat(pager, "restore_fail"), 0);
    pp_close(pager);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
}

static uint64_t nr_here(void)
{
    return memory_nr_present(memory, NR);
}

static void all_squeezed(void)
{
    WAIT_LONG_UNTIL(nr_here() < NR / 20 && pager_stat(pager, "pages_squeezed") > NR * 9 / 10);
}

static void squeezed(void)
{
    test_case("what stays out is squeezed, and comes back");
    write_all();
    begin((const char *[]){ "--cold-age", "100ms", "--reclaim-rate", "4G", "--squeeze-age", "200ms", NULL });
    all_squeezed();
    WAIT_LONG_UNTIL(daemon_says(ZSTD, "pages") > NR * 9 / 10);
    uint64_t pages = daemon_says(ZSTD, "pages");
    printf("zstd: %lu pages, %lu bytes each, %lu with what is lost around them; store holds %lu KiB\n",
           (unsigned long)pages, (unsigned long)(daemon_says(ZSTD, "payload_bytes") / pages),
           (unsigned long)(daemon_says(ZSTD, "held_bytes") / pages),
           (unsigned long)(daemon_says(NULL, "store_held_bytes") >> 10));
    CHECK(daemon_says(ZSTD, "held_bytes") / pages < 1400); /* LZ4: 2,070 */
    WAIT_LONG_UNTIL(daemon_says(NULL, "store_held_bytes") < (uint64_t)NR * 1500); /* the LZ4 blobs are gone */
    CHECK_EQ(daemon_says(NULL, "bad_drops"), 0);
    for (int k = 0; k < 2000; k++) {
        uint32_t i = (uint32_t)(test_random(&seed) % NR);
        check_page(i);
        if (k % 3 == 0)
            write_page(i);
    }
    all_squeezed();
    check_all();
    all_squeezed();
    CHECK_EQ(daemon_says(NULL, "bad_drops"), 0);
    end();
}

static void killed_half_way(void)
{
    test_case("the daemon is killed in the middle of it");
    static const char *const options[] = { "--cold-age", "100ms", "--reclaim-rate", "4G", "--squeeze-age", "200ms",
                                           NULL };
    write_all();
    begin(options);
    for (int round = 0; round < 2; round++) {
        WAIT_LONG_UNTIL(pager_stat(pager, "pages_squeezed") > NR / 4);
        uint64_t joins = pager_stat(pager, "daemon_joins");
        CHECK_EQ(helper_kill(d.pid, SIGKILL), SIGKILL);
        for (uint32_t i = 0; i < NR; i += 3)
            check_page(i);
        daemon_start(&d, options);
        WAIT_LONG_UNTIL(pager_stat(pager, "daemon_joins") > joins);
        check_all();
        write_all();
    }
    all_squeezed();
    end();
}

/* A random half is discarded: what is left lies in half-empty slabs, or is half of its group. */
static void after_holes(const char *tiers)
{
    test_case(tiers);
    write_all();
    begin((const char *[]){ "--cold-age", "100ms", "--reclaim-rate", "4G", "--squeeze-age", "200ms", "--tiers",
                            tiers, NULL });
    WAIT_LONG_UNTIL(nr_here() < NR / 20);
    if (strcmp(tiers, "lz4"))
        all_squeezed();
    WAIT_LONG_UNTIL(pager_stat_now(pager, "pages_staged") == 0);
    test_nap_us(1200000); /* it looks at what is dead twice a second */
    uint64_t full = daemon_says(NULL, "store_held_bytes");
    for (uint32_t i = 0; i < NR; i++)
        if (test_random(&seed) >> 20 & 1) {
            CHECK_EQ(madvise(page_at(i), PAGE_BYTES, MADV_DONTNEED), 0);
            versions[i] = 0;
            test_nap_us(700); /* more than 2000 a second would be taken for churn */
        }
    WAIT_LONG_UNTIL(daemon_says(NULL, "store_held_bytes") < full * 64 / 100 &&
                    daemon_says(NULL, "store_held_bytes") < daemon_says(NULL, "store_payload_bytes") * 118 / 100);
    CHECK(daemon_says(NULL, "store_payload_bytes") > full / 4);
    printf("%s: a random half discarded: %lu KiB held before, %lu then, for %lu payload; %lu moved\n", tiers,
           (unsigned long)(full >> 10), (unsigned long)(daemon_says(NULL, "store_held_bytes") >> 10),
           (unsigned long)(daemon_says(NULL, "store_payload_bytes") >> 10),
           (unsigned long)pager_stat(pager, "squeeze_moved"));
    CHECK_EQ(daemon_says(NULL, "bad_drops"), 0);
    check_all();
    end();
}

static void one_cap_for_all(void)
{
    test_case("a cap for all sessions together");
    write_all();
    begin((const char *[]){ "--cold-age", "100ms", "--reclaim-rate", "4G", "--store-cap-total", "4M", "--tiers",
                            "lz4", NULL });
    WAIT_LONG_UNTIL(pager_stat(pager, "compress_full") > 0);
    CHECK(daemon_says(NULL, "store_held_bytes") <= 4u << 20);
    CHECK(daemon_says(NULL, "store_held_total_bytes") <= 4u << 20);
    CHECK(daemon_says(NULL, "store_held_total_bytes") > 3u << 20);
    check_all();
    end();
}

int main(void)
{
    test_begin("the second tier, compaction and the common cap", 90);
    memory = mmap(NULL, pages_to_bytes(NR), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    squeezed();
    killed_half_way();
    after_holes("lz4");
    after_holes("lz4+zstd");
    one_cap_for_all();
    return test_end();
}
