/* csv.h - rows of named cells. A table: cells are set by column name, columns stand in the order in
 * which they were first set, a cell never set is empty; written to a file, and read from some. And
 * one row of a CSV file whose first line names the columns. No quoting: commas in text become
 * semicolons. */
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
/* A column that is there also when no cell of it is set. */
void csv_table_add_column(struct csv_table *t, const char *column);
void csv_table_set(struct csv_table *t, const char *column, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "" when it was not set. */
const char *csv_table_get(const struct csv_table *t, size_t row, const char *column);
bool csv_table_get_number(const struct csv_table *t, size_t row, const char *column,
                          double *ret_value);
size_t csv_table_rows(const struct csv_table *t);
/* NULL: the table has no more. */
const char *csv_table_column(const struct csv_table *t, size_t column);
/* Whole or not at all: a file that is there is replaced when the new one is written. */
int csv_table_write(const struct csv_table *t, const char *path);
/* A whole file. A row may be shorter than the first line, as when the writer was stopped; what it
 * has more is left out. -ENOENT: it can't be read. */
int csv_table_read(const char *path, struct csv_table **ret_table);

#define CSV_NAMES_MAX 64u

/* The different values of a column, in order of first appearance; they live as long as the table.
 */
struct csv_names {
    const char *names[CSV_NAMES_MAX];
    size_t count;
};
struct csv_names csv_table_names(const struct csv_table *t, const char *column);

struct csv_row {
    char *text; /* owns what names and values point into */
    char **names, **values;
    size_t count;
};

/* The row of the file whose cell `column` is `value`: of more than one that with the largest number
 * in the column `most` (NULL: any), and of equal ones the last. -ENOENT: no file, or no such row. */
int csv_row_read(const char *path, const char *column, const char *value, const char *most,
                 struct csv_row *ret_row);
void csv_row_free(struct csv_row *row);
/* NULL: no such column. */
const char *csv_row_get(const struct csv_row *row, const char *name);
double csv_row_number(const struct csv_row *row, const char *name); /* 0: no such column */

#endif
