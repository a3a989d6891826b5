/* spread.h - what a few runs say together: their median, and how far they lie apart. */
#ifndef BENCH_SPREAD_H
#define BENCH_SPREAD_H

#include <stddef.h>
#include <stdio.h>

struct spread {
    double median, min, max; /* the median of an even number is the mean of the middle two */
    size_t count;            /* 0: none, and the rest says nothing */
};

/* Sorts the values. */
struct spread spread_of(double *values, size_t count);
void spread_print(FILE *f, struct spread s, double scale);

#endif
