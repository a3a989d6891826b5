/* child.h - child processes that do not outlive us: each is the head of a process group of its own,
 * so that Ctrl-C reaches us, and we them in good order. Who starts a child ends it with
 * child_end(), on every path. Only what was started here is ever signalled. One thread. */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
    pid_t pid; /* 0: none */
    int pidfd, end_signal;
};

struct child_spec {
    char *const *argv;
    const char *stdout_path, *stderr_path; /* NULL: ours */
    const char *folder;                    /* to work in; NULL: ours */
    int end_signal;                        /* what asks it to end */
};

/* Starts argv[0] (a path, or a name in PATH). -errno; a program that can't be executed ends with
 * code 127 and a line on its stderr. */
int child_start(const struct child_spec *spec, struct child *ret_child);

enum child_state {
    CHILD_RUNS,
    CHILD_ENDED,
    CHILD_INTERRUPTED, /* we were asked to stop */
};

/* Waits until the child has ended or a time of CLOCK_MONOTONIC has come. When it has ended, its
 * code: the exit code, or 128 + the signal; the child is gone then. */
enum child_state child_wait_until(struct child *c, uint64_t time_ns, int *ret_code);

/* Its end signal to its group, and SIGKILL after patience_ns. Returns the code; 0 when there is no
 * child. */
int child_end(struct child *c, uint64_t patience_ns);

/* From now on SIGINT, SIGTERM and SIGHUP only set a flag that child_wait_until() looks at. */
void children_catch_signals(void);
/* 0, or the signal that asked us to stop. */
int children_stop_signal(void);

#endif
