/* pins.h - intervals that stay in memory, whatever the daemon says. The same one may be pinned several
 * times, and intervals may overlap. Memory is the caller's. Contract: one thread at a time. */
#ifndef PAGER_PINS_H
#define PAGER_PINS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pagesize.h"

#define PINS_MAX 1024u

struct pin {
    page_number first, end;
    uint32_t count;
};

struct pins {
    struct pin *items; /* set at birth; PINS_MAX */
    uint32_t nr;
};

/* -ENOSPC: too many intervals. */
int pins_add(struct pins *p, page_number first, page_number end);
/* -ENOENT: not pinned exactly so. */
int pins_remove(struct pins *p, page_number first, page_number end);
bool pins_overlap(const struct pins *p, page_number first, page_number end);

#endif
