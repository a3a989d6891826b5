/* Percentiles are nearest-rank, read to within 1/8; merging is adding; the export lists everything
 * once. Method: numbers worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stats/stats.h"

static struct histogram hist_of(const uint64_t *values, size_t nr)
{
    struct histogram h = {0};
    for (size_t i = 0; i < nr; i++)
        histogram_record(&h, values[i]);
    return h;
}

static void small_values_are_exact(void **state)
{
    (void)state;
    const uint64_t values[] = {7, 0, 3, 3, 1, 5, 2, 6, 4, 3}; /* sorted 0 1 2 3 3 3 4 5 6 7 */
    struct histogram h = hist_of(values, 10);
    assert_int_equal(histogram_count(&h), 10);
    assert_int_equal(histogram_percentile(&h, 500), 3);  /* rank 5 */
    assert_int_equal(histogram_percentile(&h, 100), 0);  /* rank 1 */
    assert_int_equal(histogram_percentile(&h, 101), 1);  /* rank 1.01, so the second */
    assert_int_equal(histogram_percentile(&h, 700), 4);  /* rank 7 */
    assert_int_equal(histogram_percentile(&h, 950), 7);  /* rank 9.5, so the tenth */
    assert_int_equal(histogram_percentile(&h, 1000), 7);
    assert_int_equal(histogram_percentile(&h, 0), 0);
}

static void percentiles_are_the_upper_edge_of_their_bucket(void **state)
{
    (void)state;
    struct histogram h = {0};
    /* 900 of 100 ns, 90 of 1000, 9 of 10,000, 1 of 123,456. Buckets by hand: 100 is in 96..103,
     * 1000 in 960..1023, 10,000 in 9216..10,239, the last clipped by the maximum. */
    for (int i = 0; i < 900; i++)
        histogram_record(&h, 100);
    for (int i = 0; i < 90; i++)
        histogram_record(&h, 1000);
    for (int i = 0; i < 9; i++)
        histogram_record(&h, 10000);
    histogram_record(&h, 123456);
    assert_int_equal(histogram_count(&h), 1000);
    assert_int_equal(histogram_percentile(&h, 500), 103);
    assert_int_equal(histogram_percentile(&h, 900), 103);
    assert_int_equal(histogram_percentile(&h, 901), 1023);
    assert_int_equal(histogram_percentile(&h, 990), 1023);
    assert_int_equal(histogram_percentile(&h, 999), 10239);
    assert_int_equal(histogram_percentile(&h, 1000), 123456);
}

static void every_percentile_is_within_an_eighth(void **state)
{
    (void)state;
    for (uint64_t v = 1; v < (uint64_t)1 << 40; v += v / 5 + 1) {
        struct histogram h = {0};
        histogram_record(&h, v);
        histogram_record(&h, (uint64_t)1 << 40); /* so that the maximum does not help */
        uint64_t p = histogram_percentile(&h, 500);
        assert_in_range(p, v, v + v / 8);
    }
}

static void extremes_have_a_place(void **state)
{
    (void)state;
    struct histogram h = {0};
    assert_int_equal(histogram_percentile(&h, 500), 0);
    assert_int_equal(histogram_count(&h), 0);
    const uint64_t edges[] = {((uint64_t)1 << 40) - 1, (uint64_t)1 << 40, UINT64_MAX};
    for (int i = 0; i < 3; i++) {
        h = hist_of(&edges[i], 1);
        assert_int_equal(histogram_count(&h), 1);
        assert_int_equal(histogram_percentile(&h, 999), edges[i]);
        assert_int_equal(atomic_load(&h.buckets[HIST_BUCKETS - 1]), 1);
    }
    /* A full bucket stays full. */
    atomic_store(&h.buckets[3], UINT32_MAX);
    histogram_record(&h, 3);
    assert_int_equal(atomic_load(&h.buckets[3]), UINT32_MAX);
    assert_int_equal(histogram_percentile(&h, 500), 3);
    /* What another process wrote there may be anything. */
    memset(&h, 0xff, sizeof(h));
    assert_int_equal(histogram_count(&h), (uint64_t)UINT32_MAX * HIST_BUCKETS);
    assert_in_range(histogram_percentile(&h, 999), 1, UINT64_MAX);
}

static void merging_is_adding(void **state)
{
    (void)state;
    struct stats_block *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b)),
                       *sum = calloc(1, sizeof(*sum));
    stats_add(a, STAT_faults_missing, 5);
    stats_add(a, STAT_faults_missing, 2);
    stats_add(b, STAT_faults_missing, 30);
    stats_set(a, STAT_pages_stored, 11);
    stats_set(a, STAT_pages_stored, 4);
    for (uint64_t v = 0; v < 4; v++) {
        histogram_record(&a->hists[STAT_HIST_fault_missing_ns], v);
        histogram_record(&b->hists[STAT_HIST_fault_missing_ns], v + 4);
    }
    stats_merge(sum, a);
    stats_merge(sum, b);
    assert_int_equal(stats_get(sum, STAT_faults_missing), 37);
    assert_int_equal(stats_get(sum, STAT_pages_stored), 4);
    const struct histogram *h = &sum->hists[STAT_HIST_fault_missing_ns];
    assert_int_equal(histogram_count(h), 8);
    assert_int_equal(histogram_percentile(h, 500), 3);
    assert_int_equal(histogram_percentile(h, 999), 7);
    assert_int_equal(atomic_load(&h->max), 7);
    assert_int_equal(histogram_count(&sum->hists[STAT_HIST_restore_wall_ns]), 0);
    assert_int_equal(stats_get(a, STAT_faults_missing), 7);
    free(a);
    free(b);
    free(sum);
}

/* What one thread records and another takes is there once, whoever comes between. */
static void taking_moves_everything(void **state)
{
    (void)state;
    struct histogram shared = {0}, into = {0}, plain = {0};
    for (uint64_t v = 1; v < 1000000; v += v / 3 + 1) {
        histogram_record(&plain, v);
        histogram_record_shared(&shared, v);
        if (v % 2)
            histogram_take(&into, &shared);
    }
    histogram_take(&into, &shared);
    histogram_take(&into, &shared);
    assert_memory_equal(&into, &plain, sizeof(into));
    assert_int_equal(histogram_count(&shared), 0);
    assert_int_equal(atomic_load(&shared.max), 0);
}

static size_t index_of(const char *name)
{
    for (size_t i = 0; i < stats_export_count(); i++)
        if (!strcmp(stats_export_name(i), name))
            return i;
    fail_msg("%s is not exported", name);
    return 0;
}

static void the_export_lists_everything_once(void **state)
{
    (void)state;
    assert_int_equal(stats_export_count(), STAT_NUMBER_NR + 6 * STAT_HIST_NR);
    assert_string_equal(stats_export_name(0), "faults_missing");
    for (size_t i = 0; i < stats_export_count(); i++) {
        assert_int_equal(index_of(stats_export_name(i)), i);
        assert_true(strlen(stats_export_meaning(i)) > 5);
        assert_true(!strcmp(stats_export_unit(i), "count") || !strcmp(stats_export_unit(i), "ns") ||
                    !strcmp(stats_export_unit(i), "bytes"));
    }
    assert_null(stats_export_name(stats_export_count()));
    assert_null(stats_export_unit(SIZE_MAX));
    assert_null(stats_export_meaning(SIZE_MAX));

    struct stats_block *b = calloc(1, sizeof(*b));
    stats_set(b, STAT_table_bytes, 99);
    stats_add(b, STAT_agent_cpu_ns, 7);
    for (int i = 0; i < 100; i++)
        histogram_record(&b->hists[STAT_HIST_restore_wall_ns], i < 98 ? 2 : i == 98 ? 5 : 6);
    assert_int_equal(stats_export_value(b, index_of("table_bytes")), 99);
    assert_int_equal(stats_export_value(b, index_of("agent_cpu_ns")), 7);
    assert_int_equal(stats_export_value(b, index_of("restore_wall_ns_p50")), 2);
    assert_int_equal(stats_export_value(b, index_of("restore_wall_ns_p95")), 2);
    assert_int_equal(stats_export_value(b, index_of("restore_wall_ns_p99")), 5);
    assert_int_equal(stats_export_value(b, index_of("restore_wall_ns_p999")), 6);
    assert_int_equal(stats_export_value(b, index_of("restore_wall_ns_max")), 6);
    assert_int_equal(stats_export_value(b, index_of("restore_wall_ns_n")), 100);
    assert_string_equal(stats_export_unit(index_of("restore_wall_ns_n")), "count");
    assert_int_equal(stats_export_value(b, index_of("fault_missing_ns_n")), 0);
    assert_int_equal(stats_export_value(b, stats_export_count()), 0);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(percentiles_are_the_upper_edge_of_their_bucket),
        cmocka_unit_test(every_percentile_is_within_an_eighth),
        cmocka_unit_test(extremes_have_a_place),
        cmocka_unit_test(merging_is_adding),
        cmocka_unit_test(taking_moves_everything),
        cmocka_unit_test(the_export_lists_everything_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
