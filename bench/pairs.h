/* pairs.h - what arms that took turns say about each other: of each arm the median, and arm by arm
 * against the first one, pair by pair, the median with the least and the most. A pair is two rows of the
 * table with the same `repeat` and `window`. Reads only. */
#ifndef BENCH_PAIRS_H
#define BENCH_PAIRS_H

#include <stdio.h>

#include "csv.h"

enum pairs_how {
    PAIRS_RATIO,
    PAIRS_DIFFERENCE,
    PAIRS_SAVED, /* what of the first arm's is not paid, in percent */
};

struct pairs_metric {
    const char *label, *column;
    double scale; /* of the medians, and of a difference */
    enum pairs_how how;
};

/* arms: the values of the column `arm`, the first is what the others are compared with; ends with NULL. A
 * metric that no arm has is left out. */
void pairs_print(FILE *f, const struct csv_table *t, const char *const *arms,
                 const struct pairs_metric *metrics, size_t nr_metrics);

#endif
