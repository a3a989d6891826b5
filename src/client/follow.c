/* follow.c - the agent goes to the CPU of the thread that faults. Waking an idle CPU costs more than
 * decompressing a page; on the faulting thread's own CPU there is nothing to wake (DESIGN section 4:
 * p50 9-54 us anywhere, 8-10 us there). Two looks must agree before we move. We look after a fault has been
 * answered, but its thread may be waiting for this very CPU: so at every 8th fault at first, and ever more
 * rarely while it is found where we are. */
#include "client/client.h"
#include "sys/sched.h"

#define LOOK_EVERY_MIN 8u
/* A look costs the thread 3-6 us if it waits for us; one that has moved costs 35 us more at each fault
 * until we follow. p99 of a paced touch, medians of 4: 41 us with 8, 44 with 16, 48 with 32, 68 with
 * 128. */
#define LOOK_EVERY_MAX 16u

/* Initial-exec: the first use of other thread-local memory in a dlopened library may call malloc, which
 * the agent must not. */
#define OWN_THREAD __thread __attribute__((tls_model("initial-exec")))

static OWN_THREAD unsigned nr_faults, look_every = LOOK_EVERY_MIN;
static OWN_THREAD int here = -1, wanted = -1;

void follow_fault(struct stats_block *stats, pid_t thread)
{
    bool is_undecided = wanted != here;
    if (!is_undecided && ++nr_faults < look_every)
        return;
    nr_faults = 0;
    int cpu = sched_cpu_of_thread(thread);
    if (cpu < 0)
        return;
    look_every = cpu != here ? LOOK_EVERY_MIN : look_every < LOOK_EVERY_MAX ? 2 * look_every : LOOK_EVERY_MAX;
    bool is_sure = cpu == wanted && cpu != here;
    wanted = cpu;
    if (!is_sure)
        return;
    if (sched_go_to_cpu(cpu)) { /* we may not run there: as if it were here */
        wanted = here;
        look_every = LOOK_EVERY_MAX;
        return;
    }
    here = cpu;
    stats_add(stats, STAT_agent_moves_cpu, 1);
}

void follow_nobody(void)
{
    if (here < 0)
        return;
    (void)sched_go_to_cpu(-1);
    here = wanted = -1;
    look_every = LOOK_EVERY_MIN; /* we are anywhere again */
}
