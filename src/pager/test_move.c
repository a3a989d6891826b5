/* No page is lost or duplicated by a move, though the kernel moves pages and reports errors when
 * others change the entries' bits meanwhile. Method: runs of 1, 2 and 64 pages go to and fro on
 * the real kernel beside two threads that age both sides (MADV_COLD); after each call every page
 * must be on the side where move_run says, with its own bytes, and on that side only. It goes on
 * until uncounted moves have been seen some times (mostly within a second), or for six seconds.
 *
 * Needs UFFDIO_MOVE (Linux 6.8) and the right to userfaultfd; else it is skipped. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "pager/move.h"
#include "sys/pagemap.h"
#include "sys/uffd.h"

#define NR MOVE_RUN_MAX
#define AGERS_NR 2
#define ENOUGH 8u
#define SECONDS_MAX 6

static unsigned char *sides[2];
static _Atomic bool is_over;

static void *age(void *argument)
{
    (void)argument;
    while (!atomic_load_explicit(&is_over, memory_order_relaxed))
        for (int i = 0; i < 2; i++)
            (void)madvise(sides[i], pages_to_bytes(NR), MADV_COLD);
    return NULL;
}

static _Noreturn void fail(const char *what, unsigned page)
{
    printf("page %u %s\n", page, what);
    exit(1);
}

static void skip(const char *why, int error)
{
    printf("SKIP: %s (%s)\n", why, strerror(-error));
    exit(77);
}

/* Every page is on the side that owner[] says, with its own bytes, and on that one only. */
static void check_all(int pagemap_fd, const int *owner)
{
    pagemap_entry there[2][NR];
    for (int i = 0; i < 2; i++)
        if (pagemap_read(pagemap_fd, page_of((uintptr_t)sides[i]), NR, there[i]))
            fail("can't be looked at", 0);
    for (unsigned p = 0; p < NR; p++) {
        if (pagemap_is_present(there[!owner[p]][p]))
            fail("is where it should not be", p);
        if (!pagemap_is_present(there[owner[p]][p]))
            fail("is lost", p);
        uint32_t number;
        memcpy(&number, sides[owner[p]] + pages_to_bytes(p) + 8, sizeof number);
        if (number != p + 1)
            fail("has another one's bytes", p);
    }
}

static int open_uffd(void)
{
    int fd = uffd_open(-1);
    if (fd < 0)
        skip("no right to userfaultfd", fd);
    uint64_t offered;
    int r = uffd_handshake(fd, UFFD_FEATURES_STAGING, &offered);
    if (r)
        skip("needs UFFDIO_MOVE, Linux 6.8", r);
    return fd;
}

int main(void)
{
    int uffd = open_uffd(), pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        sides[i] = mmap(NULL, pages_to_bytes(NR), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (sides[i] == MAP_FAILED || pagemap_fd < 0)
            return 1;
        (void)madvise(sides[i], pages_to_bytes(NR), MADV_NOHUGEPAGE);
        int r = uffd_register(uffd, (uintptr_t)sides[i], pages_to_bytes(NR), UFFD_WATCH);
        if (r)
            skip("no write-protect mode", r);
    }
    int owner[NR] = { 0 };
    for (uint32_t p = 0; p < NR; p++) {
        uint32_t number = p + 1;
        memcpy(sides[0] + pages_to_bytes(p) + 8, &number, sizeof number);
    }
    pthread_t agers[AGERS_NR];
    for (int i = 0; i < AGERS_NR; i++)
        if (pthread_create(&agers[i], NULL, age, NULL))
            return 1;

    static const unsigned lengths[] = { 1, 1, 2, 1, 64 };
    unsigned nr_unreported = 0, nr_calls = 0;
    for (uint64_t end_ns = now_ns() + SECONDS_MAX * NS_PER_S;
         now_ns() < end_ns && nr_unreported < ENOUGH; nr_calls++) {
        unsigned nr = lengths[nr_calls % 5], first = nr_calls * 7 % (NR - nr + 1);
        int from = owner[first];
        for (unsigned i = 1; i < nr; i++)
            if (owner[first + i] != from)
                nr = i;
        int error;
        unsigned unreported;
        unsigned moved = move_run(uffd, pagemap_fd, (uintptr_t)sides[!from] + pages_to_bytes(first),
                                  (uintptr_t)sides[from] + pages_to_bytes(first), nr, &error,
                                  &unreported);
        if (moved > nr || (moved == nr) != (error == 0))
            fail("begins a run whose length and error disagree", first);
        nr_unreported += unreported;
        for (unsigned i = 0; i < moved; i++)
            owner[first + i] = !from;
        check_all(pagemap_fd, owner);
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < AGERS_NR; i++)
        (void)pthread_join(agers[i], NULL);
    printf("%u calls, %u pages moved and not counted\n", nr_calls, nr_unreported);
    return 0;
}
