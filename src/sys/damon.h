/* damon.h - one of the kernel's access monitoring threads (a kdamond), by DAMON's sysfs tree: which
 * parts of which processes were touched, read or written, without a fault. The only place that knows
 * the files. From Documentation/admin-guide/mm/damon/usage.rst; what that does not say was tried on
 * Linux 6.12:
 *
 *   - nr_kdamonds makes and unmakes all kdamonds at once; while one runs it says EBUSY. So there is one
 *     for us only where it reads 0.
 *   - "commit" with a process that is gone ends the kdamond, and says so nowhere.
 *   - Ranges that stay keep their regions and their age over a commit.
 *   - A command is answered within about 100 ms; damon_watch() and damon_snapshot() wait for that. Who
 *     unmakes the kdamond meanwhile can hang, and so can the command: we never do.
 *
 * Ours is told from others by a mark in fields that mean nothing to a scheme without quota and
 * watermarks. It names the daemon, so it is known as a leftover when that has been killed, and lives
 * exactly as long as the tree itself.
 *
 * Contract: one thread at a time. The root is an argument, so that a test can hand over a directory. */
#ifndef SYS_DAMON_H
#define SYS_DAMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/pagesize.h"

#define DAMON_ROOT "/sys/kernel/mm/damon/admin"

struct damon;

struct damon_attrs {
    uint64_t sample_us, aggr_us, update_us;
    uint64_t nr_regions_min, nr_regions_max; /* of all targets together; 3 at least */
};

struct damon_range {
    page_number first, end;
};

struct damon_target {
    pid_t pid;
    const struct damon_range *ranges; /* ascending, not overlapping */
    size_t nr;
};

struct damon_region {
    page_number first, end;
    uint32_t nr_accesses; /* samples of the last aggregation interval that found it touched */
    uint32_t age; /* aggregation intervals for which that has hardly changed; 0 where it was touched */
};

/* Takes a kdamond that nobody has, after putting away one of ours whose daemon is gone. -ENOENT: no
 * DAMON here; -EACCES: no right; -EBUSY: there is one that is not ours; -EOPNOTSUPP: it cannot watch
 * processes. On failure the tree is as it was. */
int damon_open(const char *root, struct damon **ret);
/* What that answer means, in words that name no call. */
const char *damon_why_not(int error);
/* Only puts away what a killed daemon of ours has left. */
void damon_clean(const char *root);
/* Puts everything back. Takes NULL, returns NULL. */
struct damon *damon_close(struct damon *d);

/* Watches these from now on, and nothing else; starts the kdamond if it does not run. -ESRCH: one of the
 * processes is gone; -EBUSY: another user of DAMON is at it just now, or excludes us; -ESTALE: somebody
 * has made the tree anew. So with the others. */
int damon_watch(struct damon *d, const struct damon_attrs *attrs, const struct damon_target *targets,
                size_t nr);
/* Nobody is to be watched: the kdamond ends, ours it stays. */
void damon_rest(struct damon *d);
/* All regions, target by target in their order, each ascending; DAMON does not say which target. Their
 * number, at most nr_max; -ESRCH: the kdamond has ended, because each process has. 0: there was no answer, ask
 * again. Linux 6.7 to 6.13 wait for the end of the aggregation interval, but by the clock, for twice as long as
 * it should take; where it takes longer, that often is too short. ret_at_ns: when DAMON had answered; to read
 * the answer takes time, too. */
ssize_t damon_snapshot(struct damon *d, struct damon_region *ret_regions, size_t nr_max, uint64_t *ret_at_ns);

/* Bytes looked at since the kdamond began: all that is watched, once in each aggregation interval. So it
 * tells how long those really take: an interval is a number of samples, and a sample takes its time,
 * too. A command of its own. */
int damon_looked_bytes(struct damon *d, uint64_t *ret_bytes);

/* Gives each region to its target: ret_target[i] is an index, or nr_targets where it fits none. */
void damon_assign(const struct damon_target *targets, size_t nr_targets,
                  const struct damon_region *regions, size_t nr, uint32_t *ret_target);

#endif
