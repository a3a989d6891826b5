/* DAMON's tree is taken only where nobody has it, a killed daemon's leftover is known as such, all is put
 * back, and regions find their targets. Method: a directory with the files that matter, as the kernel
 * would have made them; the real tree is tests/vm/damon.sh's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "sys/damon.h"

#define CONTEXT "kdamonds/0/contexts/0/"
#define SCHEME CONTEXT "schemes/0/"

static char root[] = "/tmp/test_damon.XXXXXX";
static const struct damon_attrs attrs = { .sample_us = 5000, .aggr_us = 100000, .update_us = 1000000,
                                          .nr_regions_min = 10, .nr_regions_max = 1000 };

static void put(const char *path, const char *text)
{
    char full[400];
    (void)snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *at = strchr(full + sizeof root, '/'); at; at = strchr(at + 1, '/')) {
        *at = 0;
        (void)mkdir(full, 0700);
        *at = '/';
    }
    FILE *f = fopen(full, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static const char *get(const char *path)
{
    static char text[4096];
    char full[400];
    (void)snprintf(full, sizeof full, "%s/%s", root, path);
    FILE *f = fopen(full, "re");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    assert_int_equal(fclose(f), 0);
    return text;
}

/* All files, so that a change anywhere shows. */
static char all[65536];
static size_t all_bytes;

static int add_file(const char *path, const struct stat *st, int type, struct FTW *place)
{
    (void)st;
    (void)place;
    if (type == FTW_F)
        all_bytes += (size_t)snprintf(all + all_bytes, sizeof all - all_bytes, "%s=%s;", path,
                                      get(path + sizeof root));
    return 0;
}

static char *everything(void)
{
    all_bytes = 0;
    assert_int_equal(nftw(root, add_file, 16, FTW_PHYS), 0);
    assert_true(all_bytes > 0 && all_bytes < sizeof all);
    char *copy = strdup(all);
    assert_non_null(copy);
    return copy;
}

static int unlink_one(const char *path, const struct stat *st, int type, struct FTW *place)
{
    (void)st;
    (void)type;
    (void)place;
    return remove(path);
}

static int fresh_tree(void **state)
{
    (void)state;
    static const char *const zeros[] = {
        "kdamonds/nr_kdamonds", "kdamonds/0/contexts/nr_contexts",
        CONTEXT "monitoring_attrs/intervals/sample_us", CONTEXT "monitoring_attrs/intervals/aggr_us",
        CONTEXT "monitoring_attrs/intervals/update_us", CONTEXT "monitoring_attrs/nr_regions/min",
        CONTEXT "monitoring_attrs/nr_regions/max", CONTEXT "targets/nr_targets",
        CONTEXT "targets/0/pid_target", CONTEXT "targets/0/regions/nr_regions",
        CONTEXT "targets/0/regions/0/start", CONTEXT "targets/0/regions/0/end",
        CONTEXT "targets/0/regions/1/start", CONTEXT "targets/0/regions/1/end",
        CONTEXT "targets/1/pid_target", CONTEXT "targets/1/regions/nr_regions",
        CONTEXT "targets/1/regions/0/start", CONTEXT "targets/1/regions/0/end",
        CONTEXT "schemes/nr_schemes", SCHEME "access_pattern/sz/max",
        SCHEME "access_pattern/nr_accesses/max", SCHEME "access_pattern/age/max",
        SCHEME "quotas/weights/sz_permil", SCHEME "quotas/weights/nr_accesses_permil",
        SCHEME "quotas/weights/age_permil", SCHEME "watermarks/interval_us",
    };
    (void)nftw(root, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
    if (mkdir(root, 0700))
        return -1;
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++)
        put(zeros[i], "0\n");
    put("kdamonds/0/state", "off\n");
    put(CONTEXT "avail_operations", "vaddr\nfvaddr\npaddr\n");
    put(CONTEXT "operations", "vaddr\n");
    put(SCHEME "action", "stat\n");
    return 0;
}

static void a_free_one_is_taken_and_put_back(void **state)
{
    (void)state;
    struct damon *d = NULL;
    assert_int_equal(damon_open(root, &d), 0);
    assert_string_equal(get("kdamonds/nr_kdamonds"), "1\n");
    assert_string_equal(get(CONTEXT "operations"), "fvaddr\n");
    assert_string_equal(get(SCHEME "action"), "stat\n");
    assert_string_equal(get(SCHEME "access_pattern/age/max"), "4294967295\n");
    struct damon *second = NULL;
    assert_int_equal(damon_open(root, &second), -EBUSY); /* not even from ourselves */
    assert_null(damon_close(d));
    assert_string_equal(get("kdamonds/nr_kdamonds"), "0\n");
    assert_string_equal(get("kdamonds/0/state"), "off\n");
}

static void who_is_there_is_left_alone(void **state)
{
    (void)state;
    static const char *const states[] = { "on\n", "off\n" };
    for (int i = 0; i < 4; i++) {
        put("kdamonds/nr_kdamonds", i < 2 ? "1\n" : "2\n");
        put("kdamonds/0/state", states[i % 2]);
        char *before = everything();
        struct damon *d = NULL;
        assert_int_equal(damon_open(root, &d), -EBUSY);
        damon_clean(root);
        char *after = everything();
        assert_string_equal(before, after);
        free(before);
        free(after);
    }
}

/* Another process takes it, says so, and sleeps. */
static pid_t owner_begin(void)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test fails */
        struct damon *d = NULL;
        byte = damon_open(root, &d) == 0;
        (void)!write(ready[1], &byte, 1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void owner_end(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_killed_ones_leftover_is_put_away_a_live_ones_is_not(void **state)
{
    (void)state;
    pid_t owner = owner_begin();
    put("kdamonds/0/state", "on\n");
    char *before = everything();
    struct damon *d = NULL;
    assert_int_equal(damon_open(root, &d), -EBUSY);
    damon_clean(root);
    char *after = everything();
    assert_string_equal(before, after);
    free(after);
    /* In another pid namespace nobody can say whether the owner lives. */
    put(SCHEME "watermarks/interval_us", "7\n");
    owner_end(owner);
    assert_int_equal(damon_open(root, &d), -EBUSY);
    fresh_tree(NULL);
    owner = owner_begin();
    put("kdamonds/0/state", "on\n");
    owner_end(owner);
    damon_clean(root);
    assert_string_equal(get("kdamonds/0/state"), "off\n");
    assert_string_equal(get("kdamonds/nr_kdamonds"), "0\n");
    owner = owner_begin();
    put("kdamonds/0/state", "on\n");
    owner_end(owner);
    assert_int_equal(damon_open(root, &d), 0);
    damon_close(d);
    free(before);
}

static void what_others_have_made_meanwhile_is_not_put_away(void **state)
{
    (void)state;
    struct damon *d = NULL;
    const struct damon_range range = { 16, 32 };
    const struct damon_target target = { .pid = 1, .ranges = &range, .nr = 1 };
    struct damon_region region;
    uint64_t at_ns;
    assert_int_equal(damon_open(root, &d), 0);
    put(SCHEME "quotas/weights/sz_permil", "0\n");
    put("kdamonds/0/state", "on\n");
    char *before = everything();
    assert_int_equal(damon_watch(d, &attrs, &target, 1), -ESTALE);
    assert_int_equal(damon_snapshot(d, &region, 1, &at_ns), -ESTALE);
    damon_rest(d);
    damon_close(d);
    char *after = everything();
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void what_cannot_be_had_is_said(void **state)
{
    (void)state;
    struct damon *d = NULL;
    assert_int_equal(damon_open("/nonexistent", &d), -ENOENT);
    put(CONTEXT "avail_operations", "paddr\n");
    assert_int_equal(damon_open(root, &d), -EOPNOTSUPP);
    assert_string_equal(get("kdamonds/nr_kdamonds"), "0\n");
    assert_null(d);
}

static void clients_become_targets_and_regions_are_read(void **state)
{
    (void)state;
    struct damon *d = NULL;
    const struct damon_range ranges[] = { { 16, 32 }, { 64, 128 } };
    const struct damon_target targets[] = { { .pid = 11, .ranges = ranges, .nr = 2 },
                                            { .pid = 12, .ranges = ranges, .nr = 1 } };
    assert_int_equal(damon_open(root, &d), 0);
    assert_int_equal(damon_watch(d, &attrs, targets, 2), 0);
    assert_string_equal(get("kdamonds/0/state"), "on\n");
    assert_string_equal(get(CONTEXT "monitoring_attrs/intervals/sample_us"), "5000\n");
    assert_string_equal(get(CONTEXT "monitoring_attrs/nr_regions/max"), "1000\n");
    assert_string_equal(get(CONTEXT "targets/nr_targets"), "2\n");
    assert_string_equal(get(CONTEXT "targets/0/pid_target"), "11\n");
    assert_string_equal(get(CONTEXT "targets/0/regions/nr_regions"), "2\n");
    assert_string_equal(get(CONTEXT "targets/0/regions/1/start"), "262144\n");
    assert_string_equal(get(CONTEXT "targets/0/regions/1/end"), "524288\n");
    assert_string_equal(get(CONTEXT "targets/1/pid_target"), "12\n");
    assert_int_equal(damon_watch(d, &attrs, targets, 1), 0); /* it runs: not started anew */
    assert_string_equal(get("kdamonds/0/state"), "commit\n");

    struct damon_region regions[4];
    uint64_t begin_ns = now_ns(), at_ns = 0;
    assert_int_equal(damon_snapshot(d, regions, 4, &at_ns), 0);
    assert_in_range(at_ns, begin_ns, now_ns());
    assert_string_equal(get("kdamonds/0/state"), "update_schemes_tried_regions\n");
    for (int i = 0; i < 2; i++) {
        static const char *const names[] = { "start", "end", "nr_accesses", "age" };
        static const char *const values[2][4] = { { "65536\n", "131072\n", "0\n", "52\n" },
                                                  { "262144\n", "524288\n", "20\n", "1\n" } };
        char path[200];
        for (int k = 0; k < 4; k++) {
            (void)snprintf(path, sizeof path, SCHEME "tried_regions/%d/%s", i, names[k]);
            put(path, values[i][k]);
        }
    }
    assert_int_equal(damon_snapshot(d, regions, 1, &at_ns), 1);
    assert_int_equal(damon_snapshot(d, regions, 4, &at_ns), 2);
    assert_true(regions[0].first == 16 && regions[0].end == 32);
    assert_true(regions[0].nr_accesses == 0 && regions[0].age == 52);
    assert_true(regions[1].first == 64 && regions[1].nr_accesses == 20 && regions[1].age == 0);
    damon_rest(d);
    assert_string_equal(get("kdamonds/0/state"), "off\n");
    assert_string_equal(get("kdamonds/nr_kdamonds"), "1\n"); /* ours it stays */
    damon_close(d);
}

static void regions_find_their_targets(void **state)
{
    (void)state;
    const struct damon_range one[] = { { 100, 200 }, { 300, 400 } }, two[] = { { 100, 150 } },
                             three[] = { { 900, 950 } };
    const struct damon_target targets[] = { { .ranges = one, .nr = 2 },
                                            { .ranges = two, .nr = 1 },
                                            { .ranges = three, .nr = 1 } };
    const struct damon_region regions[] = {
        { .first = 100, .end = 180 }, { .first = 180, .end = 200 }, { .first = 300, .end = 400 },
        { .first = 100, .end = 150 }, /* goes down: the next one's */
        { .first = 600, .end = 700 }, /* was watched before the last commit */
        { .first = 900, .end = 950 }, { .first = 920, .end = 920 },
    };
    static const uint32_t expected[] = { 0, 0, 0, 1, 3, 2, 3 };
    uint32_t target[7];
    damon_assign(targets, 3, regions, 7, target);
    for (int i = 0; i < 7; i++)
        assert_int_equal(target[i], expected[i]);
    damon_assign(targets, 0, regions, 7, target);
    assert_int_equal(target[0], 0);
}

static int begin(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    return nftw(root, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_free_one_is_taken_and_put_back, fresh_tree),
        cmocka_unit_test_setup(who_is_there_is_left_alone, fresh_tree),
        cmocka_unit_test_setup(a_killed_ones_leftover_is_put_away_a_live_ones_is_not, fresh_tree),
        cmocka_unit_test_setup(what_others_have_made_meanwhile_is_not_put_away, fresh_tree),
        cmocka_unit_test_setup(what_cannot_be_had_is_said, fresh_tree),
        cmocka_unit_test_setup(clients_become_targets_and_regions_are_read, fresh_tree),
        cmocka_unit_test_setup(regions_find_their_targets, fresh_tree),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
