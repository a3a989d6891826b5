/* cgroup.h - how much memory a process's cgroups let it have, and how much of that is left; v2 and v1. For
 * somebody who is about to give it memory: the kernel kills what goes over. Any thread. */
#ifndef SYS_CGROUP_H
#define SYS_CGROUP_H

#include <stdint.h>
#include <sys/types.h>

#include "sys/headroom.h"

struct cgroup_memory {
    uint64_t limit_bytes; /* the lowest of it and its parents; UINT64_MAX: none */
    uint64_t room_bytes;  /* the least of limit less usage, old file pages counted as room */
    char path[HEADROOM_PATH_BYTES]; /* of the one that has so little room; "": no limit */
};

/* memberships: the text of /proc/PID/cgroup; root: CGROUP_ROOT, or a test's. */
void cgroup_read(const char *memberships, const char *root, struct cgroup_memory *ret);
/* 0; -ESRCH: no such process. Where nothing can be read there is no limit. */
int cgroup_of(pid_t pid, struct cgroup_memory *ret);

#endif
