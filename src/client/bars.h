/* bars.h - rule 4's third way out: the kernel announces a discard before it zaps, so pages that were
 * present then may not leave until no thread can still be inside that zap. A thread has been seen
 * outside when /proc/self/task/T/syscall shows it blocked in another system call (a thread inside the
 * zap reads "running"), or when it has gone. io_uring workers count as always inside.
 *
 * Contract: the porter's. Nothing is allocated; a process with more than BARS_THREADS_MAX threads, or
 * a /proc that can't be read, keeps its bars: that costs saving, never bytes. */
#ifndef CLIENT_BARS_H
#define CLIENT_BARS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BARS_THREADS_MAX 1024u

struct bars_check {
    uint64_t number; /* of the newest bar that this check covers */
    uint64_t next_look_ns, pause_ns;
    bool is_running;
    uint32_t nr; /* threads not yet seen outside */
    pid_t threads[BARS_THREADS_MAX];
};

/* One step: begins a check when a newer bar is wanted, looks again at the threads that are left, and
 * publishes when none is. True while a check is under way. */
bool bars_check_step(struct bars_check *b, _Atomic uint64_t *wanted, _Atomic uint64_t *checked);

/* Is this text of /proc/PID/task/TID/syscall one of a thread that is surely outside a discard? */
bool bars_is_outside(const char *text);

#endif
