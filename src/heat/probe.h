/* probe.h - where a chunk is read, found out by asking. A source that sees writes only takes what is read
 * for idle. So, before pages leave by the hundred, a few of them leave alone, spread over the chunk: where
 * it is read they are wanted back at once, for the price of a fault each, and the others stay.
 *
 * Pure: what a look has seen goes in, which pages to take out as probes and which to keep comes out. No
 * page table, no clock, no I/O; scan.c does what it says. An answer that is wrong costs time, never bytes.
 *
 * A chunk is 32 cells of 16 pages. A question has up to three waves, each of pages that have not been
 * written for half of the cold age:
 *
 *   sample    4 pages, each in a cell of its own; 2 where the last answer was "read". All back within a
 *             twentieth of a cold age, 0.1 to 0.25 s: all of it is read, and that was the price.
 *   the rest  else a page of every cell, 16 pages at least. They are waited for: half of a cold age, so
 *             that a page has then been seen idle as long as one that is not written.
 *   again     only if some came back and some did not: another page of each quiet cell, 16 at least. What
 *             returns of these is the share of what is left in quiet cells that will return.
 *
 * Then a cell of which a page came back is hot: none of it is offered. The others are open: all of it
 * is, for one cold age. What is hot is asked again, after half a cold age, then one, two, up to 16. If there
 * is money for it, after a half each time; where all that is asked about was found hot for the ninth time after
 * one, then two, then four: each answer costs a stall, and moves a page that is in use to wherever memory is
 * free. All of these pauses are a half at least; that aside the former end after 80 s, the latter after 20.
 * What is written as well is asked only once scan.c protects it.
 *
 * What can be said when none of k probes came back: if a share h of the pages is read, picked at random,
 * that happens with (1 - h)^k; so with 95 % certainty h < 1 - 0.05^(1/k), about 3/k: 17 % for 16 pages,
 * 9 % for a chunk's 32. What slips through: m hot pages in a cell of 16 are missed by its one probe with
 * 1 - m/16, by two with about its square. And in time: a page that is read at random, r times a second on
 * average, stays out for t seconds with exp(-r t); k of them with exp(-r t k): at 5 s cold age (t 2.5 s) 32
 * pages find 95 % of what is read every 27 s. What is read all at once every T seconds, longer than
 * t, slips through with 1 - t/T. That is seen when it returns: its cell is hot, and the chunk is slow. So is
 * one of which probes came back later than the sample was waited for. The sample of a slow chunk is waited
 * for as long as the rest: a cold age in all, and what comes back of it means "all of it is read".
 *
 * The purse bounds the price: 0.4 % of the time goes in, two seconds of that at most, so that in any ten
 * seconds 0.5 % can't be exceeded (more goes in for a client that may lose more, less for one that may lose
 * less); each return of a probe takes out what it costs the client. Questions are paid in advance for the
 * share that came back lately, and refunded; a full purse pays for any, and then owes. Where a mixed chunk is
 * opened the returns that the third wave foretells are paid, too. So a large memory is asked slowly, and one
 * that is hot more and more rarely.
 *
 * Contract: one thread. One region per chunk, one purse per client. */
#ifndef HEAT_PROBE_H
#define HEAT_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#define PROBE_CELL_PAGES 16u
#define PROBE_CELLS 32u
/* Fewer idle pages than this in a chunk are not worth a question: each is its own. */
#define PROBE_FROM_PAGES 32u
#define PROBE_SHIFT_MAX 20u /* answers in a row are counted so far: four minutes' where the cold age is 5 s */

struct page_set {
    uint64_t words[8]; /* pages of a chunk */
};

static inline bool page_set_has(const struct page_set *s, uint32_t page)
{
    return s->words[page / 64] >> page % 64 & 1;
}

static inline void page_set_add(struct page_set *s, uint32_t page)
{
    s->words[page / 64] |= UINT64_C(1) << page % 64;
}

static inline void page_set_remove(struct page_set *s, uint32_t page)
{
    s->words[page / 64] &= ~(UINT64_C(1) << page % 64);
}

static inline uint32_t page_set_count(const struct page_set *s)
{
    uint32_t nr = 0;
    for (unsigned i = 0; i < 8; i++)
        nr += (uint32_t)__builtin_popcountll(s->words[i]);
    return nr;
}

/* What a look has seen. */
struct probe_sight {
    struct page_set idle;  /* may be asked: there, and unwritten for half the time that it must be */
    struct page_set out;   /* offered, and not there */
    struct page_set stays; /* offered, there and untouched: it has not left */
};

struct probe_purse {
    uint64_t cold_age_ms;
    bool is_shut;       /* nothing may be asked now */
    int64_t ns;         /* may be spent; less than nothing: earn it first */
    int64_t earn_ns_per_ms;
    uint64_t return_ns; /* what the return of a page costs the client */
    uint32_t share[3];  /* per mille of each wave that came back lately */
    uint64_t earned_ms; /* up to when */
    uint64_t seed;
    uint64_t nr_returns, spent_ns; /* ever, of probes */
};

enum probe_state { PROBE_RESTS, PROBE_SAMPLES, PROBE_ASKS, PROBE_CONFIRMS };

struct probe_region {
    uint8_t state;    /* enum probe_state */
    uint8_t shift;    /* times that it was found hot in a row */
    bool is_joined;   /* cells have joined this question */
    uint8_t slow;     /* what is hot came back later than a sample is waited for; two that did not end it */
    uint32_t closed;  /* cells of which nothing may be offered now */
    uint32_t open;    /* cells that may leave as a whole */
    uint32_t hot;     /* cells that were found hot, ... */
    uint32_t read;    /* ... and of them those that a question has found so, not an ordinary return */
    uint32_t in_question; /* cells */
    uint64_t due_ms;  /* look then; 0: whenever */
    uint64_t sent_ms; /* the last probe of this wave */
    uint64_t hot_ms;  /* last seen wanted back */
    uint64_t bar_ms;  /* no question before */
    uint64_t open_until_ms;
    struct page_set to_send, asked, back; /* asked: they have been taken; back: of them, wanted back */
    struct page_set late; /* probes that were out when the answer was "hot" without them */
    int64_t prepaid_ns;
    uint16_t nr_asked_before, nr_back_before; /* this wave */
};

void probe_purse_init(struct probe_purse *p, uint64_t cold_age_ms);
void probe_purse_earn(struct probe_purse *p, uint64_t now_ms);
/* So much of each millisecond may be lost to probes: 0.4 % until told otherwise, 10 % at most. */
void probe_purse_set_income(struct probe_purse *p, uint64_t ns_per_ms);
/* As measured; within 5 to 500 us it is believed. */
void probe_purse_set_return_ns(struct probe_purse *p, uint64_t ns);

/* After each look at the chunk; decides what is closed and what is to be sent. */
void probe_look(struct probe_region *r, struct probe_purse *p, const struct probe_sight *sight,
                uint64_t now_ms);
/* The next page that is to leave as a probe; -1: none. It counts as asked. */
int probe_next(struct probe_region *r, const struct probe_purse *p, uint64_t now_ms);
/* A page was wanted back. True: it was a probe, and says nothing of what was offered. */
bool probe_on_return(struct probe_region *r, struct probe_purse *p, uint32_t page, uint64_t now_ms);
/* A page could not leave, or came back for another reason: it says nothing. */
void probe_on_refused(struct probe_region *r, uint32_t page);

#endif
