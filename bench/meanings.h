/* meanings.h - what the report says of each metric, and of what it can't say. */
#ifndef BENCH_MEANINGS_H
#define BENCH_MEANINGS_H

#include <stddef.h>

struct meaning {
    const char *name, *text;
};
extern const struct meaning meanings[];
extern const size_t meanings_count;
extern const char *const limits[];
extern const size_t limits_count;

#endif
