/* runs.c - see runs.h. */
#include "runs.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aggregate.h"
#include "digest.h"
#include "files.h"
#include "plots.h"
#include "report.h"

void runs_folder(const char *results_dir, uint64_t run, char *ret_path, size_t size)
{
    snprintf(ret_path, size, "%s/runs/run-%03llu", results_dir, (unsigned long long)run);
}

/* ---- reading -------------------------------------------------------------------------------- */

static int is_run(const struct dirent *entry)
{
    return strncmp(entry->d_name, "run-", 4) == 0 && strtoul(entry->d_name + 4, NULL, 10) > 0;
}

static int by_number(const struct dirent **a, const struct dirent **b)
{
    unsigned long x = strtoul((*a)->d_name + 4, NULL, 10), y = strtoul((*b)->d_name + 4, NULL, 10);
    return (x > y) - (x < y);
}

/* `run` stands in front of what the file has. */
static void append(struct csv_table *all, const struct csv_table *rows, unsigned long run)
{
    for (size_t r = 0; r < csv_table_rows(rows); r++) {
        const char *column;
        csv_table_add_row(all);
        csv_table_set(all, "run", "%lu", run);
        for (size_t c = 0; (column = csv_table_column(rows, c)) != NULL; c++) {
            if (strcmp(column, "run") != 0)
                csv_table_set(all, column, "%s", csv_table_get(rows, r, column));
        }
    }
}

int runs_read(const char *results_dir, struct csv_table **ret_table)
{
    char path[PATH_MAX + 64];
    struct dirent **entries;
    struct csv_table *rows;
    snprintf(path, sizeof(path), "%s/runs", results_dir);
    int count = scandir(path, &entries, is_run, by_number);
    if (count < 0) {
        snprintf(path, sizeof(path), "%s/all_runs_long.csv", results_dir);
        return csv_table_read(path, ret_table);
    }
    struct csv_table *all = csv_table_new();
    csv_table_add_column(all, "run");
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "%s/runs/%.24s/comparison.csv", results_dir,
                 entries[i]->d_name);
        if (csv_table_read(path, &rows) == 0) { /* else none of its rows was finished */
            append(all, rows, strtoul(entries[i]->d_name + 4, NULL, 10));
            csv_table_free(rows);
        }
        free(entries[i]);
    }
    free(entries);
    *ret_table = all;
    return 0;
}

/* ---- writing -------------------------------------------------------------------------------- */

static int complain(const char *path, int r)
{
    fprintf(stderr, "ab-repeats: %s: %s\n", path, strerror(-r));
    return r;
}

static int write_summary(const char *results_dir, const struct csv_table *t, const char *path)
{
    FILE *out = fopen(path, "w");
    if (!out)
        return -errno;
    digest_write(out, results_dir, t, false);
    return file_close(out);
}

int runs_aggregate(const char *results_dir)
{
    char path[PATH_MAX + 64];
    struct csv_table *t;
    int r = runs_read(results_dir, &t);
    if (r < 0) {
        fprintf(stderr, "ab-repeats: %s: neither runs/ nor all_runs_long.csv is there\n",
                results_dir);
        return r;
    }
    snprintf(path, sizeof(path), "%s/all_runs_long.csv", results_dir);
    r = csv_table_write(t, path);
    if (r == 0) {
        snprintf(path, sizeof(path), "%s/aggregate.csv", results_dir);
        r = aggregate_write(t, path);
    }
    if (r == 0) {
        snprintf(path, sizeof(path), "%s/aggregate_summary.txt", results_dir);
        r = write_summary(results_dir, t, path);
    }
    csv_table_free(t);
    return r < 0 ? complain(path, r) : 0;
}

int runs_plot(const char *results_dir)
{
    char path[PATH_MAX + 64];
    int r = plots_write(results_dir), report_r = report_write(results_dir);
    snprintf(path, sizeof(path), "%s/plots", results_dir);
    if (r < 0)
        (void)complain(path, r);
    snprintf(path, sizeof(path), "%s/report.html", results_dir);
    if (report_r < 0)
        (void)complain(path, report_r);
    return r < 0 ? r : report_r;
}
