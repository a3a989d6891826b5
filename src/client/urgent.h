/* urgent.h - the class in which the agent waits for faults. On a machine whose CPUs are all taken a thread
 * that wakes waits its turn, milliseconds for an answer of 6 us; so the agent sleeps in a real-time class,
 * where it may (sys/class.h), and a fault wakes it there. It does so only while it has been made to wait: on
 * CPUs that are idle the class costs, because who is woken from it goes to another one (docs/stall.md). It
 * leaves it for all that is longer than the answer to a fault, and for a while when it has used up what
 * policy/allowance.h grants.
 *
 * In the ordinary class it weighs more while faults come and nothing else does, where it may and nobody has
 * made it wait. If its answers cost more CPU than their thread uses in between, it owes the queue: that thread
 * preempts it before it sleeps, so it never sleeps, and the kernel wakes the thread on the other, idle CPU
 * (docs/stall.md, "The chase"). The agent's. */
#ifndef CLIENT_URGENT_H
#define CLIENT_URGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/allowance.h"
#include "sys/class.h"

struct agent;

struct urgency {
    struct own_class own;
    bool has_begun;
    bool is_wanted; /* by the daemon */
    bool is_on, is_heavy; /* one of both at most */
    unsigned nr_soon; /* faults in a row that came right after an answer, without other work */
    struct allowance allowance;
    uint64_t cpu_ns; /* what it had used when that was last looked at */
    uint64_t next_look_ns;
    uint64_t next_way_ns; /* when other work has taken a slice */
    bool has_worked; /* since then: anything but answers */
    int waits_fd;
    struct class_waits waits;
    uint64_t crowded_until_ns;
};

/* When the agent has made what threads it makes: they would not have its nice value any more. */
void urgent_begin(struct agent *a);
/* Does the daemon want it? Before the beginning, too. */
void urgent_set_wanted(struct agent *a, bool is_wanted);
void urgent_end(struct agent *a);
/* A fault was read so long after the last answer. */
void urgent_see(struct agent *a, uint64_t after_ns);
/* Before each sleep. 25 ns; 1 us once a millisecond, or where the class changes. */
void urgent_rest(struct agent *a);
/* Before, or in the middle of, work that is not the answer to a fault. Nothing to do: 1 ns. */
void urgent_leave(struct agent *a);
/* After a piece of such work, with more to do: it keeps to its slice, where the kernel knows of one. 25 ns;
 * 1 us each tenth of a millisecond. */
void urgent_give_way(struct agent *a);

#endif
