/* rogue.h - a daemon without judgement, for tests: offers everything it is told of all the time, or
 * just what the test names, and answers as badly as the test asks for. Serves several clients in one
 * process, which the supervisor starts; kept in order through memory that it shares with the test.
 *
 * Not the real daemon's code: the protocol headers are all they have in common. A place that is given
 * up is overwritten at once, so that who reads it later is found out. */
#ifndef INTEG_ROGUE_H
#define INTEG_ROGUE_H

#include "support.h"

enum rogue_answer {
    ROGUE_HONEST,
    ROGUE_NEVER,         /* takes pages and says nothing about them */
    ROGUE_HOLD,          /* stores honestly, and says so only when told otherwise: late */
    ROGUE_TWICE,         /* says it twice, with two good places */
    ROGUE_STALE_FIRST,   /* first an answer for an earlier generation of the slot, then the right one */
    ROGUE_FUTURE,        /* an answer for a page that was never handed over */
    ROGUE_WRONG_BYTES,   /* stores something that does not decode */
    ROGUE_OTHER_BYTES,   /* stores other bytes that do decode */
    ROGUE_SAYS_ZERO,     /* "that was a page of zeros" */
    ROGUE_OUT_OF_RANGE,  /* a place outside the store */
    ROGUE_NO_SUCH_SLOT,  /* a staging slot that can't be */
    ROGUE_FULL,          /* the store is full */
    ROGUE_TOO_BIG,       /* every page is incompressible */
    ROGUE_BROKEN_STORED, /* head of the ring of answers is garbage */
    ROGUE_BROKEN_RAW,    /* tail of the ring of raw pages is garbage */
    ROGUE_BROKEN_RAW_FREE, /* head of the ring of raw slots that are free again is */
    ROGUE_BROKEN_CANDIDATES,
    ROGUE_WRONG_ORDER,   /* an order by hand that is a tool's, not a client's */
    ROGUE_LENDS_LIES,    /* frees raw slots that were not lent, and some twice */
    ROGUE_DEAF,          /* accepts, reads hello, never welcomes */
    ROGUE_REFUSES,
};

/* How it answers when it is asked for other places. */
enum rogue_squeeze {
    ROGUE_SQUEEZE_HONEST,
    ROGUE_SQUEEZE_HOLD,         /* honestly, and says so only when told otherwise: late */
    ROGUE_SQUEEZE_NEVER,
    ROGUE_SQUEEZE_MIXED_UP,     /* a good group, and each page is told another one's place in it */
    ROGUE_SQUEEZE_OTHER_BYTES,  /* a good group of other pages */
    ROGUE_SQUEEZE_NO_FRAME,     /* bytes that are no group */
    ROGUE_SQUEEZE_OUT_OF_RANGE, /* a place outside the store */
    ROGUE_SQUEEZE_NOT_ASKED,    /* an answer to what was never asked */
    ROGUE_SQUEEZE_SAME_PLACE,   /* "where they were" */
    ROGUE_SQUEEZE_BROKEN_RING,  /* head of the ring of these answers is garbage */
};

struct rogue {
    /* the test writes */
    _Atomic bool offers;                            /* all ranges, all the time */
    _Atomic uint64_t only_page, only_nr;            /* if only_nr: just these, all the time */
    _Atomic uint32_t answer;                        /* enum rogue_answer */
    _Atomic bool spoils_store;                      /* once: every stored byte is inverted */
    _Atomic uint32_t squeeze;                       /* enum rogue_squeeze */
    _Atomic bool moves;                             /* all slabs are to become empty, all the time */
    uint32_t cold_age_ms;                           /* before it is started, as the next */
    bool prefetches;                                /* wants clients to bring pages back ahead */
    uint32_t squeeze_age_ms;                        /* before it is started; 0: no second tier */
    char socket_path[108];                          /* before it is started */

    /* the rogue writes */
    _Atomic uint64_t rounds;                        /* of its loop */
    _Atomic uint64_t nr_joins, nr_clients, nr_ranges;
    _Atomic uint64_t nr_raw, nr_stored, nr_given_up;
    _Atomic uint64_t nr_unwanted;                   /* pages told of as brought back ahead of no touch */
    _Atomic uint64_t nr_held;                       /* answers not yet given */
    _Atomic uint64_t nr_asked, nr_squeezed_held;    /* for other places; pages whose answer is not yet given */
    _Atomic bool is_quiet;                          /* nothing offered, nothing to answer */

    pid_t pid; /* the test's note */
};

struct rogue *rogue_new(const char *name); /* before test_begin(): shared memory */
void rogue_start(struct rogue *r);         /* on its socket; also again, after a kill */
void rogue_kill(struct rogue *r);
void rogue_freeze(struct rogue *r);
void rogue_thaw(struct rogue *r);
/* Stops offering, and returns when what was offered has been dealt with. */
void rogue_pause(struct rogue *r);
void rogue_offer_all(struct rogue *r);
void rogue_offer_only(struct rogue *r, const void *address, size_t nr_pages);
void rogue_answers(struct rogue *r, enum rogue_answer answer);
void rogue_squeezes(struct rogue *r, enum rogue_squeeze squeeze);

/* ---- most tests begin so: a rogue that offers nothing yet, a pager that has joined it, and
 * registered pages with version 1 in each. */
struct arena {
    struct rogue *rogue;
    struct pp_pager *pager;
    struct pages pages;
};
void arena_begin(struct arena *a, struct rogue *r, uint32_t nr_pages);
/* Everything out and (if the rogue answers) stored; then nothing more is offered. */
void arena_all_out(struct arena *a);
/* Offers these pages until they have left and are answered for; then nothing more. */
void arena_out(struct arena *a, uint32_t first, uint32_t nr);
/* From now on a touch of a lost page can be survived. */
void arena_catch_sigbus(void);
/* True: the touch raised SIGBUS. False: it read the right bytes. Anything else ends the test. */
bool arena_is_lost(const struct arena *a, uint32_t i);
uint32_t arena_nr_lost(const struct arena *a, uint32_t first, uint32_t nr);
/* The end of an arena in which pages are lost: poisoned memory is of no use to the next case. */
void arena_end_lost(struct arena *a);
void arena_end(struct arena *a); /* checks all, stops, checks all again, closes, checks all again */

#endif
