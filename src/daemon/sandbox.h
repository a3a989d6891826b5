/* sandbox.h - what the daemon keeps of its rights once it is set up: no capability, a short list of system
 * calls, nothing that a program it starts could win back, no core file. It holds other processes' memory and reads
 * what they send, so whoever finds a hole in it shall find nothing behind.
 *
 * Contract: called once, before any thread is started: capabilities and filters are each thread's own, and
 * threads inherit them. There is no way back. */
#ifndef DAEMON_SANDBOX_H
#define DAEMON_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

/* By the order of --sandbox's words. */
enum sandbox_mode {
    SANDBOX_ON,     /* what is not on the list is refused (EPERM) and noted in the kernel's log */
    SANDBOX_OFF,    /* for debuggers, and for kernels without seccomp */
    SANDBOX_STRICT, /* what is not on the list ends the daemon: for tests of the list */
};

struct sandbox {
    enum sandbox_mode mode;
    const char *csv_path;    /* NULL: none. Written to at the end of each session */
    const char *socket_path; /* NULL or "": not ours. Removed at the end */
};

/* Gives everything up that is not needed. 0; or an exit code, and ret_error says in a line what failed and
 * how to mend it. */
int sandbox_enter(const struct sandbox *what, char *ret_error, size_t capacity);

#endif
