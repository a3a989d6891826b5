/* passes.h - how many pages a touch should bring back: one, and more when its thread goes through memory in
 * order, upwards or downwards. Touches that meet a page which is out go in; a thread sees no others.
 *
 * As in the kernel's readahead a run doubles when the thread comes to the end of the one before, up to
 * DIRECT_RUN_MAX: that it came says that the run was wanted. What lies between may be there already. A
 * few passes are known at a time, for a thread that copies from here to there. Whether it pays is learned:
 * passes that end with pages nobody came for make a debt, hits pay it, and in debt only each
 * PASSES_PROBE-th trend is followed.
 *
 * Contract: each thread its own, all zeros at first; no clock, no I/O. */
#ifndef DIRECT_PASSES_H
#define DIRECT_PASSES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pagesize.h"

/* The touch that brings a run back waits for all of it; docs/stall.md has what longer ones would win. */
#define DIRECT_RUN_MAX 16u
/* No run crosses a multiple of this: it lies in one leaf, and its bits in one word. */
#define DIRECT_RUN_ALIGN 64u

#define PASSES_KNOWN 4u
#define PASSES_PROBE 16u
#define PASSES_DEBT_OF_END 4u
#define PASSES_DEBT_HIGH 16u
#define PASSES_DEBT_MAX 32u

struct pass {
    page_number first, end; /* of its last run; end 0: unused */
    int8_t direction;       /* 0: not known */
    uint8_t nr_places;      /* of that run, had nothing cut it off */
    uint8_t nr_ahead;       /* of its pages, brought back ahead of a touch */
};

struct passes {
    struct pass all[PASSES_KNOWN];
    uint8_t turn, debt, nr_held_back;
};

/* What is to be brought back: pages first .. end - 1. The touched one is the first, or the last on the way
 * down. */
struct pass_plan {
    page_number first, end;
    unsigned number;        /* of its pass */
    unsigned nr_places;
    int8_t direction;       /* 0: the first of a pass, if it is one */
    bool is_held_back;      /* for debt */
    page_number passed_first, passed_end; /* the run that has been passed, if anything of it came ahead */
};

/* Changes nothing: a touch may have to be tried again. */
struct pass_plan passes_plan(const struct passes *p, page_number page);
/* It has been done, with so many pages brought back ahead of touches. Returns how many of earlier ones are
 * found to have been in vain; *ret_nr_passed: and how many to have been wanted. */
unsigned passes_done(struct passes *p, const struct pass_plan *plan, unsigned nr_ahead,
                     unsigned *ret_nr_passed);

#endif
