/* kinds_syscalls.c - the kernel meets pages that are out: read, write, readv and writev on them, a read
 * that blocks while its buffer leaves, futex words, a signal's stack.
 *
 * Each thread has a peer that sleeps in the kernel on managed memory until the thread calls. */
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "stress/field.h"

#define STACK_PAGES 16u
#define OWN_PAGES (STACK_PAGES + 3)
#define NAP_US 3000u /* long enough to leave meanwhile */
#define ASK_SECONDS 2

enum { AT_FUTEX, AT_ANSWER, AT_READ, AT_STACK }; /* pages of a thread's own range */

struct own {
    unsigned char *memory; /* OWN_PAGES, managed */
    int file;              /* in memory; a block fits */
    int pipe[2];           /* to the peer's blocked read */
    uint32_t version;      /* of what the peer reads */
    uint32_t asked;        /* what the futex word should be */
    pthread_t peer;
    struct progress *progress; /* the peer's */
    struct client *client;
    _Atomic uint32_t nr_read, nr_answered;
    _Atomic bool is_over;
};

static unsigned char *own_page(const struct own *o, uint32_t i)
{
    return o->memory + pages_to_bytes(i);
}

static long futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
    return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

/* ---- the peer: even versions are read, odd asks are answered */

static void peer_read(struct own *o)
{
    _Alignas(8) unsigned char expected[PAGE_BYTES];
    ssize_t n = 0, all = 0;
    while (all < (ssize_t)PAGE_BYTES &&
           (n = read(o->pipe[0], own_page(o, AT_READ) + all, PAGE_BYTES - (size_t)all)) > 0)
        all += n;
    if (n <= 0)
        return; /* closed: it is over */
    field_content(expected, o->client->field->salt, AT_READ, o->version);
    if (memcmp(expected, own_page(o, AT_READ), PAGE_BYTES))
        stress_wrong(o->client->run, "a blocked read brought something else than version %u", o->version);
    atomic_fetch_add(&o->nr_read, 1);
}

static void *peer_main(void *argument)
{
    struct own *o = argument;
    _Atomic uint32_t *word = (void *)own_page(o, AT_FUTEX), *answer = (void *)own_page(o, AT_ANSWER);
    o->progress = progress_new(o->client);
    uint32_t seen = 0;
    while (!atomic_load(&o->is_over)) {
        progress_beat(o->progress, "futex");
        struct timespec second = { .tv_sec = 1 };
        (void)futex(word, FUTEX_WAIT, seen, &second);
        uint32_t now = atomic_load(word);
        if (now == seen)
            continue;
        if (now != seen + 1)
            stress_wrong(o->client->run, "a futex word reads %u after %u", now, seen);
        seen = now;
        progress_beat(o->progress, "blocked read");
        if (now % 2 == 0)
            peer_read(o);
        atomic_store(answer, now);
        (void)futex(answer, FUTEX_WAKE, 1, NULL);
    }
    progress_end(o->progress);
    return NULL;
}

/* Asks the peer for its next turn. */
static void call(struct own *o)
{
    _Atomic uint32_t *word = (void *)own_page(o, AT_FUTEX);
    uint32_t before = atomic_fetch_add(word, 1);
    if (before != o->asked)
        stress_wrong(o->client->run, "a futex word reads %u, should be %u", before, o->asked);
    o->asked++;
    (void)futex(word, FUTEX_WAKE, 1, NULL);
}

static void wait_for_answer(struct own *o)
{
    _Atomic uint32_t *answer = (void *)own_page(o, AT_ANSWER);
    struct timespec much = { .tv_sec = ASK_SECONDS };
    for (uint32_t now; (now = atomic_load(answer)) != o->asked;) {
        if (now != o->asked - 1)
            stress_wrong(o->client->run, "an answer reads %u, should be %u", now, o->asked);
        (void)futex(answer, FUTEX_WAIT, now, &much);
    }
}

/* The peer sleeps in FUTEX_WAIT; its word, and the answer's, leave meanwhile. */
static bool op_futex(struct worker *w)
{
    struct own *o = w->own;
    if (w->random >> 40 & 1)
        test_nap_us(random_below(&w->random, NAP_US));
    call(o);
    if (o->asked % 2 == 0) { /* it reads: see op_blocked_read */
        o->version++;
        _Alignas(8) unsigned char bytes[PAGE_BYTES];
        field_content(bytes, w->client->field->salt, AT_READ, o->version);
        test_nap_us(random_below(&w->random, NAP_US)); /* its buffer leaves while it is blocked */
        size_t half = 8 * random_below(&w->random, 513);
        if (write(o->pipe[1], bytes, half) != (ssize_t)half)
            stress_broken("write to a pipe");
        if (w->random >> 41 & 1)
            test_nap_us(random_below(&w->random, NAP_US));
        if (write(o->pipe[1], bytes + half, PAGE_BYTES - half) != (ssize_t)(PAGE_BYTES - half))
            stress_broken("write to a pipe");
    }
    wait_for_answer(o);
    return true;
}

/* ---- files */

/* A block goes into the file and comes back from it. */
static bool op_file(struct worker *w)
{
    struct field *f = w->client->field;
    struct own *o = w->own;
    struct block *b = field_lock_any(w, true);
    if (!b)
        return false;
    size_t bytes = pages_to_bytes(f->shape->block_pages);
    if (pwrite(o->file, b->home, bytes, 0) != (ssize_t)bytes)
        stress_complain(f->run, "write from a block: %m");
    memset(b->home, 0xa5, bytes);
    if (w->random >> 42 & 1)
        test_nap_us(random_below(&w->random, NAP_US));
    if (pread(o->file, b->home, bytes, 0) != (ssize_t)bytes)
        stress_complain(f->run, "read into a block: %m");
    for (uint32_t i = 0; i < f->shape->block_pages; i++)
        field_check(f, b, i, "written and read");
    field_unlock(b);
    return true;
}

/* Every other page into the file with one call, the rest with another; then changed and back. */
static bool op_vectors(struct worker *w)
{
    struct field *f = w->client->field;
    struct own *o = w->own;
    struct block *b = field_lock_any(w, true);
    if (!b)
        return false;
    struct iovec parts[8];
    uint32_t odd = (uint32_t)(w->random >> 43 & 1);
    for (uint32_t i = 0; i < 8; i++)
        parts[i] = (struct iovec){ block_page(b, 2 * i + odd), PAGE_BYTES };
    if (pwritev(o->file, parts, 8, 0) != 8 * (ssize_t)PAGE_BYTES)
        stress_complain(f->run, "writev: %m");
    for (uint32_t i = 0; i < 8; i++)
        memset(parts[i].iov_base, (int)i, PAGE_BYTES);
    if (preadv(o->file, parts, 8, 0) != 8 * (ssize_t)PAGE_BYTES)
        stress_complain(f->run, "readv: %m");
    for (uint32_t i = 0; i < f->shape->block_pages; i++)
        field_check(f, b, i, "writev and readv");
    field_unlock(b);
    return true;
}

/* Small results of calls, straight into pages. */
static bool op_small(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = field_lock_any(w, true);
    if (!b)
        return false;
    uint32_t i = random_below(&w->random, f->shape->block_pages);
    struct timespec *now = (void *)block_page(b, i);
    if (syscall(SYS_clock_gettime, CLOCK_MONOTONIC, now) || now->tv_nsec > 999999999)
        stress_wrong(f->run, "clock_gettime into a page");
    field_write(f, b, i);
    field_check(f, b, i, "after clock_gettime");
    field_unlock(b);
    return true;
}

/* ---- signals */

static _Thread_local volatile uint64_t handled;

static void on_usr1(int signal)
{
    volatile unsigned char much[3 * PAGE_BYTES]; /* some pages of the stack */
    for (size_t i = 0; i < sizeof much; i += 256)
        much[i] = (unsigned char)(signal + (int)i / 256);
    for (size_t i = 0; i < sizeof much; i += 256)
        if (much[i] != (unsigned char)(signal + (int)i / 256))
            return;
    handled++;
}

static bool op_signal(struct worker *w)
{
    uint64_t before = handled;
    (void)raise(SIGUSR1);
    if (handled != before + 1)
        stress_wrong(w->client->run, "a signal's stack lost what was written on it");
    return true;
}

/* ---- begin and end */

static void syscalls_prepare(struct client *c)
{
    (void)c;
    struct sigaction action = { .sa_handler = on_usr1, .sa_flags = SA_ONSTACK };
    if (sigaction(SIGUSR1, &action, NULL))
        stress_broken("sigaction");
}

static void syscalls_begin(struct worker *w)
{
    struct own *o = calloc(1, sizeof *o);
    if (!o || pipe(o->pipe) || (o->file = memfd_create("stress", MFD_CLOEXEC)) < 0)
        stress_broken("a file and a pipe");
    o->client = w->client;
    o->memory = mmap(NULL, pages_to_bytes(OWN_PAGES), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (o->memory == MAP_FAILED)
        stress_broken("mmap");
    stack_t stack = { .ss_sp = own_page(o, AT_STACK), .ss_size = pages_to_bytes(STACK_PAGES) };
    if (sigaltstack(&stack, NULL))
        stress_broken("sigaltstack");
    if (pp_register(w->client->pager, o->memory, pages_to_bytes(OWN_PAGES)))
        stress_complain(w->client->run, "pp_register: %s", pp_error(w->client->pager));
    w->own = o;
    if (pthread_create(&o->peer, NULL, peer_main, o))
        stress_broken("pthread_create");
}

static void syscalls_end(struct worker *w)
{
    struct own *o = w->own;
    atomic_store(&o->is_over, true);
    close(o->pipe[1]);
    call(o);
    (void)pthread_join(o->peer, NULL);
    atomic_fetch_add(&w->client->run->shared[0], o->nr_read);
    atomic_fetch_add(&w->client->run->shared[1], o->asked);
    stack_t off = { .ss_flags = SS_DISABLE };
    (void)sigaltstack(&off, NULL);
}

static void syscalls_conclude(struct run *r, struct result *ret)
{
    (void)snprintf(ret->note, sizeof ret->note, "%lu blocked reads, %lu futex calls",
                   (unsigned long)r->shared[0], (unsigned long)r->shared[1]);
}

static const struct field_shape shape_syscalls = {
    .nr_pages = 16384, .block_pages = 16, .nr_ranges = 4, .nr_shared = 128,
};

static const struct weighted syscalls_operations[] = {
    { op_read, "read", 30 },
    { op_write, "write", 20 },
    { op_shared, "shared page", 5 },
    { op_futex, "futex and blocked read", 5 },
    { op_file, "file", 15 },
    { op_vectors, "vectors", 10 },
    { op_small, "clock_gettime", 10 },
    { op_signal, "signal", 5 },
    { 0 },
};

const struct kind kind_syscalls = {
    .name = "syscalls", .share = 2, .nr_clients = 1, .nr_threads = 8,
    .shape = &shape_syscalls, .operations = syscalls_operations, .prepare = syscalls_prepare,
    .worker_begin = syscalls_begin, .worker_end = syscalls_end, .conclude = syscalls_conclude,
};
