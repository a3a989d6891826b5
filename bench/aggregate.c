/* aggregate.c - see aggregate.h. */
#include "aggregate.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"

#define VALUES_MAX 4096u

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double aggregate_percentile(const double *values, size_t count, unsigned percent)
{
    size_t rank = (count * percent + 99) / 100; /* the rank-th smallest, from 1 */
    return values[rank > 0 ? rank - 1 : 0];
}

struct aggregate aggregate_values(double *values, size_t count)
{
    double sum = 0, squares = 0;
    if (count == 0)
        return (struct aggregate){.n = 0};
    qsort(values, count, sizeof(values[0]), compare_doubles);
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    double mean = sum / (double)count;
    for (size_t i = 0; i < count; i++)
        squares += (values[i] - mean) * (values[i] - mean);
    return (struct aggregate){
        .n = count,
        .min = values[0],
        .p50 = aggregate_percentile(values, count, 50),
        .p95 = aggregate_percentile(values, count, 95),
        .max = values[count - 1],
        .mean = mean,
        .stddev = count > 1 ? sqrt(squares / (double)(count - 1)) : NAN,
        .iqr = aggregate_percentile(values, count, 75) - aggregate_percentile(values, count, 25),
    };
}

struct aggregate aggregate_of(const struct csv_table *t, const char *workload, const char *metric)
{
    double values[VALUES_MAX];
    size_t count = 0;
    for (size_t r = 0; r < csv_table_rows(t) && count < VALUES_MAX; r++) {
        if (strcmp(csv_table_get(t, r, "workload"), workload) == 0 && compare_is_result(t, r) &&
            csv_table_get_number(t, r, metric, &values[count]))
            count++;
    }
    return aggregate_values(values, count);
}

/* Numbers that say which run it was, or what was asked for. */
static bool is_identity(const char *column)
{
    static const char *const names[] = {
        "run",         "repeat",           "commit",         "kernel",       "duration_sec",
        "warm_up_sec", "workers",          "seed",           "region_bytes", "pager_pid",
        "zram_pid",    "pager_session_id", "zram_session_id"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], column) == 0)
            return true;
    }
    return false;
}

static bool is_number(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(value);
}

bool aggregate_is_metric(const struct csv_table *t, const char *column)
{
    bool has_number = false;
    if (is_identity(column))
        return false;
    for (size_t r = 0; r < csv_table_rows(t); r++) {
        const char *cell = csv_table_get(t, r, column);
        if (*cell && !is_number(cell))
            return false;
        has_number = has_number || *cell;
    }
    return has_number;
}

static void add_line(struct csv_table *out, const char *workload, const char *metric,
                     const struct aggregate *a)
{
    const struct {
        const char *name;
        double value;
    } cells[] = {{"min", a->min},   {"p50", a->p50},       {"p95", a->p95}, {"max", a->max},
                 {"mean", a->mean}, {"stddev", a->stddev}, {"iqr", a->iqr}};
    csv_table_add_row(out);
    csv_table_set(out, "workload", "%s", workload);
    csv_table_set(out, "metric", "%s", metric);
    csv_table_set(out, "n", "%zu", a->n);
    for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
        if (isnan(cells[i].value))
            csv_table_set(out, cells[i].name, "%s", "");
        else
            csv_table_set(out, cells[i].name, "%.10g", cells[i].value);
    }
}

int aggregate_write(const struct csv_table *t, const char *path)
{
    static const char *const columns[] = {"workload", "metric", "n",    "min",    "p50",
                                          "p95",      "max",    "mean", "stddev", "iqr"};
    struct csv_table *out = csv_table_new();
    struct csv_names workloads = csv_table_names(t, "workload");
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        csv_table_add_column(out, columns[i]); /* also when there is no line */
    for (size_t w = 0; w < workloads.count; w++) {
        const char *column;
        for (size_t c = 0; (column = csv_table_column(t, c)) != NULL; c++) {
            if (!aggregate_is_metric(t, column))
                continue;
            struct aggregate a = aggregate_of(t, workloads.names[w], column);
            if (a.n > 0)
                add_line(out, workloads.names[w], column, &a);
        }
    }
    int r = csv_table_write(out, path);
    csv_table_free(out);
    return r;
}
