/* headroom.h - how much more memory a process's cgroups let it have, version 1 or 2. Where a limit is
 * reached the kernel kills, so whoever brings pages back that nobody has asked for looks first. Files that
 * can be dropped do not count as used. Contract: one thread; nothing is allocated. */
#ifndef SYS_HEADROOM_H
#define SYS_HEADROOM_H

#include <stdint.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define HEADROOM_LEVELS 16u /* the process's own cgroup and what is above it */
#define HEADROOM_PATH_BYTES 4096u

struct headroom_level {
    int limit_fd, usage_fd, stat_fd;
    uint32_t nr_path; /* so much of the path is this one's name; 0: the root */
};

struct headroom {
    struct headroom_level levels[HEADROOM_LEVELS]; /* from the inside to the outside */
    unsigned nr;
    char path[HEADROOM_PATH_BYTES]; /* of the process's own cgroup, below the root */
};

/* cgroup_path: /proc/PID/cgroup; root: CGROUP_ROOT, or a test's. What can't be opened is taken for no
 * limit. */
void headroom_open(struct headroom *h, const char *cgroup_path, const char *root);
/* The same for the text of such a file. */
void headroom_open_text(struct headroom *h, const char *memberships, const char *root);
void headroom_close(struct headroom *h);
/* The least of all levels; UINT64_MAX: no limit. Below `enough`, files are looked at, too (20 us). */
uint64_t headroom_bytes(const struct headroom *h, uint64_t enough);
/* The same of one level, and its limit. */
uint64_t headroom_of(const struct headroom_level *l, uint64_t enough, uint64_t *ret_limit_bytes);

#endif
