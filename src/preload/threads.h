/* threads.h - the threads of this process, and where their control blocks are. A control block is found
 * by get_robust_list(2): the list's head lies inside it, in any libc that has such lists, whether its
 * thread runs or sleeps. Allocates nothing. */
#ifndef PRELOAD_THREADS_H
#define PRELOAD_THREADS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/pagesize.h"

/* Control blocks; room for as many threads as may matter. */
#define CONTROL_BLOCKS_MAX 16384u
struct control_block {
    page_number page;
    bool is_of_main; /* its stack is elsewhere: [stack] */
    bool is_of_caller;
};

struct threads {
    uint32_t nr, nr_blocks; /* of all; of those that have a control block: the kernel's helpers do not */
    struct control_block blocks[CONTROL_BLOCKS_MAX];
    pid_t tids[CONTROL_BLOCKS_MAX];
};

/* Negative errno: no /proc, too many threads (-E2BIG), or they come and go too fast (-EAGAIN). */
int threads_list(struct threads *ret);
/* What the first thread has left with, as of wait(2); -1: it is still here. */
int threads_first_status(void);
/* Has the first thread left, and are at most `nr_own` others left? Then the process
 * waits for ours to end. */
bool threads_are_orphans(const struct threads *t, uint32_t nr_own);

#endif
