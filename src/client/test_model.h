/* test_model.h - a small world for the real pager: an address space of a few pages, threads that
 * use it, a porter and a daemon, all of them plain data that moves in single steps chosen by a
 * seed. The kernel's calls are answered from that data (test_model_kernel.c in place of sys/), and
 * each lets the world take some steps first, so that everything may happen between any two calls
 * of the agent.
 *
 * Beside each page stands what the application must see there: the page's expected word. A page's
 * bytes are one word repeated; each write gives a word that was never there before; 0 is zeros. */
#ifndef CLIENT_TEST_MODEL_H
#define CLIENT_TEST_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "pager/pager.h"

#define WORLD_PAGES 20u
#define WORLD_FIRST ((page_number)(LEAF_PAGES * 1000 - 9)) /* the border of two leaves lies in it */
#define WORLD_THREADS 3u
#define WORLD_SLOTS 6u /* of staging: it is full now and then */
#define WORLD_PLACES 48u
#define WORLD_WORDS 4096u
#define WORLD_EVENTS 16u

enum pte { PTE_NONE, PTE_MARKER /* write-protected, nothing there */, PTE_PRESENT, PTE_POISON, PTE_SWAPPED };

struct vpage {
    bool is_mapped, is_watched, is_armed; /* of its mapping */
    unsigned origin;                      /* where it was mapped: what was moved is not merged */
    enum pte pte;
    uint64_t word;
    bool is_exclusive, is_wp;
    bool has_returned; /* from swap, by a touch, and the agent has not told of it */
    /* By an mremap that has not returned: nobody knows the new address yet, and nobody's mremap
     * comes to the old one: the kernel might tell of that first, and no order be made of it. */
    bool is_arriving, is_leaving;
    /* What the application must see. */
    uint64_t expected;
    bool may_be_zero; /* a discard of it is under way, or was MADV_FREE: zeros are right, too */
};

enum thread_state {
    THREAD_RUNS,     /* outside the kernel */
    THREAD_BLOCKED,  /* in read(2) */
    THREAD_FAULTS,   /* waits for the agent */
    THREAD_UNMAPPED, /* has changed mappings, has not told yet */
    THREAD_TELLS,    /* its event has not been read */
    THREAD_WAS_READ, /* its event has been read, it has not run again */
    THREAD_ZAPS,     /* inside madvise, after the event */
};

enum call {
    CALL_DONTNEED,
    CALL_FREE,
    CALL_MUNMAP,
    CALL_MAP_FIXED,
    CALL_MAP_FIXED_FAILS,
    CALL_MREMAP,
};

struct thread {
    enum thread_state state;
    enum call call;       /* UNMAPPED and on */
    unsigned at, nr, to;  /* of the call, pages of the world */
    bool tells;            /* of its call itself there is an event */
    bool is_over;          /* MREMAP: has replaced a known mapping, and has not told of that yet */
    bool was_armed;        /* what it has taken away */
    bool grows;            /* MUNMAP: by an mremap to less; the next makes the mapping as long again */
    uint64_t words_before; /* DONTNEED: written before it began */
    unsigned page;        /* FAULTS */
    bool is_write;        /* FAULTS */
    bool is_fault_queued; /* FAULTS: its message has not been read */
    bool is_woken;        /* FAULTS */
};

struct world_event {
    enum call call;
    unsigned at, nr, to, thread;
    bool is_over; /* MREMAP: only of what it has replaced */
};

/* A page on its way through the daemon. */
struct raw_page {
    uint32_t slot, generation;
    uint64_t word;
};

struct store {
    _Alignas(16) unsigned char bytes[WORLD_PLACES][STORE_UNIT_BYTES];
    bool is_held[WORLD_PLACES];
    unsigned free[WORLD_PLACES], nr_free; /* a stack: what is given up is used again at once */
};

struct world {
    uint64_t random;
    struct vpage pages[WORLD_PAGES];
    struct thread threads[WORLD_THREADS];
    struct world_event events[WORLD_EVENTS];
    unsigned nr_events;
    unsigned nr_changing; /* the kernel's mmap_changing */
    uint64_t nr_words;
    bool is_rotten[WORLD_WORDS]; /* the store has spoilt the bytes of this word */
    bool is_closing;             /* no new actions */
    bool is_quiet;               /* no steps between calls */
    unsigned nr_yields;

    enum pte staged[WORLD_SLOTS], landed[MOVE_RUN_MAX];
    uint64_t landed_words[MOVE_RUN_MAX];
    bool staged_is_exclusive[WORLD_SLOTS], landed_is_exclusive[MOVE_RUN_MAX];

    /* what differs between walks */
    bool has_rot, scribbles, has_deaths, has_ageing, has_scans, has_readers, is_slow, has_bursts;
    bool has_prefetch; /* pages come back ahead of touches, decoded by the agent and a helper */
    bool has_gaps; /* walk into what the pager is known not to hold: test_model.c says what */
    uint32_t returns_cursor;
    bool has_pageout, is_pageout; /* joins such daemons, too; the present one is */
    bool has_riddle; /* a MAP_FIXED has failed, or a mapping is as long as before: not yet settled */

    /* porter and daemon */
    struct ring orders, freed;
    struct raw_page raw[WORLD_SLOTS * 4];
    unsigned nr_raw;
    struct stored_entry answers[WORLD_SLOTS * 4];
    unsigned nr_answers;
    bool has_moves;    /* all that is stored is to be put elsewhere, all the time ... */
    bool moves_slowly, tells_slowly; /* ... but that has time, or its answer has */
    struct squeeze_entry asks[SQUEEZES_NR];
    struct squeezed_entry squeezed[SQUEEZES_NR];
    unsigned nr_asks, nr_squeezed;
    uint32_t abandoned; /* sessions up to this number are over */
    struct store stores[PAGE_STORES_NR];
    bool is_checking_bars, is_seen_outside[WORLD_THREADS];
    uint64_t bars_wanted, bars_number, bars_checked;
};

extern struct world world;
extern struct pager *const model_pager;

/* Ends the walk: it has failed. */
_Noreturn void walk_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One line of the walk's story, when it is asked for (--tell). */
void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

uint64_t choose(uint64_t below);                      /* 0 .. below - 1 */
static inline bool one_in(uint64_t n) { return choose(n) == 0; }

static inline struct vpage *vpage_at(page_number page)
{
    bool is_ours = page >= WORLD_FIRST && page < WORLD_FIRST + WORLD_PAGES;
    return is_ours ? &world.pages[page - WORLD_FIRST] : (struct vpage *)0;
}

/* test_model_kernel.c */
unsigned char *model_staging(void);
unsigned char *model_landing(void);
void kernel_wake(unsigned first, unsigned nr);
void kernel_free_staged(uint32_t slot);
void kernel_read_from_outside(void); /* /proc/PID/mem: a hole of ours gets the zero page */
uint64_t kernel_read_staged(uint32_t slot);

/* test_model_world.c: everybody but the agent */
void world_step(void);          /* somebody does one thing */
void world_steps_between(void); /* some of them, perhaps none */
void world_touch(struct thread *t, unsigned page, bool is_write);
void world_give_up(locator place);
bool world_ask(void *context, const struct squeeze_entry *entry); /* pager.on_squeeze */
void daemon_begin(int store);
void daemon_dies(void);

#endif
