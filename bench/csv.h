/* csv.h - rows of named cells. A table to write: cells are set by column name, columns stand in the
 * order in which they were first set, a cell never set is empty. And the last row of a CSV file
 * whose first line names the columns, to read. No quoting: commas in text become semicolons. */
#ifndef BENCH_CSV_H
#define BENCH_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct csv_table;

struct csv_table *csv_table_new(void);
struct csv_table *csv_table_free(struct csv_table *t);
/* Begins a row; the cells set from now on are its. */
void csv_table_add_row(struct csv_table *t);
void csv_table_set(struct csv_table *t, const char *column, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "" when it was not set. */
const char *csv_table_get(const struct csv_table *t, size_t row, const char *column);
bool csv_table_get_number(const struct csv_table *t, size_t row, const char *column,
                          double *ret_value);
size_t csv_table_rows(const struct csv_table *t);
int csv_table_write(const struct csv_table *t, const char *path);
/* A whole file. A row may be shorter than the first line, as when the writer was stopped; what it has
 * more is left out. -ENOENT: it can't be read. */
int csv_table_read(const char *path, struct csv_table **ret_table);
/* NULL: the table has no more. */
const char *csv_table_column(const struct csv_table *t, size_t column);

struct csv_row {
    char *text; /* owns what names and values point into */
    char **names, **values;
    size_t count;
};

/* The row of the file whose cell `column` is `value`, the last one if there are more.
 * -ENOENT: no file, or no such row. */
int csv_row_read(const char *path, const char *column, const char *value, struct csv_row *ret_row);
void csv_row_free(struct csv_row *row);
/* NULL: no such column. */
const char *csv_row_get(const struct csv_row *row, const char *name);
double csv_row_number(const struct csv_row *row, const char *name); /* 0: no such column */

#endif
