/* The limit is the lowest on the way up, the room the least, in both versions. Method: a tree of files in
 * a directory of the test's own. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "sys/cgroup.h"

static char root[64];

static void make(const char *folder)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s%s", root, folder);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void put(const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s%s", root, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int begin(void **state)
{
    (void)state;
    strcpy(root, "/tmp/pp-cgroup-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void where_nothing_can_be_read_there_is_no_limit(void **state)
{
    (void)state;
    static const char *const texts[] = { "", "0::/a/b\n", "4:memory:/x\n0::/\n", "garbage", ":", "::", "\n\n" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct cgroup_memory c;
        cgroup_read(texts[i], root, &c);
        assert_true(c.limit_bytes == UINT64_MAX && c.room_bytes == UINT64_MAX && !*c.path);
    }
}

static void a_parent_may_be_the_narrower_one(void **state)
{
    (void)state;
    struct cgroup_memory c;
    make("/a");
    make("/a/b");
    put("/a/memory.max", "1000000\n");
    put("/a/memory.current", "900000\n");
    put("/a/b/memory.max", "max\n");
    put("/a/b/memory.current", "400000\n");
    cgroup_read("0::/a/b\n", root, &c);
    assert_int_equal(c.limit_bytes, 1000000);
    assert_int_equal(c.room_bytes, 100000);
    assert_string_equal(c.path, "/a");
    put("/a/b/memory.max", "450000\n");
    cgroup_read("1:name=systemd:/x\n0::/a/b\n", root, &c);
    assert_int_equal(c.limit_bytes, 450000);
    assert_int_equal(c.room_bytes, 50000);
    assert_string_equal(c.path, "/a/b");
    put("/a/b/memory.stat", "anon 5\ninactive_file 300000\n"); /* the kernel drops those first */
    cgroup_read("0::/a/b\n", root, &c);
    assert_int_equal(c.room_bytes, 100000);
    put("/a/memory.current", "2000000\n"); /* over it already */
    cgroup_read("0::/a/b\n", root, &c);
    assert_int_equal(c.room_bytes, 0);
}

static void version_1_is_read_beside_an_empty_version_2(void **state)
{
    (void)state;
    struct cgroup_memory c;
    make("/unified");
    make("/memory");
    make("/memory/x");
    put("/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/memory/memory.usage_in_bytes", "7\n");
    put("/memory/x/memory.limit_in_bytes", "4096000\n");
    put("/memory/x/memory.usage_in_bytes", "96000\n");
    put("/memory/x/memory.stat", "total_inactive_file 6000\n");
    cgroup_read("9:cpu:/\n4:memory:/x\n0::/\n", root, &c);
    assert_int_equal(c.limit_bytes, 4096000);
    assert_int_equal(c.room_bytes, 4006000);
    assert_string_equal(c.path, "/x");
}

static void of_a_process(void **state)
{
    (void)state;
    struct cgroup_memory c;
    assert_int_equal(cgroup_of(getpid(), &c), 0);
    assert_true(c.room_bytes > 0);
    assert_true(cgroup_of(0x3fffffff, &c) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(where_nothing_can_be_read_there_is_no_limit, begin, end),
        cmocka_unit_test_setup_teardown(a_parent_may_be_the_narrower_one, begin, end),
        cmocka_unit_test_setup_teardown(version_1_is_read_beside_an_empty_version_2, begin, end),
        cmocka_unit_test(of_a_process),
    };
    return cmocka_run_group_tests_name("cgroup", tests, NULL, NULL);
}
