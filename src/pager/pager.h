/* pager.h - serving one address space: events, faults, moves and installs over one userfaultfd. This
 * is the agent's work without its loop: the client decides when to call, this room does what
 * DESIGN's rules say. It knows nothing of sockets, daemons or API calls; to the porter it speaks
 * through two rings.
 *
 * Contract: one thread, the agent. No call allocates, takes a lock, waits for another thread, or
 * touches managed memory. What can't be done now says -EAGAIN and is asked again after the next
 * pager_read(). Everything here lives in memory that is excluded from management (rule 5). */
#ifndef PAGER_PAGER_H
#define PAGER_PAGER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/intervals.h"
#include "direct/direct.h"
#include "page/staging.h"
#include "page/table.h"
#include "pager/ahead.h"
#include "pager/move.h"
#include "pager/pins.h"
#include "pager/waits.h"
#include "stats/stats.h"
#include "store/reader.h"
#include "sys/maps.h"
#include "sys/pagemap.h"
#include "sys/uffd.h"
#include "wire/session_memory.h"

/* Orders to the porter, one queue so that a slot's copy is always done before it is freed. */
enum porter_op { PORTER_COPY, PORTER_FREE };
struct porter_order {
    uint32_t op; /* enum porter_op */
    uint32_t slot;
    uint32_t generation; /* COPY */
    uint32_t session;    /* COPY: of which joining; an older one is skipped */
};
#define PORTER_ORDERS_NR 4096u /* > copies + frees that can be under way: STAGING_SLOTS_MAX each */

/* What the porter noted when it handed a page over; the porter writes, the agent reads. */
struct porter_note {
    _Atomic uint64_t word; /* generation << 32 | checksum of the raw page */
};

/* Tags of pager.watched: how far the kernel knows the interval, and above it how many events it has
 * raised since the last look. */
enum watch_state { WATCH_WRITES = 1, WATCH_ARMED, WATCH_CHURNING /* being given up */, WATCH_REFUSED };
#define WATCH_EVENTS_SHIFT 8

static inline enum watch_state watch_state_of(const struct interval *w)
{
    return (enum watch_state)(w->tag & 0xff);
}

struct pending_fault {
    page_number page;
    uint64_t read_ns;
    pid_t thread;
    bool is_asked; /* by a touching thread, which can't do it itself */
};
/* More than a process has threads waiting in practice: with the queue full and an event behind it nothing
 * could be read any more. Address space, populated by touch. */
#define PENDING_FAULTS_MAX 65536u

/* A fault that was answered with what had been out: what prefetch learns from. */
struct answered_fault {
    page_number page;
    pid_t thread;
};
#define ANSWERED_MAX 32u /* what does not fit is not learned from */
/* Looked at with one pread of pagemap: 3 us where all are out, 35 where all are there. */
#define LOOK_PAGES 512u

#define GIVE_UP_MAX (4u << 20) /* places not yet told to the daemon; 32 MiB of address space */

/* What is asked for: other places for pages that are stored (squeeze.c). */
struct squeeze_asked {
    page_number pages[LOCATOR_GROUP_PAGES];
    locator places[LOCATOR_GROUP_PAGES]; /* where each was */
    uint32_t nr;                         /* 0: none is asked for here */
    uint32_t kind;                       /* enum squeeze_kind */
};

/* A walk over all that is stored, in pieces. */
struct squeeze_lap {
    bool is_on, may_group;
    bool has_smaller; /* groups below the bound of this pass */
    bool is_told; /* of slabs that are to become empty, and that no lap has been through for yet */
    uint32_t leaf;
    unsigned at;   /* page of the leaf */
    unsigned pass; /* over all leaves; each takes groups that promise less */
};

struct pager {
    /* set at birth */
    int uffd;         /* all events, all managed memory, landing */
    int uffd_staging; /* no events: freeing staging is silent */
    int pagemap_fd;
    struct maps maps;
    unsigned char *landing; /* MOVE_RUN_MAX pages, on uffd */
    unsigned landing_first; /* pages before it can't be used any more */
    unsigned char *staging_memory;
    struct ring to_porter;   /* struct porter_order */
    struct ring from_porter; /* uint32_t slots whose memory has been freed */
    struct porter_note *notes;
    struct stats_block *stats;
    /* Somebody else's ears; set at birth, may be NULL. Called by the agent from inside our calls. */
    void (*on_unwatched)(void *context, page_number first, page_number end);
    bool (*on_feedback)(void *context, enum feedback_kind kind, page_number page); /* false: no room */
    bool (*on_squeeze)(void *context, const struct squeeze_entry *entry);          /* false: no room */
    void (*on_fork)(void *context, int uffd); /* takes the child's userfaultfd */
    void (*on_remapped)(void *context, page_number from, page_number to, size_t nr);
    bool (*on_no_descriptor)(void *context); /* true: one is free now */
    void *context;

    struct direct *direct; /* set at birth; NULL: nobody but the agent installs */
    uint32_t touched_slots[STAGING_SLOTS_MAX]; /* LEFT, and not yet the porter's: see direct.c */
    uint32_t nr_touched_slots;

    struct page_table table;
    struct staging staging;
    struct intervals managed;  /* whose pages may leave */
    struct intervals watched;  /* known to the kernel, tag: enum watch_state */
    struct pins pins;          /* memory that stays */
    struct intervals unmapped; /* announced as unmapped, not yet looked at */
    struct intervals late_unmaps; /* unmapped before something was moved there, not yet announced */

    struct store_map stores[PAGE_STORES_NR];
    uint64_t store_pages[PAGE_STORES_NR]; /* STORED pages in each */
    int store_now;                        /* the joined daemon's, or -1 */
    uint32_t session;                     /* counts joinings */

    locator *give_up; /* a stack of places for the daemon, of store_now only */
    uint32_t nr_give_up;

    struct squeeze_asked asked[SQUEEZES_NR]; /* of store_now only, by cookie */
    uint32_t nr_asked;
    struct squeeze_lap lap;
    bool is_ageing;
    uint32_t ageing_leaf; /* the next whose pages grow older */
    const _Atomic uint32_t *leaving; /* store_now's slabs that are to become empty; NULL: none */

    struct pending_fault *faults;
    uint32_t nr_faults;
    bool is_copy_refused; /* by the kernel, for no reason that means anything else: of the page last restored */
    uint32_t nr_starved; /* of them, when they were last asked: no memory for their page */
    uint32_t give_back[STAGING_SLOTS_MAX]; /* rejected by the daemon: to be moved back */
    uint32_t give_back_generation[STAGING_SLOTS_MAX];
    uint32_t nr_give_back;

    bool has_churn;     /* a watched interval is being given up */
    bool is_unlimited;  /* client: no mapping call fails for want of address space, see on_unmap() */
    bool has_gaps;      /* a watched interval was unmapped or moved away: client may look again */
    uint64_t nr_events; /* ever applied */
    bool is_read_blocking; /* one read must do: the next one may wait */
    uint64_t bars_set;  /* how many discards have barred pages; table.bars_over: how many are over */
    uint64_t nr_staged, nr_stored, nr_zero, nr_poisoned;
    uint64_t nr_same, nr_squeezed; /* of those stored */
    uint64_t nr_paged_out; /* RESIDENT ones, in the kernel's swap */
    bool needs_events; /* an answer said EAGAIN since the last read */
    bool is_serving_fault; /* inside pager_answer: what comes back was wanted */
    pid_t last_fault_thread, serving_thread;
    struct answered_fault answered[ANSWERED_MAX]; /* the client empties it */
    uint32_t nr_answered;
    struct waits waits;

    struct ahead ahead; /* ahead.h */
    struct store_scratch scratch;
    pagemap_entry entries[LOOK_PAGES];
    _Alignas(4096) unsigned char page[PAGE_BYTES];
};

/* ---- serve.c: reading, and answering faults */

/* Reads what is there; applies events, queues faults. Number of messages, or negative errno. */
int pager_read(struct pager *pg);
/* Answers queued faults; those that said EAGAIN stay queued. Number still queued. */
unsigned pager_answer(struct pager *pg);

/* ---- restore.c: bringing one page back */

/* Makes the page RESIDENT with its newest bytes and wakes who waits. 0: it is (also when nothing was
 * out); -EAGAIN; -ENOENT: no registered mapping there any more, state kept; -EIO: lost, poisoned;
 * -ENOMEM: try later. */
int pager_restore(struct pager *pg, page_number page);
enum drain_mode { DRAIN_INSTALL /* zero pages too */, DRAIN_FORGET_ZEROS /* holes read as zeros */ };
/* Restores what is out in [*cursor, end), at most max_pages, and moves *cursor on. 1: done; 0: more to
 * do; else as pager_restore (-EIO: a page was lost, the rest goes on at the next call). */
int pager_drain(struct pager *pg, page_number *cursor, page_number end, enum drain_mode mode,
                unsigned max_pages);
/* The same over every page that is out, and over those of one store. *cursor counts from 0. */
int pager_drain_all(struct pager *pg, uint64_t *cursor, unsigned max_pages);
int pager_drain_store(struct pager *pg, unsigned store, uint64_t *cursor, unsigned max_pages);
uint64_t pager_nr_out(const struct pager *pg);

/* ---- ahead.c: bringing pages back before they are touched; ahead.h says how */

enum ahead_result {
    AHEAD_NOTHING,  /* it is there, or is not to come back this way */
    AHEAD_QUEUED,   /* it will be decoded and installed */
    AHEAD_BACK,     /* it needed no decoding and is there */
    AHEAD_FULL,     /* every buffer is taken: decode and install first */
    AHEAD_CHANGING, /* an event waits */
};
enum ahead_result pager_ahead(struct pager *pg, page_number page);
/* Decodes one page, or its group. False: nothing is left to decode. */
bool pager_ahead_decode(struct pager *pg);
/* Installs the oldest run that is decoded, if it is AHEAD_RUN long or can't grow; is_all: as it is. At
 * most one COPY. 0, or -EAGAIN: an event waits. */
int pager_ahead_install(struct pager *pg, bool is_all);
/* The oldest page has waited for the helper too long: brings it back by itself. 0 or -EAGAIN. */
int pager_ahead_skip(struct pager *pg);
/* Forgets what is not yet installed. */
void pager_ahead_drop(struct pager *pg);
/* Gives the buffers' memory back, when none is in use. */
void pager_ahead_trim(struct pager *pg);
/* Is anybody still decoding from this store? */
bool pager_ahead_reads(const struct pager *pg, const unsigned char *store);
/* The newest bytes of a STORED page, if they are decoded already; else NULL. */
const unsigned char *pager_ahead_bytes(struct pager *pg, page_number page);

/* ---- evict.c: taking pages out */

enum evict_result {
    EVICT_DONE,     /* the run was looked at; what could leave has left */
    EVICT_CHANGING, /* an event waits: read it first, then ask again */
    EVICT_FULL,     /* no staging slot is free: wait for the porter */
};
/* Looks at up to MOVE_RUN_MAX pages from `first` on and moves out those that may leave. *ret_looked:
 * how many pages have been dealt with (also when CHANGING). if_unwritten: leave pages alone that were
 * written since the last scan. */
enum evict_result pager_evict(struct pager *pg, page_number first, unsigned nr, bool if_unwritten,
                              unsigned *ret_looked);
/* Lets the kernel tell us what is written in the interval; after it the daemon may scan. 0;
 * -EINVAL: not memory we can page: refused; -ENOENT: not all of it is mapped, ask for the parts;
 * -EAGAIN. */
int pager_watch(struct pager *pg, page_number first, page_number end);
/* Forgets an interval whose pages have all been brought back. */
void pager_unwatch(struct pager *pg, page_number first, page_number end);

/* Intervals that have raised too many events in the time since the last call are to be given up ... */
void pager_find_churn(struct pager *pg, uint64_t elapsed_ns);
/* ... a piece of that: brings back at most max_pages. 1: there was something to do; 0: nothing. */
int pager_calm_churn(struct pager *pg, unsigned max_pages);
/* What was refused may be something else by now: it counts as a gap again. */
void pager_forget_refusals(struct pager *pg);

/* ---- pageout.c: the kernel's own way out, for comparison (--evict-by pageout) */

/* Like pager_evict(), for up to LOOK_PAGES at a time, with madvise(MADV_PAGEOUT) and without arming.
 * How many pages have been dealt with, at least one. */
unsigned pager_page_out(struct pager *pg, page_number first, unsigned nr, bool if_unwritten);
/* Looks which pages that were paged out are there again, in a few leaves that are neighbours, and tells
 * of them. *cursor counts from 0. 1: all leaves have been looked at; 0: more to do; -EAGAIN: who is told has no room now. */
int pager_find_returns(struct pager *pg, uint32_t *cursor);
/* What comes back in [first, end) is nobody's business any more. */
void pager_forget_paged_out(struct pager *pg, page_number first, page_number end);

/* ---- stored.c: the way of a page from staging to the store */

/* -EPROTO: the daemon said what can't be. */
int pager_on_stored(struct pager *pg, const struct stored_entry *entry);
/* Moves rejected pages back. */
void pager_give_back(struct pager *pg);
/* A slot's memory has been freed by the porter. */
void pager_on_freed(struct pager *pg, uint32_t slot);
/* The daemon has gone: all that is staged goes back, at most max_pages at a time. Number still
 * staged. */
uint64_t pager_unstage(struct pager *pg, unsigned max_pages);
/* What must be given up after a transition to RESIDENT. */
void pager_release(struct pager *pg, struct page_release release);

/* ---- squeeze.c: other places for what is stored */

/* What is stored and not settled grows older by one, before a lap goes on: one may take a minute where there is much to
 * ask for, and what is stored meanwhile is not to wait for its end. */
void pager_begin_ageing(struct pager *pg);
/* A lap begins. may_group: what is old enough is asked to be put into groups. What else lies in
 * slabs that leave is asked to be moved; is_told: of some that no lap has been through for. */
void pager_begin_lap(struct pager *pg, bool may_group, bool is_told);
/* A piece of either, 10 us at most. True: there is more; false: it is over, or waits for answers. */
bool pager_lap(struct pager *pg);
/* -EPROTO: the daemon said what can't be. */
int pager_on_squeezed(struct pager *pg, const struct squeezed_entry *entry);
/* The daemon has gone, and with it all answers. */
void pager_forget_squeezes(struct pager *pg);

/* ---- events.c */

void pager_apply_event(struct pager *pg, const struct uffd_msg *message);
/* Looks at what was announced as unmapped, once events are read. */
void pager_settle_unmapped(struct pager *pg);
/* Is an event unread, or its raiser not yet on? Asked of landing, where nothing changes. Only reading
 * events ends it, so a yes after a failed call was true during the call. */
bool pager_is_changing(struct pager *pg);
/* No thread is inside a discard that barred pages up to number `bars`. */
void pager_bars_over(struct pager *pg, uint64_t bars);

/* ---- direct.c: what changes where touching threads restore their own pages (docs/direct.md). Without
 * pg->direct each of these does nothing. */

/* The table learns which pages have come back: all, or those of a leaf. */
void pager_learn_returned(struct pager *pg);
void pager_learn_returned_in(struct pager *pg, struct page_leaf *leaf);
/* Queues what touching threads ask for, and lets go of slots that they no longer look at. */
void pager_serve_touchers(struct pager *pg);
/* As pager_restore(), of what one of them asked for. -ENOENT also: it is not ours; who asks comes again. */
int pager_restore_asked(struct pager *pg, page_number page);
/* Around anything that touching threads must not see half done, or still use. */
void pager_shut_out_touchers(struct pager *pg);
void pager_let_in_touchers(struct pager *pg);
/* page_table_grow(), which moves leaves and uses them again: touching threads find none of it half done. */
struct page_leaf *pager_grow(struct pager *pg, page_number page);
/* pg->watched, which touching threads look at, is changed only between these two (events are). */
int pager_note_watched(struct pager *pg, page_number first, page_number end, enum watch_state state);
/* Around a move of [first, first + nr) out of one leaf: how many may go, from the first on. */
unsigned pager_begin_leaving(struct pager *pg, struct page_leaf *leaf, page_number first, unsigned nr);
void pager_end_leaving(struct pager *pg, struct page_leaf *leaf, page_number first, unsigned nr);
/* Has it come back without the table's knowing? */
bool pager_is_returned(struct pager *pg, const struct page_leaf *leaf, page_number page);
/* A slot that was just let go of: true: a touching thread may be moving from it, it is kept for later. */
bool pager_keep_touched_slot(struct pager *pg, uint32_t slot);
void pager_order_free(struct pager *pg, uint32_t slot);
/* uffd_unregister() of the main descriptor; a SIGBUS of a hole there may be on its way. */
void pager_unregister(struct pager *pg, uint64_t start, uint64_t bytes);

/* ---- helpers between these files */

/* How many of `nr` pages from `first` on lie in both intervals. */
unsigned pager_clip(const struct interval *managed, const struct interval *watched,
                    page_number first, unsigned nr);

/* Before (-1) and after (+1) a page changes its state: keeps the sums of pages by state. */
void pager_count(struct pager *pg, struct page_leaf *leaf, const struct page *p, int change);

/* Bars of this leaf that are known to be over are lifted. */
void pager_lift_bars(struct pager *pg, struct page_leaf *leaf);
/* May this page leave, as the table and pagemap say? Tells of one that is shared. */
bool pager_may_leave_now(struct pager *pg, struct page *p, page_number page, pagemap_entry e,
                         bool if_unwritten);

static inline struct page *pager_page(struct pager *pg, page_number page, struct page_leaf **ret_leaf)
{
    struct page_leaf *leaf = page_table_find(&pg->table, page);
    *ret_leaf = leaf;
    return leaf ? leaf_page(leaf, page) : (struct page *)0;
}

#endif
