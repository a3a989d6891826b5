/* handshake.h - the one thing we do for clients that takes a right: UFFDIO_API with events of forks, on a
 * userfaultfd that a client made (CAP_SYS_PTRACE). A process of its own has that right and does only this, so
 * that the daemon, which holds other processes' memory, can do without. It ends with the daemon.
 *
 * Contract: handshake_begin() before the sandbox and the first thread; then one thread. */
#ifndef DAEMON_HANDSHAKE_H
#define DAEMON_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

/* False: no right to give, or no process to be had: forks are then told to nobody who may not ask himself. */
bool handshake_begin(void);
/* Like uffd_handshake(). -EPERM: there is nobody to do it. -EAGAIN: waited for HANDSHAKE_MS_MAX, in vain; that
 * is done once, until the helper has answered. */
#define HANDSHAKE_MS_MAX 500
int handshake_do(int uffd, uint64_t features, uint64_t *ret_offered);
/* Before the daemon ends in order: when it has ended, the helper has, too, and is nobody's to wait for. */
void handshake_end(void);

#endif
