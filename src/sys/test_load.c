/* How many tasks run. Method: the file is made here. */
#include <errno.h>
#include <linux/magic.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <cmocka.h>

#include "sys/load.h"

/* It is not the kernel's, and may not be opened by name. */
static unsigned running_where(const char *text)
{
    char path[] = "/tmp/pp-load.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, __builtin_strlen(text)), __builtin_strlen(text));
    unsigned nr = load_nr_running(fd);
    close(fd);
    assert_int_equal(load_open(path), -EXDEV);
    unlink(path);
    return nr;
}

static void what_the_file_says(void **state)
{
    (void)state;
    assert_int_equal(running_where("0.20 0.18 0.12 1/80 11206\n"), 1);
    assert_int_equal(running_where("128.20 130.18 120.12 257/12080 11206\n"), 257);
}

static void anything_else_is_not_known(void **state)
{
    (void)state;
    assert_int_equal(running_where(""), 0);
    assert_int_equal(running_where("0.20 0.18 0.12\n"), 0);
    assert_int_equal(running_where("/"), 0);
    assert_int_equal(load_nr_running(-ENOENT), 0);
}

static void the_kernels_own_counts_us(void **state)
{
    (void)state;
    struct statfs s;
    assert_int_equal(statfs(LOAD_PATH, &s), 0);
    int fd = load_open(LOAD_PATH);
    assert_int_equal(fd < 0 ? fd : 0, s.f_type == PROC_SUPER_MAGIC ? 0 : -EXDEV); /* lxcfs */
    for (unsigned i = 0; i < 1000 && fd >= 0; i++)
        assert_true(load_nr_running(fd) >= 1);
    if (fd >= 0)
        close(fd);
}

static void cpus_are_those_that_we_may_use(void **state)
{
    (void)state;
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    assert_int_equal(load_nr_cpus(), CPU_COUNT(&all));
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(load_nr_cpus(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_file_says),
        cmocka_unit_test(anything_else_is_not_known),
        cmocka_unit_test(the_kernels_own_counts_us),
        cmocka_unit_test(cpus_are_those_that_we_may_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
