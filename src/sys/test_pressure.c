/* Who waits for a CPU is counted. Method: two threads more than there are CPUs compute for a tenth of a second. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "sys/pressure.h"

#define THREADS_MAX 1026
#define FOR_NS (100 * NS_PER_MS)

static _Atomic bool is_over;

static void *compute(void *unused)
{
    while (!atomic_load_explicit(&is_over, memory_order_relaxed))
        ;
    return unused;
}

static void who_waits_is_counted(void **state)
{
    (void)state;
    static pthread_t threads[THREADS_MAX];
    long nr = sysconf(_SC_NPROCESSORS_ONLN) + 2;
    int fd = pressure_open();
    if (fd < 0)
        skip();
    uint64_t before_ns = pressure_waited_ns(fd);
    assert_true(nr <= THREADS_MAX);
    for (long i = 0; i < nr; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, compute, NULL), 0);
    (void)usleep(FOR_NS / NS_PER_US);
    atomic_store(&is_over, true);
    for (long i = 0; i < nr; i++)
        pthread_join(threads[i], NULL);
    assert_true(pressure_waited_ns(fd) - before_ns > FOR_NS / 2);
    close(fd);
}

static void what_is_not_counted_is_nothing(void **state)
{
    (void)state;
    assert_int_equal(pressure_waited_ns(-1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_is_counted),
        cmocka_unit_test(what_is_not_counted_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
