/* chase.c - two threads, one that faults and one that answers and follows it from CPU to CPU: how long a touch
 * takes, back to back, and how often both go round, by what the answering thread is to the scheduler.
 * docs/stall.md, "The chase", has the figures.
 *
 * Nothing of the pager runs here: only its calls of the kernel do. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/pagesize.h"
#include "common/latency.h"
#include "common/options.h"
#include "common/pace.h"
#include "common/rng.h"
#include "sys/class.h"
#include "sys/sched.h"
#include "sys/uffd.h"

#define PAGES_NR 16384u
#define LOOK_EVERY 8u /* faults; the agent does, too, and goes when two looks agree */

static int uffd;
static unsigned char *memory;
static _Atomic int touchers_cpu; /* where it was when it began its touch */
static _Atomic uint64_t nr_moves;

static struct {
    uint64_t lower, slice_ns, pause_ns, repeats;
} wanted = { .repeats = 5 };

static void fail(const char *what, int r)
{
    fprintf(stderr, "chase: %s: %s\n", what, strerror(-r));
    exit(EXIT_SYSTEM);
}

static void become(void)
{
    struct own_class c;
    class_find(&c);
    if ((wanted.slice_ns && class_set_slice(&c, wanted.slice_ns)) ||
        (wanted.lower && setpriority(PRIO_PROCESS, 0, c.nice - (int)wanted.lower)))
        fail("a nice value or a slice of its own (needs CAP_SYS_NICE, Linux 6.12)", -EPERM);
}

/* Until the process ends: its read blocks. */
static void *answer(void *unused)
{
    static _Alignas(PAGE_BYTES) unsigned char page[PAGE_BYTES];
    become();
    sched_remember();
    int here = -1;
    for (uint64_t nr = 1;; nr++) {
        struct uffd_msg message;
        if (read(uffd, &message, sizeof message) != sizeof message)
            continue;
        int cpu = atomic_load_explicit(&touchers_cpu, memory_order_relaxed);
        int r = uffd_copy(uffd, message.arg.pagefault.address & ~(uint64_t)(PAGE_BYTES - 1), page);
        if (r)
            fail("COPY", r);
        if (nr % LOOK_EVERY || cpu == here || sched_go_to_cpu(cpu))
            continue;
        here = cpu;
        atomic_fetch_add(&nr_moves, 1);
    }
    return unused;
}

static void spin(uint64_t ns)
{
    for (uint64_t until_ns = pace_now_ns() + ns; pace_now_ns() < until_ns;)
        ;
}

/* All pages once, in another order each time. */
static void touch_all(uint64_t repeat, struct latency *ret_felt)
{
    static uint32_t order[PAGES_NR];
    struct rng rng = rng_new(1, repeat);
    rng_order(&rng, order, PAGES_NR);
    for (unsigned i = 0; i < PAGES_NR; i++) {
        atomic_store_explicit(&touchers_cpu, sched_getcpu(), memory_order_relaxed);
        uint64_t begin_ns = pace_now_ns();
        (void)*(volatile unsigned char *)(memory + (size_t)order[i] * PAGE_BYTES);
        latency_record(ret_felt, pace_now_ns() - begin_ns);
        if (wanted.pause_ns)
            spin(wanted.pause_ns);
    }
}

static void open_memory(void)
{
    memory = mmap(NULL, PAGES_NR * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("memory", -ENOMEM);
    (void)madvise(memory, PAGES_NR * PAGE_BYTES, MADV_NOHUGEPAGE);
    uffd = uffd_open(-1);
    if (uffd < 0)
        fail("userfaultfd", uffd);
    uint64_t offered;
    int r = uffd_handshake(uffd, 0, &offered);
    if (r == 0)
        r = uffd_register(uffd, (uintptr_t)memory, PAGES_NR * PAGE_BYTES, UFFD_ARM);
    if (r == 0 && fcntl(uffd, F_SETFL, 0))
        r = -errno;
    if (r)
        fail("a userfaultfd", r);
}

int main(int argc, char **argv)
{
    const struct option_row rows[] = {
        { "lower", OPTION_UINT, &wanted.lower, 0, 39, NULL, "nice value of who answers, than who touches" },
        { "slice", OPTION_TIME, &wanted.slice_ns, 0, 1e8, NULL, "of who answers; 0 is the kernel's own" },
        { "pause", OPTION_TIME, &wanted.pause_ns, 0, 1e9, NULL, "of spinning between touches" },
        { "repeats", OPTION_UINT, &wanted.repeats, 1, 1000, NULL, "of 16,384 touches; a line each" },
    };
    const struct option_table table = { "chase", "Two threads that go round the CPUs, or do not.", { rows },
                                        { sizeof rows / sizeof *rows } };
    enum options_result parsed = options_parse(&table, argc, argv);
    if (parsed != OPTIONS_RUN)
        return parsed == OPTIONS_DONE ? 0 : EXIT_USAGE;
    open_memory();
    pthread_t answering;
    if (pthread_create(&answering, NULL, answer, NULL))
        fail("a thread", -EAGAIN);
    for (uint64_t k = 0; k < wanted.repeats; k++) {
        struct latency felt = { 0 };
        uint64_t moves = atomic_load(&nr_moves), begin_ns = pace_now_ns();
        touch_all(k, &felt);
        double seconds = (double)(pace_now_ns() - begin_ns) / 1e9;
        printf("p50 %5.1f  p95 %5.1f  p99 %5.1f us  %6.0f pages/s  %4u moves\n",
               (double)latency_percentile_ns(&felt, 0, 500) / 1e3,
               (double)latency_percentile_ns(&felt, 0, 950) / 1e3,
               (double)latency_percentile_ns(&felt, 0, 990) / 1e3, PAGES_NR / seconds,
               (unsigned)(atomic_load(&nr_moves) - moves));
        (void)madvise(memory, PAGES_NR * PAGE_BYTES, MADV_DONTNEED);
    }
    return 0;
}
