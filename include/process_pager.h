/* process_pager.h - keep the cold memory of this process compressed in RAM.
 *
 * A process opens a pager, names the ranges of its own anonymous memory that may leave, and
 * starts it. Pages that have not been touched for as long as the daemon wants are taken out of the
 * address space, compressed by process-pagerd, and come back on the next touch. The bytes are
 * never lost: not by stop, not by unregister, not by the daemon's death.
 *
 * Contract, unless a function says otherwise:
 *   - Functions return 0, or a negative errno value; nothing has changed then.
 *   - Any thread may call; calls on one pager are serialised inside. None but pp_sigbus() may be
 *     called from a signal handler.
 *   - Addresses are rounded inwards to whole 4 KiB pages; sizes are in bytes.
 *   - The pager runs two threads of its own, which block all signals and never touch managed
 *     memory. They hold no descriptor of the application's and show none to it (direct ranges: one).
 *   - fork() brings everything back first, but where clients are told of forks (docs/fork.md); the child has
 *     plain memory and a stopped pager.
 */
#ifndef PROCESS_PAGER_H
#define PROCESS_PAGER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PP_VERSION_MAJOR 0
#define PP_VERSION_MINOR 1
#define PP_VERSION_PATCH 0

#if defined(__GNUC__)
#define PP_EXPORT __attribute__((visibility("default")))
#else
#define PP_EXPORT
#endif

struct pp_pager;

/* Begins with its own size, so that it may grow: set it with PP_CONFIG_INIT. */
struct pp_config {
    size_t size;             /* sizeof(struct pp_config) */
    const char *socket_path; /* NULL: $PROCESS_PAGER_SOCKET, /run/process-pager/pager.sock,
                              * $XDG_RUNTIME_DIR/process-pager/pager.sock, the first that exists;
                              * copied by pp_open() */
};
#define PP_CONFIG_INIT { sizeof(struct pp_config), NULL }

/* "0.1.0"; static storage. */
PP_EXPORT const char *pp_version(void);

/* Makes a pager that is not yet started. config may be NULL. At most 16 in a process.
 * -EINVAL: config->size is not one this library knows. -ENOMEM. -EMFILE: too many pagers.
 * -EOPNOTSUPP: the machine's page size is not 4 KiB. */
PP_EXPORT int pp_open(const struct pp_config *config, struct pp_pager **ret_pager);

/* Lets the pages of [address, address + bytes) leave when cold. Before or after pp_start, before
 * or after the first touch. The memory should be private and anonymous; what is not is left alone.
 * A range younger than the daemon's cold age (5 s, unless it was given one) costs bookkeeping only.
 * -EINVAL: no whole page inside. -EEXIST: overlaps a registered range. -ENOSPC: too many ranges. */
PP_EXPORT int pp_register(struct pp_pager *pager, void *address, size_t bytes);

/* PP_DIRECT: a thread that touches a page of the range that is out restores it itself, in a handler of
 * SIGBUS; nobody is woken, which takes a third of the time or less. For memory that programs compute in, not
 * for what is handed to the kernel or holds a stack:
 *   - A SYSTEM CALL THAT MEETS A PAGE THAT IS OUT, OR WAS NEVER TOUCHED, FAILS WITH EFAULT (read into a buffer, execve's strings, a
 *     futex word; mlock() fails, too). pp_pin() makes a buffer safe for as long as it is pinned, pp_touch() for so long as
 *     nothing of it has time to get cold.
 *   - No thread may block SIGBUS. A handler for it may be there before: what is not ours is passed on to it.
 *     One that is installed later must pass on what is not its own to the action that sigaction() gave it,
 *     or call pp_sigbus() first.
 *   - No stack, also no alternate one: the kernel could not write the signal's frame to a page that is out.
 * The first such range makes a second pager inside this one (it counts as one of the 16), with one
 * descriptor, close-on-exec, in the application's table. flags 0: as pp_register().
 * -EINVAL: an unknown flag; and as pp_register(). Once started, also as pp_start(). */
#define PP_DIRECT 1u
PP_EXPORT int pp_register_flags(struct pp_pager *pager, void *address, size_t bytes, unsigned flags);

/* Fresh memory of that size, rounded up to whole pages, registered with PP_DIRECT; it reads as zeros.
 * As pp_register_flags(), and -ENOMEM. pp_free() takes it back, all of it, by the size that was asked for;
 * -ENOENT: it is not such memory. */
PP_EXPORT int pp_alloc(struct pp_pager *pager, size_t bytes, void **ret_address);
PP_EXPORT int pp_free(struct pp_pager *pager, void *address, size_t bytes);

/* Reads a byte of each page of [address, address + bytes), so that all of them are there. Needs no pager. */
PP_EXPORT void pp_touch(const void *address, size_t bytes);

/* For a handler of SIGBUS that was installed after ours, with its siginfo_t: 1: it was a page of ours, which is
 * there now: return. 0: not ours. The one function that may be called from a signal handler. */
PP_EXPORT int pp_sigbus(const void *siginfo);

/* Takes back a range exactly as it was registered. All its pages are back and the kernel has
 * forgotten it when this returns; it may take as long as decompressing the range takes.
 * -ENOENT: no such range. -EIO: a page of it is lost (its touch raises SIGBUS). */
PP_EXPORT int pp_unregister(struct pp_pager *pager, void *address, size_t bytes);

/* Joins the daemon and starts the threads. Waits for the daemon's welcome, at most 5 s.
 * -EALREADY: started. -ENOENT, -ECONNREFUSED: no daemon. -EACCES, -EPERM: no right to the socket
 * or to userfaultfd. -EOPNOTSUPP: this kernel lacks what we need (Linux >= 6.8). -EPROTO: the
 * daemon speaks another version. -ETIMEDOUT: it does not answer. -ENOMEM, -EAGAIN: no address space or
 * no thread. -EMFILE: no free descriptors. pp_error() says in words which of them, and what to do. */
PP_EXPORT int pp_start(struct pp_pager *pager);

/* Brings everything back and ends the threads. Ranges stay registered for the next pp_start.
 * -EALREADY: not started. -EIO: a page is lost (its touch raises SIGBUS). */
PP_EXPORT int pp_stop(struct pp_pager *pager);

/* Stops if need be, forgets all ranges and frees the pager. Takes NULL, returns NULL. No other
 * thread may use the pager then. */
PP_EXPORT struct pp_pager *pp_close(struct pp_pager *pager);

/* Brings back the pages of an interval and keeps them until as many unpins of the same interval.
 * It need not be registered; before pp_start and after pp_stop, too. Returns when all are back.
 * -ENOSPC: too many pins (1024 intervals). -EIO: a page of it is lost. */
PP_EXPORT int pp_pin(struct pp_pager *pager, const void *address, size_t bytes);
/* -ENOENT: not pinned. */
PP_EXPORT int pp_unpin(struct pp_pager *pager, const void *address, size_t bytes);

/* Takes out what may leave of [address, address + bytes), now and whatever its age: to a registered range
 * what MADV_PAGEOUT is to memory with swap. Returns when all that left is stored, or when the daemon had
 * no room for more; what is pinned, locked, shared after a fork, discarded a moment ago or does not shrink
 * stays, and so does all of it while somebody has the process drained (process-pager drain): no error. Other threads may use the memory meanwhile, and the pager: other calls
 * do not wait for the daemon with it. It is waited for as long as it answers something.
 * -ETIMEDOUT: for 5 s it has answered nothing (it is stopped, or starved of CPU). A part may have left, and may
 * not be stored: it comes back when it is touched, as ever, and is stored when the daemon goes on.
 * -ENOTCONN: not started or stopped meanwhile, no daemon just now, or one that only tries (--dry-run);
 * a part may have left. */
PP_EXPORT int pp_reclaim(struct pp_pager *pager, void *address, size_t bytes);

/* One line, what went wrong in the last failed call and how to mend it; "" at first. The pager
 * owns the text; it holds until the next call that fails. */
PP_EXPORT const char *pp_error(const struct pp_pager *pager);

/* Statistics, by index from 0 to pp_stats_count() - 1; the names are those of the daemon's CSV and
 * stay. Values are sums since pp_open and may be read at any time; cheap. */
PP_EXPORT size_t pp_stats_count(void);
PP_EXPORT const char *pp_stats_name(size_t index); /* NULL: no such index */
PP_EXPORT uint64_t pp_stats_value(const struct pp_pager *pager, size_t index);

#ifdef __cplusplus
}
#endif

#endif
