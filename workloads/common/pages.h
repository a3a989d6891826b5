/* pages.h - a piece of memory whose every page holds known content. The version of each page is
 * kept beside it, outside the memory that a pager may take. One thread touches a page at a time. */
#ifndef WORKLOADS_PAGES_H
#define WORKLOADS_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "content.h"
#include "latency.h"
#include "rng.h"

struct pages {
    struct content content; /* set at birth */
    uint64_t first_id;      /* the content's number of page 0; set at birth */
    size_t count;
    unsigned char *base;
    uint32_t *versions; /* count of them; 0: not yet written */
};

/* What one thread does to pages, and what it found. */
struct toucher {
    struct rng rng;
    double write_fraction;
    bool is_checking;
    uint64_t warm_up_end_ns; /* touches that end before it stand apart */
    int pagemap_fd;          /* -1, or: look before each touch whether the page is there */
    struct latency touches, warm_up_touches;
    struct latency out_touches; /* after the warm-up, of pages that were not there just before */
    uint64_t nr_touches, nr_warm_up_touches; /* all; of them in the warm-up */
    uint64_t verify_errors;
    uint64_t pages_checked; /* all 4096 bytes of them */
    uint64_t last_ns;       /* when the last touch ended */
};

/* Room for the versions and, with_memory, for the pages: private anonymous memory, not yet touched.
 * -ENOMEM. pages_free gives back what pages_new took. */
int pages_new(const struct content *content, uint64_t first_id, size_t count, bool with_memory,
              struct pages *ret_pages);
void pages_free(struct pages *p);

/* Writes the next version, the first time 1, of pages first .. first + count - 1. */
void pages_fill(const struct pages *p, size_t first, size_t count);

/* One touch, timed: reads and checks the stamp and one random line, then writes the next version.
 * What must be there is worked out before the clock starts: only the page itself is timed. So is the
 * look whether it is there, which costs up to a microsecond. */
void pages_touch(const struct pages *p, size_t index, struct toucher *t);

/* Compares all bytes of a page with its version. */
void pages_check(const struct pages *p, size_t index, struct toucher *t);

#endif
