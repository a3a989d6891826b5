/* steps.c - what each step costs of a restore in the touching thread, alone: the fault with its signal, reading
 * from the store, and installing, a page at a time and in runs. By 1 thread and by 8, so that what they wait
 * for each other shows. docs/stall.md has the figures.
 *
 * Nothing of the pager runs here: its calls of the kernel do, and its reader and codec. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "codec/codec.h"
#include "common/content.h"
#include "common/options.h"
#include "common/pace.h"
#include "store/reader.h"
#include "sys/uffd.h"

#define THREADS_MAX 8u
#define PAGES_NR 16384u /* of all threads together */
#define RUN_MAX 64u
#define REPEATS_NR 5u

static int uffd;
static unsigned char *memory, *store_memory;
static locator places[PAGES_NR];
static uint32_t checksums[PAGES_NR];
static uint64_t nr_store_bytes;

struct worker {
    pthread_t thread;
    unsigned first, nr; /* pages */
    const struct step *step;
    unsigned char *ready; /* RUN_MAX pages, there and warm; MOVE takes from it */
    struct store_scratch *scratch;
};

static pthread_barrier_t begin;
static __thread struct worker *own;

static void fail(const char *what, int r)
{
    fprintf(stderr, "steps: %s: %s\n", what, strerror(-r));
    exit(EXIT_SYSTEM);
}

/* ---- a fault, its signal, and back */

static void read_page(struct worker *w, unsigned page, unsigned place)
{
    struct store_map map = { .bytes = store_memory, .nr_bytes = nr_store_bytes };
    int r = store_read(&map, places[page], checksums[page], w->scratch, w->ready + place * PAGE_BYTES);
    if (r)
        fail("a page does not read back", r);
}

static void copy_pages(struct worker *w, unsigned first, unsigned nr)
{
    uint64_t copied;
    int r = uffd_copy_run_quietly(uffd, (uintptr_t)memory + first * PAGE_BYTES, w->ready, nr * PAGE_BYTES,
                                  &copied);
    if (r)
        fail("COPY", r);
}

/* A whole restore but for table, hazard words and counters: what no direct path can be quicker than. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    unsigned page = (unsigned)(((uintptr_t)info->si_addr - (uintptr_t)memory) / PAGE_BYTES);
    read_page(own, page, 0);
    copy_pages(own, page, 1);
}

static void touches(struct worker *w, unsigned run)
{
    (void)run;
    for (unsigned i = 0; i < w->nr; i++)
        (void)((volatile unsigned char *)memory)[(w->first + i) * PAGE_BYTES];
}

/* The handler goes on behind the load: what is left is the way there and back. */
void touch_and_skip(const unsigned char *at);
extern char behind_the_load[];
#if defined __x86_64__
#define INSTRUCTION_AT(context) ((context)->uc_mcontext.gregs[REG_RIP])
__asm__(".text\n.globl touch_and_skip, behind_the_load\ntouch_and_skip:\n"
        "movb (%rdi), %al\nbehind_the_load:\nret\n.previous\n");
#elif defined __aarch64__
#define INSTRUCTION_AT(context) ((context)->uc_mcontext.pc)
__asm__(".text\n.globl touch_and_skip, behind_the_load\ntouch_and_skip:\n"
        "ldrb w0, [x0]\nbehind_the_load:\nret\n.previous\n");
#endif

static void skip(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    INSTRUCTION_AT((ucontext_t *)context) = (uintptr_t)behind_the_load;
}

static void signals(struct worker *w, unsigned run)
{
    (void)run;
    for (unsigned i = 0; i < w->nr; i++)
        touch_and_skip(memory + (w->first + i) * PAGE_BYTES);
}

/* ---- reading and installing */

static void reads(struct worker *w, unsigned run)
{
    for (unsigned i = 0; i < w->nr; i++)
        read_page(w, w->first + i, i % run);
}

static void copies(struct worker *w, unsigned run)
{
    for (unsigned i = 0; i < w->nr; i += run)
        copy_pages(w, w->first + i, run);
}

static void reads_and_copies(struct worker *w, unsigned run)
{
    for (unsigned i = 0; i < w->nr; i++) {
        read_page(w, w->first + i, i % run);
        if (i % run == run - 1)
            copy_pages(w, w->first + i + 1 - run, run);
    }
}

static void refill(unsigned char *ready, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++)
        ((volatile unsigned char *)ready)[i * PAGE_BYTES] = 1;
}

/* A MOVE takes the page, so the next one needs new ones, zeroed by the kernel: they alone are fresh_pages. */
static void moves(struct worker *w, unsigned run)
{
    for (unsigned i = 0; i < w->nr; i += run) {
        refill(w->ready, run);
        uint64_t moved;
        int r = uffd_move(uffd, (uintptr_t)memory + (w->first + i) * PAGE_BYTES, (uintptr_t)w->ready,
                          run * PAGE_BYTES, &moved);
        if (r)
            fail("MOVE", r);
    }
}

static void fresh_pages(struct worker *w, unsigned run)
{
    for (unsigned i = 0; i < w->nr; i += run) {
        (void)madvise(w->ready, run * PAGE_BYTES, MADV_DONTNEED);
        refill(w->ready, run);
    }
}

static const struct step {
    const char *name;
    void (*run)(struct worker *w, unsigned run);
    unsigned nr; /* pages in one call */
    void (*handler)(int, siginfo_t *, void *);
    bool is_open; /* no signal is blocked in the handler */
} steps[] = {
    { "a restore: fault, signal, read, COPY", touches, 1, on_sigbus, false },
    { "fault and signal", signals, 1, skip, false },
    { "fault and signal, nothing blocked", signals, 1, skip, true },
    { "read: blob, LZ4, checksum", reads, 1, NULL, false },
    { "read into 16 places in turn", reads, 16, NULL, false },
    { "read into 64 places in turn", reads, 64, NULL, false },
    { "COPY of 1", copies, 1, NULL, false },
    { "COPY of 2", copies, 2, NULL, false },
    { "COPY of 4", copies, 4, NULL, false },
    { "COPY of 8", copies, 8, NULL, false },
    { "COPY of 16", copies, 16, NULL, false },
    { "COPY of 64", copies, 64, NULL, false },
    { "read and COPY of 1", reads_and_copies, 1, NULL, false },
    { "read and COPY of 16", reads_and_copies, 16, NULL, false },
    { "read and COPY of 64", reads_and_copies, 64, NULL, false },
    { "MOVE of 1, and a fresh page", moves, 1, NULL, false },
    { "MOVE of 16, and fresh pages", moves, 16, NULL, false },
    { "fresh pages, 16 at a time", fresh_pages, 16, NULL, false },
};

/* ---- */

static void *work(void *argument)
{
    struct worker *w = own = argument;
    w->ready = mmap(NULL, RUN_MAX * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    w->scratch = calloc(1, sizeof *w->scratch);
    if (w->ready == MAP_FAILED || !w->scratch)
        fail("memory", -ENOMEM);
    (void)madvise(w->ready, RUN_MAX * PAGE_BYTES, MADV_NOHUGEPAGE);
    refill(w->ready, RUN_MAX);
    pthread_barrier_wait(&begin);
    w->step->run(w, w->step->nr);
    pthread_barrier_wait(&begin);
    munmap(w->ready, RUN_MAX * PAGE_BYTES);
    free(w->scratch);
    return NULL;
}

/* Of one step by so many threads: nanoseconds of a CPU for a page, if each had its CPU all the time. */
static double measure(const struct step *step, unsigned nr_threads)
{
    struct sigaction action = { .sa_sigaction = step->handler, .sa_flags = SA_SIGINFO };
    if (step->is_open)
        action.sa_flags |= SA_NODEFER;
    else
        sigfillset(&action.sa_mask);
    if (step->handler)
        (void)sigaction(SIGBUS, &action, NULL);
    (void)madvise(memory, PAGES_NR * PAGE_BYTES, MADV_DONTNEED);
    struct worker workers[THREADS_MAX];
    pthread_barrier_init(&begin, NULL, nr_threads + 1);
    for (unsigned i = 0; i < nr_threads; i++) {
        unsigned nr = PAGES_NR / nr_threads;
        workers[i] = (struct worker){ .first = i * nr, .nr = nr, .step = step };
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
            fail("a thread", -EAGAIN);
    }
    pthread_barrier_wait(&begin);
    uint64_t begin_ns = pace_now_ns();
    pthread_barrier_wait(&begin);
    uint64_t elapsed_ns = pace_now_ns() - begin_ns;
    for (unsigned i = 0; i < nr_threads; i++)
        pthread_join(workers[i].thread, NULL);
    pthread_barrier_destroy(&begin);
    long nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned nr_at_once = nr_threads < nr_cpus ? nr_threads : (unsigned)nr_cpus;
    return (double)elapsed_ns * nr_at_once / PAGES_NR;
}

static void fill_store(void)
{
    static _Alignas(4096) unsigned char page[PAGE_BYTES];
    struct content content = { .kind = CONTENT_HEAP, .seed = 1 };
    struct codec_encoder *encoder;
    if (codec_encoder_new(&encoder))
        fail("an encoder", -ENOMEM);
    for (unsigned i = 0; i < PAGES_NR; i++) {
        struct codec_encoded e;
        content_fill(&content, i, 1, page);
        checksums[i] = page_checksum(page);
        if (codec_encode(encoder, page, &e) != CODEC_BLOB)
            fail("a page of the content does not shrink", -EINVAL);
        memcpy(store_memory + nr_store_bytes, e.bytes, e.size);
        places[i] = locator_make(e.kind, nr_store_bytes, e.size);
        nr_store_bytes += (e.size + STORE_UNIT_BYTES - 1) / STORE_UNIT_BYTES * STORE_UNIT_BYTES;
    }
    codec_encoder_free(encoder);
}

static unsigned char *map_pages(void)
{
    void *m = mmap(NULL, PAGES_NR * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED)
        fail("memory", -ENOMEM);
    (void)madvise(m, PAGES_NR * PAGE_BYTES, MADV_NOHUGEPAGE);
    return m;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void say(const struct step *step)
{
    double ns[2][REPEATS_NR];
    for (unsigned k = 0; k < REPEATS_NR; k++) {
        ns[0][k] = measure(step, 1);
        ns[1][k] = measure(step, THREADS_MAX);
    }
    for (unsigned i = 0; i < 2; i++)
        qsort(ns[i], REPEATS_NR, sizeof ns[i][0], compare);
    printf("%-40s %9.0f %9.0f\n", step->name, ns[0][REPEATS_NR / 2], ns[1][REPEATS_NR / 2]);
}

/* With words: only the steps that have one of them in their names. */
int main(int argc, char **argv)
{
    memory = map_pages();
    store_memory = map_pages();
    uffd = uffd_open(-1);
    if (uffd < 0)
        fail("userfaultfd", uffd);
    uint64_t offered, features = UFFD_FEATURES_STAGING | UFFD_FEATURE_SIGBUS | UFFD_FEATURE_WP_ASYNC;
    int r = uffd_handshake(uffd, features, &offered);
    if (r == 0)
        r = uffd_register(uffd, (uintptr_t)memory, PAGES_NR * PAGE_BYTES, UFFD_ARM);
    if (r)
        fail("a userfaultfd in SIGBUS mode", r);
    fill_store();
    printf("ns of a CPU for a page; median of %u\n", REPEATS_NR);
    printf("%-40s %9s %9s\n", "step", "1 thread", "8 threads");
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        bool is_wanted = argc == 1;
        for (int k = 1; k < argc; k++)
            is_wanted |= strstr(steps[i].name, argv[k]) != NULL;
        if (is_wanted)
            say(&steps[i]);
    }
    return 0;
}
