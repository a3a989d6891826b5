/* prefetch.h - which pages a pass over memory will want next. Faults in, windows out; no clock, no
 * I/O. It does not know what is out: a window is a number of places in a row, and the caller skips
 * those that are there.
 *
 * A *stream* is a pass in one direction, by one thread or by several that follow each other. Its
 * faults are known by where they lie, so that threads which each sweep a part of their own, or one
 * that copies from here to there, are several streams. A fault that fits none trains a stream of
 * its own: the trend is a majority vote over its last differences (Leap, Al Maruf and Chowdhury,
 * USENIX ATC 2020), or three short steps in one direction, where what lies between is there. Or it
 * is a crowd, six pages in any order within 32: who goes through objects of several sizes passes
 * over memory at several places at a time, because allocators keep each size on pages of its own.
 * What lies between the faults that have shown such steps or a crowd belongs to the first window. A
 * random touch finds no trend and is never followed by anything.
 *
 * A stream goes on like the kernel's readahead: the caller leaves one page of each window out, and
 * its fault says that the window is wanted. Then the window doubles, up to PREFETCH_WINDOW_MAX, and
 * the next is planned while the last half of this one lies ahead. So there is one fault a window,
 * and what is restored in vain when a pass ends is less than two windows.
 *
 * Whether it pays is learned: each hit earns credit, each stream that ended with more than twice as much
 * planned as passed costs some. Without credit only every PREFETCH_PROBE-th trend is followed.
 *
 * Contract: one thread. */
#ifndef POLICY_PREFETCH_H
#define POLICY_PREFETCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/pagesize.h"

#define PREFETCH_STREAMS 16u
#define PREFETCH_HISTORY 5u
#define PREFETCH_WINDOW_MIN 8u
/* A fault costs its thread 10 to 20 us with two switches, a page restored ahead 2 to 3 us of the
 * agent: at 128 pages the fault is 5 %, and more would only be wasted more when a pass ends. */
#define PREFETCH_WINDOW_MAX 128u
#define PREFETCH_STRIDE_MAX 64 /* pages; further apart they are places, not a pass */
#define PREFETCH_CREDIT_FIRST 8u
#define PREFETCH_CREDIT_MAX 32u
#define PREFETCH_PROBE 16u

struct prefetch_stream {
    page_number last;    /* where its last fault was; at first the foremost that shows the trend */
    page_number planned; /* the first place in its direction that no window covers */
    uint64_t fault;      /* number of its last fault; 0: unused */
    int64_t deltas[PREFETCH_HISTORY];
    uint32_t nr_deltas; /* ever; the newest is at (nr_deltas - 1) % PREFETCH_HISTORY */
    int32_t stride;     /* 0: no trend yet */
    uint32_t window;    /* places of the last window */
    uint32_t nr_planned, nr_passed; /* places */
    pid_t thread;
};

struct prefetch {
    struct prefetch_stream streams[PREFETCH_STREAMS];
    uint64_t nr_faults;
    uint32_t credit;
    uint32_t nr_held_back; /* trends that were not followed for want of credit */
};

struct prefetch_answer {
    unsigned stream; /* that the fault belongs to */
    bool is_hit;     /* it lies where that stream was expected */
    bool is_new;     /* the number was another stream's before, whose windows nobody wants any more */
    /* The window to restore: places first, first + stride, ...; nr 0: none now. */
    page_number first;
    int32_t stride;
    uint32_t nr;
    uint32_t left_out; /* the place that is to stay out, or if it is not out the next one that is */
};

void prefetch_init(struct prefetch *p);
/* A thread has met a page that was out. */
void prefetch_on_fault(struct prefetch *p, page_number page, pid_t thread, struct prefetch_answer *ret);
/* Nothing has been heard of this stream for long: it is over. */
void prefetch_end(struct prefetch *p, unsigned stream);

#endif
