/* bars.c - see bars.h. */
#include "client/bars.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "sys/tasks.h"

/* Calls that may discard: their number in the text means "perhaps still before or inside the zap". */
static bool may_discard(long number)
{
    switch (number) {
    case SYS_madvise:
    case SYS_munmap:
    case SYS_mremap:
    case SYS_mmap:
    case SYS_brk:
    case SYS_exit:
#ifdef SYS_process_madvise
    case SYS_process_madvise:
#endif
    case SYS_io_uring_enter:
        return true;
    default:
        return false;
    }
}

bool bars_is_outside(const char *text)
{
    if (*text < '0' || *text > '9') /* "running", or "-1 ...": in a fault */
        return mutant_is(MUTANT_BAR_LIFTED_ON_RUNNING);
    return !may_discard(strtol(text, NULL, 10));
}

static bool is_seen_outside(pid_t tid)
{
    char text[128];
    if (task_read(tid, "syscall", text, sizeof text) < 0)
        return access("/proc/self/task", F_OK) == 0 && syscall(SYS_tgkill, getpid(), tid, 0) != 0;
    if (!bars_is_outside(text))
        return false;
    return task_read(tid, "comm", text, sizeof text) > 0 && strncmp(text, "iou-", 4) != 0;
}

/* 0, or negative errno: too many, no /proc, or -EAGAIN. */
static int list_threads(struct bars_check *b)
{
    pid_t self = (pid_t)syscall(SYS_gettid);
    int nr = tasks_list(b->threads, BARS_THREADS_MAX);
    b->nr = 0;
    for (int i = 0; i < nr; i++)
        if (b->threads[i] != self)
            b->threads[b->nr++] = b->threads[i];
    return nr < 0 ? nr : 0;
}

/* Threads that only compute are never seen outside, and some come and go too fast: don't burn for them. */
static bool look_later(struct bars_check *b)
{
    if (b->pause_ns < NS_PER_S)
        b->pause_ns = b->pause_ns ? 2 * b->pause_ns : 2 * NS_PER_MS;
    b->next_look_ns = now_ns() + b->pause_ns;
    return true;
}

bool bars_check_step(struct bars_check *b, _Atomic uint64_t *wanted, _Atomic uint64_t *checked)
{
    uint64_t number = atomic_load_explicit(wanted, memory_order_acquire);
    if (!b->is_running) {
        if (number <= atomic_load_explicit(checked, memory_order_relaxed) || number == b->number)
            return false;
        if (now_ns() < b->next_look_ns)
            return true; /* they could not be listed */
        int r = list_threads(b);
        if (r == -EAGAIN)
            return look_later(b);
        b->number = number;
        b->is_running = r == 0;
        b->pause_ns = NS_PER_MS;
        b->next_look_ns = 0;
        if (!b->is_running)
            return false;
    }
    if (now_ns() < b->next_look_ns)
        return true;
    uint32_t nr_left = 0;
    for (uint32_t i = 0; i < b->nr; i++)
        if (!is_seen_outside(b->threads[i]))
            b->threads[nr_left++] = b->threads[i];
    b->nr = nr_left;
    if (!nr_left) {
        atomic_store_explicit(checked, b->number, memory_order_release);
        b->is_running = false;
        b->pause_ns = 0;
        return false;
    }
    return look_later(b);
}
