/* look.h - looks at clients' memory, and into their folders of /proc, which may take as long as a client likes.
 * A look takes the lock of that memory, and a client may keep it: in a fault on a page of a file whose server does
 * not answer, or for seconds with much to populate, while another thread of it waits to map something. Only
 * SIGKILL ends our wait; and nothing that for such a folder, whose lock whoever lists it may keep (sys/status.h).
 *
 * So a thread that waits in a look after LOOK_MS_MAX is left in it, and another one goes on as control in its
 * place. It ends when the look does. Nobody waits for it, not even a daemon that ends; until then nobody else
 * may touch that session's heat.
 *
 * Contract: one thread at a time is control, and all that is control's goes over to the next. Where nobody is
 * left behind a look costs two settings of a clock more, 1 us; and control half of one, to see who is to pay. */
#ifndef DAEMON_LOOK_H
#define DAEMON_LOOK_H

#include <stdint.h>

struct session;

/* Makes the clock, for good. 0 or negative errno. */
int look_open(void);
/* Calls control in a thread, with NULL; and in another one when that is left behind, with the session in whose
 * memory it is. Returns when one of them has: 0; negative errno: there was no thread for the first. */
int look_run(void (*control)(void *argument, struct session *left_in), void *argument);
/* Control: its heat's tick, and at first its status. Who is left behind does not return from it. */
void look_at(struct session *s, uint64_t now_ms);

#endif
