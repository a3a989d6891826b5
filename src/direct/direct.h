/* direct.h - what an agent and the threads that restore their own pages say to each other: hazard words,
 * the gate, and two bits a page. Who writes what with which order, and each race by name, stands in
 * docs/direct.md; this room is that page as code. It knows nothing of events, signals or the agent's loop.
 *
 * Contract: functions of the first group are any thread's, also in a signal handler: they allocate
 * nothing, take no lock and wait for nobody. The second group is the agent's. */
#ifndef DIRECT_DIRECT_H
#define DIRECT_DIRECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/intervals.h"
#include "direct/passes.h"
#include "page/table.h"
#include "stats/stats.h"
#include "store/reader.h"

/* Threads that can be restoring at a time; more wait. Eight cache lines, which the agent reads for each
 * run that it evicts. */
#define DIRECT_SLOTS_NR 64u

#define DIRECT_LEAF_WORDS (LEAF_PAGES / 64)

struct direct_leaf {
    _Atomic uint64_t leaving[DIRECT_LEAF_WORDS];  /* agent: may be moved out just now */
    _Atomic uint64_t returned[DIRECT_LEAF_WORDS]; /* toucher: it is back, whatever its entry says */
    _Atomic uint64_t ahead[DIRECT_LEAF_WORDS]; /* toucher: ahead of a touch that has not come; a hint */
};
_Static_assert(DIRECT_SLOTS_NR == 64, "the slots' bits are a word");
_Static_assert(LEAF_PAGES % DIRECT_RUN_ALIGN == 0 && DIRECT_RUN_ALIGN == 64, "a run's bits lie in one word");

/* Goes with a hazard word; whoever holds that one. Of the times the agent takes what is new. */
struct direct_scratch {
    _Alignas(4096) unsigned char pages[DIRECT_RUN_MAX][PAGE_BYTES];
    struct store_scratch store;
    struct histogram felt_ns, restore_ns;
};

struct direct_counts {
    _Alignas(64) _Atomic uint64_t restored, staged, zeros, raced, waits, waited_ns;
    /* Of those restored: ahead of a touch; passed since, or found to be in vain. */
    _Alignas(64) _Atomic uint64_t ahead, used, wasted, runs;
};

struct direct_sums {
    uint64_t restored, staged, zeros, raced, waits, waited_ns, ahead, used, wasted, runs;
};

struct direct {
    _Alignas(64) _Atomic uint64_t hazards[DIRECT_SLOTS_NR]; /* hazard_make(); 0: free */
    _Alignas(64) _Atomic uint32_t gate;                     /* odd: closed */
    _Atomic bool is_asking; /* some word of `asked` was set */
    _Atomic bool may_go_ahead; /* agent: pages may be brought back that nobody has touched */
    _Atomic uint64_t asked[DIRECT_SLOTS_NR];                /* page + 1 the agent is to restore */
    struct direct_counts counts[DIRECT_SLOTS_NR];
    _Atomic uint64_t timed; /* a bit a slot: there are times in it that the agent has not taken */
    /* set at birth */
    const struct page_table *table;
    const struct store_map *stores; /* [PAGE_STORES_NR] */
    /* These two the agent changes behind the closed gate only. */
    const struct intervals *watched;   /* known to be registered with our userfaultfd if ... */
    bool (*is_registered)(const struct interval *watched); /* ... this says so */
    const struct intervals *unsettled; /* unmapped, it is said; what the table has of it may be nobody's */
    uint64_t hole; /* address of a page of ours that nobody touches */
    unsigned char *staging_memory;
    struct direct_leaf *leaves;   /* as table->leaves */
    _Atomic uint64_t *dirty;      /* leaves with a returned page, a bit each */
    struct direct_scratch *scratch; /* [DIRECT_SLOTS_NR] */
    _Atomic int uffd;             /* in the application's table of descriptors; -1: not yet */
};

/* What lay_out must give: leaves and dirty for so many leaves. */
size_t direct_leaves_bytes(uint32_t nr_leaves);
size_t direct_dirty_bytes(uint32_t nr_leaves);

/* ---- a touching thread */

/* A hazard word names a run: its first page + 1 below, its further pages above. */
#define HAZARD_NR_SHIFT 56
static inline uint64_t hazard_make(page_number first, unsigned nr)
{
    return (uint64_t)(nr - 1) << HAZARD_NR_SHIFT | (first + 1);
}
static inline page_number hazard_first(uint64_t word)
{
    return (word & ((UINT64_C(1) << HAZARD_NR_SHIFT) - 1)) - 1;
}
static inline page_number hazard_end(uint64_t word)
{
    return hazard_first(word) + (word >> HAZARD_NR_SHIFT) + 1;
}

/* Claims a hazard word for [first, first + nr), nr <= DIRECT_RUN_MAX. -1: none is free, or the gate is closed.
 * hint: where to look first, each thread's own. */
int direct_enter(struct direct *d, page_number first, unsigned nr, unsigned hint);
void direct_leave(struct direct *d, int slot);

struct direct_look {
    bool is_leaving;  /* leave, wait, look again */
    bool is_returned; /* treat as RESIDENT */
    bool has_leaf;
    uint32_t leaf;
    struct page page;
    uint32_t checksum;
};
/* Only between enter and leave. */
void direct_look(const struct direct *d, page_number page, struct direct_look *ret);
/* The kernel has taken our pages for what the table calls out: those from `first` on that have a bit; `ahead`:
 * which of them nobody waits for. Before leave. */
void direct_note_returned(struct direct *d, uint32_t leaf, page_number first, uint64_t pages, uint64_t ahead);
/* Of what came ahead in [first, end), in one leaf, somebody has come past. Only between enter and leave. */
void direct_note_passed(struct direct *d, page_number first, page_number end);
/* The agent is to do it. The caller rings its bell, and waits without a hazard word. */
void direct_ask(struct direct *d, page_number page, unsigned hint);

/* restore.c: one attempt. */
enum direct_result {
    DIRECT_DONE,    /* it is there: run the instruction again */
    DIRECT_WAIT,    /* not now: an event, the agent, or no free word */
    DIRECT_ASK,     /* the agent must do it */
    DIRECT_IN_DOUBT, /* another's mapping is there, or one that is protected in another way than we know */
    DIRECT_NOT_OURS /* no registered mapping is there, or the page is lost */
};
struct direct_touch {
    page_number page;      /* that is wanted, by its thread since then */
    uint64_t since_ns;
    unsigned hint;
    bool in_doubt;         /* it is ours, if it is registered at all */
    struct passes *passes; /* the thread's, for more than that page; NULL: it alone */
};
enum direct_result direct_restore(struct direct *d, const struct direct_touch *touch);
/* whose.c, of a page that the table does not have out: 1: it is in a range of ours; 0: it is, and zeros have
 * just been moved in; -EINVAL: it is not, or it is not readable and writable; else as MOVE says. The agent, or
 * a thread between enter and leave. */
int direct_whose(const struct direct *d, int uffd, page_number page);

/* ---- the agent */

/* Nobody is inside when this returns, and nobody enters until it is opened. */
void direct_close_gate(struct direct *d);
void direct_open_gate(struct direct *d);
/* Is anybody restoring this page? What the caller stored before is seen by whoever enters after. */
bool direct_is_touched(struct direct *d, page_number page);

/* [first, first + nr), in one leaf and RESIDENT, are to be moved out. Returns how many may, from the first
 * on; touchers stay away from those until direct_end_leaving(), which comes after their entries. */
unsigned direct_begin_leaving(struct direct *d, uint32_t leaf, page_number first, unsigned nr);
void direct_end_leaving(struct direct *d, uint32_t leaf, page_number first, unsigned nr);

struct direct_sums direct_sums(const struct direct *d);
/* Adds what touchers have timed since the last call: what they felt, and the restore without its waits. */
void direct_take_times(struct direct *d, struct histogram *felt_ns, struct histogram *restore_ns);

bool direct_is_returned(const struct direct *d, uint32_t leaf, page_number page);
/* Ahead of a touch, of which nothing is known yet? Beside a returned page. */
bool direct_is_ahead(const struct direct *d, uint32_t leaf, page_number page);
/* After the entry says RESIDENT. Forgets both. */
void direct_forget_returned(struct direct *d, uint32_t leaf, page_number page);
/* A leaf that has returned pages, from *cursor on; UINT32_MAX: none. It counts as looked at from now on. */
uint32_t direct_next_dirty(struct direct *d, uint32_t *cursor);
/* Before and after memory is taken from a direct userfaultfd. A SIGBUS that was on its way meanwhile must not
 * be taken for the application's own: who finds that nobody claims it compares the count. */
void direct_note_unregistering(void);
uint64_t direct_nr_unregistered(void);
/* The word of returned pages 64 * word ... of a leaf. */
static inline uint64_t direct_returned_word(const struct direct *d, uint32_t leaf, unsigned word)
{
    return atomic_load(&d->leaves[leaf].returned[word]); /* seq_cst, against direct_note_returned() */
}
/* Takes one page that somebody asked for; false: none. */
bool direct_take_asked(struct direct *d, unsigned *cursor, page_number *ret_page);

#endif
