/* spread.c - see spread.h. */
#include "spread.h"

#include <stdlib.h>

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct spread spread_of(double *values, size_t count)
{
    if (count == 0)
        return (struct spread){ .count = 0 };
    qsort(values, count, sizeof *values, compare_doubles);
    return (struct spread){
        .median = count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2,
        .min = values[0],
        .max = values[count - 1],
        .count = count,
    };
}

void spread_print(FILE *f, struct spread s, double scale)
{
    if (s.count)
        fprintf(f, "  %9.2f [%8.2f, %8.2f]", s.median * scale, s.min * scale, s.max * scale);
    else
        fprintf(f, "  %30s", "-");
}
