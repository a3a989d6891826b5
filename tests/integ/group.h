/* group.h - a memory cgroup of a test's own, version 1 or 2, with a limit that is near. Below the cgroup that
 * the test runs in, where the kernel allows that, else beside it. Swap is no way out of it. Whoever made it
 * removes it; processes in it have to be gone by then, or go. */
#ifndef INTEG_GROUP_H
#define INTEG_GROUP_H

#include <stdbool.h>
#include <stdint.h>

struct memory_group {
    char path[256]; /* "": there is none */
    bool is_v1;
};

/* False: not here, and why; nothing is left behind. */
bool group_make(struct memory_group *g, const char *name, const char **ret_why);
/* The calling process; what it has got before stays where it is counted. False: refused. */
bool group_enter(const struct memory_group *g);
/* UINT64_MAX: none. False: the kernel did not get below it (errno is EBUSY), or another errno. */
bool group_limit(const struct memory_group *g, uint64_t bytes);
/* The same, but nobody is killed for it: version 2 slows down who goes over it. After group_must_not_kill(). */
bool group_press(const struct memory_group *g, uint64_t bytes);
/* What the kernel does at the limit: kill, or (version 1 only) let allocations of system calls fail and touches
 * wait. False: this kernel always kills. */
bool group_must_not_kill(const struct memory_group *g);
uint64_t group_usage(const struct memory_group *g);
/* Version 1: somebody waits in the kernel until there is room, where nobody is killed. */
bool group_waits_for_room(const struct memory_group *g);
uint64_t group_nr_killed(const struct memory_group *g);
/* Waits for the last process to go, two seconds at most. Safe in a signal handler. */
void group_remove(struct memory_group *g);

#endif
