/* csv.c - see csv.h. Tables are small (a hundred columns, tens of rows): everything is a list. */
#include "csv.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files.h"

struct csv_table {
    char **columns;
    size_t nr_columns;
    char ***rows;        /* rows[r][c]; NULL: empty; rows may be shorter than nr_columns */
    size_t *row_lengths; /* columns that a row has room for */
    size_t nr_rows;
};

/* A benchmark without memory for its table has nothing to say. */
static void *need(void *memory)
{
    if (!memory) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return memory;
}

struct csv_table *csv_table_new(void)
{
    return need(calloc(1, sizeof(struct csv_table)));
}

struct csv_table *csv_table_free(struct csv_table *t)
{
    for (size_t r = 0; t && r < t->nr_rows; r++) {
        for (size_t c = 0; c < t->row_lengths[r]; c++)
            free(t->rows[r][c]);
        free(t->rows[r]);
    }
    for (size_t c = 0; t && c < t->nr_columns; c++)
        free(t->columns[c]);
    if (t) {
        free(t->columns);
        free(t->rows);
        free(t->row_lengths);
    }
    free(t);
    return NULL;
}

void csv_table_add_row(struct csv_table *t)
{
    t->rows = need(realloc(t->rows, (t->nr_rows + 1) * sizeof(*t->rows)));
    t->row_lengths = need(realloc(t->row_lengths, (t->nr_rows + 1) * sizeof(*t->row_lengths)));
    t->rows[t->nr_rows] = NULL;
    t->row_lengths[t->nr_rows++] = 0;
}

static size_t find_column(const struct csv_table *t, const char *name)
{
    size_t c = 0;
    while (c < t->nr_columns && strcmp(t->columns[c], name) != 0)
        c++;
    return c;
}

static size_t make_column(struct csv_table *t, const char *name)
{
    size_t c = find_column(t, name);
    if (c == t->nr_columns) {
        t->columns = need(realloc(t->columns, (c + 1) * sizeof(*t->columns)));
        t->columns[c] = need(strdup(name));
        t->nr_columns++;
    }
    return c;
}

void csv_table_add_column(struct csv_table *t, const char *column)
{
    (void)make_column(t, column);
}

void csv_table_set(struct csv_table *t, const char *column, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (char *at = text; *at; at++) {
        if (*at == ',' || *at == '\n')
            *at = ';';
    }
    size_t c = make_column(t, column), r = t->nr_rows - 1;
    if (c >= t->row_lengths[r]) {
        t->rows[r] = need(realloc(t->rows[r], (c + 1) * sizeof(*t->rows[r])));
        while (t->row_lengths[r] <= c)
            t->rows[r][t->row_lengths[r]++] = NULL;
    }
    free(t->rows[r][c]);
    t->rows[r][c] = need(strdup(text));
}

const char *csv_table_get(const struct csv_table *t, size_t row, const char *column)
{
    size_t c = find_column(t, column);
    if (row >= t->nr_rows || c >= t->row_lengths[row] || !t->rows[row][c])
        return "";
    return t->rows[row][c];
}

bool csv_table_get_number(const struct csv_table *t, size_t row, const char *column,
                          double *ret_value)
{
    const char *text = csv_table_get(t, row, column);
    char *end;
    double value = strtod(text, &end);
    if (end == text)
        return false;
    *ret_value = value;
    return true;
}

size_t csv_table_rows(const struct csv_table *t)
{
    return t->nr_rows;
}

const char *csv_table_column(const struct csv_table *t, size_t column)
{
    return column < t->nr_columns ? t->columns[column] : NULL;
}

struct csv_names csv_table_names(const struct csv_table *t, const char *column)
{
    struct csv_names found = {.count = 0};
    for (size_t r = 0; r < t->nr_rows; r++) {
        const char *name = csv_table_get(t, r, column);
        size_t i = 0;
        while (i < found.count && strcmp(found.names[i], name) != 0)
            i++;
        if (i == found.count && i < CSV_NAMES_MAX)
            found.names[found.count++] = name;
    }
    return found;
}

int csv_table_write(const struct csv_table *t, const char *path)
{
    char new_path[PATH_MAX];
    if (snprintf(new_path, sizeof(new_path), "%s.new", path) >= (int)sizeof(new_path))
        return -ENAMETOOLONG;
    FILE *out = fopen(new_path, "w");
    if (!out)
        return -errno;
    for (size_t c = 0; c < t->nr_columns; c++)
        fprintf(out, "%s%s", c ? "," : "", t->columns[c]);
    for (size_t r = 0; r < t->nr_rows; r++) {
        for (size_t c = 0; c < t->nr_columns; c++) {
            const char *cell = c < t->row_lengths[r] && t->rows[r][c] ? t->rows[r][c] : "";
            fprintf(out, "%c%s", c ? ',' : '\n', cell);
        }
    }
    fputc('\n', out);
    int r = file_close(out);
    if (r == 0 && rename(new_path, path) != 0)
        r = -errno;
    if (r < 0)
        (void)unlink(new_path); /* half a file helps nobody */
    return r;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Cuts a line at its commas, in place. */
static size_t split(char *line, char ***ret_cells)
{
    size_t count = 1;
    for (const char *at = line; *at; at++)
        count += *at == ',';
    char **cells = need(calloc(count, sizeof(*cells)));
    for (size_t i = 0; i < count; i++)
        cells[i] = strsep(&line, ",");
    *ret_cells = cells;
    return count;
}

int csv_table_read(const char *path, struct csv_table **ret_table)
{
    char *text = file_read(path), *rest = text, **names, **values;
    if (!text)
        return -ENOENT;
    struct csv_table *t = csv_table_new();
    size_t nr_names = split(strsep(&rest, "\n"), &names);
    for (size_t c = 0; c < nr_names; c++)
        (void)make_column(t, names[c]); /* in the file's order */
    while (rest && strchr(rest, '\n')) { /* a last line without its end is a part of one */
        size_t count = split(strsep(&rest, "\n"), &values);
        csv_table_add_row(t);
        for (size_t c = 0; c < count && c < nr_names; c++)
            csv_table_set(t, names[c], "%s", values[c]);
        free(values);
    }
    free(names);
    free(text);
    *ret_table = t;
    return 0;
}

static bool cell_is(const struct csv_row *row, const char *column, const char *value)
{
    const char *cell = csv_row_get(row, column);
    return cell && strcmp(cell, value) == 0;
}

int csv_row_read(const char *path, const char *column, const char *value, const char *most,
                 struct csv_row *ret_row)
{
    struct csv_row row = {.text = file_read(path)};
    if (!row.text)
        return -ENOENT;
    char *rest = row.text;
    row.count = split(strsep(&rest, "\n"), &row.names);
    char **found = NULL;
    double found_most = 0;
    while (rest && *rest) {
        size_t count = split(strsep(&rest, "\n"), &row.values);
        bool is_one = count == row.count && cell_is(&row, column, value);
        double its_most = is_one && most ? csv_row_number(&row, most) : 0;
        if (is_one && (!found || its_most >= found_most)) {
            free(found);
            found = row.values;
            found_most = its_most;
        } else {
            free(row.values);
        }
    }
    row.values = found;
    if (!found) {
        csv_row_free(&row);
        return -ENOENT;
    }
    *ret_row = row;
    return 0;
}

void csv_row_free(struct csv_row *row)
{
    free(row->names);
    free(row->values);
    free(row->text);
    *row = (struct csv_row){0};
}

const char *csv_row_get(const struct csv_row *row, const char *name)
{
    for (size_t i = 0; i < row->count; i++) {
        if (strcmp(row->names[i], name) == 0)
            return row->values[i];
    }
    return NULL;
}

double csv_row_number(const struct csv_row *row, const char *name)
{
    const char *value = csv_row_get(row, name);
    return value ? strtod(value, NULL) : 0;
}
