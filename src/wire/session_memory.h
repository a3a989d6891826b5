/* session_memory.h - the layout of the memory that a client and the daemon share for one session:
 * eight rings, three doorbells, the client's statistics, and the raw pages on their way to the
 * compressor. The daemon makes it as a sealed memfd (no shrinking, no growing, no more seals), the
 * client checks the seals and maps it. Everything in it is read as a stranger's: once, into a
 * local, then checked.
 *
 *   ring        producer -> consumer                 entry
 *   raw         client porter -> daemon compress     a page's bytes are in raw slot s
 *   raw_free    daemon compress -> client porter     raw slot s may be reused
 *   stored      daemon compress -> client agent      that page is in the store (or is not wanted)
 *   given_up    client agent -> daemon compress      this place in the store is free
 *   candidates  daemon control -> client agent       these pages look cold
 *   feedback    client agent -> daemon control       this page came back, was busy, did not shrink
 *   squeeze     client agent -> daemon compress      put these pages elsewhere, if that saves something
 *   squeezed    daemon compress -> client agent      where they are as well; the old places stay good
 *
 * raw, raw_free, stored, squeeze and squeezed can hold everything that can be in flight, so an
 * honest peer never finds them full; given_up, candidates and feedback may be full and their
 * producers cope. */
#ifndef WIRE_SESSION_MEMORY_H
#define WIRE_SESSION_MEMORY_H

#include "base/locator.h"
#include "base/pagesize.h"
#include "stats/stats.h"
#include "wire/ring.h"

#define STAGING_SLOTS_MAX 1024u /* pages between "moved out" and "stored", at most */
#define RAW_SLOTS_MAX 1024u     /* pages between "copied" and "compressed", at most */
#define SQUEEZES_NR 64u         /* asked for and not answered, at most: some 4 ms of the daemon's time */
#define RING_GIVEN_UP_NR 8192u
#define RING_CANDIDATES_NR 1024u
#define RING_FEEDBACK_NR 4096u

struct raw_entry {
    uint32_t raw_slot;     /* < RAW_SLOTS_MAX */
    uint32_t staging_slot; /* handed back unread in the answer */
    uint32_t generation;   /* handed back unread in the answer */
    uint32_t reserved;
};

struct raw_free_entry {
    uint32_t raw_slot;
};

enum stored_result {
    STORED_AT,             /* place says where */
    STORED_INCOMPRESSIBLE, /* shrinks to more than 3/4: keep it, don't offer it until written */
    STORED_FULL,           /* over the cap or the daemon is out of memory: keep it */
    STORED_RESULT_NR
};

struct stored_entry {
    locator place;
    uint32_t staging_slot;
    uint32_t generation;
    uint32_t result; /* enum stored_result */
    uint32_t reserved;
};

struct given_up_entry {
    locator place;
};

enum candidate_flag {
    CANDIDATE_IF_UNWRITTEN = 1, /* skip pages written since the last scan (pagemap bit 57 clear) */
};

struct candidate_entry {
    page_number first;
    uint32_t nr_pages; /* 1..512 */
    uint32_t flags;    /* enum candidate_flag */
};

enum feedback_kind {
    FEEDBACK_REFAULT,        /* evicted and wanted back */
    FEEDBACK_INCOMPRESSIBLE, /* came back because it did not shrink */
    FEEDBACK_BUSY,           /* could not be moved out: pinned, shared after fork, … */
    FEEDBACK_PREFETCHED,     /* came back ahead of a touch that did not come: its age begins anew */
    FEEDBACK_LOST,           /* its bytes could not be read back: the next touch raises SIGBUS */
    FEEDBACK_LOST_REFUSED,   /* the same, because the kernel did not take them */
    FEEDBACK_KIND_NR         /* a daemon passes over what it does not know */
};

/* Bits 0-7 the kind, 8-47 the first page, 48-63 how many pages behind it are told of, too. */
struct feedback_entry {
    uint64_t word;
};
#define FEEDBACK_RUN_MAX 512u

static inline struct feedback_entry feedback_make(enum feedback_kind kind, page_number first, uint32_t nr)
{
    return (struct feedback_entry){ .word = (uint64_t)(nr - 1) << 48 | first << 8 | kind };
}

static inline page_number feedback_first(struct feedback_entry e)
{
    return e.word << 16 >> 24;
}

static inline uint32_t feedback_nr(struct feedback_entry e)
{
    uint32_t nr = (uint32_t)(e.word >> 48) + 1;
    return nr < FEEDBACK_RUN_MAX ? nr : FEEDBACK_RUN_MAX;
}

enum squeeze_kind {
    SQUEEZE_GROUP, /* these pages, each at a place of its own, into one group */
    SQUEEZE_MOVE,  /* these pages, all of one blob, out of a slab that is leaving */
    SQUEEZE_KIND_NR
};

struct squeeze_entry {
    locator places[LOCATOR_GROUP_PAGES];
    uint32_t cookie; /* handed back unread in the answer */
    uint16_t nr;     /* of places, from the first on */
    uint16_t kind;   /* enum squeeze_kind */
};

enum squeezed_result {
    SQUEEZED_AT,      /* places say where; one that is 0: that page stays where it is */
    SQUEEZED_DENSE,   /* it would not save enough: do not ask again */
    SQUEEZED_NOT_NOW, /* no room, or nothing is there */
    SQUEEZED_RESULT_NR
};

struct squeezed_entry {
    locator places[LOCATOR_GROUP_PAGES];
    uint32_t cookie;
    uint32_t result; /* enum squeezed_result */
};

struct session_memory {
    struct ring_shared raw, raw_free, stored, given_up, candidates, feedback, squeeze, squeezed;
    struct doorbell daemon_bell, agent_bell, porter_bell;
    struct stats_block agent_stats;  /* the client's agent writes */
    struct stats_block porter_stats; /* the client's porter writes */
    _Alignas(RING_LINE) struct raw_entry raw_entries[RAW_SLOTS_MAX];
    struct raw_free_entry raw_free_entries[RAW_SLOTS_MAX];
    _Alignas(RING_LINE) struct stored_entry stored_entries[STAGING_SLOTS_MAX];
    struct given_up_entry given_up_entries[RING_GIVEN_UP_NR];
    struct candidate_entry candidate_entries[RING_CANDIDATES_NR];
    struct feedback_entry feedback_entries[RING_FEEDBACK_NR];
    struct squeeze_entry squeeze_entries[SQUEEZES_NR];
    struct squeezed_entry squeezed_entries[SQUEEZES_NR];
    /* Slabs that are to become empty, as base/locator.h has them: a hint, so a word that is torn
     * away from the others does no harm. The number changes when there are new ones. */
    _Atomic uint32_t leaving_round;
    _Atomic uint32_t leaving[STORE_LEAVING_NR];
};

/* The raw pages follow the struct, page-aligned. */
#define SESSION_RAW_OFFSET ((sizeof(struct session_memory) + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1))
#define SESSION_MEMORY_BYTES (SESSION_RAW_OFFSET + RAW_SLOTS_MAX * PAGE_BYTES)

_Static_assert(sizeof(struct raw_entry) == 16, "wire size");
_Static_assert(sizeof(struct stored_entry) == 24, "wire size");
_Static_assert(sizeof(struct candidate_entry) == 16, "wire size");
_Static_assert(sizeof(struct feedback_entry) == 8, "wire size");
_Static_assert(sizeof(struct squeeze_entry) == 40, "wire size");
_Static_assert(sizeof(struct squeezed_entry) == 40, "wire size");

static inline unsigned char *session_raw_page(struct session_memory *m, uint32_t raw_slot)
{
    return (unsigned char *)m + SESSION_RAW_OFFSET + (size_t)raw_slot * PAGE_BYTES;
}

#endif
