/* active.h - how many of the process's threads have run lately. What a process may lose is a share of their
 * time; one that waits for a minute for what hardly ever comes has none to lose, so the daemon is told of
 * those that have run. The process counts itself: it knows its own threads, and nobody else has to read its
 * /proc.
 *
 * Which threads have run: the first number of /proc/self/task/TID/schedstat has changed since the last look.
 * Some 5 us for each thread and look; looks are rare. Ours, known by their names, do not count.
 *
 * Contract: the porter's. Zeros are a beginning; nothing is allocated. */
#ifndef CLIENT_ACTIVE_H
#define CLIENT_ACTIVE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"

#define AGENT_NAME "pp-agent" /* what our own are called */
#define PORTER_NAME "pp-porter"

#define ACTIVE_THREADS_MAX 256u /* of those beyond all count */
#define ACTIVE_WINDOW_NS (60 * NS_PER_S)
#define ACTIVE_PAUSE_MAX_NS (10 * NS_PER_S)

struct active_thread {
    pid_t tid;
    uint8_t nr_missed; /* looks in a row */
    uint64_t run_ns;   /* as last seen */
    uint64_t until_ns; /* it counts */
};

struct active {
    uint64_t next_ns, pause_ns; /* between looks; a quarter of a second at first, then longer each time */
    uint32_t nr;
    struct active_thread threads[ACTIVE_THREADS_MAX];
};

/* A look, if it is time for one. What is told: how many have run within the window, at least 1; 0 until the
 * second look; NR_ACTIVE_UNKNOWN where /proc does not say. */
void active_step(struct active *a, uint64_t now_ns, _Atomic uint32_t *told);

#endif
