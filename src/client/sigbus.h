/* sigbus.h - the signal by which the kernel tells a thread that its page is out (direct ranges), and which
 * pager it is of. The pagers' shared words stand in the library's own memory for ever, so that a thread that
 * comes late finds a closed gate and never memory that has been given back. */
#ifndef CLIENT_SIGBUS_H
#define CLIENT_SIGBUS_H

#include <stdbool.h>
#include <stdint.h>

#include "direct/direct.h"

struct pp_pager;

/* Takes a place and, the first time, installs the handler. The gate is closed. NULL: no place is free. */
struct direct *sigbus_take_place(struct pp_pager *pp);
/* For the userfaultfd in the application's table. */
int sigbus_least_descriptor(void);
/* The agent has opened the gate: touching threads may come in. */
void sigbus_open(struct direct *d, int uffd);
/* The agent's, with everything back: nobody is inside any more, and who comes waits. */
void sigbus_close(struct direct *d);
/* The agent has closed its userfaultfd. Closes ours: then touches there raise no SIGBUS any more. */
void sigbus_give_back(struct direct *d);
/* What is missing in [first, end) of a direct pager that is started: never touched, or out. No signal is raised,
 * and what is not mapped or not ours is left. */
void sigbus_fill(struct direct *d, page_number first, page_number end);
/* The child of a fork has no pager; the threads that were inside are not here. */
void sigbus_forget_all_in_child(void);

#endif
