/* evict_touch - pages leave and come back with their bytes. Method: everything is taken out; each
 * page is then read, or written, with its expected version kept outside; again and again, so that
 * each page has been out with several versions. Holes and zero pages are among them. */
#include "rogue.h"

#define NR 4096u

static struct arena a;

static void all_out_all_back(void)
{
    test_case("everything out, everything back");
    arena_all_out(&a);
    CHECK(pager_stat(a.pager, "client_evict_success") >= NR);
    CHECK(pager_stat(a.pager, "compress_success") >= NR);
    pages_check_all(&a.pages);
    CHECK_EQ(pages_nr_present(&a.pages, 0, NR), NR);
    WAIT_UNTIL(pager_stat(a.pager, "restore_success") >= NR); /* counted after the waking */
    CHECK_EQ(pager_stat(a.pager, "restore_fail"), 0);
}

static void a_write_brings_the_rest_of_the_page(void)
{
    test_case("one byte is written to a page that is out");
    arena_all_out(&a);
    for (uint32_t i = 0; i < NR; i++)
        *(volatile unsigned char *)(pages_at(&a.pages, i) + 5) ^= 0xff;
    arena_all_out(&a);
    for (uint32_t i = 0; i < NR; i++)
        *(volatile unsigned char *)(pages_at(&a.pages, i) + 5) ^= 0xff;
    pages_check_all(&a.pages);
}

static void versions(void)
{
    test_case("versions follow each other");
    for (int round = 0; round < 4; round++) {
        arena_all_out(&a);
        for (uint32_t i = 0; i < NR; i++) {
            pages_check(&a.pages, i);
            pages_write(&a.pages, i);
        }
    }
    arena_all_out(&a);
    pages_check_all(&a.pages);
}

static void under_fire(void)
{
    test_case("eviction never rests while pages are read and written");
    uint64_t random = 4711;
    rogue_offer_all(a.rogue);
    for (uint64_t until = test_now_ms() + 700; test_now_ms() < until;)
        for (int k = 0; k < 64; k++) {
            uint32_t i = (uint32_t)(test_random(&random) % NR);
            pages_check(&a.pages, i);
            if (random >> 40 & 1)
                pages_write(&a.pages, i);
        }
    rogue_pause(a.rogue);
    pages_check_all(&a.pages);
}

/* Zero pages: written ones leave, a hole and the kernel's shared zero page stay what they are. */
static void zeros(void)
{
    test_case("holes and zero pages");
    struct pages z;
    pages_map(&z, 512);
    for (uint32_t i = 0; i < z.nr; i++) {
        if (i % 4 == 0)
            *(volatile unsigned char *)pages_at(&z, i) = 0; /* a page of zeros */
        else if (i % 4 == 1)
            (void)*(volatile unsigned char *)pages_at(&z, i); /* the shared zero page */
        else if (i % 4 == 2)
            pages_write(&z, i);
    } /* i % 4 == 3: a hole */
    uint64_t zeros_before = pager_stat(a.pager, "pages_zero");
    CHECK_EQ(pp_register(a.pager, z.memory, pages_to_bytes(z.nr)), 0);
    rogue_offer_all(a.rogue);
    WAIT_UNTIL(pages_nr_present(&z, 0, z.nr) <= z.nr / 4);
    rogue_pause(a.rogue);
    WAIT_UNTIL(pager_stat(a.pager, "pages_zero") >= zeros_before + z.nr / 4);
    pages_check_all(&z);
    for (uint32_t i = 0; i < z.nr; i++)
        pages_write(&z, i);
    rogue_offer_all(a.rogue);
    WAIT_UNTIL(pages_nr_present(&z, 0, z.nr) == 0);
    rogue_pause(a.rogue);
    pages_check_all(&z);
    CHECK_EQ(pp_unregister(a.pager, z.memory, pages_to_bytes(z.nr)), 0);
    pages_check_all(&z);
    pages_unmap(&z);
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("pages leave and come back with their bytes", 20);
    arena_begin(&a, r, NR);
    all_out_all_back();
    a_write_brings_the_rest_of_the_page();
    versions();
    under_fire();
    zeros();
    arena_end(&a);
    return test_end();
}
