/* order.h - what somebody asks for by hand: take a process's memory out now, or bring it back and keep it
 * there. A tool asks (struct asker, of its connection), each session of that process carries it out
 * (struct order), and the tool is answered when the last of them has.
 *
 *   reclaim   WATCH to the client, sweep over what it watches, SETTLE to the client
 *   drain     DRAIN to the client; nothing is offered from then on
 *   resume    RESUME to the client
 *
 * Only root and the process's own user may. Contract: the control thread; no call waits. */
#ifndef DAEMON_ORDER_H
#define DAEMON_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "heat/heat.h"
#include "wire/msg.h"

struct session;
struct config;

enum order_stage {
    ORDER_NONE,
    ORDER_ASKED,    /* the client has an order and has not answered */
    ORDER_SWEEPING, /* control offers what the sweep finds */
};

struct order {
    enum order_stage stage;
    uint32_t asker;      /* its session's id; it may have gone */
    uint32_t asked_op;   /* of the client */
    uint64_t nr_before;
    struct heat_sweep sweep;
    uint64_t seen_cpu_ns, seen_ms; /* when its agent was last seen to run */
    bool is_given_up;    /* the asker has been told: only the client's answer is missing */
};

struct asker {
    unsigned nr_waiting; /* sessions that have not carried it out */
    struct msg_order_done answer;
};

/* May this connection's user see and order that session? */
bool order_is_allowed(const struct session *asker, const struct session *s);
/* The tool's message. It is answered now, if it cannot be, or later. */
void order_ask(struct session *sessions, const struct config *config, struct session *asker,
               const struct msg_order *m);
/* The client's answer. False: to nothing that was asked. */
bool order_done(struct session *sessions, struct session *s, const struct msg_order_done *m);
/* Runs for control to offer, while the stage is ORDER_SWEEPING. */
size_t order_sweep(struct session *sessions, struct session *s, size_t pages_max,
                   struct heat_run *ret_runs, size_t nr_max);
/* Gives up on a client that does not run, and a sweep that nobody waits for. */
void order_tick(struct session *sessions, struct session *s, uint64_t now_ms);
/* The session ends. */
void order_cancel(struct session *sessions, struct session *s);

#endif
