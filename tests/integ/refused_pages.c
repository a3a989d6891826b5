/* refused_pages - pages that do not shrink, and pages that find the store full, go back and keep
 * their bytes; memory that is another userfaultfd's stays. All leave when things change. Method: a rogue
 * daemon refuses every page, and real noise that LZ4 refuses by itself. */
#include "rogue.h"

#include <string.h>
#include <unistd.h>

#include "sys/uffd.h"

#define NR 600u

static struct arena a;

static void refused(enum rogue_answer how, const char *number, const char *name)
{
    test_case(name);
    uint64_t before = pager_stat(a.pager, number);
    rogue_answers(a.rogue, how);
    rogue_offer_all(a.rogue);
    WAIT_UNTIL(pager_stat(a.pager, number) >= before + 2 * NR);
    for (int round = 0; round < 5; round++) {
        pages_check_all(&a.pages);
        pages_write_all(&a.pages);
    }
    rogue_pause(a.rogue);
    WAIT_UNTIL(pages_nr_present(&a.pages, 0, NR) == NR);
    pages_check_all(&a.pages);
    rogue_answers(a.rogue, ROGUE_HONEST);
    arena_all_out(&a);
    pages_check_all(&a.pages);
}

static void noise(void)
{
    test_case("noise");
    static unsigned char expected[64][PAGE_BYTES];
    uint64_t random = 5;
    struct pages n;
    pages_map(&n, 64);
    for (uint32_t i = 0; i < 64; i++) {
        for (size_t b = 0; b < PAGE_BYTES; b += 8) {
            uint64_t word = test_random(&random);
            memcpy(expected[i] + b, &word, 8);
        }
        memcpy(pages_at(&n, i), expected[i], PAGE_BYTES);
    }
    uint64_t before = pager_stat(a.pager, "compress_rejected");
    CHECK_EQ(pp_register(a.pager, n.memory, pages_to_bytes(64)), 0);
    rogue_offer_all(a.rogue);
    WAIT_UNTIL(pager_stat(a.pager, "compress_rejected") >= before + 128);
    for (uint32_t i = 0; i < 64; i++)
        CHECK(memcmp(expected[i], pages_at(&n, i), PAGE_BYTES) == 0);
    rogue_pause(a.rogue);
    CHECK_EQ(pp_unregister(a.pager, n.memory, pages_to_bytes(64)), 0);
    for (uint32_t i = 0; i < 64; i++)
        CHECK(memcmp(expected[i], pages_at(&n, i), PAGE_BYTES) == 0);
    pages_unmap(&n);
}

/* In a child of fork() that is the parent's, for as long as its porter needs to close it. */
static void registered_by_another(void)
{
    test_case("memory that another userfaultfd has for a while");
    struct pages p;
    uint64_t offered;
    pages_map(&p, 64);
    pages_write_all(&p);
    int uffd = uffd_open(-1);
    CHECK(uffd >= 0);
    CHECK_EQ(uffd_handshake(uffd, UFFD_FEATURES_STAGING, &offered), 0);
    CHECK_EQ(uffd_register(uffd, (uintptr_t)p.memory, pages_to_bytes(64), UFFD_ARM), 0);
    uint64_t before = pager_stat(a.pager, "ranges_refused_kernel");
    CHECK_EQ(pp_register(a.pager, p.memory, pages_to_bytes(64)), 0);
    WAIT_UNTIL(pager_stat(a.pager, "ranges_refused_kernel") > before);
    close(uffd);
    rogue_offer_only(a.rogue, p.memory, 64);
    WAIT_LONG_UNTIL(pages_nr_present(&p, 0, 64) == 0);
    pages_check_all(&p);
    rogue_pause(a.rogue);
    CHECK_EQ(pp_unregister(a.pager, p.memory, pages_to_bytes(64)), 0);
    pages_check_all(&p);
    pages_unmap(&p);
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("pages that the daemon refuses go back", 40);
    arena_begin(&a, r, NR);
    registered_by_another();
    refused(ROGUE_TOO_BIG, "compress_rejected", "every page is too big");
    refused(ROGUE_FULL, "compress_full", "the store is full");
    noise();
    arena_end(&a);
    return test_end();
}
