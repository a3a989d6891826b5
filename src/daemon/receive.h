/* receive.h - one message of a client's, and what becomes of the descriptors that come with it. The rest of the
 * daemon gets to see one sort of them: a pagemap.
 *
 * Contract: the thread that has called impatience_new(). Closing what a stranger has sent may wait for as long
 * as he likes where no signal ends it; so it is done in a process of its own (door.h), and in the daemon itself
 * only where its clients can harm nobody but themselves. */
#ifndef DAEMON_RECEIVE_H
#define DAEMON_RECEIVE_H

#include "wire/msg.h"

/* Like msg_recv(), but of descriptors at most one comes out: with HELLO a /proc/PID/pagemap, the caller's. In
 * place of a UFFD_API comes what is to be answered: its handshake has been made, or could not be. */
int receive(int socket, struct msg *ret_msg, struct msg_fds *ret_fds);

#endif
