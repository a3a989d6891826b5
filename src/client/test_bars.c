/* A thread inside a discard is never taken for one outside. Method: texts of
 * /proc/PID/task/TID/syscall; then a thread that really zaps many pages with madvise, again and
 * again, while its text is read; then the whole check beside such a thread, which must not end
 * before the thread blocks in another call. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/pagesize.h"
#include "client/bars.h"

#define ZAP_PAGES 8192u /* a millisecond or more to zap */
#define ZAP_ROUNDS 30u

static void texts_are_read_as_the_kernel_means_them(void **state)
{
    (void)state;
    static const struct {
        long call;
        bool is_outside;
    } calls[] = { { SYS_read, true },     { SYS_futex, true },     { SYS_nanosleep, true },
                  { SYS_poll, true },     { SYS_recvfrom, true },  { SYS_madvise, false },
                  { SYS_munmap, false },  { SYS_mremap, false },   { SYS_mmap, false },
                  { SYS_brk, false },     { SYS_exit, false },     { SYS_io_uring_enter, false },
                  { SYS_process_madvise, false } };
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "%ld 0x3 0x7f0000000000 0x1000 0x0 0x0 0x0 0x7f0 0x7f1\n",
                       calls[i].call);
        assert_int_equal(bars_is_outside(text), calls[i].is_outside);
    }
    assert_false(bars_is_outside("running\n"));
    assert_false(bars_is_outside("-1 0x7ffd00000000 0x55d000000000\n")); /* in a fault */
    assert_false(bars_is_outside(""));
}

/* ---- a thread that zaps */

struct zapper {
    unsigned char *memory;
    _Atomic unsigned nr_calls; /* odd: inside the call, or at its very edge */
    _Atomic bool must_block;
    _Atomic pid_t tid;
    int pipe[2]; /* it blocks in a read of it */
};

static void *zap(void *argument)
{
    struct zapper *z = argument;
    atomic_store(&z->tid, (pid_t)syscall(SYS_gettid));
    while (!atomic_load(&z->must_block)) {
        for (size_t i = 0; i < ZAP_PAGES; i++)
            z->memory[pages_to_bytes(i)] = 1;
        atomic_fetch_add(&z->nr_calls, 1);
        (void)madvise(z->memory, pages_to_bytes(ZAP_PAGES), MADV_DONTNEED);
        atomic_fetch_add(&z->nr_calls, 1);
    }
    char byte;
    assert_int_equal(read(z->pipe[0], &byte, 1), 1);
    return NULL;
}

static void zapper_begin(struct zapper *z, pthread_t *ret_thread)
{
    *z = (struct zapper){ 0 };
    z->memory = mmap(NULL, pages_to_bytes(ZAP_PAGES), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(z->memory, MAP_FAILED);
    (void)madvise(z->memory, pages_to_bytes(ZAP_PAGES), MADV_NOHUGEPAGE);
    assert_int_equal(pipe(z->pipe), 0);
    assert_int_equal(pthread_create(ret_thread, NULL, zap, z), 0);
    while (!atomic_load(&z->tid))
        sched_yield();
}

static void zapper_end(struct zapper *z, pthread_t thread)
{
    atomic_store(&z->must_block, true);
    assert_int_equal(write(z->pipe[1], "x", 1), 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    munmap(z->memory, pages_to_bytes(ZAP_PAGES));
    close(z->pipe[0]);
    close(z->pipe[1]);
}

static bool is_seen_outside(pid_t tid)
{
    char path[64], text[128];
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/syscall", (int)tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return bars_is_outside(text);
}

static void a_thread_inside_a_zap_is_never_seen_outside(void **state)
{
    (void)state;
    struct zapper z;
    pthread_t thread;
    zapper_begin(&z, &thread);
    unsigned nr_inside = 0, nr_outside = 0;
    uint64_t deadline_ns = now_ns() + 20 * NS_PER_S;
    while (atomic_load(&z.nr_calls) < 2 * ZAP_ROUNDS && now_ns() < deadline_ns) {
        unsigned before = atomic_load(&z.nr_calls);
        if (before % 2 == 0)
            continue;
        bool is_outside = is_seen_outside(z.tid);
        if (atomic_load(&z.nr_calls) != before)
            continue;
        nr_inside++;
        nr_outside += is_outside;
    }
    zapper_end(&z, thread);
    print_message("looked %u times at a thread inside madvise\n", nr_inside);
    assert_true(nr_inside >= 20);
    assert_int_equal(nr_outside, 0);
}

static void a_check_ends_when_the_last_thread_has_been_seen_outside(void **state)
{
    (void)state;
    struct zapper z;
    pthread_t thread;
    zapper_begin(&z, &thread);
    _Atomic uint64_t wanted = 1, checked = 0;
    static struct bars_check b;
    b = (struct bars_check){ 0 };
    while (atomic_load(&z.nr_calls) < 20) { /* only ever computing and zapping */
        (void)bars_check_step(&b, &wanted, &checked);
        assert_int_equal(atomic_load(&checked), 0);
        usleep(500);
    }
    assert_true(b.is_running);
    atomic_store(&wanted, 2); /* a newer bar is not covered by the check that runs */
    atomic_store(&z.must_block, true);
    uint64_t deadline_ns = now_ns() + 20 * NS_PER_S;
    while (atomic_load(&checked) == 0 && now_ns() < deadline_ns) {
        (void)bars_check_step(&b, &wanted, &checked);
        usleep(500);
    }
    assert_int_equal(atomic_load(&checked), 1);
    while (atomic_load(&checked) == 1 && now_ns() < deadline_ns) {
        (void)bars_check_step(&b, &wanted, &checked);
        usleep(500);
    }
    assert_int_equal(atomic_load(&checked), 2);
    assert_false(bars_check_step(&b, &wanted, &checked)); /* nothing more is wanted */
    zapper_end(&z, thread);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_read_as_the_kernel_means_them),
        cmocka_unit_test(a_thread_inside_a_zap_is_never_seen_outside),
        cmocka_unit_test(a_check_ends_when_the_last_thread_has_been_seen_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
