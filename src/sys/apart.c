/* apart.c - see apart.h. */
#include "sys/apart.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/pagesize.h"

/* 64 to 80 TiB: below a program's own place (0x55...) and the kernel's choices (0x7f...), above what is known
 * to be asked for by address: Go (0xc000000000), mimalloc (2 to 30 TiB), ZGC (4 to 32 TiB), AddressSanitizer's
 * shadow (up to 16 TiB). */
#define FIRST ((uintptr_t)64 << 40)
#define SPAN ((uintptr_t)16 << 40)
#define GAP PAGE_BYTES /* else two of ours with the same rights are one to the kernel */

/* Ours lie next to each other: they share the kernel's page tables. */
static _Atomic uintptr_t next;

/* As hard to guess as where the library lies: its page's 28 random bits, a step of 64 KiB each. */
static uintptr_t first_place(void)
{
    return FIRST + ((((uintptr_t)&next << 4) % (SPAN / 2)) & PAGE_MASK);
}

static void *next_place(size_t bytes)
{
#ifdef __SANITIZE_THREAD__
    return NULL; /* its shadow covers few addresses */
#endif
    uintptr_t at = atomic_load_explicit(&next, memory_order_relaxed), place;
    do
        place = at && bytes < FIRST + SPAN - at ? at : first_place();
    while (!atomic_compare_exchange_weak_explicit(&next, &at, place + page_round_up(bytes) + GAP,
                                                  memory_order_relaxed, memory_order_relaxed));
    return (void *)place;
}

void *map_apart(size_t bytes, int protection, int flags, int fd)
{
    return mmap(next_place(bytes), bytes, protection, flags, fd, 0);
}
