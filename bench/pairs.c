/* pairs.c - see pairs.h. */
#include "pairs.h"

#include <stdbool.h>
#include <string.h>

#include "spread.h"

#define ROWS_MAX 1000u

struct values {
    double items[ROWS_MAX];
    unsigned nr;
};

static bool is_arm(const struct csv_table *t, size_t row, const char *arm)
{
    return !strcmp(csv_table_get(t, row, "arm"), arm);
}

/* The cell of the arm in the same repeat and window. */
static bool partner(const struct csv_table *t, size_t row, const char *arm, const char *column, double *ret)
{
    for (size_t i = 0; i < csv_table_rows(t); i++)
        if (is_arm(t, i, arm) &&
            !strcmp(csv_table_get(t, i, "repeat"), csv_table_get(t, row, "repeat")) &&
            !strcmp(csv_table_get(t, i, "window"), csv_table_get(t, row, "window")))
            return csv_table_get_number(t, i, column, ret);
    return false;
}

static void take_arm(const struct csv_table *t, const char *arm, const char *column, struct values *ret)
{
    ret->nr = 0;
    for (size_t i = 0; i < csv_table_rows(t) && ret->nr < ROWS_MAX; i++)
        if (is_arm(t, i, arm) && csv_table_get_number(t, i, column, &ret->items[ret->nr]))
            ret->nr++;
}

static void take_pairs(const struct csv_table *t, const char *base, const char *arm,
                       const struct pairs_metric *m, struct values *ret)
{
    ret->nr = 0;
    for (size_t i = 0; i < csv_table_rows(t) && ret->nr < ROWS_MAX; i++) {
        double x, y;
        if (!is_arm(t, i, base) || !csv_table_get_number(t, i, m->column, &x) ||
            !partner(t, i, arm, m->column, &y) || (m->how != PAIRS_DIFFERENCE && x == 0))
            continue;
        ret->items[ret->nr++] = m->how == PAIRS_RATIO        ? y / x
                                : m->how == PAIRS_DIFFERENCE ? (y - x) * m->scale
                                                             : (1 - y / x) * 100;
    }
}

static void print_metric(FILE *f, const struct csv_table *t, const char *const *arms,
                         const struct pairs_metric *m)
{
    static struct values v;
    static const char *const signs[] = { "x", "", "%" };
    fprintf(f, "%-26s", m->label);
    for (const char *const *arm = arms; *arm; arm++) {
        take_arm(t, *arm, m->column, &v);
        if (v.nr && m->how != PAIRS_SAVED)
            fprintf(f, " %10.2f", spread_of(v.items, v.nr).median * m->scale);
        else
            fprintf(f, " %10s", "-");
    }
    for (const char *const *arm = arms + 1; *arm; arm++) {
        take_pairs(t, arms[0], *arm, m, &v);
        if (v.nr) {
            struct spread s = spread_of(v.items, v.nr);
            fprintf(f, "  %8.3f%-1s [%8.3f, %8.3f]", s.median, signs[m->how], s.min, s.max);
        } else {
            fprintf(f, "  %30s", "-");
        }
    }
    fprintf(f, "\n");
}

static bool has_any(const struct csv_table *t, const char *column)
{
    double ignored;
    for (size_t i = 0; i < csv_table_rows(t); i++)
        if (csv_table_get_number(t, i, column, &ignored))
            return true;
    return false;
}

void pairs_print(FILE *f, const struct csv_table *t, const char *const *arms,
                 const struct pairs_metric *metrics, size_t nr_metrics)
{
    fprintf(f, "%-26s", "median");
    for (const char *const *arm = arms; *arm; arm++)
        fprintf(f, " %10s", *arm);
    for (const char *const *arm = arms + 1; *arm; arm++)
        fprintf(f, "  %8s against %-13s", *arm, arms[0]);
    fprintf(f, "\n");
    for (size_t i = 0; i < nr_metrics; i++)
        if (has_any(t, metrics[i].column))
            print_metric(f, t, arms, &metrics[i]);
}
