/* tasks.h - the threads of this process, from /proc/self/task. Any thread; allocates nothing, costs a
 * descriptor for as long as the call takes. */
#ifndef SYS_TASKS_H
#define SYS_TASKS_H

#include <stdint.h>
#include <sys/types.h>

/* Calls on_task for each, the caller's own among them, until it returns other than 0: returned is that.
 * Negative errno: no /proc. While others end it may pass over one that lives: where the thread listed last has
 * ended the kernel's list goes on by position, with one fewer before it (proc_task_readdir, fs/proc/base.c). */
int tasks_each(int (*on_task)(pid_t tid, void *context), void *context);
/* All that there were at one instant of this call, the caller's own among them. Their number, or negative
 * errno: no /proc; -E2BIG: more than nr_max; -EAGAIN: they came and went too fast. */
int tasks_list(pid_t *ret_tids, uint32_t nr_max);
/* A thread that has been joined has let go of its memory, but may count as one still for a call that only a
 * single thread may make. Half a second at most. */
void task_wait_gone(pid_t tid);

/* Reads a thread's file of this name, to a text with an end. Bytes, capacity - 1 at most, or negative errno. */
ssize_t task_read(pid_t tid, const char *name, char *ret_text, size_t capacity);
/* How many filters of system calls (seccomp) a thread has, 0 where the kernel has none. Negative errno: /proc
 * does not say. */
int task_nr_filters(pid_t tid);

#endif
