/* results.c - see results.h. */
#include "results.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runs.h"

const char *const results_arm_names[RESULTS_ARM_NR] = {"baseline", "pager", "zram"};

/* ---- reading -------------------------------------------------------------------------------- */

static void add_workload(struct results *results, const char *name)
{
    for (size_t i = 0; i < results->nr_workloads; i++) {
        if (strcmp(results->workloads[i], name) == 0)
            return;
    }
    if (*name && results->nr_workloads < RESULTS_WORKLOADS_MAX)
        results->workloads[results->nr_workloads++] = name;
}

/* mmap_churn stands last everywhere: it is another kind of thing. */
static void churn_to_the_end(struct results *results)
{
    size_t kept = 0;
    const char *churn = NULL;
    for (size_t i = 0; i < results->nr_workloads; i++) {
        if (strcmp(results->workloads[i], RESULTS_CHURN) == 0)
            churn = results->workloads[i];
        else
            results->workloads[kept++] = results->workloads[i];
    }
    if (churn)
        results->workloads[kept] = churn;
}

void results_of_table(struct csv_table *rows, const char *folder, struct results *ret_results)
{
    struct results results = {.folder = folder, .rows = rows};
    for (size_t r = 0; r < csv_table_rows(rows); r++) {
        add_workload(&results, csv_table_get(rows, r, "workload"));
        for (enum results_arm arm = 0; arm < RESULTS_ARM_NR; arm++) {
            char column[64];
            double value;
            snprintf(column, sizeof(column), "%s_units_per_sec", results_arm_names[arm]);
            results.has_arm[arm] =
                results.has_arm[arm] || csv_table_get_number(rows, r, column, &value);
        }
    }
    churn_to_the_end(&results);
    *ret_results = results;
}

int results_read(const char *folder, struct results *ret_results)
{
    struct csv_table *rows;
    int r = runs_read(folder, &rows);
    if (r == 0)
        results_of_table(rows, folder, ret_results);
    return r;
}

void results_free(struct results *results)
{
    csv_table_free(results->rows);
    *results = (struct results){.folder = NULL};
}

/* ---- rows ----------------------------------------------------------------------------------- */

enum results_verdict results_verdict(const struct results *results, size_t row)
{
    const char *verdict = csv_table_get(results->rows, row, "verdict");
    if (strcmp(verdict, "OK") == 0 || strcmp(verdict, "UNCHECKED") == 0)
        return RESULTS_COUNTS;
    return strcmp(verdict, "INVALID") == 0 ? RESULTS_INVALID : RESULTS_FAILED;
}

static bool is_of(const struct results *results, size_t row, const char *workload)
{
    return strcmp(csv_table_get(results->rows, row, "workload"), workload) == 0;
}

struct results_tally results_tally(const struct results *results, const char *workload)
{
    struct results_tally tally = {.total = 0};
    for (size_t r = 0; r < csv_table_rows(results->rows); r++) {
        if (!is_of(results, r, workload))
            continue;
        tally.total++;
        switch (results_verdict(results, r)) {
        case RESULTS_COUNTS:
            tally.unchecked += strcmp(csv_table_get(results->rows, r, "verdict"), "UNCHECKED") == 0;
            break;
        case RESULTS_INVALID: tally.invalid++; break;
        case RESULTS_FAILED: tally.failed++; break;
        }
    }
    return tally;
}

bool results_cell(const struct results *results, size_t row, const char *name, double *ret_value)
{
    return csv_table_get_number(results->rows, row, name, ret_value);
}

static bool paid(const struct results *results, size_t row, const char *arm, double *ret_mib)
{
    char column[96];
    snprintf(column, sizeof(column), "%s_memory_paid_steady_mib", arm);
    return csv_table_get_number(results->rows, row, column, ret_mib);
}

bool results_saved_mib(const struct results *results, size_t row, const char *name,
                       double *ret_value)
{
    double base, arm;
    if (!paid(results, row, "baseline", &base) || !paid(results, row, name, &arm))
        return false;
    *ret_value = base - arm;
    return true;
}

bool results_saved_pct(const struct results *results, size_t row, const char *name,
                       double *ret_value)
{
    double base, saved;
    if (!results_saved_mib(results, row, name, &saved) || !paid(results, row, "baseline", &base) ||
        base <= 0)
        return false;
    *ret_value = 100 * saved / base;
    return true;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct results_spread spread_of(double *values, size_t count)
{
    struct results_spread spread = {.n = count};
    if (count == 0)
        return spread;
    qsort(values, count, sizeof(values[0]), compare_doubles);
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    spread.min = values[0];
    spread.max = values[count - 1];
    spread.mean = sum / (double)count;
    spread.median = values[(count - 1) / 2];
    return spread;
}

static struct results_spread spread_above(const struct results *results, const char *workload,
                                          results_value *value, const char *name,
                                          bool is_positive_only)
{
    double values[RESULTS_RUNS_MAX], x;
    size_t count = 0, zeros = 0;
    for (size_t r = 0; r < csv_table_rows(results->rows) && count < RESULTS_RUNS_MAX; r++) {
        if (!is_of(results, r, workload) || results_verdict(results, r) != RESULTS_COUNTS ||
            !value(results, r, name, &x))
            continue;
        zeros += x <= 0;
        if (x > 0 || !is_positive_only)
            values[count++] = x;
    }
    struct results_spread spread = spread_of(values, count);
    spread.zeros = zeros;
    return spread;
}

struct results_spread results_spread(const struct results *results, const char *workload,
                                     results_value *value, const char *name)
{
    return spread_above(results, workload, value, name, false);
}

struct results_spread results_spread_positive(const struct results *results, const char *workload,
                                              results_value *value, const char *name)
{
    return spread_above(results, workload, value, name, true);
}

/* ---- below runs/ ---------------------------------------------------------------------------- */

void results_path(const struct results *results, size_t row, enum results_arm arm, const char *file,
                  char *ret_path, size_t size)
{
    const char *run = csv_table_get(results->rows, row, "run");
    snprintf(ret_path, size, "%s/runs/run-%03d/%s/%s/%s", results->folder,
             atoi(run + (strncmp(run, "run-", 4) == 0 ? 4 : 0)),
             csv_table_get(results->rows, row, "workload"), results_arm_names[arm], file);
}

struct candidate {
    double saved;
    size_t row;
};

static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->saved != y->saved ? (x->saved > y->saved) - (x->saved < y->saved)
                                : (x->row > y->row) - (x->row < y->row);
}

bool results_typical_row(const struct results *results, const char *workload, size_t *ret_row)
{
    struct candidate candidates[RESULTS_RUNS_MAX];
    size_t count = 0;
    enum results_arm arm = results->has_arm[RESULTS_PAGER] ? RESULTS_PAGER : RESULTS_BASELINE;
    for (size_t r = 0; r < csv_table_rows(results->rows) && count < RESULTS_RUNS_MAX; r++) {
        char path[PATH_MAX];
        if (!is_of(results, r, workload) || results_verdict(results, r) == RESULTS_FAILED)
            continue;
        results_path(results, r, arm, "memory.csv", path, sizeof(path));
        if (access(path, R_OK) != 0)
            continue;
        candidates[count] = (struct candidate){.row = r};
        (void)results_saved_pct(results, r, "pager", &candidates[count].saved); /* else 0 */
        count++;
    }
    if (count == 0)
        return false;
    qsort(candidates, count, sizeof(candidates[0]), compare_candidates);
    *ret_row = candidates[(count - 1) / 2].row;
    return true;
}

static void touches_count(struct results_touches *touches, double upper_ns, double count)
{
    size_t at = 0;
    while (at < touches->nr_buckets && touches->buckets[at].upper_ns < upper_ns)
        at++;
    touches->n += count;
    if (at < touches->nr_buckets && touches->buckets[at].upper_ns == upper_ns) {
        touches->buckets[at].count += count;
        return;
    }
    size_t size = sizeof(*touches->buckets);
    struct results_bucket *larger = realloc(touches->buckets, (touches->nr_buckets + 1) * size);
    if (!larger)
        abort(); /* as csv.c: without memory there is nothing to say */
    touches->buckets = larger;
    memmove(larger + at + 1, larger + at, (touches->nr_buckets - at) * size);
    larger[at] = (struct results_bucket){.upper_ns = upper_ns, .count = count};
    touches->nr_buckets++;
}

bool results_touches_add(struct results_touches *touches, const char *path)
{
    struct csv_table *t;
    double n_before = touches->n;
    if (csv_table_read(path, &t) < 0)
        return false;
    for (size_t r = 0; r < csv_table_rows(t); r++) {
        double upper_ns, count;
        if (csv_table_get_number(t, r, "upper_ns", &upper_ns) &&
            csv_table_get_number(t, r, "count", &count) && count > 0)
            touches_count(touches, upper_ns, count);
    }
    csv_table_free(t);
    return touches->n > n_before;
}

struct results_touches results_touches(const struct results *results, const char *workload,
                                       enum results_arm arm)
{
    struct results_touches touches = {.n = 0};
    for (size_t r = 0; r < csv_table_rows(results->rows); r++) {
        char path[PATH_MAX];
        if (!is_of(results, r, workload) || results_verdict(results, r) != RESULTS_COUNTS)
            continue;
        results_path(results, r, arm, "touch_latency.csv", path, sizeof(path));
        (void)results_touches_add(&touches, path); /* a run without one is a run less */
    }
    return touches;
}

void results_touches_free(struct results_touches *touches)
{
    free(touches->buckets);
    *touches = (struct results_touches){.n = 0};
}
