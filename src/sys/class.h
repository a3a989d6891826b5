/* class.h - how soon the calling thread gets a CPU, once it wants one: a real-time class where that is
 * permitted, else a nice value, else the ordinary class with a short slice. Contract: nothing is allocated.
 * Which of them is decided by trying. What somebody else has chosen for the thread is left alone: another class
 * than the ordinary one, and in that one another nice value than it was left at. */
#ifndef SYS_CLASS_H
#define SYS_CLASS_H

#include <stdbool.h>
#include <stdint.h>

enum class_kind {
    CLASS_ORDINARY,  /* nothing else is permitted */
    CLASS_NICE,      /* RLIMIT_NICE; or CAP_SYS_NICE in a group that has no real-time share */
    CLASS_REALTIME,  /* RLIMIT_RTPRIO, or CAP_SYS_NICE */
};

struct own_class {
    enum class_kind kind; /* which class_enter() goes to */
    int nice, urgent_nice; /* at first, and instead: the same where nothing lower is permitted */
    uint64_t slice_ns;
    bool is_slice_kept; /* older kernels take the number, and pass over it */
};

/* What the calling thread may; it stays where it is, with the kernel's own slice. Of a thread that is in the
 * ordinary class, and at its own nice value. Again, when one of the following is refused: rights may have been
 * given up since, or somebody has chosen. */
void class_find(struct own_class *ret_class);
/* In the ordinary class: it may be preempted after so long, and may preempt who has a longer slice (Linux 6.12;
 * older kernels pass over it). 0: the kernel's own. Returns 0, or negative errno. */
int class_set_slice(struct own_class *c, uint64_t ns);
/* In the ordinary class: its urgent nice value and the kernel's own slice, for with a shorter one it owes the
 * queue sooner; or its first one, and the slice that was set. 0, or negative errno. */
int class_set_heavy(const struct own_class *c, bool is_heavy);
/* How long the calling thread has waited for a CPU so far, by a descriptor (/proc/thread-self/schedstat).
 * Negative errno: the kernel does not count it. */
int class_open_waits(void);
struct class_waits {
    uint64_t ns, nr; /* and how often it has got one */
};
void class_read_waits(int fd, struct class_waits *ret_waits); /* about 1 us */
/* 0, or negative errno. About 1 us each. */
int class_enter(const struct own_class *c);
int class_leave(const struct own_class *c);

#endif
