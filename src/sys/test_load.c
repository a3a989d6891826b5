/* How many tasks run. Method: the file is made here. */
#include <errno.h>
#include <linux/magic.h>
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

static unsigned running_where(const char *text)
{
    char path[] = "/tmp/pp-load.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, __builtin_strlen(text)), __builtin_strlen(text));
    unsigned nr = load_nr_running(fd);
    close(fd);
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
    assert_int_equal(statfs("/proc/loadavg", &s), 0);
    int fd = load_open();
    assert_int_equal(fd < 0 ? fd : 0, s.f_type == PROC_SUPER_MAGIC ? 0 : -EXDEV); /* lxcfs */
    for (unsigned i = 0; i < 1000 && fd >= 0; i++)
        assert_true(load_nr_running(fd) >= 1);
    if (fd >= 0)
        close(fd);
    assert_true(load_nr_cpus() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_file_says),
        cmocka_unit_test(anything_else_is_not_known),
        cmocka_unit_test(the_kernels_own_counts_us),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
