/* fork.h - fork() in a process with pagers. Nothing leaves from before the fork until it is over. What is out
 * stays out where the kernel tells of forks, and the child brings back its own before fork() returns in it
 * (docs/fork.md); else everything comes back first, because re-attaching in the child is too late: libc has
 * touched its heap by then. The child has plain memory and stopped pagers. vfork and posix_spawn run no handlers
 * and need none: their child shares the address space. A raw clone() without CLONE_VM is a documented limit. */
#ifndef CLIENT_FORK_H
#define CLIENT_FORK_H

struct pp_pager;

#define PAGERS_MAX 16

/* -EMFILE: too many pagers. Installs the fork handlers at the first call. */
int fork_list_add(struct pp_pager *pp);
void fork_list_remove(struct pp_pager *pp);
/* Installs the handlers, if there is no pager yet, too; the child calls `on_child` when its pagers are as they
 * should be. */
void fork_list_tell(void (*on_child)(void));

/* api.c: posts a command and waits; command_lock is held and the pager is started. */
#include <stdint.h>
int pager_command_locked(struct pp_pager *pp, int op, uint64_t first, uint64_t end);
void pager_lock_commands(struct pp_pager *pp); /* takes command_lock */

#endif
