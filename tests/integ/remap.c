/* remap - what is out goes with its mapping: mremap that moves, grows, shrinks or leaves the old
 * mapping empty (DONTUNMAP), and munmap of a part. Method: each is done with everything out, and with
 * everything staged; all bytes are read at their new places, the old ones checked for zeros. */
#include "rogue.h"

#include <string.h>
#include <sys/mman.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define NR 400u

static struct arena a;

/* The pages live somewhere else now. They stay unmanaged there until they are registered. */
static void moved_to(void *memory)
{
    CHECK(memory != MAP_FAILED);
    a.pages.memory = memory;
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

static void register_here(void)
{
    CHECK_EQ(pp_register(a.pager, a.pages.memory, pages_to_bytes(a.pages.nr)), 0);
}

static void unregister_at(void *memory, uint32_t nr)
{
    CHECK_EQ(pp_unregister(a.pager, memory, pages_to_bytes(nr)), 0);
}

static void *somewhere(uint32_t nr)
{
    void *m = mmap(NULL, pages_to_bytes(nr), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED);
    return m;
}

static void move(void)
{
    test_case("move");
    void *old = a.pages.memory, *new = somewhere(NR);
    arena_out(&a, 0, NR);
    moved_to(mremap(old, pages_to_bytes(NR), pages_to_bytes(NR), MREMAP_MAYMOVE | MREMAP_FIXED, new));
    unregister_at(old, NR);
    register_here();
}

static void move_while_in_flight(void)
{
    test_case("move while the daemon has the pages");
    rogue_answers(a.rogue, ROGUE_HOLD);
    void *old = a.pages.memory, *new = somewhere(NR);
    arena_out(&a, 0, NR);
    WAIT_UNTIL(a.rogue->nr_held == NR);
    void *m = mremap(old, pages_to_bytes(NR), pages_to_bytes(NR), MREMAP_MAYMOVE | MREMAP_FIXED, new);
    rogue_answers(a.rogue, ROGUE_HONEST);
    test_nap_us(5000);
    moved_to(m);
    unregister_at(old, NR);
    register_here();
}

static void move_a_part(void)
{
    test_case("move a part of the mapping");
    uint32_t half = NR / 2;
    arena_out(&a, 0, NR);
    void *new = somewhere(half);
    unsigned char *old = pages_at(&a.pages, half);
    void *m = mremap(old, pages_to_bytes(half), pages_to_bytes(half), MREMAP_MAYMOVE | MREMAP_FIXED, new);
    CHECK(m == new);
    struct pages part = { .memory = m, .nr = half };
    for (uint32_t i = 0; i < half; i++) { /* as the pages of the whole that they are */
        _Alignas(8) unsigned char expected[PAGE_BYTES];
        pages_fill(expected, a.pages.salt, half + i, a.pages.versions[half + i]);
        CHECK(memcmp(expected, pages_at(&part, i), PAGE_BYTES) == 0);
        pages_check(&a.pages, i);
    }
    CHECK(mremap(m, pages_to_bytes(half), pages_to_bytes(half), MREMAP_MAYMOVE | MREMAP_FIXED, old) == old);
    pages_check_all(&a.pages);
    test_nap_us(5000); /* looked at again */
    arena_all_out(&a);
    pages_check_all(&a.pages);
}

static void grow_and_shrink(void)
{
    test_case("grow");
    arena_out(&a, 0, NR);
    void *old = a.pages.memory;
    void *m = mremap(old, pages_to_bytes(NR), pages_to_bytes(2 * NR), MREMAP_MAYMOVE);
    moved_to(m);
    for (uint32_t i = NR; i < 2 * NR; i++) /* the new part is holes */
        for (unsigned b = 0; b < PAGE_BYTES; b += 512)
            CHECK_EQ(a.pages.memory[pages_to_bytes(i) + b], 0);
    unregister_at(old, NR);
    register_here();
    test_case("shrink");
    arena_out(&a, 0, NR);
    CHECK(mremap(a.pages.memory, pages_to_bytes(2 * NR), pages_to_bytes(NR), 0) == a.pages.memory);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

/* The kernel tells of the shrinking, not of the growing, and what has grown inherits our registration. */
static void grown_again_is_zeros(void)
{
    test_case("shrunk and grown again with everything out: zeros");
    for (int round = 0; round < 30; round++) {
        arena_out(&a, 0, NR);
        void *old = a.pages.memory;
        CHECK(mremap(old, pages_to_bytes(NR), pages_to_bytes(3), 0) == old);
        CHECK(mremap(old, pages_to_bytes(3), pages_to_bytes(NR), 0) == old);
        memset(a.pages.versions + 3, 0, (NR - 3) * sizeof *a.pages.versions);
        pages_check_all(&a.pages);
        pages_write_all(&a.pages);
    }
}

/* What was shrunk and grown again is watched in two parts; the first page that leaves arms both. */
static void grow_again_and_move(void)
{
    test_case("shrunk and grown again, a part out, then moved");
    unregister_at(a.pages.memory, NR);
    pages_unmap(&a.pages);
    pages_map(&a.pages, NR);
    pages_write_all(&a.pages);
    WAIT_UNTIL(a.rogue->nr_ranges == 0); /* it has heard of the end */
    register_here();
    WAIT_UNTIL(a.rogue->nr_ranges == 1); /* watched, not armed */
    uint32_t half = NR / 2;
    unsigned char *old = a.pages.memory, *tail = pages_at(&a.pages, half);
    CHECK(mremap(old, pages_to_bytes(NR), pages_to_bytes(half), 0) == old);
    CHECK(mremap(old, pages_to_bytes(half), pages_to_bytes(NR), 0) == old);
    memset(a.pages.versions + half, 0, (NR - half) * sizeof *a.pages.versions);
    WAIT_UNTIL(a.rogue->nr_ranges > 1);
    arena_out(&a, 0, half);
    void *new = somewhere(NR);
    moved_to(mremap(old, pages_to_bytes(NR), pages_to_bytes(NR), MREMAP_MAYMOVE | MREMAP_FIXED, new));
    CHECK(pages_at(&a.pages, half) != tail);
    unregister_at(old, NR);
    register_here();
}

static void leave_empty(void)
{
    test_case("DONTUNMAP");
    arena_out(&a, 0, NR);
    unsigned char *old = a.pages.memory;
    void *m = mremap(old, pages_to_bytes(NR), pages_to_bytes(NR), MREMAP_MAYMOVE | MREMAP_DONTUNMAP,
                     NULL);
    CHECK(m != MAP_FAILED);
    for (uint32_t i = 0; i < NR; i++)
        CHECK_EQ(old[pages_to_bytes(i) + 8], 0);
    moved_to(m);
    memset(old, 1, pages_to_bytes(NR));
    unregister_at(old, NR);
    register_here();
    CHECK_EQ(old[pages_to_bytes(NR) - 1], 1);
    munmap(old, pages_to_bytes(NR));
}

static void unmap_a_part(void)
{
    test_case("munmap of a part, and another mapping there");
    arena_out(&a, 0, NR);
    void *hole = pages_at(&a.pages, 100);
    CHECK_EQ(munmap(hole, pages_to_bytes(50)), 0);
    void *m = mmap(hole, pages_to_bytes(50), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(m == hole);
    memset(a.pages.versions + 100, 0, 50 * sizeof *a.pages.versions);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
    arena_all_out(&a); /* the new mapping, too: it is inside what was registered */
    pages_check_all(&a.pages);
    test_case("MAP_FIXED over it");
    arena_out(&a, 0, NR);
    m = mmap(hole, pages_to_bytes(50), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
             -1, 0);
    CHECK(m == hole);
    memset(a.pages.versions + 100, 0, 50 * sizeof *a.pages.versions);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

/* To and fro between two places while a rogue daemon evicts all the time. */
static void under_fire(void)
{
    test_case("to and fro under fire");
    pages_check_all(&a.pages);
    unregister_at(a.pages.memory, NR);
    pages_unmap(&a.pages); /* by now several mappings, which mremap refuses */
    pages_map(&a.pages, NR);
    register_here();
    void *places[2] = { a.pages.memory, somewhere(NR) };
    CHECK_EQ(munmap(places[1], pages_to_bytes(NR)), 0);
    CHECK_EQ(pp_register(a.pager, places[1], pages_to_bytes(NR)), 0);
    rogue_offer_all(a.rogue);
    unsigned here = 0;
    uint64_t random = 3;
    for (uint64_t until = test_now_ms() + 700; test_now_ms() < until; here ^= 1) {
        a.pages.memory = mremap(places[here], pages_to_bytes(NR), pages_to_bytes(NR),
                                MREMAP_MAYMOVE | MREMAP_FIXED, places[here ^ 1]);
        CHECK(a.pages.memory == places[here ^ 1]);
        for (int k = 0; k < 50; k++) {
            uint32_t i = (uint32_t)(test_random(&random) % NR);
            pages_check(&a.pages, i);
            if (random >> 50 & 1)
                pages_write(&a.pages, i);
        }
        test_nap_us((unsigned)(random >> 54));
    }
    rogue_pause(a.rogue);
    pages_check_all(&a.pages);
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("what is out goes with its mapping", 20);
    arena_begin(&a, r, NR);
    move();
    move_while_in_flight();
    move_a_part();
    grow_and_shrink();
    grow_again_and_move();
    grown_again_is_zeros();
    leave_empty();
    unmap_a_part();
    under_fire();
    arena_end(&a);
    return test_end();
}
