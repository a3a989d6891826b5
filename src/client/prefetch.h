/* prefetch.h - the agent's part of bringing pages back before they are touched. policy/prefetch.h
 * says which pages a pass will want, policy/span.h which ones a touch, policy/rhythm.h when a burst will
 * begin; here it is done, in pieces of at most 10 us between two looks for faults, after every fault that is
 * there has been answered.
 *
 * Contract: the agent's. */
#ifndef CLIENT_PREFETCH_H
#define CLIENT_PREFETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "client/window.h"
#include "policy/prefetch.h"
#include "policy/rhythm.h"
#include "policy/span.h"
#include "sys/headroom.h"

struct agent;
struct pp_pager;

#define STREAM_WINDOWS 4u /* the one being passed, the next, and what ends late */
#define STREAM_OF_SPANS PREFETCH_STREAMS /* each window of it is a span's; no page is left out */
#define STREAMS_NR (PREFETCH_STREAMS + 1)

struct stream_windows {
    struct window windows[STREAM_WINDOWS]; /* oldest first */
    uint32_t nr;
    uint64_t last_ns; /* when its last fault was */
};

/* When are these 2 MiB wanted? Each has one place among ZONES_NR, where neighbours are neighbours: of two that
 * are 32 GiB apart only the one that faulted last is known. */
#define ZONE_PAGES 512u
#define ZONES_NR 16384u
struct zone {
    page_number first;              /* of its pages; a multiple of 512 */
    struct rhythm rhythm;
    uint32_t expected_ms;           /* is_expected: when its burst is to begin, ... */
    uint32_t margin_ms;             /* ... give or take */
    uint16_t nr_out, nr_back;       /* of the last burst: out when it began, and brought back in it */
    bool is_expected;               /* brought back, or being so, for a burst that has not begun */
    bool is_follower;               /* no page of it is left out: a fault of the last one before it that
                                     * is none counts for it */
    uint8_t nr_bursts;              /* it was brought back for, modulo 256 */
    struct window window;           /* is_expected */
};

struct rhythms {
    struct zone *zones;   /* ZONES_NR; set at birth */
    uint32_t at;          /* where the look at all zones stands; its number: not looking */
    uint32_t working;     /* zone + 1 whose window has work; 0: none */
    uint32_t next_ms;     /* when to look again; 0: not before a burst begins */
    uint32_t earliest_ms, nr_soon, nr_expected; /* found by the look under way */
    uint32_t lead_ms;     /* how much earlier to begin, for what all zones need */
    uint32_t page_ns;     /* what a page has needed lately, when a zone came back */
    uint64_t working_ns;  /* since when the zone `working` is at it, ... */
    uint32_t nr_working;  /* ... and how many of its pages were out then */
    struct activity activity;
    bool is_looking;
};

struct prefetcher {
    bool is_on;
    struct prefetch policy;
    struct spans spans;
    struct stream_windows streams[STREAMS_NR];
    unsigned turn;         /* whose window is taken on next */
    unsigned nr_changing;  /* pieces in a row that met an event */
    unsigned nr_waits;     /* for the helper, in a row */
    bool is_waited_for;    /* a fault has overtaken us: what is decoded is installed at once */
    uint64_t next_sweep_ns; /* for streams that have ended */
    struct headroom headroom; /* opened at birth */
    bool had_room;            /* when it was asked */
    unsigned room_pages;      /* that may come back before it is asked again, ... */
    uint64_t next_room_ns;    /* ... which it is then in any case */
    struct rhythms rhythms;
};

void prefetch_init(struct prefetch *p);
/* Learns from the faults just answered. True: the last was of a pass, so its thread is better left
 * on a CPU of its own. */
bool prefetch_learn(struct agent *a);
/* One piece of work. True: there is more. */
bool prefetch_piece(struct agent *a, struct pp_pager *pp);
/* May what nobody has asked for come back at all: is it wished, and is there room? */
bool prefetch_may(struct agent *a);
/* What is under way is not wanted, or not allowed, any more. */
void prefetch_forget(struct agent *a);
/* How long the agent may sleep. UINT64_MAX: as long as it likes. */
uint64_t prefetch_pause_ns(const struct agent *a);

/* rhythms.c */
uint32_t rhythms_now_ms(void);
/* A fault met a page that was out. True: it was expected. */
bool rhythms_on_fault(struct agent *a, page_number page);
/* nr pages there were brought back, and passed. */
void rhythms_on_used(struct agent *a, page_number page, unsigned nr);
/* The window to bring back now; NULL: none. Looks at some zones. */
struct window *rhythms_window(struct agent *a);
void rhythms_forget(struct agent *a);

#endif
