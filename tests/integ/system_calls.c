/* system_calls - the kernel meets missing pages, too: read(2) that blocks while its buffer leaves,
 * read, write, readv, futex and the rest on buffers that are out, a signal handler whose stack is out,
 * a thread that lives on managed memory. Method: each with the memory taken out just before, or all
 * the time. */
#include "actor.h"
#include "rogue.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define NR 512u

static struct arena a;

struct reading {
    int fd;
    void *buffer;
};

static void read_page(void *argument)
{
    struct reading *r = argument;
    CHECK_EQ(read(r->fd, r->buffer, PAGE_BYTES), (ssize_t)PAGE_BYTES);
}

static void blocked_read(void)
{
    test_case("a blocked read whose buffer leaves");
    static struct actor reader;
    actor_begin(&reader, -1, 0);
    for (int round = 0; round < 20; round++) {
        int ends[2];
        CHECK_EQ(pipe(ends), 0);
        struct reading reading = { ends[0], pages_at(&a.pages, 3) };
        actor_do(&reader, read_page, &reading);
        test_nap_us(1000);
        arena_out(&a, 0, 16); /* while the thread waits in read */
        _Alignas(8) unsigned char next[PAGE_BYTES];
        pages_fill(next, a.pages.salt, 3, a.pages.versions[3] + 1);
        CHECK_EQ(write(ends[1], next, sizeof next), (ssize_t)sizeof next);
        actor_wait(&reader);
        a.pages.versions[3]++;
        for (uint32_t i = 0; i < 16; i++)
            pages_check(&a.pages, i);
        close(ends[0]);
        close(ends[1]);
    }
}

static void files(void)
{
    test_case("write, read, readv, writev, stat with buffers that are out");
    int fd = memfd_create("buffers", MFD_CLOEXEC);
    CHECK(fd >= 0);
    arena_all_out(&a);
    CHECK_EQ(pwrite(fd, a.pages.memory, pages_to_bytes(NR), 0), (ssize_t)pages_to_bytes(NR));
    memset(a.pages.memory, 0, pages_to_bytes(NR));
    arena_all_out(&a);
    CHECK_EQ(pread(fd, a.pages.memory, pages_to_bytes(NR), 0), (ssize_t)pages_to_bytes(NR));
    pages_check_all(&a.pages);
    arena_all_out(&a);
    struct iovec parts[8];
    for (uint32_t i = 0; i < 8; i++)
        parts[i] = (struct iovec){ pages_at(&a.pages, 7 * i), PAGE_BYTES };
    CHECK_EQ(pwritev(fd, parts, 8, 0), 8 * (ssize_t)PAGE_BYTES);
    arena_all_out(&a);
    CHECK_EQ(preadv(fd, parts, 8, 0), 8 * (ssize_t)PAGE_BYTES);
    pages_check_all(&a.pages);
    arena_all_out(&a);
    struct stat *st = (void *)pages_at(&a.pages, 9);
    CHECK_EQ(fstat(fd, st), 0);
    CHECK_EQ(st->st_size, (long long)pages_to_bytes(NR));
    pages_write(&a.pages, 9);
    arena_all_out(&a);
    struct timespec *now = (void *)pages_at(&a.pages, 10);
    CHECK_EQ(clock_gettime(CLOCK_MONOTONIC, now), 0);
    pages_write(&a.pages, 10);
    pages_check_all(&a.pages);
    close(fd);
}

static _Atomic uint32_t *futex_word;

static void wait_on_futex(void *argument)
{
    (void)argument;
    while (atomic_load(futex_word) == 0)
        (void)syscall(SYS_futex, futex_word, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void futexes(void)
{
    test_case("a futex word that is out");
    static struct actor waiter;
    actor_begin(&waiter, -1, 0);
    for (int round = 0; round < 10; round++) {
        futex_word = (void *)pages_at(&a.pages, 20);
        atomic_store(futex_word, 0);
        actor_do(&waiter, wait_on_futex, NULL);
        test_nap_us(1000);
        arena_out(&a, 16, 16);
        atomic_store(futex_word, 1);
        arena_out(&a, 16, 16);
        CHECK(syscall(SYS_futex, futex_word, FUTEX_WAKE, 1, NULL, NULL, 0) >= 0);
        actor_wait(&waiter);
    }
    pages_write(&a.pages, 20);
}

static volatile sig_atomic_t nr_signals;

static void on_usr1(int signal)
{
    volatile unsigned char much[8192]; /* some pages of the stack */
    for (size_t i = 0; i < sizeof much; i += 512)
        much[i] = (unsigned char)signal;
    nr_signals += much[512] == signal;
}

static void signal_stack(void)
{
    test_case("a signal handler on a stack that is out");
    struct pages s; /* nobody checks a stack's bytes but the handler's own return */
    pages_map(&s, 32);
    memset(s.memory, 0x11, pages_to_bytes(32));
    CHECK_EQ(pp_register(a.pager, s.memory, pages_to_bytes(32)), 0);
    stack_t stack = { .ss_sp = s.memory, .ss_size = pages_to_bytes(32) };
    CHECK_EQ(sigaltstack(&stack, NULL), 0);
    struct sigaction action = { .sa_handler = on_usr1, .sa_flags = SA_ONSTACK };
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    for (int round = 0; round < 30; round++) {
        rogue_offer_only(a.rogue, s.memory, 32);
        WAIT_UNTIL(pages_nr_present(&s, 0, 32) == 0);
        if (round & 1)
            rogue_pause(a.rogue);
        CHECK_EQ(raise(SIGUSR1), 0);
        CHECK_EQ(nr_signals, round + 1);
    }
    rogue_pause(a.rogue);
    stack.ss_flags = SS_DISABLE;
    CHECK_EQ(sigaltstack(&stack, NULL), 0);
    CHECK_EQ(pp_unregister(a.pager, s.memory, pages_to_bytes(32)), 0);
    pages_unmap(&s);
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("system calls and signals meet pages that are out", 20);
    arena_begin(&a, r, NR);
    blocked_read();
    files();
    futexes();
    signal_stack();
    arena_end(&a);
    return test_end();
}
