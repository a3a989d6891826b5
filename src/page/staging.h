/* staging.h - the slots of the staging area: which page each holds, and for which generation. Pure;
 * moving pages in and out stands in pager/, freeing their memory in the porter.
 *
 *   FREE ── take ──▶ HOLDS ── let go ──▶ LEFT ── porter freed it ──▶ FREE
 *
 * A slot HOLDS the newest bytes of a page while the page is STAGED. When the page has gone back, or
 * the store has it, or the application discarded it, the slot is LEFT: its memory is the porter's to
 * free, after every copy it was told to make before. Only then may it be taken again, so that a late
 * reader never meets a hole (a read hole holds a zero page and refuses the next MOVE).
 *
 * Slots are taken in a circle, so that the daemon's answers, which come in order, free them in runs.
 * Every take gets a new generation; an answer that names another one is late (rule 6).
 *
 * Contract: the agent's, no locks. */
#ifndef PAGE_STAGING_H
#define PAGE_STAGING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pagesize.h"

enum slot_state { SLOT_FREE, SLOT_HOLDS, SLOT_LEFT };

struct staging_slot {
    page_number page;    /* HOLDS: whose bytes */
    uint32_t generation; /* of the last take */
    uint32_t state;      /* enum slot_state */
};

struct staging {
    struct staging_slot *slots; /* set at birth; the caller's memory */
    uint32_t nr;                /* set at birth */
    uint32_t limit;             /* slots from here on are not taken: the memory ceiling, <= nr */
    uint32_t next;              /* where the circle stands */
    uint32_t nr_used;           /* HOLDS + LEFT */
    uint32_t nr_holding;        /* HOLDS */
    uint32_t generation;        /* the last given */
};

void staging_init(struct staging *s, struct staging_slot *slots, uint32_t nr);
void staging_set_limit(struct staging *s, uint32_t limit);
/* The longest run of free slots at the circle's place, at most `wanted`; 0: none. They are not taken
 * yet: staging_take takes them one by one from *ret_first on, in order. */
uint32_t staging_run(struct staging *s, uint32_t wanted, uint32_t *ret_first);
/* Returns the generation. */
uint32_t staging_take(struct staging *s, uint32_t slot, page_number page);
void staging_let_go(struct staging *s, uint32_t slot);
/* False: the porter names a slot that is not LEFT (can't be). */
bool staging_freed(struct staging *s, uint32_t slot);
/* Does this slot hold a page's newest bytes, taken with this generation? */
bool staging_is_current(const struct staging *s, uint32_t slot, uint32_t generation);
/* mremap took the page elsewhere. */
void staging_rekey(struct staging *s, uint32_t slot, page_number page);

#endif
