/* headroom.h - how much more memory the process's cgroups let it have, version 1 or 2. Where a limit is
 * reached the kernel kills, so whoever brings pages back that nobody has asked for looks first. Files that
 * can be dropped do not count as used. Contract: one thread; nothing is allocated. */
#ifndef SYS_HEADROOM_H
#define SYS_HEADROOM_H

#include <stdint.h>

#define HEADROOM_LEVELS 4u /* the process's own cgroup and what is above it */

struct headroom_level {
    int limit_fd, usage_fd, stat_fd;
};

struct headroom {
    struct headroom_level levels[HEADROOM_LEVELS];
    unsigned nr;
};

/* cgroup_path: /proc/self/cgroup; root: where the file system of cgroups is, /sys/fs/cgroup. What can't
 * be opened is taken for no limit. */
void headroom_open(struct headroom *h, const char *cgroup_path, const char *root);
void headroom_close(struct headroom *h);
/* The least of all levels; UINT64_MAX: no limit. Below `enough`, files are looked at, too (20 us). */
uint64_t headroom_bytes(const struct headroom *h, uint64_t enough);

#endif
