/* greeting.h - clients by hand, from the wire headers: how they come to a session, and what they hear. Contract: in
 * a test or its helpers; what cannot be ends it. */
#ifndef INTEG_GREETING_H
#define INTEG_GREETING_H

#include <stdint.h>

#include "wire/msg.h"
#include "wire/session_memory.h"

/* HELLO with a descriptor, which stays the caller's. */
void greeting_send(int socket, int fd);
/* The next message, if it comes in so many ms; its descriptors are the caller's. 0, -EAGAIN: it does not come, or
 * what msg_recv() says. */
int greeting_hear(int socket, unsigned ms, struct msg *ret, struct msg_fds *ret_fds);
/* The same, and it must come, and be of this type; its descriptors are closed. */
void greeting_expect(int socket, unsigned ms, enum msg_type type, struct msg *ret);

/* A session: its socket, and WELCOME's descriptors. Negative errno: it is not welcome, or not in so many ms. */
int greeting_begin(const char *socket_path, unsigned ms, struct msg_fds *ret_fds);

/* A session that watches a range, with what it shares with the daemon. */
struct by_hand {
    int socket, daemon_bell;
    struct session_memory *memory;
};
struct by_hand greeting_watch(const char *socket_path, const void *start, uint64_t bytes);

#endif
