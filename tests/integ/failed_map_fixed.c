/* failed_map_fixed - mmap(MAP_FIXED) that fails announces that the old mapping is unmapped, though it
 * and its bytes are still there. Method: the address-space limit makes it fail with everything out;
 * all bytes must still come back. */
#include "rogue.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define NR 64u
#define MUCH ((size_t)64 << 20)

static struct arena a;

static size_t address_space_bytes(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    CHECK(f && fscanf(f, "%lu", &pages) == 1);
    fclose(f);
    return pages_to_bytes(pages);
}

/* The pages lie at the beginning of a hole, so that nothing else is in the failing map's way. */
static void move_before_a_hole(struct pages *p)
{
    char *hole = mmap(NULL, MUCH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(hole != MAP_FAILED);
    CHECK_EQ(munmap(hole, MUCH), 0);
    void *m = mremap(p->memory, pages_to_bytes(p->nr), pages_to_bytes(p->nr),
                     MREMAP_MAYMOVE | MREMAP_FIXED, hole);
    CHECK(m == hole);
    p->memory = m;
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("a failed MAP_FIXED loses nothing", 20);
    rogue_start(r);
    pages_map(&a.pages, NR);
    move_before_a_hole(&a.pages);
    pages_write_all(&a.pages);
    a.rogue = r;
    a.pager = pager_open(r->socket_path);
    CHECK_EQ(pp_register(a.pager, a.pages.memory, pages_to_bytes(NR)), 0);
    pager_start(a.pager);
    for (int round = 0; round < 5; round++) {
        arena_all_out(&a);
        struct rlimit old, tight;
        CHECK_EQ(getrlimit(RLIMIT_AS, &old), 0);
        tight = (struct rlimit){ address_space_bytes() + ((size_t)1 << 20), old.rlim_max };
        CHECK_EQ(setrlimit(RLIMIT_AS, &tight), 0);
        void *m = mmap(a.pages.memory, MUCH, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        int error = errno;
        CHECK_EQ(setrlimit(RLIMIT_AS, &old), 0);
        CHECK(m == MAP_FAILED && error == ENOMEM);
        pages_check_all(&a.pages);
        pages_write_all(&a.pages);
    }
    if (pager_stat(a.pager, "events_unmap") == 0)
        printf("this kernel announces nothing\n");
    arena_end(&a);
    return test_end();
}
