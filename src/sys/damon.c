/* damon.c - see damon.h. */
#include "sys/damon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

#define KDAMOND "kdamonds/0/"
#define CONTEXT KDAMOND "contexts/0/"
#define SCHEME CONTEXT "schemes/0/"
#define MARK 0x70706764u /* "ppgd" */

struct damon {
    int root_fd;
};

/* ---- files */

static int read_text(int root_fd, const char *path, char *text, size_t capacity)
{
    int fd = openat(root_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, capacity - 1);
    int r = n < 0 ? -errno : 0;
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return r;
}

static int read_number(int root_fd, const char *path, uint64_t *ret)
{
    char text[32], *end;
    int r = read_text(root_fd, path, text, sizeof text);
    if (r)
        return r;
    uint64_t value = strtoull(text, &end, 10);
    if (end == text)
        return -EILSEQ;
    *ret = value;
    return 0;
}

static int write_text(int root_fd, const char *path, const char *text)
{
    int fd = openat(root_fd, path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
    close(fd);
    return r;
}

static int write_number(int root_fd, const char *path, uint64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRIu64 "\n", value);
    return write_text(root_fd, path, text);
}

static bool is_running(int root_fd)
{
    char state[32];
    return read_text(root_fd, KDAMOND "state", state, sizeof state) == 0 && strcmp(state, "off\n") != 0;
}

/* ---- whose */

/* When a process began, in clock ticks since boot: with the pid it names it for good. 0: no such one. */
static uint32_t start_time(pid_t pid)
{
    char path[64], text[1024];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (read_text(AT_FDCWD, path, text, sizeof text))
        return 0;
    const char *at = strrchr(text, ')'); /* the name before it may hold anything */
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? (uint32_t)strtoull(at, NULL, 10) : 0;
}

static uint64_t pid_namespace(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino & UINT32_MAX : 0;
}

static int write_mark(int root_fd)
{
    int r = write_number(root_fd, SCHEME "quotas/weights/nr_accesses_permil", (uint32_t)getpid());
    if (r == 0)
        r = write_number(root_fd, SCHEME "quotas/weights/age_permil", start_time(getpid()));
    if (r == 0)
        r = write_number(root_fd, SCHEME "watermarks/interval_us", pid_namespace());
    return r ? r : write_number(root_fd, SCHEME "quotas/weights/sz_permil", MARK);
}

enum owner { OWNER_FOREIGN, OWNER_US, OWNER_GONE };

static enum owner find_owner(int root_fd)
{
    uint64_t mark, pid, start, namespace;
    if (read_number(root_fd, SCHEME "quotas/weights/sz_permil", &mark) || mark != MARK ||
        read_number(root_fd, SCHEME "quotas/weights/nr_accesses_permil", &pid) ||
        read_number(root_fd, SCHEME "quotas/weights/age_permil", &start) ||
        read_number(root_fd, SCHEME "watermarks/interval_us", &namespace))
        return OWNER_FOREIGN;
    if (namespace != pid_namespace()) /* whether it lives can't be seen from here */
        return OWNER_FOREIGN;
    if (start_time((pid_t)pid) != (uint32_t)start)
        return OWNER_GONE;
    return pid == (uint32_t)getpid() ? OWNER_US : OWNER_FOREIGN;
}

static void put_away(int root_fd)
{
    if (is_running(root_fd))
        (void)write_text(root_fd, KDAMOND "state", "off\n"); /* fails where it has just ended */
    (void)write_number(root_fd, "kdamonds/nr_kdamonds", 0);
}

static void clean(int root_fd)
{
    uint64_t nr;
    if (read_number(root_fd, "kdamonds/nr_kdamonds", &nr) == 0 && nr == 1 &&
        find_owner(root_fd) == OWNER_GONE)
        put_away(root_fd);
}

void damon_clean(const char *root)
{
    int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return;
    clean(root_fd);
    close(root_fd);
}

/* ---- taking it */

static bool can_watch_processes(int root_fd)
{
    char text[256];
    return read_text(root_fd, CONTEXT "avail_operations", text, sizeof text) == 0 &&
           strstr(text, "fvaddr") != NULL;
}

/* The mark first, as early as there is a place for it. The scheme: look at every region, do nothing. */
static int set_up(int root_fd)
{
    static const struct {
        const char *path, *text;
    } files[] = {
        { CONTEXT "operations", "fvaddr\n" }, /* ours alone: "vaddr" watches the whole process */
        { SCHEME "action", "stat\n" },
        { SCHEME "access_pattern/sz/max", "18446744073709551615\n" },
        { SCHEME "access_pattern/nr_accesses/max", "4294967295\n" },
        { SCHEME "access_pattern/age/max", "4294967295\n" },
    };
    int r = write_number(root_fd, KDAMOND "contexts/nr_contexts", 1);
    if (r == 0)
        r = write_number(root_fd, CONTEXT "schemes/nr_schemes", 1);
    if (r == 0)
        r = write_mark(root_fd);
    if (r == 0 && !can_watch_processes(root_fd))
        r = -EOPNOTSUPP;
    for (size_t i = 0; r == 0 && i < sizeof files / sizeof *files; i++)
        r = write_text(root_fd, files[i].path, files[i].text);
    return r;
}

static int take(int root_fd)
{
    uint64_t nr;
    clean(root_fd);
    int r = read_number(root_fd, "kdamonds/nr_kdamonds", &nr);
    if (r)
        return r;
    if (nr)
        return -EBUSY;
    r = write_number(root_fd, "kdamonds/nr_kdamonds", 1);
    if (r)
        return r;
    r = set_up(root_fd);
    if (r)
        (void)write_number(root_fd, "kdamonds/nr_kdamonds", 0);
    return r;
}

int damon_open(const char *root, struct damon **ret)
{
    struct damon *d = malloc(sizeof *d);
    if (!d)
        return -ENOMEM;
    d->root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = d->root_fd < 0 ? -errno : take(d->root_fd);
    if (r) {
        if (d->root_fd >= 0)
            close(d->root_fd);
        free(d);
        return r;
    }
    *ret = d;
    return 0;
}

struct damon *damon_close(struct damon *d)
{
    if (!d)
        return NULL;
    if (find_owner(d->root_fd) == OWNER_US)
        put_away(d->root_fd);
    close(d->root_fd);
    free(d);
    return NULL;
}

/* ---- watching */

static int write_attrs(int root_fd, const struct damon_attrs *a)
{
    const struct {
        const char *path;
        uint64_t value;
    } files[] = {
        { CONTEXT "monitoring_attrs/intervals/sample_us", a->sample_us },
        { CONTEXT "monitoring_attrs/intervals/aggr_us", a->aggr_us },
        { CONTEXT "monitoring_attrs/intervals/update_us", a->update_us },
        { CONTEXT "monitoring_attrs/nr_regions/min", a->nr_regions_min },
        { CONTEXT "monitoring_attrs/nr_regions/max", a->nr_regions_max },
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof files / sizeof *files; i++)
        r = write_number(root_fd, files[i].path, files[i].value);
    return r;
}

static int write_target(int root_fd, size_t i, const struct damon_target *t)
{
    char path[160];
    int at = snprintf(path, sizeof path, CONTEXT "targets/%zu/", i);
    size_t room = sizeof path - (size_t)at;
    (void)snprintf(path + at, room, "pid_target");
    int r = write_number(root_fd, path, (uint64_t)t->pid);
    (void)snprintf(path + at, room, "regions/nr_regions");
    if (r == 0)
        r = write_number(root_fd, path, t->nr);
    for (size_t k = 0; r == 0 && k < t->nr; k++) {
        (void)snprintf(path + at, room, "regions/%zu/start", k);
        r = write_number(root_fd, path, page_address(t->ranges[k].first));
        (void)snprintf(path + at, room, "regions/%zu/end", k);
        if (r == 0)
            r = write_number(root_fd, path, page_address(t->ranges[k].end));
    }
    return r;
}

int damon_watch(struct damon *d, const struct damon_attrs *attrs, const struct damon_target *targets,
                size_t nr)
{
    if (find_owner(d->root_fd) != OWNER_US)
        return -ESTALE;
    int r = write_attrs(d->root_fd, attrs);
    if (r == 0)
        r = write_number(d->root_fd, CONTEXT "targets/nr_targets", nr);
    for (size_t i = 0; r == 0 && i < nr; i++)
        r = write_target(d->root_fd, i, &targets[i]);
    if (r)
        return r;
    if (is_running(d->root_fd)) {
        r = write_text(d->root_fd, KDAMOND "state", "commit\n");
        if (r == 0 && is_running(d->root_fd))
            return 0;
    }
    r = write_text(d->root_fd, KDAMOND "state", "on\n");
    return r == -EINVAL ? -ESRCH : r; /* all else that it calls invalid is ours, and right */
}

void damon_rest(struct damon *d)
{
    if (find_owner(d->root_fd) == OWNER_US && is_running(d->root_fd))
        (void)write_text(d->root_fd, KDAMOND "state", "off\n"); /* fails where it has just ended */
}

/* Relative to "tried_regions": to walk the whole path is a third of the time that a file takes. */
static int read_region_number(int regions_fd, size_t i, const char *name, uint64_t *ret)
{
    char path[48];
    (void)snprintf(path, sizeof path, "%zu/%s", i, name);
    return read_number(regions_fd, path, ret);
}

static int read_region(int regions_fd, size_t i, struct damon_region *ret)
{
    uint64_t start, end, nr_accesses, age = 0;
    int r = read_region_number(regions_fd, i, "start", &start);
    if (r == 0)
        r = read_region_number(regions_fd, i, "end", &end);
    if (r == 0)
        r = read_region_number(regions_fd, i, "nr_accesses", &nr_accesses);
    if (r == 0 && nr_accesses == 0)
        r = read_region_number(regions_fd, i, "age", &age);
    if (r == 0)
        *ret = (struct damon_region){ .first = page_of(start),
                                      .end = page_of(end + PAGE_BYTES - 1),
                                      .nr_accesses = (uint32_t)nr_accesses,
                                      .age = (uint32_t)age };
    return r;
}

static ssize_t read_regions(int root_fd, struct damon_region *ret_regions, size_t nr_max)
{
    int regions_fd = openat(root_fd, SCHEME "tried_regions", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = regions_fd < 0 ? -errno : 0;
    size_t nr = 0;
    while (nr < nr_max && r == 0) {
        r = read_region(regions_fd, nr, &ret_regions[nr]);
        nr += r == 0;
    }
    if (regions_fd >= 0)
        close(regions_fd);
    return r == 0 || r == -ENOENT ? (ssize_t)nr : r;
}

ssize_t damon_snapshot(struct damon *d, struct damon_region *ret_regions, size_t nr_max, uint64_t *ret_at_ns)
{
    if (find_owner(d->root_fd) != OWNER_US)
        return -ESTALE;
    int r = write_text(d->root_fd, KDAMOND "state", "update_schemes_tried_regions\n");
    if (r)
        return r == -EINVAL ? -ESRCH : r; /* it does not run */
    *ret_at_ns = now_ns();
    return read_regions(d->root_fd, ret_regions, nr_max);
}

int damon_looked_bytes(struct damon *d, uint64_t *ret_bytes)
{
    if (find_owner(d->root_fd) != OWNER_US)
        return -ESTALE;
    int r = write_text(d->root_fd, KDAMOND "state", "update_schemes_stats\n");
    if (r)
        return r == -EINVAL ? -ESRCH : r;
    return read_number(d->root_fd, SCHEME "stats/sz_tried", ret_bytes);
}

/* ---- whose region */

static bool has_range(const struct damon_target *t, page_number first, page_number end)
{
    size_t low = 0, high = t->nr;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->ranges[middle].end <= first)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->nr && t->ranges[low].first < end;
}

void damon_assign(const struct damon_target *targets, size_t nr_targets,
                  const struct damon_region *regions, size_t nr, uint32_t *ret_target)
{
    uint32_t at = 0;
    page_number last_end = 0;
    for (size_t i = 0; i < nr; i++) {
        /* Within a target addresses only go up, and it is watched nowhere else. */
        bool is_next = regions[i].first < last_end;
        uint32_t t = regions[i].first < regions[i].end ? at + is_next : (uint32_t)nr_targets;
        while (t < nr_targets && !has_range(&targets[t], regions[i].first, regions[i].end))
            t++;
        ret_target[i] = t;
        if (t == nr_targets)
            continue; /* the one that was there before the last commit: the next may fit again */
        at = t;
        last_end = regions[i].end;
    }
}

const char *damon_why_not(int error)
{
    switch (error) {
    case -ENOENT:     return "this kernel has no DAMON (CONFIG_DAMON_SYSFS)";
    case -EACCES:
    case -EPERM:
    case -EROFS:      return "DAMON is root's";
    case -EBUSY:      return "DAMON is in use by somebody else";
    case -EOPNOTSUPP: return "this kernel's DAMON cannot watch processes (CONFIG_DAMON_VADDR)";
    default:          return strerror(-error);
    }
}
