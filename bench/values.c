/* values.c - see values.h. */
#include "values.h"

#include <stdio.h>
#include <string.h>

#include "compare.h"

bool values_is_churn(const char *workload)
{
    return strcmp(workload, VALUES_CHURN) == 0;
}

struct aggregate values_of_arm(const struct csv_table *t, const char *workload,
                               const char *column_format, enum arm_kind kind)
{
    char column[128];
    const char *at = strstr(column_format, "%s");
    if (at)
        snprintf(column, sizeof(column), "%.*s%s%s", (int)(at - column_format), column_format,
                 arm_names[kind], at + 2);
    else
        snprintf(column, sizeof(column), "%s", column_format);
    return aggregate_of(t, workload, column);
}

struct aggregate values_saved(const struct csv_table *t, const char *workload,
                              const char *span_and_unit, enum arm_kind kind)
{
    char column[96];
    snprintf(column, sizeof(column), "%snet_memory_saved_%s", kind == ARM_ZRAM ? "zram_" : "",
             span_and_unit);
    return aggregate_of(t, workload, column);
}

struct values_tally values_tally(const struct csv_table *t, const char *workload)
{
    struct values_tally tally = {.total = 0};
    for (size_t r = 0; r < csv_table_rows(t); r++) {
        const char *verdict = csv_table_get(t, r, "verdict");
        if (strcmp(csv_table_get(t, r, "workload"), workload) != 0)
            continue;
        tally.total++;
        tally.invalid += strcmp(verdict, "INVALID") == 0;
        tally.unchecked += strcmp(verdict, "UNCHECKED") == 0;
        /* A row without a verdict has not come to its end either. */
        tally.failed += strcmp(verdict, "INVALID") != 0 && !compare_is_result(t, r);
    }
    return tally;
}
