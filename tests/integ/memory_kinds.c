/* memory_kinds - transparent huge pages, locked memory, changed protection: what can leave leaves, what
 * can't stays, and what left before the change comes back right. Method: each kind before and after
 * its pages are taken out. */
#include "rogue.h"
#include "sys/uapi.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR 1024u

static struct arena a;

static void huge_pages(void)
{
    test_case("transparent huge pages");
    size_t huge = (size_t)2 << 20;
    unsigned char *m = mmap(NULL, 3 * huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED);
    struct pages p;
    pages_map(&p, 1024);
    p.memory = (unsigned char *)(((uintptr_t)m + huge - 1) & ~(uintptr_t)(huge - 1));
    CHECK_EQ(madvise(p.memory, 2 * huge, MADV_HUGEPAGE), 0);
    pages_write_all(&p);
    CHECK_EQ(pp_register(a.pager, p.memory, 2 * huge), 0);
    for (int round = 0; round < 3; round++) {
        rogue_offer_all(a.rogue);
        WAIT_UNTIL(pages_nr_present(&p, 0, p.nr) == 0);
        rogue_pause(a.rogue);
        pages_check_all(&p);
        pages_write_all(&p);
        (void)madvise(p.memory, 2 * huge, MADV_COLLAPSE); /* if the kernel will */
        pages_check_all(&p);
    }
    CHECK_EQ(pp_unregister(a.pager, p.memory, 2 * huge), 0);
    pages_check_all(&p);
    munmap(m, 3 * huge);
}

/* ASan makes mlock() and munlock() do nothing. */
static long really(long call, const void *address, size_t bytes)
{
    return syscall(call, address, bytes);
}

/* A system call meets what is out in a direct range, says so, and a touch brings it back (docs/direct.md). */
static void lock_what_is_out(void)
{
    if (test_is_direct()) {
        CHECK_EQ(really(SYS_mlock, pages_at(&a.pages, 0), pages_to_bytes(100)), -1);
        CHECK_EQ(errno, ENOMEM); /* mlock(2)'s word for EFAULT */
        pages_check_all(&a.pages);
    }
    CHECK_EQ(really(SYS_mlock, pages_at(&a.pages, 0), pages_to_bytes(100)), 0);
}

static void locked(void)
{
    test_case("mlock of what is there");
    pages_check_all(&a.pages);
    CHECK_EQ(really(SYS_mlock, pages_at(&a.pages, 0), pages_to_bytes(100)), 0);
    rogue_offer_all(a.rogue);
    WAIT_UNTIL(pages_nr_present(&a.pages, 100, NR - 100) == 0);
    test_nap_us(5000);
    CHECK_EQ(pages_nr_present(&a.pages, 0, 100), 100);
    rogue_pause(a.rogue);
    pages_check_all(&a.pages);
    CHECK_EQ(really(SYS_munlock, pages_at(&a.pages, 0), pages_to_bytes(100)), 0);
    test_case("mlock of what is out");
    arena_all_out(&a);
    lock_what_is_out();
    CHECK_EQ(pages_nr_present(&a.pages, 0, 100), 100);
    pages_check_all(&a.pages);
    CHECK_EQ(really(SYS_munlock, pages_at(&a.pages, 0), pages_to_bytes(100)), 0);
    test_case("mlock of what is staged");
    rogue_answers(a.rogue, ROGUE_NEVER);
    arena_out(&a, 0, 100);
    lock_what_is_out();
    CHECK_EQ(pages_nr_present(&a.pages, 0, 100), 100);
    pages_check_all(&a.pages);
    CHECK_EQ(really(SYS_munlock, pages_at(&a.pages, 0), pages_to_bytes(100)), 0);
    rogue_answers(a.rogue, ROGUE_HONEST);
    arena_all_out(&a);
    pages_check_all(&a.pages);
}

static sigjmp_buf before_touch;

static void on_signal(int signal)
{
    (void)signal;
    siglongjmp(before_touch, 1);
}

static bool does_write_fault(uint32_t i)
{
    if (sigsetjmp(before_touch, 1))
        return true;
    *(volatile unsigned char *)pages_at(&a.pages, i) = 0;
    return false;
}

static bool does_read_fault(uint32_t i)
{
    if (sigsetjmp(before_touch, 1))
        return true;
    (void)*(volatile unsigned char *)pages_at(&a.pages, i);
    return false;
}

static void protect(int protection)
{
    CHECK_EQ(mprotect(a.pages.memory, pages_to_bytes(NR), protection), 0);
}

static void protected(enum rogue_answer how)
{
    struct sigaction action = { .sa_handler = on_signal }, old;
    CHECK_EQ(sigaction(SIGSEGV, &action, &old), 0);
    uint32_t nr = how == ROGUE_NEVER ? 400 : NR; /* what fits into staging */
    rogue_answers(a.rogue, how);
    arena_out(&a, 0, nr);
    protect(PROT_READ);
    pages_check_all(&a.pages);
    CHECK(does_write_fault(5));
    pages_check(&a.pages, 5);
    protect(PROT_READ | PROT_WRITE);
    pages_write_all(&a.pages);
    arena_out(&a, 0, nr);
    protect(PROT_NONE);
    CHECK(does_read_fault(6));
    CHECK(does_write_fault(7));
    rogue_offer_all(a.rogue);
    test_nap_us(5000);
    rogue_pause(a.rogue);
    protect(PROT_READ | PROT_WRITE | PROT_EXEC);
    pages_check_all(&a.pages);
    protect(PROT_READ | PROT_WRITE);
    pages_write_all(&a.pages);
    arena_out(&a, 0, nr);
    protect(PROT_READ);
    int r = pp_stop(a.pager); /* brings it back all the same */
    CHECK_EQ(r, 0);
    pages_check_all(&a.pages);
    protect(PROT_READ | PROT_WRITE);
    rogue_answers(a.rogue, ROGUE_HONEST);
    pager_start(a.pager);
    WAIT_UNTIL(a.rogue->nr_ranges > 0);
    CHECK_EQ(sigaction(SIGSEGV, &old, NULL), 0);
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("huge, locked and protected memory", 30);
    arena_begin(&a, r, NR);
    huge_pages();
    locked();
    test_case("mprotect of what is stored");
    protected(ROGUE_HONEST);
    test_case("mprotect of what is staged");
    protected(ROGUE_NEVER);
    arena_end(&a);
    return test_end();
}
