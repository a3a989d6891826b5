/* window.h - a row of places that are brought back ahead of whoever is expected there: a piece of a
 * pass, or 2 MiB before a burst. A page of it is left out, or two; its fault says that somebody
 * came (the agent sees no other touches). What is brought back is told of once, as used or as
 * wasted.
 *
 * A place is a number from 0 on in the direction of the pass; a pass downwards is taken on eight
 * places at a time, each eight upwards, so that they are installed as runs. Contract: the
 * agent's. */
#ifndef CLIENT_WINDOW_H
#define CLIENT_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "page/table.h"

struct agent;

#define WINDOW_PLACES_MAX 512u

struct window {
    page_number first;
    int32_t stride;
    uint32_t nr;
    uint32_t at;         /* places taken on or passed */
    uint32_t told;       /* places before this one have been told of */
    uint32_t leave_from;  /* the next page that is out, from this place on, is left out, ... */
    uint32_t leave_every; /* ... and one of each so many places behind it */
    uint32_t nr_left_out;
    uint64_t back[WINDOW_PLACES_MAX / 64]; /* bit: taken on, or brought back */
};

static inline bool window_has_work(const struct window *w)
{
    return w->at < w->nr;
}

void window_begin(struct window *w, page_number first, int32_t stride, uint32_t nr);
/* Where a page lies: 0 .. nr - 1; nr: behind its end, as seen by the pass; -1: before its begin, or
 * between its places. */
int64_t window_place(const struct window *w, page_number page);
/* Takes on at most *budget places, and takes them off it; a page that comes back at once costs 4,
 * one that has nothing to come back nearly nothing. 0; -ENOBUFS: all buffers are in use; -EAGAIN:
 * an event waits. */
int window_take(struct agent *a, struct window *w, unsigned *budget);
/* Somebody has come to this place (nr: past all of them): what lies before it was of use. Returns
 * how many pages that are. */
unsigned window_passed(struct agent *a, struct window *w, uint32_t place);
/* A fault has come for this page: it is told of as that. */
void window_faulted(struct window *w, page_number page);
/* What has not been told of yet, and is back, was wanted, as far as anybody knows. Returns how many pages
 * that are. */
unsigned window_wanted(struct agent *a, struct window *w);
/* Nobody came for what has not been told of yet. */
void window_wasted(struct agent *a, struct window *w);

#endif
