/* look.c - see look.h.
 *
 * `at` is whom control is looking at. The thread that looks takes it back when it is done, or its successor
 * does so first: who has got it is control. No two threads look at one session at once, because control keeps
 * away from one in which a thread has been left: so what a thread takes back is its own. */
#include "daemon/look.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/point.h"
#include "daemon/limits.h"
#include "daemon/session.h"
#include "sys/status.h"

#define STACK_BYTES ((size_t)256 << 10)
#define STATUS_PAUSE_MS 1000u /* where we may not open it (hidepid) */

static struct {
    int clock_fd;
    _Atomic(struct session *) at;
    _Atomic pid_t thread; /* that is control */
    _Atomic bool is_over; /* a control has returned */
    void (*control)(void *argument, struct session *left_in);
    void *argument;
} look = { .clock_fd = -1 };

static _Thread_local jmp_buf end; /* pthread_exit() would load a library, and in the sandbox there is none */

static void set_clock(uint64_t ns)
{
    const struct itimerspec once = { .it_value.tv_nsec = (long)ns }; /* less than a second */
    (void)timerfd_settime(look.clock_fd, 0, &once, NULL); /* cannot fail: the clock is there, the time is one */
}

int look_open(void)
{
    look.clock_fd = point_fails(POINT_LOOK_CLOCK) ? -1 : timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    return look.clock_fd < 0 ? -errno : 0;
}

/* Whoever opens it may wait for the client, as for the lock of its memory. */
static void open_status(struct session *s, uint64_t now_ms)
{
    bool is_open = atomic_load_explicit(&s->status_fd, memory_order_relaxed) >= 0;
    if (is_open || s->pid <= 0 || now_ms < s->next_open_ms)
        return;
    s->next_open_ms = now_ms + STATUS_PAUSE_MS;
    int fd = process_status_open(s->pid);
    atomic_store_explicit(&s->status_fd, fd < 0 ? -1 : fd, memory_order_release);
}

void look_at(struct session *s, uint64_t now_ms)
{
    assert(!atomic_load_explicit(&s->is_looked_at, memory_order_relaxed));
    atomic_store_explicit(&s->is_looked_at, true, memory_order_relaxed);
    atomic_store_explicit(&look.at, s, memory_order_release); /* with all that is control's */
    set_clock(LOOK_MS_MAX * NS_PER_MS);
    open_status(s, now_ms);
    (void)s->heat_ops->tick(s->heat, now_ms);
    struct session *mine = s;
    bool is_control = atomic_compare_exchange_strong_explicit(&look.at, &mine, NULL, memory_order_acquire,
                                                              memory_order_relaxed);
    if (is_control)
        set_clock(0);
    atomic_store_explicit(&s->is_looked_at, false, memory_order_release); /* the session may go now */
    if (!is_control)
        longjmp(end, 1);
}

static void be_control(struct session *left_in)
{
    if (setjmp(end))
        return; /* another one is, since long */
    (void)prctl(PR_SET_NAME, "pp-control");
    atomic_store_explicit(&look.thread, (pid_t)syscall(SYS_gettid), memory_order_relaxed);
    look.control(look.argument, left_in);
    atomic_store_explicit(&look.is_over, true, memory_order_release);
    set_clock(1);
}

static void *begin(void *unused)
{
    (void)unused;
    be_control(NULL);
    return NULL;
}

/* The look may have come back meanwhile, and control be in another, whose user is not to pay for it. */
static void *succeed(void *argument)
{
    struct session *s = argument, *theirs = s;
    bool is_control = atomic_compare_exchange_strong_explicit(&look.at, &theirs, NULL, memory_order_acquire,
                                                              memory_order_relaxed);
    if (is_control)
        be_control(s);
    return NULL;
}

static int start(void *(*what)(void *), struct session *s)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int r = point_fails(POINT_LOOK_THREAD) ? -errno : -pthread_create(&thread, &attributes, what, s);
    pthread_attr_destroy(&attributes);
    return r;
}

/* Does it wait for something, or has it only not had a CPU for so long? Then nobody could go on instead. */
static bool is_waiting(pid_t thread)
{
    char path[64], text[64] = "";
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    const char *state = n > 0 ? strrchr(text, ')') : NULL; /* "1 (pp-control) D ..." */
    return !state || state[1] != ' ' || state[2] != 'R';
}

int look_run(void (*control)(void *argument, struct session *left_in), void *argument)
{
    look.control = control;
    look.argument = argument;
    int r = start(begin, NULL);
    uint64_t nr_times;
    while (r == 0 && !atomic_load_explicit(&look.is_over, memory_order_acquire)) {
        ssize_t n = read(look.clock_fd, &nr_times, sizeof nr_times);
        struct session *s = atomic_load(&look.at);
        if (n < 0 || !s)
            continue; /* a signal, or the clock was set anew */
        bool is_left = is_waiting(atomic_load_explicit(&look.thread, memory_order_relaxed));
        if (!is_left || start(succeed, s)) /* or there is no memory now */
            set_clock(LOOK_MS_MAX * NS_PER_MS);
    }
    return r;
}
