/* uffd.h - userfaultfd: making one, and its calls with the kernel's answers given their meaning.
 *
 *   -EAGAIN  an event is unread or its raiser has not run again: read events, decide anew
 *   -EEXIST  the destination is there already
 *   -ENOENT  nothing there to move, or no registered mapping at the destination
 *   -EBUSY   MOVE: the page is pinned or not exclusively this process's
 *   -EINVAL  MOVE: locked, executable, differently protected; REGISTER: not a mapping that can be
 *   -ESRCH   the address space is gone
 *
 * Contract: any thread; no call allocates. Addresses and sizes are whole pages. */
#ifndef SYS_UFFD_H
#define SYS_UFFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sys/uapi.h"

/* What the main descriptor asks for: events, who faulted, and async write-protection. */
#define UFFD_FEATURES_MAIN                                                                         \
    (UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMAP |             \
     UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED |                \
     UFFD_FEATURE_POISON | UFFD_FEATURE_MOVE)
/* The same for a direct pager: a touch of what is missing raises SIGBUS and is told to nobody. */
#define UFFD_FEATURES_DIRECT ((UFFD_FEATURES_MAIN & ~UFFD_FEATURE_THREAD_ID) | UFFD_FEATURE_SIGBUS)
/* What the second descriptor, for staging, asks for: no events. */
#define UFFD_FEATURES_STAGING (UFFD_FEATURE_MOVE)

/* A fresh descriptor of this process's address space, nonblocking and close-on-exec: by system call,
 * by /dev/userfaultfd, or by device_fd (an open /dev/userfaultfd that the daemon handed over; -1:
 * none), whichever works. -EPERM: none did; else what this process is short of. */
int uffd_open(int device_fd);
/* The API handshake. -EINVAL: the kernel does not offer these; *ret_offered then says what it does
 * (only ever on a descriptor that is of no use afterwards). */
int uffd_handshake(int fd, uint64_t features, uint64_t *ret_offered);

enum uffd_mode { UFFD_WATCH /* writes only, async */, UFFD_ARM /* missing pages and writes */ };
int uffd_register(int fd, uint64_t start, uint64_t bytes, enum uffd_mode mode);
int uffd_unregister(int fd, uint64_t start, uint64_t bytes);

/* *ret_moved: what the kernel says it has moved, in bytes, also on failure. It may have moved more:
 * pager/move.h looks. */
int uffd_move(int fd, uint64_t to, uint64_t from, uint64_t bytes, uint64_t *ret_moved);
int uffd_copy(int fd, uint64_t to, const void *page);
/* Neighbours in one call. *ret_copied: bytes that are installed, from the first on, also on failure; then
 * the page behind them says why when it is asked for by itself (after some the kernel only says -EAGAIN). */
int uffd_copy_run(int fd, uint64_t to, const void *pages, uint64_t bytes, uint64_t *ret_copied);
int uffd_zeropage(int fd, uint64_t to);
/* The same, and nobody is woken: for descriptors in SIGBUS mode, on which nobody waits. */
int uffd_copy_quietly(int fd, uint64_t to, const void *page);
int uffd_copy_run_quietly(int fd, uint64_t to, const void *pages, uint64_t bytes, uint64_t *ret_copied);
int uffd_zeropage_quietly(int fd, uint64_t to);
int uffd_poison(int fd, uint64_t to);
int uffd_wake(int fd, uint64_t start, uint64_t bytes);
int uffd_writeprotect(int fd, uint64_t start, uint64_t bytes, bool is_protected);

/* Number of messages read, 0: none there; negative errno. */
int uffd_read(int fd, struct uffd_msg *ret_messages, size_t nr);

#endif
