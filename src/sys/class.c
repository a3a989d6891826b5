/* class.c - see class.h. The real-time class is asked for by sched_setscheduler(2), which is what sandboxes
 * know how to refuse (systemd's RestrictRealtime=), and which keeps nice value and slice. */
#include "sys/class.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/uapi.h"

#define URGENT_BY 10 /* the weight of nine others: who is on the same CPU keeps a tenth of it */
#define NICE_MIN -20

static int set_policy(int policy, int priority)
{
    struct sched_param p = { .sched_priority = priority };
    return sched_setscheduler(0, policy | SCHED_RESET_ON_FORK, &p) ? -errno : 0;
}

static int set_attributes(int nice, uint64_t slice_ns)
{
    struct sched_attr_v0 a = { .size = sizeof a,
                               .sched_policy = SCHED_OTHER,
                               .sched_flags = SCHED_FLAG_RESET_ON_FORK,
                               .sched_nice = nice,
                               .sched_runtime = slice_ns };
    return syscall(SYS_sched_setattr, 0, &a, 0) ? -errno : 0;
}

/* Has somebody chosen another since? Not if that can't be told. */
static bool is_other_class(int policy)
{
    int is = sched_getscheduler(0);
    return is >= 0 && (is & ~SCHED_RESET_ON_FORK) != policy;
}

static bool is_other_than(int nice)
{
    errno = 0; /* -1 is a nice value, too */
    bool is_other_nice = getpriority(PRIO_PROCESS, 0) != nice && errno == 0;
    return is_other_nice || is_other_class(SCHED_OTHER);
}

/* Who uses that much of a CPU in a real-time class gets a signal: the application's, for what we do. */
static bool is_realtime_timed(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_RTTIME, &limit) || limit.rlim_cur != RLIM_INFINITY;
}

/* That much lower, or as low as RLIMIT_NICE lets, or what it is. */
static int find_urgent_nice(const struct own_class *c)
{
    struct rlimit limit;
    int wanted = c->nice - URGENT_BY < NICE_MIN ? NICE_MIN : c->nice - URGENT_BY;
    if (set_attributes(wanted, 0) && getrlimit(RLIMIT_NICE, &limit) == 0 && limit.rlim_cur <= 40)
        wanted = 20 - (int)limit.rlim_cur;
    bool may = wanted < c->nice && set_attributes(wanted, 0) == 0;
    (void)set_attributes(c->nice, 0); /* upwards one always may */
    return may ? wanted : c->nice;
}

void class_find(struct own_class *ret_class)
{
    struct own_class *c = ret_class;
    *c = (struct own_class){ .kind = CLASS_ORDINARY, .nice = getpriority(PRIO_PROCESS, 0) };
    c->urgent_nice = c->nice;
    if (is_other_class(SCHED_OTHER))
        return;
    c->urgent_nice = find_urgent_nice(c);
    c->kind = CLASS_REALTIME;
    if (class_enter(c) == 0)
        (void)set_policy(SCHED_OTHER, 0);
    else
        c->kind = c->urgent_nice < c->nice ? CLASS_NICE : CLASS_ORDINARY;
}

/* Since it is kept, Linux 6.12, it can be asked for. */
static bool has_slice(uint64_t ns)
{
    struct sched_attr_v0 a = { .size = sizeof a };
    return syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) == 0 && a.sched_runtime == ns;
}

int class_set_slice(struct own_class *c, uint64_t ns)
{
    int r = is_other_than(c->nice) ? -EPERM : set_attributes(c->nice, ns);
    if (r)
        return r;
    c->slice_ns = ns;
    c->is_slice_kept = ns && has_slice(ns);
    return 0;
}

static int lower(const struct own_class *c, uint64_t slice_ns)
{
    return is_other_than(c->nice) ? -EPERM : set_attributes(c->urgent_nice, slice_ns);
}

static int raise_back(const struct own_class *c)
{
    return is_other_than(c->urgent_nice) ? 0 : set_attributes(c->nice, c->slice_ns);
}

int class_set_heavy(const struct own_class *c, bool is_heavy)
{
    return is_heavy ? lower(c, 0) : raise_back(c);
}

int class_open_waits(void)
{
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* "running waiting times", the first two in ns. */
void class_read_waits(int fd, struct class_waits *ret_waits)
{
    char text[96], *at;
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    (void)strtoull(text, &at, 10);
    ret_waits->ns = strtoull(at, &at, 10);
    ret_waits->nr = strtoull(at, &at, 10);
}

int class_enter(const struct own_class *c)
{
    if (c->kind != CLASS_REALTIME)
        return lower(c, c->slice_ns);
    return is_realtime_timed() || is_other_than(c->nice) ? -EPERM : set_policy(SCHED_RR, 1);
}

int class_leave(const struct own_class *c)
{
    if (c->kind != CLASS_REALTIME)
        return raise_back(c);
    if (is_other_class(SCHED_RR) || set_policy(SCHED_OTHER, 0) == 0)
        return 0;
    return set_attributes(c->nice, c->slice_ns); /* where a filter forbids the other call */
}
