/* sleep.h - how the agent sleeps, and wakes the porter. Contract: the agent's; nothing here allocates or
 * waits for another thread but by sleeping. */
#ifndef CLIENT_SLEEP_H
#define CLIENT_SLEEP_H

#include <stdbool.h>

#include "client/client.h"

enum agent_other { OTHER_PORTER_BELL, OTHER_TIMER, OTHER_AGENT_BELL, OTHER_SOCKET, OTHER_FORK, OTHERS_NR };

/* What wakes the agent, beside the userfaultfd. 0 or negative errno. */
int agent_listen(struct agent *a, int fd, enum agent_other which);
/* Before it is closed: the daemon has the same open file, so closing alone does not end the listening. */
void agent_unlisten(struct agent *a, int fd);

/* With nothing to do: returns when there may be something, or when the next pager_read() may block
 * instead of us, which it then does. */
void sleep_until_needed(struct agent *a, struct pp_pager *pp);
/* There is something else to do than faults: the next pager_read() must not block. */
void sleep_lightly(struct agent *a);
/* Rings the porter if it has enough to do, or if it must have it now. */
void sleep_ring_porter(struct agent *a, struct pp_pager *pp, bool is_busy);

#endif
