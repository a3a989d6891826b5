/* span.h - how many pages in a row are wanted at once. Who asks a cache for a value of 10 KiB touches three
 * pages, each of which is a fault if they are out; for a pass (policy/prefetch.h) that is too short. So what
 * lies behind a fault comes back with it, as far as in most cases so far it was wanted next. Faults in, a
 * number of pages out; no clock.
 *
 * A *span* is a row of pages that were wanted upwards one after the other, with few other faults in
 * between. For each length it is known which part of the spans that came so far went on: a mean in which the
 * newest counts a sixteenth. Only of spans that nothing was brought back for is it known where they end; so
 * one of eight is left alone, and only such ones teach. While half of them end at every length, as of touches
 * at random nearly all do after one page, nothing comes back.
 *
 * Contract: one thread; zeroed at birth. */
#ifndef POLICY_SPAN_H
#define POLICY_SPAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pagesize.h"

#define SPAN_MAX 8u    /* pages; what is longer is a pass */
#define SPANS_NR 8u    /* that may be under way: so many others may begin in between */
#define SPAN_ALONE 8u  /* one of so many that have something to come back is left alone, at random */

struct span {
    page_number first, end; /* wanted, or brought back; first == end: unused */
    page_number back;       /* from here to the end: brought back, and not wanted yet as far as we know */
    bool teaches;           /* nothing was brought back for it */
    bool is_alone;          /* nor will be */
};

struct spans {
    struct span under_way[SPANS_NR];
    uint32_t oldest;
    uint32_t nr_foreseen;        /* that had something to come back */
    uint16_t goes_on[SPAN_MAX];  /* [n - 1]: which part of those with n pages had one more, in 1/65536 */
};

/* A page that was out was touched, and no pass expected it. Returns how many pages behind it are to come back.
 * *ret_is_late: it was one of those already, and wanted before it was back. */
uint32_t span_on_fault(struct spans *s, page_number page, bool *ret_is_late);
/* The page belongs to a pass: whatever of a span has led there teaches nothing. */
void span_leave_to_pass(struct spans *s, page_number page);

#endif
