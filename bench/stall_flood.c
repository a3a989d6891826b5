/* stall_flood.c - see stall_flood.h. */
#include "stall_flood.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/options.h"
#include "common/pace.h"
#include "common/rng.h"
#include "process_pager.h"

#define SEED_APART 1000000u
#define LOOK_NS 1000000u

struct flood_shared {
    _Atomic uint64_t nr_touched;
    _Atomic bool is_over;
};

static uint32_t *shuffled(const struct subject *s)
{
    uint32_t *order = malloc(s->nr_pages * sizeof *order);
    struct rng r = rng_new(s->spec->seed, 2);
    if (order)
        rng_order(&r, order, s->nr_pages);
    return order;
}

/* As quick as it can: of each page only that it is the right one. All bytes are checked at the end. */
static int flood_until_over(struct subject *s, struct flood_shared *shared, const uint32_t *order)
{
    while (!atomic_load(&shared->is_over)) {
        int r = subject_evict(s, s->memory, s->spec->bytes);
        if (r)
            return r;
        for (uint64_t i = 0; i < s->nr_pages && !atomic_load(&shared->is_over); i++) {
            s->wrong += !content_stamp_is(&s->content, order[i], 1, s->memory + order[i] * CONTENT_PAGE_BYTES);
            atomic_fetch_add_explicit(&shared->nr_touched, 1, memory_order_relaxed);
        }
    }
    return 0;
}

static int flood_run(const struct subject_spec *spec, struct flood_shared *shared)
{
    static struct subject s;
    s.spec = spec;
    int r = subject_prepare(&s);
    uint32_t *order = r == 0 ? shuffled(&s) : NULL;
    if (r == 0 && !order)
        r = -ENOMEM;
    if (r == 0 && spec->arm != SUBJECT_ZRAM)
        r = subject_start_pager(&s);
    if (r == 0)
        r = flood_until_over(&s, shared, order);
    if (r == 0)
        subject_check_all(&s);
    if (s.pager) {
        int stopped = pp_stop(s.pager);
        r = r ? r : stopped;
        s.pager = pp_close(s.pager);
    }
    if (r)
        fprintf(stderr, "flood, %s: %s\n", subject_arm_names[spec->arm], strerror(-r));
    free(order);
    free(s.order);
    return s.wrong ? EXIT_WRONG : r ? EXIT_SYSTEM : 0;
}

static bool has_ended(const struct flood *f)
{
    siginfo_t info = { .si_pid = 0 };
    return waitid(P_PID, (id_t)f->pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid;
}

int flood_begin(struct flood *f, const struct subject_spec *spec)
{
    f->shared = mmap(NULL, sizeof *f->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (f->shared == MAP_FAILED)
        return -ENOMEM;
    pid_t parent = getpid();
    f->pid = fork();
    if (f->pid < 0)
        return -errno;
    if (f->pid == 0) {
        struct subject_spec other = *spec;
        other.seed += SEED_APART;
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
            _exit(EXIT_SYSTEM);
        _exit(flood_run(&other, f->shared));
    }
    while (!flood_nr_touched(f)) {
        if (has_ended(f))
            return -ECHILD;
        pace_sleep_until_ns(pace_now_ns() + LOOK_NS);
    }
    return 0;
}

uint64_t flood_nr_touched(const struct flood *f)
{
    return atomic_load_explicit(&f->shared->nr_touched, memory_order_relaxed);
}

int flood_end(struct flood *f)
{
    int status = 0;
    atomic_store(&f->shared->is_over, true);
    if (waitpid(f->pid, &status, 0) != f->pid)
        return EXIT_SYSTEM;
    munmap(f->shared, sizeof *f->shared);
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SYSTEM;
}
