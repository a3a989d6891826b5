/* session.h - one client, as the daemon holds it.
 *
 * Who may touch what: the control thread makes and frees it and has everything but what is marked
 * `compress`, which is the compress thread's between compress_attach() and the session's appearance in
 * compress_detached(); and of one that is away its heat, which is that of the thread left in a look at it
 * (look.h). Words marked atomic are written by one thread and read by the other. */
#ifndef DAEMON_SESSION_H
#define DAEMON_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "daemon/config.h"
#include "daemon/governor.h"
#include "daemon/order.h"
#include "daemon/rates.h"
#include "daemon/user.h"
#include "heat/heat.h"
#include "policy/choose.h"
#include "store/writer.h"
#include "wire/msg.h"
#include "wire/session_memory.h"

struct session {
    /* set at birth */
    uint32_t id;
    pid_t pid;
    uid_t uid;
    struct user *user;
    char name[17];
    uint64_t born_ms;
    struct session_memory *memory;
    int daemon_bell, agent_bell, porter_bell;

    /* control */
    int socket; /* -1: gone */
    int pagemap_fd;
    bool is_joined, is_leaving;
    bool is_muted; /* its user has said too much, or it stands at the door: not listened to for a while */
    uint64_t grace_until_ms; /* before that nothing leaves by itself; 0: none */
    bool is_away;  /* a thread has been left in a look at it: its heat is that one's */
    enum { DOOR_NO, DOOR_WAITS, DOOR_ASKED } at_door; /* with a message that brings descriptors */
    uint64_t door_turn;                               /* lower first */
    struct user_share share;
    const char *end_reason;
    struct ring candidates, feedback;
    const struct heat_ops *heat_ops;
    struct heat *heat;
    struct choose choose;
    struct governor governor;
    uint64_t nr_offered, nr_returned; /* without probes */
    uint64_t nr_lost, next_lost_ms;   /* pages lost, not yet in the log; when the next line may be */
    struct stats_block stats;         /* what we count of it ourselves */
    uint32_t nr_candidates;                      /* ever put into the ring, modulo 2^32 ... */
    uint32_t nr_candidates_read;                 /* ... and taken out of it */
    uint64_t pages_ahead;                        /* in the entries between the two */
    uint16_t candidate_pages[RING_CANDIDATES_NR]; /* of each entry, by position */
    uint64_t next_look_ms;
    uint32_t round;      /* of control's ticks: its turn in that one has been */
    uint64_t control_cpu_ns;
    bool takes_orders;   /* its library knows ORDER */
    bool is_held;        /* drained by hand: nothing is offered */
    struct order order;  /* that this client is carrying out */
    struct asker asker;  /* of a tool's connection: what it waits for */
    struct rates rates;

    /* compress */
    struct store_writer *store;
    struct ring raw, raw_free, stored, given_up, squeeze, squeezed;
    bool is_active, is_trimming;
    unsigned nr_unrung; /* answers since its bells were last rung */
    struct session *next_active, *next_attached;
    uint64_t last_put_ms;
    unsigned nr_squeezed_unrung;
    uint64_t next_compact_ms, compact_pause_ms; /* when to look for slabs that could become empty */
    uint64_t nr_slabs_before;                   /* given to the client in the last round, not empty then */

    /* compress writes, control reads */
    _Atomic uint64_t compress_cpu_ns;
    _Atomic uint64_t held_bytes, held_bytes_peak, payload_bytes, nr_blobs, bookkeeping_bytes;
    _Atomic uint64_t slot_bytes, nr_group_pages, group_payload_bytes, group_slot_bytes, nr_groups;
    _Atomic uint64_t nr_bad_drops;
    _Atomic(const char *) failure; /* a string constant: the peer broke the protocol */

    /* who looks writes, control reads */
    _Atomic bool is_looked_at;
    _Atomic int status_fd; /* of the process, sys/status.h; -1: not opened yet */
    uint64_t next_open_ms; /* who looks: not before */

    /* under compress.c's lock: links of the queues from control to compress */
    struct session *next_attach, *next_detach; /* each is written once in a session's life */
    struct session *next_ring;                 /* not written again while is_to_ring */
    bool is_to_ring;

    struct session *next; /* control's list; then that of the detached */
};

/* A connection that has said nothing yet. NULL: no memory. */
struct session *session_new(int socket, uint32_t id);
/* In a list of them; NULL: it has gone. */
struct session *session_find(struct session *sessions, uint32_t id);
/* Is the process that has connected still there? Its socket may be in other hands, and its number, which DAMON
 * and orders by hand go by, soon another process's. */
bool session_has_process(const struct session *s);
/* May anything of it leave by itself? */
bool session_may_lose(const struct session *s, uint64_t now_ms);
/* Makes what the client gets and puts it into welcome and fds (theirs to close after sending, but
 * for the bells, which stay ours too). Its heat comes from the watcher, if there is one. 0 or
 * negative errno. */
int session_join(struct session *s, const struct config *config, const struct msg_hello *hello,
                 struct damon_watcher *watcher, int pagemap_fd, struct msg_welcome *ret_welcome,
                 struct msg_fds *ret_fds);
/* Heat from the scan from now on, as if it had just joined. -ENOMEM: nothing changed. */
int session_fall_back(struct session *s, const struct config *config);
/* Frees everything; not while the compress thread has it. NULL is fine; returns NULL. */
struct session *session_free(struct session *s);

/* What there is to tell of its heat; while it is away what was last known. */
struct session_heat {
    uint64_t nr_pages, nr_ready, bookkeeping_bytes;
};
struct session_heat session_heat(const struct session *s);

#endif
