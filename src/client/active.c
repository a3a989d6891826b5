/* active.c - see active.h. */
#include "client/active.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "sys/tasks.h"
#include "wire/session_memory.h"

#define PAUSE_FIRST_NS (250 * NS_PER_MS)

struct look {
    struct active *active;
    uint64_t now_ns;
    bool is_first;
    uint32_t nr_running, nr_read;
};

static struct active_thread *known(struct active *a, pid_t tid)
{
    for (uint32_t i = 0; i < a->nr; i++)
        if (a->threads[i].tid == tid)
            return &a->threads[i];
    return NULL;
}

static bool is_ours(pid_t tid)
{
    char comm[32];
    return task_read(tid, "comm", comm, sizeof comm) > 0 &&
           (strcmp(comm, AGENT_NAME "\n") == 0 || strcmp(comm, PORTER_NAME "\n") == 0);
}

/* One that was not there at the last look has begun since, so it has run. */
static int look_at(pid_t tid, void *context)
{
    struct look *l = context;
    struct active *a = l->active;
    struct active_thread *t = known(a, tid);
    if (!t && a->nr == ACTIVE_THREADS_MAX) {
        l->nr_running++;
        return 0;
    }
    char text[96];
    ssize_t n = task_read(tid, "schedstat", text, sizeof text);
    if (n <= 0)
        return n == -ENOENT || n == -ESRCH ? 0 : -ENODATA; /* it has ended, or the kernel does not say */
    l->nr_read++;
    uint64_t run_ns = strtoull(text, NULL, 10);
    bool has_run = t ? t->run_ns != run_ns : !l->is_first;
    if (!t) {
        t = &a->threads[a->nr++];
        *t = (struct active_thread){ .tid = tid };
    }
    t->nr_missed = 0;
    t->run_ns = run_ns;
    if (has_run && !is_ours(tid))
        t->until_ns = l->now_ns + ACTIVE_WINDOW_NS;
    l->nr_running += l->now_ns < t->until_ns;
    return 0;
}

/* A listing may pass over a thread while another one ends (sys/tasks.h), but hardly twice. */
static void forget_who_has_ended(struct active *a)
{
    uint32_t nr = 0;
    for (uint32_t i = 0; i < a->nr; i++)
        if (a->threads[i].nr_missed++ < 2)
            a->threads[nr++] = a->threads[i];
    a->nr = nr;
}

void active_step(struct active *a, uint64_t now_ns, _Atomic uint32_t *told)
{
    if (now_ns < a->next_ns)
        return;
    struct look l = { .active = a, .now_ns = now_ns, .is_first = !a->pause_ns };
    int r = tasks_each(look_at, &l);
    if (r == 0)
        forget_who_has_ended(a);
    a->pause_ns = l.is_first ? PAUSE_FIRST_NS : a->pause_ns * 2;
    a->pause_ns = a->pause_ns < ACTIVE_PAUSE_MAX_NS ? a->pause_ns : ACTIVE_PAUSE_MAX_NS;
    a->next_ns = now_ns + a->pause_ns;
    bool is_known = r == 0 && l.nr_read > 0; /* no schedstat at all reads as if all had ended */
    uint32_t nr = !is_known ? NR_ACTIVE_UNKNOWN : l.nr_running ? l.nr_running : 1;
    if (!l.is_first || !is_known)
        atomic_store_explicit(told, nr, memory_order_relaxed);
}
