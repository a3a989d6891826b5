/* agent_class - an agent that has been made to wait for a CPU waits for faults in a real-time class where it
 * may, works in the ordinary one, and has no more of the class than is granted. Method: the agent on one CPU,
 * beside a thread that only computes; the kernel's account of the agent's thread (sched_getattr); what CPU it
 * used in the class, beside all it used; a flood of faults from the other CPU; then the same without the right
 * to any of it. */
#include "support.h"

#include <cap-ng.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "policy/allowance.h"
#include "process.h"
#include "sys/uapi.h"

#define NR 4096u
#define NR_TOUCHERS 3u
#define FLOOD_NS 400000000u

static struct pages p;
static struct pp_pager *pager;
static _Atomic bool is_over;

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    CHECK_EQ(clock_gettime(clock, &t), 0);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static pid_t agent_tid(void)
{
    pid_t tid = process_thread(getpid(), "pp-agent");
    CHECK(tid);
    return tid;
}

static struct sched_attr_v0 attributes_of(pid_t tid)
{
    struct sched_attr_v0 a = { .size = sizeof a };
    CHECK_EQ(syscall(SYS_sched_getattr, tid, &a, sizeof a, 0), 0);
    return a;
}

/* CPU time of a thread of ours (MAKE_THREAD_CPUCLOCK of the kernel): statistics tell it once a second. */
static uint64_t cpu_ns_of(pid_t tid)
{
    return clock_ns((clockid_t)(~(unsigned)tid << 3 | 6));
}

static bool is_in(int policy)
{
    return (int)attributes_of(agent_tid()).sched_policy == policy;
}

static void begin(const struct daemon *d)
{
    pager = pager_open(d->socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
}

static void all_leave_and_come_back(void)
{
    CHECK_EQ(pp_reclaim(pager, p.memory, pages_to_bytes(NR)), 0);
    CHECK_EQ(pages_nr_present(&p, 0, NR), 0);
    pages_check_all(&p);
}

static void end(void)
{
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
}

/* ---- with the right */

static void is_ordinary_where_nobody_is_in_the_way(void)
{
    test_case("an agent that need not wait for a CPU is in the ordinary class");
    all_leave_and_come_back();
    CHECK_EQ(pager_stat(pager, "agents_realtime"), 1);
    fprintf(stderr, "without a crowd: %.1f ms in the class\n",
            (double)pager_stat(pager, "agent_urgent_cpu_ns") / 1e6);
}

static void weighs_more_while_it_only_answers(void)
{
    test_case("an agent that does nothing but answer weighs more, and gives that back to work");
    if (test_is_emulated()) { /* faults come within 60 us of an answer, or not: there is no slower way */
        fprintf(stderr, "under emulation it is not shown that the agent weighs more\n");
        return;
    }
    int own = getpriority(PRIO_PROCESS, 0), lowest = own;
    for (int i = 0; i < 100 && lowest == own; i++) { /* a tick may come in between */
        CHECK_EQ(pp_reclaim(pager, p.memory, pages_to_bytes(NR)), 0);
        CHECK_EQ(attributes_of(agent_tid()).sched_nice, own);
        for (size_t at = 0; at < NR && lowest == own; at++) {
            /* by no step that is followed */
            (void)*(volatile unsigned char *)(p.memory + pages_to_bytes(at * 1031 % NR));
            if (at % 64 == 63)
                lowest = attributes_of(agent_tid()).sched_nice;
        }
    }
    CHECK(lowest < own);
    CHECK(lowest >= own - 10);
}

static void *compute(void *ret_ns)
{
    thread_pin(0);
    while (!atomic_load_explicit(&is_over, memory_order_relaxed))
        ;
    *(uint64_t *)ret_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

static void goes_there_in_a_crowd(void)
{
    test_case("an agent that had to wait sleeps in the class, and answers in it");
    struct sched_attr_v0 is = { .sched_policy = SCHED_OTHER };
    for (int i = 0; i < 100 && is.sched_policy != SCHED_RR; i++) {
        all_leave_and_come_back(); /* it waits sooner or later */
        is = attributes_of(agent_tid());
    }
    CHECK_EQ(is.sched_policy, SCHED_RR);
    CHECK_EQ(is.sched_priority, 1);
    CHECK(is.sched_flags & SCHED_FLAG_RESET_ON_FORK);
    all_leave_and_come_back();
    CHECK(pager_stat(pager, "agent_urgent_cpu_ns") > 0);
}

static void works_elsewhere(void)
{
    test_case("pages leave while it is in the ordinary class");
    pid_t tid = agent_tid();
    uint64_t cpu_ns = cpu_ns_of(tid), urgent_ns = pager_stat(pager, "agent_urgent_cpu_ns");
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pp_reclaim(pager, p.memory, pages_to_bytes(NR)), 0);
        CHECK_EQ(pp_pin(pager, p.memory, pages_to_bytes(NR)), 0); /* and come back so: a command's work, too */
        CHECK_EQ(pp_unpin(pager, p.memory, pages_to_bytes(NR)), 0);
    }
    cpu_ns = cpu_ns_of(tid) - cpu_ns;
    urgent_ns = pager_stat(pager, "agent_urgent_cpu_ns") - urgent_ns;
    fprintf(stderr, "at work: %.1f ms, of it in the class %.1f\n", (double)cpu_ns / 1e6,
            (double)urgent_ns / 1e6);
    CHECK(urgent_ns < cpu_ns / 4);
}

/* Faults as fast as they come, of pages that were never there. */
static void *flood(void *argument)
{
    unsigned char *at = argument;
    thread_pin(1);
    while (!atomic_load(&is_over)) {
        for (size_t i = 0; i < NR && !atomic_load(&is_over); i++)
            (void)*(volatile unsigned char *)(at + pages_to_bytes(i));
        CHECK_EQ(madvise(at, pages_to_bytes(NR), MADV_DONTNEED), 0);
    }
    return NULL;
}

/* The bound, whatever else the machine does; 10 ms for looks that came late. */
static void has_no_more_than_is_granted(unsigned char *memory)
{
    test_case("a flood of faults leaves most of the agent's CPU to others");
    pthread_t touchers[NR_TOUCHERS];
    pid_t tid = agent_tid();
    CHECK_EQ(pp_register(pager, memory, pages_to_bytes(NR * NR_TOUCHERS)), 0);
    CHECK_EQ(pp_reclaim(pager, memory, pages_to_bytes(NR * NR_TOUCHERS)), 0); /* watched from now on */
    uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC), cpu_ns = cpu_ns_of(tid),
             urgent_ns = pager_stat(pager, "agent_urgent_cpu_ns");
    for (unsigned i = 0; i < NR_TOUCHERS; i++)
        CHECK_EQ(pthread_create(&touchers[i], NULL, flood, memory + pages_to_bytes(NR * i)), 0);
    test_nap_us(FLOOD_NS / 1000);
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < NR_TOUCHERS; i++)
        pthread_join(touchers[i], NULL);
    cpu_ns = cpu_ns_of(tid) - cpu_ns;
    urgent_ns = pager_stat(pager, "agent_urgent_cpu_ns") - urgent_ns;
    uint64_t took_ns = clock_ns(CLOCK_MONOTONIC) - begin_ns;
    fprintf(stderr, "flood of %.0f ms: agent %.0f ms, of it in the class %.0f, used up %d times\n",
            (double)took_ns / 1e6, (double)cpu_ns / 1e6, (double)urgent_ns / 1e6,
            (int)pager_stat(pager, "agent_urgent_used_up"));
    CHECK(urgent_ns < ALLOWANCE_NS_MAX + took_ns * ALLOWANCE_PERCENT / 100 + 10000000);
}

/* The agent inherits this CPU, may go nowhere else, and finds somebody there who computes. */
static void in_a_crowd(const struct daemon *d)
{
    unsigned char *memory = mmap(NULL, pages_to_bytes(NR * NR_TOUCHERS), PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    thread_pin(0);
    begin(d);
    thread_pin(1);
    pthread_t computing;
    uint64_t computed_ns, begin_ns = clock_ns(CLOCK_MONOTONIC);
    CHECK_EQ(pthread_create(&computing, NULL, compute, &computed_ns), 0);
    goes_there_in_a_crowd();
    works_elsewhere();
    has_no_more_than_is_granted(memory);
    pthread_join(computing, NULL);
    fprintf(stderr, "the other thread there had %.0f of %.0f ms\n", (double)computed_ns / 1e6,
            (double)(clock_ns(CLOCK_MONOTONIC) - begin_ns) / 1e6);
    end();
    munmap(memory, pages_to_bytes(NR * NR_TOUCHERS));
}

/* ---- without */

static void is_as_it_was_where_it_is_not_wanted(struct daemon *d)
{
    test_case("--agent-class normal");
    CHECK_EQ(helper_kill(d->pid, SIGTERM), 0);
    daemon_start(d, (const char *const[]){ "--cold-age", "1h", "--agent-class", "normal", NULL });
    begin(d);
    all_leave_and_come_back();
    CHECK(is_in(SCHED_OTHER));
    CHECK_EQ(pager_stat(pager, "agents_realtime") + pager_stat(pager, "agents_nice"), 0);
    CHECK_EQ(pager_stat(pager, "agent_urgent_cpu_ns"), 0);
    end();
}

static void goes_on_without_the_right(const struct daemon *d)
{
    test_case("neither RLIMIT_RTPRIO nor CAP_SYS_NICE");
    capng_get_caps_process();
    CHECK_EQ(capng_update(CAPNG_DROP, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_SYS_NICE), 0);
    CHECK_EQ(capng_apply(CAPNG_SELECT_CAPS), 0);
    begin(d);
    all_leave_and_come_back();
    CHECK(is_in(SCHED_OTHER));
    CHECK_EQ(attributes_of(agent_tid()).sched_nice, getpriority(PRIO_PROCESS, 0));
    CHECK_EQ(pager_stat(pager, "agents_realtime") + pager_stat(pager, "agents_nice"), 0);
    end();
}

int main(void)
{
    test_begin("the agent waits for faults in a class of its own, within bounds", 30);
    if (!can_use_fifo())
        test_skip("needs a real-time class (root, or RLIMIT_RTPRIO)");
    struct daemon d;
    static const char *const options[] = { "--cold-age", "1h", NULL };
    daemon_start(&d, options);
    pages_map(&p, NR);
    pages_write_all(&p);
    begin(&d);
    is_ordinary_where_nobody_is_in_the_way();
    weighs_more_while_it_only_answers();
    end();
    if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
        in_a_crowd(&d);
    is_as_it_was_where_it_is_not_wanted(&d);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    daemon_start(&d, options);
    goes_on_without_the_right(&d);
    return test_end();
}
