/* spread.h - a few thousand figures, and how they are spread. */
#ifndef INTEG_SPREAD_H
#define INTEG_SPREAD_H

#include <stddef.h>

#define SPREAD_MAX 8192u /* the first ones; more are not kept */

struct spread {
    unsigned nr;
    float values[SPREAD_MAX];
};

void spread_add(struct spread *s, double value);
/* "p50 4 p90 9 p99 31 max 87 of 2000" into the text, which is returned. */
const char *spread_text(struct spread *s, char *ret_text, size_t capacity);

#endif
