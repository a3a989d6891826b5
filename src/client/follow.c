/* follow.c - the agent goes to the CPU of the thread that faults. Waking an idle CPU costs more than
 * decompressing a page; on the faulting thread's own CPU there is nothing to wake (DESIGN section 4:
 * p50 9-54 us anywhere, 8-10 us there). Two looks must agree before we move, and we look at every 8th
 * fault, after it has been answered. */
#include "client/client.h"
#include "sys/sched.h"

#define LOOK_EVERY 8

/* Initial-exec: the first use of other thread-local memory in a dlopened library may call malloc, which
 * the agent must not. */
#define OWN_THREAD __thread __attribute__((tls_model("initial-exec")))

static OWN_THREAD unsigned nr_faults;
static OWN_THREAD int here = -1, wanted = -1;

void follow_fault(struct stats_block *stats, pid_t thread)
{
    bool is_undecided = wanted != here;
    if (!is_undecided && nr_faults++ % LOOK_EVERY)
        return;
    int cpu = sched_cpu_of_thread(thread);
    if (cpu < 0)
        return;
    if (cpu == wanted && cpu != here && sched_go_to_cpu(cpu) == 0) {
        here = cpu;
        stats_add(stats, STAT_agent_moves_cpu, 1);
    }
    wanted = cpu;
}

void follow_nobody(void)
{
    if (here < 0)
        return;
    (void)sched_go_to_cpu(-1);
    here = wanted = -1;
}
