/* What is left below a cgroup's limit, in both versions. Method: the files are made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "sys/headroom.h"

#define MIB (UINT64_C(1) << 20)

static char root[64], self[128];
static struct headroom h;

static const char *in_root(const char *name)
{
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void write_in(const char *directory, const char *name, const char *text)
{
    char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", in_root(directory), name);
    write_file(path, text);
}

static void make(const char *directory)
{
    assert_int_equal(mkdir(in_root(directory), 0700), 0);
}

static int begin(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof root, "/tmp/pp-headroom.XXXXXX");
    if (!mkdtemp(root))
        return 1;
    (void)snprintf(self, sizeof self, "%s/self", root);
    return 0;
}

static int end(void **state)
{
    (void)state;
    char command[128];
    headroom_close(&h);
    (void)snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static void the_least_of_all_levels_counts(void **state)
{
    (void)state;
    make("a");
    make("a/b");
    write_file(self, "0::/a/b\n");
    write_in("a/b", "memory.max", "max\n");
    write_in("a/b", "memory.current", "5000000\n");
    write_in("a", "memory.max", "104857600\n");
    write_in("a", "memory.current", "94371840\n");
    headroom_open(&h, self, root);
    assert_int_equal(h.nr, 2); /* the root has none of these files */
    assert_int_equal(headroom_bytes(&h, 0), 10 * MIB);
    write_in("a", "memory.max", "max\n");
    assert_true(headroom_bytes(&h, 0) == UINT64_MAX);
    write_in("a", "memory.max", "1000\n"); /* lowered below what is used */
    assert_int_equal(headroom_bytes(&h, 0), 0);
}

static void files_that_can_be_dropped_are_no_use(void **state)
{
    (void)state;
    make("a");
    write_file(self, "0::/a\n");
    write_in("a", "memory.max", "104857600\n");
    write_in("a", "memory.current", "104857600\n");
    write_in("a", "memory.stat", "anon 7\nfile 9\nactive_file 5\ninactive_file 4194304\nslab 1\n");
    headroom_open(&h, self, root);
    assert_int_equal(headroom_bytes(&h, 0), 0); /* enough: they are not looked at */
    assert_int_equal(headroom_bytes(&h, MIB), 4 * MIB);
}

static void version_one(void **state)
{
    (void)state;
    make("memory");
    make("memory/x");
    write_file(self, "5:cpu,cpuacct:/y\n4:memory:/x\n0::/\n");
    write_in("memory/x", "memory.limit_in_bytes", "9223372036854771712\n");
    write_in("memory/x", "memory.usage_in_bytes", "4096\n");
    write_in("memory", "memory.limit_in_bytes", "8388608\n");
    write_in("memory", "memory.usage_in_bytes", "8388608\n");
    write_in("memory", "memory.stat", "inactive_file 1\ntotal_inactive_file 1048576\n");
    headroom_open(&h, self, root);
    assert_int_equal(h.nr, 2);
    assert_int_equal(headroom_bytes(&h, MIB), MIB);
}

static void what_is_not_there_is_no_limit(void **state)
{
    (void)state;
    headroom_open(&h, self, root);
    assert_true(headroom_bytes(&h, MIB) == UINT64_MAX);
    write_file(self, "not a line\n");
    headroom_open(&h, self, root);
    assert_int_equal(h.nr, 0);
    write_file(self, "0::/gone\n");
    headroom_open(&h, self, root);
    assert_int_equal(h.nr, 0);
}

/* On this machine, whatever it has. */
static void the_real_one(void **state)
{
    (void)state;
    headroom_open(&h, "/proc/self/cgroup", "/sys/fs/cgroup");
    assert_true(headroom_bytes(&h, MIB) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_least_of_all_levels_counts, begin, end),
        cmocka_unit_test_setup_teardown(files_that_can_be_dropped_are_no_use, begin, end),
        cmocka_unit_test_setup_teardown(version_one, begin, end),
        cmocka_unit_test_setup_teardown(what_is_not_there_is_no_limit, begin, end),
        cmocka_unit_test_setup_teardown(the_real_one, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
