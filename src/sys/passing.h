/* passing.h - datagrams between processes of ours, each with one descriptor or none.
 * Contract: any thread; nothing is allocated. */
#ifndef SYS_PASSING_H
#define SYS_PASSING_H

#include <stddef.h>

/* With a copy of fd, or -1. flags: of sendmsg(2); no SIGPIPE. 0 or negative errno. */
int passing_send(int socket, const void *bytes, size_t size, int fd, int flags);
/* One of exactly this size. *ret_fd: the caller's, -1: none came. flags: of recvmsg(2); it is close-on-exec.
 * -ECONNRESET: the other side has gone; -EPROTO: it was of another size, or brought more; -EMFILE: no
 * descriptor was free for the one that came, which is lost; the bytes are there. */
int passing_receive(int socket, void *ret_bytes, size_t size, int *ret_fd, int flags);

#endif
