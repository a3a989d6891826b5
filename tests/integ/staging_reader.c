/* staging_reader - somebody reads the pager's own memory from outside, as a debugger or a core dump
 * does: a hole of staging that was read holds a zero page then, which the next MOVE there refuses.
 * Nothing may be lost by it, and pages go on leaving. Method: a helper process reads all anonymous
 * memory of the test (process_vm_readv) again and again while everything is evicted and rewritten. */
#include "rogue.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define NR 1024u

static struct arena a;

struct shared {
    pid_t target;
    uintptr_t spare_first, spare_end; /* the managed memory: reading it would wait for the agent */
    _Atomic uint64_t nr_passes, nr_bytes;
};

static void read_interval(const struct shared *shared, uintptr_t start, uintptr_t end)
{
    static unsigned char buffer[1 << 16];
    for (uintptr_t at = start; at < end; at += sizeof buffer) {
        struct iovec here = { buffer, end - at < sizeof buffer ? end - at : sizeof buffer };
        struct iovec there = { (void *)at, here.iov_len };
        (void)process_vm_readv(shared->target, &here, 1, &there, 1, 0);
    }
}

static int reader(void *argument)
{
    struct shared *shared = argument;
    char path[64], line[256];
    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)shared->target);
    for (;;) {
        FILE *f = fopen(path, "re");
        if (!f)
            return 1;
        while (fgets(line, sizeof line, f)) {
            unsigned long start, end;
            char mode[8] = "";
            if (sscanf(line, "%lx-%lx %7s", &start, &end, mode) != 3 || strncmp(mode, "rw-p", 4))
                continue;
            if (end - start > ((size_t)8 << 20) || (start < shared->spare_end && end > shared->spare_first))
                continue; /* the page table's reserve is large and of no interest */
            read_interval(shared, start, end);
            atomic_fetch_add(&shared->nr_bytes, end - start);
        }
        fclose(f);
        atomic_fetch_add(&shared->nr_passes, 1);
    }
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    struct shared *shared = test_shared(sizeof *shared);
    test_begin("reading the pager's own memory from outside loses nothing", 30);
    arena_begin(&a, r, NR);
    shared->target = getpid();
    shared->spare_first = (uintptr_t)a.pages.memory;
    shared->spare_end = shared->spare_first + pages_to_bytes(NR);
    pid_t pid = helper_start(reader, shared);
    for (int round = 0; round < 10; round++) {
        uint64_t passes = shared->nr_passes;
        arena_all_out(&a);
        WAIT_UNTIL(shared->nr_passes >= passes + 2);
        pages_check_all(&a.pages);
        pages_write_all(&a.pages);
    }
    CHECK(shared->nr_bytes > ((size_t)16 << 20));
    rogue_offer_all(r);
    uint64_t random = 5;
    for (uint64_t until = test_now_ms() + 700; test_now_ms() < until;)
        for (int k = 0; k < 32; k++) {
            uint32_t i = (uint32_t)(test_random(&random) % NR);
            pages_check(&a.pages, i);
            if (random >> 40 & 1)
                pages_write(&a.pages, i);
        }
    (void)helper_kill(pid, SIGKILL);
    rogue_pause(r);
    test_case("afterwards");
    arena_all_out(&a); /* pages still can leave */
    arena_end(&a);
    return test_end();
}
