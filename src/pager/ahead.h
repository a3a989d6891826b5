/* ahead.h - pages on their way back before anybody has touched them. Stored ones are decoded into buffers
 * of ours, by the agent or by a helper, and installed in runs: one COPY of 16 neighbours costs a third of what
 * 16 COPYs do.
 *
 *   EMPTY ── the agent takes a page on ──▶ WANTED ── claimed ──▶ CLAIMED ── decoded ──▶ READY or BAD
 *     ▲                                                                                      │
 *     └────── installed; or no longer what it was: touched, discarded, moved, read anew ◀────┘
 *
 * A buffer is a guess, and its page's state does not change before it is installed: what is decoded must
 * then still be what the table says, place and checksum (rule 1). So events, faults and drains need not know of
 * buffers at all. The helper reads the store, writes a buffer, and nothing else; it installs nothing, and the
 * agent does not wait for it.
 *
 * Contract: the agent's, but for ahead_help(). A buffer belongs to whoever moved its state to CLAIMED, by
 * compare-and-swap, until he stores READY or BAD (release); else to the agent. */
#ifndef PAGER_AHEAD_H
#define PAGER_AHEAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/locator.h"
#include "base/pagesize.h"
#include "store/reader.h"

/* Two runs: one is decoded while the other is installed. 128 KiB, which fits into a CPU's second
 * cache. */
#define AHEAD_SLOTS 32u
#define AHEAD_RUN 16u

enum ahead_state { AHEAD_EMPTY, AHEAD_WANTED, AHEAD_CLAIMED, AHEAD_READY, AHEAD_BAD };

struct ahead_slot {
    _Alignas(64) _Atomic uint32_t state; /* enum ahead_state */
    uint32_t checksum;
    page_number page;
    uint64_t where; /* its locator, ... */
    uint32_t store; /* ... and of which store: as in the table when it was taken on */
    struct store_map map;
};

struct ahead {
    unsigned char *buffers; /* set at birth: AHEAD_SLOTS pages */
    struct ahead_slot slots[AHEAD_SLOTS];
    uint32_t head, tail; /* the agent's: slots head .. tail - 1, modulo, are taken, oldest first */
    uint32_t trimmed;    /* the tail when the buffers' memory was last given back */
    _Alignas(64) uint32_t helper_at; /* the helper's, as the next */
    struct store_scratch helper_scratch;
};

static inline uint32_t ahead_nr(const struct ahead *h)
{
    return h->tail - h->head;
}

static inline unsigned char *ahead_buffer(struct ahead *h, uint32_t slot)
{
    return h->buffers + pages_to_bytes(slot % AHEAD_SLOTS);
}

/* Decodes the next page that is wanted, or group of them. False: there is none. The helper's; it may be any one
 * thread. */
bool ahead_help(struct ahead *h);
/* Is there anything for the helper? */
bool ahead_has_work(const struct ahead *h);

#endif
