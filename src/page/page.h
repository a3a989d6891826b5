/* page.h - the life of one page, as a pure state machine. Deciding stands here; doing stands in
 * pager/. No system call, no memory but the 8 bytes of the page.
 *
 *                 moved out               stored at
 *     RESIDENT ──────────────▶ STAGED ──────────────▶ STORED
 *        ▲  ▲                    │  └─────────────────▶ ZERO     (stored: all zeros)
 *        │  └─ moved back ◀──────┘                      │
 *        └──── fault, prefetch, drain, discard ◀────────┴──── POISONED (discard only)
 *
 *   state     newest bytes are in             a touch is answered by
 *   RESIDENT  the target                      zero page, or nothing: it is there
 *   STAGED    staging, which no one writes    moving it back, no codec
 *   STORED    the store                       decompress, check, install
 *   ZERO      nowhere; reads as zeros         zero page
 *   POISONED  lost, and known to be           SIGBUS
 *
 * Two bits stand beside RESIDENT: barred (rule 4), and paged out: the kernel has put it into its
 * swap at our wish. Swap is a part of the target, so nothing follows from that but that we look
 * when it is back.
 *
 * One stands beside STORED: squeezing. The daemon has been asked to put its bytes elsewhere, denser
 * or out of a slab that is to become empty. Every way out of STORED takes the bit away, and no page
 * has it twice at a time (pager/squeeze.c): so if it is still there when the answer comes, the page
 * is the one that was asked for. A page that is STORED also has an age, which decides nothing but
 * when to ask.
 *
 * Rules this file holds (docs/page-lifecycle.md has the matrix event x state, test_page.c is it):
 *   1. The staged copy or the place in the store is given up only by the call that makes the page
 *      RESIDENT, and the caller makes that call only after the bytes are back (or discarded).
 *   4. A page that was present when a discard was announced does not leave until it has been seen
 *      absent, has faulted, or the discard is known to be over.
 *   6. "Stored at" is believed only for the staging slot the page is in now; the generation is
 *      checked by staging.h before.
 *
 * Contract: the agent's, no locks; other threads may look with page_read(). A broken invariant ends the process: going on would lose bytes. */
#ifndef PAGE_PAGE_H
#define PAGE_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/locator.h"

enum page_state {
    PAGE_RESIDENT, /* 0: a table full of zeros is a table of resident pages */
    PAGE_STAGED,
    PAGE_STORED,
    PAGE_ZERO,
    PAGE_POISONED,
    PAGE_STATE_NR
};

/* How many store maps a client may hold at a time: the present daemon's and what is not yet drained
 * of earlier ones. */
#define PAGE_STORES_NR 4

struct page {
    uint64_t state : 3;            /* enum page_state */
    uint64_t is_barred : 1;        /* rule 4; only while RESIDENT */
    uint64_t is_paged_out : 1;     /* only while RESIDENT: the kernel has it in swap, at our wish */
    uint64_t store : 2;            /* STORED: which store map */
    uint64_t where : LOCATOR_BITS; /* STAGED: staging slot; STORED: locator; else 0 */
    uint64_t is_squeezing : 1;     /* only while STORED: another place is asked for */
    uint64_t age : 3;              /* only while STORED: how often it has grown older so */
    uint64_t unused : 2;
};
#define PAGE_AGE_MAX 6u   /* it grows no further */
#define PAGE_AGE_DENSE 7u /* do not ask again: a denser place was refused, or its group is small */

_Static_assert(sizeof(struct page) == 8, "a page costs 8 bytes here, and 4 of checksum in the table");

/* What a transition to RESIDENT leaves to be given up by the caller. */
struct page_release {
    enum { RELEASE_NOTHING, RELEASE_SLOT, RELEASE_PLACE } kind;
    uint32_t slot;  /* RELEASE_SLOT: a staging slot */
    unsigned store; /* RELEASE_PLACE: of which store map */
    locator place;  /* RELEASE_PLACE: may be one without a blob */
};

enum fault_answer {
    ANSWER_ZERO_OR_WAKE, /* late, or never touched, or discarded unannounced: try the zero page,
                          * EEXIST means that it is there: wake */
    ANSWER_ZERO_PAGE,
    ANSWER_MOVE_BACK,
    ANSWER_DECOMPRESS,
    ANSWER_POISON,
};

const char *page_state_name(enum page_state state);

/* The entry as any thread may see it, whole. */
struct page page_read(const struct page *p);

/* Decides how a touch of a missing page is answered; changes nothing: the answer may say EAGAIN. */
enum fault_answer page_on_missing_fault(const struct page *p);
/* The page is back in the target (or was there all along). */
struct page_release page_on_installed(struct page *p);

bool page_may_leave(const struct page *p);
/* It has been moved to a staging slot. Only a page that may leave. */
void page_on_moved(struct page *p, uint32_t slot);
/* --evict-by pageout: the kernel has it in its swap now. Only a page that may leave. It stays RESIDENT:
 * swap is a part of the target's memory, and the kernel brings it back; this is a note of ours, so
 * that its return can be told. */
void page_on_paged_out(struct page *p);
/* It is there again, or has been discarded. True: it had been paged out, and the note is gone. */
bool page_on_seen_back(struct page *p);
/* The daemon says where it is. False, and nothing changed: not for the slot it is in now; the place
 * must be given up. True: the slot may be freed. */
bool page_on_stored(struct page *p, uint32_t slot, unsigned store, locator place);
/* The same for a page of zeros. */
bool page_on_stored_zero(struct page *p, uint32_t slot);

/* A look at intervals: what is STORED gets older. Its age; 0 for what is not STORED. */
unsigned page_on_lap(struct page *p);
/* May another place be asked for? */
bool page_may_squeeze(const struct page *p);
/* It has been. Only a page that may be. */
void page_on_squeeze(struct page *p);
/* The answer for a page that was at `old` in that store: it is at `place` as well. False, and
 * nothing changes: it is not that page any more, `place` must be given up. True: `old` must be. A blob that
 * is its own and stays as it is stays as old; else age 0, and what is left of a group may join others then. */
bool page_on_squeezed(struct page *p, unsigned store, locator old, locator place);
enum page_stays {
    PAGE_STAYS_DENSE,  /* it can't be denser: for good */
    PAGE_STAYS_LOOSE,  /* not now: it may be asked for again as if it were stored anew */
    PAGE_STAYS_UNMOVED /* nothing was to become denser: it is as old as before */
};
/* The answer is that it stays where it is. */
void page_on_not_squeezed(struct page *p, unsigned store, locator old, enum page_stays why);

/* The application discards the page (REMOVE, UNMAP). is_present: it is in the target now and will be
 * zapped some time after this: bar it. */
struct page_release page_on_discard(struct page *p, bool is_present);
/* pagemap shows a hole where the table says RESIDENT: a discard is done. */
void page_on_seen_absent(struct page *p);
/* The discard that barred it is over: no thread is inside one that began before. */
void page_on_bar_over(struct page *p);

/* mremap took the page elsewhere: `to` becomes what `from` was, `from` RESIDENT (a hole). What `to`
 * held has been unmapped and is released. An answer would not find it there: it is not squeezing
 * any more. */
struct page_release page_on_rekey(struct page *to, struct page *from);

/* Its bytes are lost. Nothing of it is worth keeping. */
struct page_release page_on_lost(struct page *p);

/* For asserts that stay on in release builds. */
_Noreturn void invariant_broken(const char *what);

#endif
