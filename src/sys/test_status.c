/* Threads and memory of a process as /proc says them. Method: this process, and files of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys/status.h"

static pthread_barrier_t barrier;

static void *wait_twice(void *unused)
{
    (void)unused;
    (void)pthread_barrier_wait(&barrier);
    (void)pthread_barrier_wait(&barrier);
    return NULL;
}

static void it_counts_threads_and_private_memory(void **state)
{
    (void)state;
    struct process_status before, after;
    int status = process_status_open(getpid());
    assert_true(status >= 0);
    assert_int_equal(process_status_read(status, &before), 0);
    assert_true(before.nr_threads >= 1);
    pthread_t thread;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
    assert_int_equal(pthread_create(&thread, NULL, wait_twice, NULL), 0);
    (void)pthread_barrier_wait(&barrier);
    size_t bytes = 32 << 20;
    char *ours = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(ours != MAP_FAILED && shared != MAP_FAILED);
    memset(ours, 1, bytes);
    memset(shared, 1, bytes);
    assert_int_equal(process_status_read(status, &after), 0);
    close(status);
    assert_int_equal(after.nr_threads, before.nr_threads + 1);
    assert_in_range(after.resident_bytes, before.resident_bytes + bytes - (4 << 20),
                    before.resident_bytes + bytes + (4 << 20));
    (void)pthread_barrier_wait(&barrier);
    (void)pthread_join(thread, NULL);
    munmap(ours, bytes);
    munmap(shared, bytes);
}

static int read_text(const char *text, struct process_status *ret)
{
    char path[] = "/tmp/test_status.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    int r = process_status_read(fd, ret);
    close(fd);
    unlink(path);
    return r;
}

static void another_form_is_refused(void **state)
{
    (void)state;
    struct process_status s = { .nr_threads = 99 };
    assert_int_equal(process_status_open(1 << 30), -ESRCH);
    assert_int_equal(read_text("", &s), -ESRCH);
    assert_int_equal(read_text("Name:\tx\nThreads:\t3\n", &s), -EPROTO);
    assert_int_equal(read_text("Name:\tx\nRssAnon:\t x kB\nRssFile:\t 1 kB\nThreads:\t3\n", &s), -EPROTO);
    assert_int_equal(s.nr_threads, 99);
    assert_int_equal(read_text("Name:\tx\nRssAnon:\t 8 kB\nRssFile:\t 4 kB\nThreads:\t3\n", &s), 0);
    assert_int_equal(s.nr_threads, 3);
    assert_int_equal(s.resident_bytes, 12 * 1024);
    assert_int_equal(s.private_bytes, 8 * 1024);
    static char groups[60000];
    memset(groups, '1', sizeof groups - 1);
    (void)memcpy(groups, "Groups:\t", 8);
    (void)strcpy(groups + sizeof groups - 100, "\nRssAnon:\t 8 kB\nRssFile:\t 4 kB\nThreads:\t7\n");
    assert_int_equal(read_text(groups, &s), 0);
    assert_int_equal(s.nr_threads, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_counts_threads_and_private_memory),
        cmocka_unit_test(another_form_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
