/* sched.h - which CPU a thread runs on, and going there. Contract: nothing is allocated. For one thread
 * of a process, or more that each ask for themselves; each keeps a descriptor open. */
#ifndef SYS_SCHED_H
#define SYS_SCHED_H

#include <stdint.h>
#include <sys/types.h>

/* The CPU the thread last ran on (field 39 of /proc/self/task/TID/stat), or negative errno. 2 us for the
 * thread that was asked about last time, 6 for another one. */
int sched_cpu_of_thread(pid_t tid);
/* Pins the calling thread to one CPU; -1: lets it run on every CPU it ran on at first (the set that
 * sched_remember saw). -EINVAL: not one of them. */
int sched_go_to_cpu(int cpu);
void sched_remember(void);

#endif
