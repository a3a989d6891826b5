/* client.h - the parts of a started pager and who may touch what.
 *
 *   application threads   API calls (api.c, fork.c): struct pp_pager; post one command at a time
 *   agent thread          struct agent: the loop, the session, struct pager (agent.c, session.c)
 *   porter thread         struct porter: copies staging to the ring, frees staging (porter.c)
 *
 * The agent never takes a lock that an application thread may hold while it touches managed memory:
 * it only tries ranges_lock. Application threads wait for the agent on futexes in our own memory.
 *
 * Lock ranks, outer to inner: companions (3), command_lock (10), ranges_lock (20). */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/intervals.h"
#include "client/forks.h"
#include "client/prefetch.h"
#include "client/urgent.h"
#include "pager/pager.h"
#include "wire/msg.h"
#include "wire/session_memory.h"

struct pp_config;

#define RANGES_MAX 65536u /* as many as a process may have mappings (vm.max_map_count) */

enum command_op {
    COMMAND_UNREGISTER, /* bring the interval back and forget it */
    COMMAND_PIN,
    COMMAND_UNPIN,
    COMMAND_FREEZE, /* let nothing leave, bring back what is staged: the thread `first` forks. 1: pages are out;
                     * -EPERM: and it may not make the calls that leave them out */
    COMMAND_COVER,  /* they may stay out: the child is going to bring back its own */
    COMMAND_EMPTY,  /* they may not: bring everything back. `first`: enum fork_drained */
    COMMAND_THAW,
    COMMAND_STOP, /* bring everything back and end */
    COMMAND_RECLAIM, /* move out what may leave of the interval ... */
    COMMAND_SETTLE,  /* ... and wait until none of it is under way any more */
};

enum command_state { COMMAND_IDLE, COMMAND_POSTED, COMMAND_DONE };

struct command {
    _Atomic uint32_t state; /* futex; application posts, agent finishes */
    enum command_op op;
    page_number first, end;
    int result;         /* -EINPROGRESS: ended early, go on at `first` */
    _Atomic bool is_rung; /* the bell for it: its event has been read */
};

/* One joining of a daemon, as the agent holds it. */
struct session {
    int socket;
    int store_fd, device_fd;
    int daemon_bell, agent_bell, porter_bell; /* eventfds */
    struct session_memory *memory;
    struct ring stored, given_up, candidates, feedback, squeeze, squeezed; /* the agent's ends */
    uint64_t cold_age_ns;
    uint64_t squeeze_age_ns; /* 0: no second tier */
    bool is_dry_run;
    bool is_pageout; /* evict by MADV_PAGEOUT */
    bool needs_resync; /* a range message did not fit: send all of them again */
};

/* What the daemon asks for by somebody's hand, while it is being done. */
struct order {
    bool is_running;
    struct msg_order what;
    struct msg_order_done answer; /* as far as it is known */
    uint64_t begin_ns, cursor;
};

/* Of a daemon that owes us answers. */
struct silence {
    uint64_t ns; /* it has lasted, at the last tick */
    uint64_t last_tick_ns;
    bool was_awaited, has_answered; /* at that tick; since then */
};

/* When what was refused is looked at again. */
struct refusals {
    uint64_t next_ns, pause_ns; /* 0: the kernel has refused nothing lately */
    uint64_t nr_by_kernel;      /* ever, at the last tick */
    bool is_soon;               /* next_ns is, because of one of those */
};

/* What of a session the porter uses. Written by the agent before the first order of that session,
 * then the porter's until it acknowledges that the session is abandoned. */
struct porter_session {
    struct ring raw, raw_free; /* the porter's ends */
    struct session_memory *memory;
    int daemon_bell, porter_bell;
};

struct porter {
    pthread_t thread;
    pid_t tid; /* the porter's, read when it has been joined */
    struct pp_pager *pp;
    struct ring orders; /* consumer end of pager.to_porter */
    struct ring freed;  /* producer end of pager.from_porter */
    unsigned char *staging_memory;
    struct porter_note *notes;
    struct stats_block *stats;
    struct doorbell bell;       /* the agent rings */
    int bell_fd;                /* eventfd, inside the process */
    _Atomic bool must_end;
    struct porter_session sessions[2];
    _Atomic uint32_t session;   /* number of the newest; its struct is sessions[number & 1] */
    _Atomic uint32_t abandoned; /* sessions up to this number are over: skip their copies */
    _Atomic uint32_t abandoned_ack;
    _Atomic uint32_t broken;    /* the porter's: in this session the daemon's side of a ring can't be */
    /* Rule 4: has each thread been outside any discard since bar number `wanted` was set? */
    _Atomic uint64_t bars_wanted, bars_checked;
    /* The agent is in a read that only its userfaultfd ends: whoever else calls it, ring for it. */
    _Atomic bool listens_for_agent;
    int agent_others_fd; /* set at birth: agent.others_fd */
    _Atomic uint32_t raw_limit; /* the agent's: raw slots that may be lent at a time */
    uint32_t raw_free_stack[RAW_SLOTS_MAX];
    uint32_t nr_raw_free, nr_raw_lent; /* porter only, as the next */
    unsigned nr_unrung_copies, nr_unrung_frees; /* since the bell of who wants them was last rung */
    struct ahead *ahead; /* set at birth: what it helps the agent to decode */
    _Atomic int closing; /* a descriptor that the agent wants closed, plus 1; 0: none */
};

/* Everything the agent works on; in memory that is never managed and that no child gets. */
struct agent {
    struct pager pg;
    struct session session;
    struct doorbell porter_bell; /* the porter rings the agent */
    int porter_bell_fd;
    int timer_fd; /* runs out every alarm_ns */
    int others_fd; /* epoll: everything that wakes us but the userfaultfd */
    bool is_joined, is_leaving, is_frozen, is_staging_full, is_socket_ready, must_end;
    bool is_held; /* drained by hand: nothing leaves until this daemon says so, or goes */
    struct order order;
    struct silence silence;
    uint32_t session_number;
    uint64_t next_join_ns, join_pause_ns;
    uint64_t next_tick_ns, tick_ns, alarm_ns, rewatch_ns;
    uint64_t command_begin_ns, drain_cursor; /* of the running command */
    uint64_t old_store_cursor, next_old_store_ns;
    uint64_t next_find_ns;        /* when pp->find wants to be called again */
    uint64_t next_returns_ns;     /* when to look again which paged-out pages are back */
    uint32_t returns_cursor, returns_left;
    page_number command_cursor;
    int command_result;
    bool is_command_begun, is_command_waiting /* for an answer: nothing to do for it until one comes */;
    struct candidate_entry candidate; /* being worked on; nr_pages 0: none */
    uint64_t next_lap_ns;             /* over all that is stored, for its age and what to squeeze */
    uint32_t leaving_round;           /* of session memory, when the last lap began that was told of it ... */
    uint64_t next_moves_ns;           /* ... and when another may begin because of it */
    uint64_t last_bars_ns, last_fault_ns, last_churn_ns, last_limits_ns;
    struct refusals refusals;
    unsigned nr_spins;
    struct porter *porter; /* set at birth */
    unsigned nr_faults_in_a_row; /* since anything else was heard of */
    uint32_t orders_rung; /* up to which order the porter's bell has been rung, ... */
    uint32_t copies_rung; /* ... and up to which generation of staging */
    uint64_t fault_ns; /* wall time spent on faults and events */
    struct direct_sums told_of_touchers;
    struct prefetcher prefetch;
    struct forks forks;
    struct urgency urgency;
    char error[160];
};

struct pp_pager {
    uint32_t index; /* in fork.c's list; set at birth */
    bool has_socket_path;
    char socket_path[108]; /* set at birth */
    uint64_t grace_until_ns; /* set before it starts: told to each daemon that it joins; 0: none */
    bool is_direct;        /* set at birth: touching threads restore their own pages (docs/direct.md) */
    struct pp_pager *_Atomic companion; /* the direct pager that goes with this one, once there is one */
    struct direct *direct; /* while started, if is_direct */
    int direct_sockets[2]; /* while starting: the application's end, the agent's end */

    pthread_mutex_t command_lock;
    /* Threads that want command_lock: a command that can only wait for the daemon lets them in. */
    _Atomic uint32_t nr_wanting;
    struct command command;

    struct pins pins; /* under command_lock; the agent has a copy */

    pthread_mutex_t ranges_lock;
    struct intervals ranges; /* as registered; tag: range_tag(). Agent: by trylock only */

    _Atomic uint32_t is_started;  /* application threads, under command_lock */
    _Atomic uint32_t boot_state;  /* futex: 0 starting, 1 running, 2 failed */
    int boot_result;
    _Atomic uint64_t nr_range_add, nr_range_del;
    pthread_t agent_thread;
    struct agent *agent; /* NULL: not started */
    struct porter *porter;
    void *region;        /* all of the agent's memory */
    size_t region_bytes;
    struct fork_door door; /* the forking thread's, under command_lock; address: the agent's, at its start */
    void *bell_page;     /* a discard of it raises an event: how applications wake the agent */
    size_t pager_bytes;  /* set at birth: of this struct and its lists */
    /* Set before the start, or NULL: finds ranges by itself (src/preload). The agent's, between two looks
     * for faults: a bounded piece; sets a->next_find_ns. */
    void (*find)(struct pp_pager *pp);
    struct stats_block agent_stats, porter_stats;
    char error[160];
};

/* When a range was registered (bits 1..63, ns / 2) and whether the agent has taken it (bit 0). */
static inline uint64_t range_tag(uint64_t born_ns, bool is_adopted)
{
    return (born_ns & ~UINT64_C(1)) | is_adopted;
}

#define RANGE_TAG_LEAVING UINT64_MAX /* being unregistered: the agent still has it */

/* api.c: the public calls, of one pager without its companion */
int pager_open_one(const struct pp_config *config, bool is_direct, struct pp_pager **ret_pager);
void pager_close_one(struct pp_pager *pp);
int pager_start_one(struct pp_pager *pp);
int pager_stop_one(struct pp_pager *pp);
int pager_register_one(struct pp_pager *pp, void *address, size_t bytes);
int pager_unregister_one(struct pp_pager *pp, void *address, size_t bytes);
int pager_pin_one(struct pp_pager *pp, const void *address, size_t bytes);
int pager_unpin_one(struct pp_pager *pp, const void *address, size_t bytes);
int pager_reclaim_one(struct pp_pager *pp, void *address, size_t bytes);
/* Is any whole page of it in a registered range? */
bool pager_has_range(struct pp_pager *pp, const void *address, size_t bytes);

/* companion.c; around a fork, before all other locks */
void companions_lock(void);
void companions_unlock(void);

/* birth.c: threads up and joined, or negative errno and pp->error ... */
int agent_start(struct pp_pager *pp);
/* The same in the calling thread, under command_lock: it is the agent's from then on, and agent_run_here()
 * returns when COMMAND_STOP has been done; then it must end at once, for who stopped it joins it. */
int agent_boot_here(struct pp_pager *pp);
void agent_run_here(struct pp_pager *pp);
/* ... and down again, after COMMAND_STOP has been done. */
void agent_end(struct pp_pager *pp);
/* In the child of a fork: the agent's memory and threads are not there. */
void agent_forget_in_child(struct pp_pager *pp);

/* agent.c; the agent's */
/* Is it a time for pages to leave? */
bool agent_may_evict(const struct agent *a);
void agent_loop(struct agent *a, struct pp_pager *pp); /* returns when COMMAND_STOP is done */
/* All ranges are as old as can be, and are watched from now on. False: not all of them just now. */
bool agent_adopt_all(struct agent *a, struct pp_pager *pp);
/* Gives an event's raiser time to run again, or others to give memory back, or until there is another event:
 * 50 us << shift, at most 6 ms. */
void agent_nap(const struct agent *a, unsigned shift);
void agent_on_unwatched(void *agent, page_number first, page_number end);
/* False: the ring is full, and a hint is lost if it is not given again. */
bool agent_on_feedback(void *agent, enum feedback_kind kind, page_number page);
/* The same of nr neighbours. */
bool agent_on_feedback_run(struct agent *a, enum feedback_kind kind, page_number first, uint32_t nr);
void agent_publish_stats(struct agent *a, struct pp_pager *pp);

/* squeeze.c; the agent's */
bool squeeze_answers(struct agent *a, bool *ret_any); /* false: the daemon broke the protocol */
bool squeeze_piece(struct agent *a); /* when nothing else is to do. True: there is more */
bool agent_on_squeeze(void *agent, const struct squeeze_entry *entry);

/* session.c; the agent's */
void session_clear(struct session *s);
void session_close(struct agent *a); /* at the end: everything of it and every store map */
int session_begin(struct agent *a, struct pp_pager *pp, char *ret_error, size_t capacity);
int session_connect(struct pp_pager *pp, int pagemap_fd, char *ret_error, size_t capacity);
int session_accept(struct agent *a, struct pp_pager *pp, int timeout_ms, char *ret_error,
                   size_t capacity);
void session_poll(struct agent *a, struct pp_pager *pp);
void session_lost(struct agent *a, struct pp_pager *pp, const char *why);
void session_try_leave(struct agent *a, struct pp_pager *pp);
/* Is there a place for one more daemon's store? */
bool session_has_place(const struct agent *a);
void session_announce(struct agent *a, enum msg_type type, page_number first, page_number end);
void session_resync(struct agent *a);

/* order.c; the agent's */
int order_take(struct agent *a, const struct msg_order *what); /* -EPROTO: not one for us */
bool order_piece(struct agent *a, struct pp_pager *pp);        /* a slice of it; true: there was work */

/* porter.c */
void *porter_main(void *porter);
/* The agent's: closes a descriptor, the porter does if it can. Closing the userfaultfd of an address space walks
 * all of it that is registered: 3 ms for 64 MiB. */
void porter_close(struct porter *p, int fd);

/* follow.c */
void follow_fault(struct stats_block *stats, pid_t thread);
void follow_nobody(void);

/* futex.c */
void futex_wait_for(_Atomic uint32_t *word, uint32_t while_is, uint64_t timeout_ns);
void futex_wake_all(_Atomic uint32_t *word);

#endif
