/* actor.c - see actor.h. */
#include "actor.h"

#include <unistd.h>

#include "support.h"

static void *actor_main(void *argument)
{
    struct actor *a = argument;
    if (a->cpu >= 0)
        thread_pin(a->cpu);
    if (a->priority)
        thread_fifo(a->priority);
    for (;;) {
        while (sem_wait(&a->told))
            ;
        a->what(a->argument);
        atomic_store(&a->is_busy, false);
    }
    return NULL;
}

void actor_begin(struct actor *a, int cpu, int priority)
{
    *a = (struct actor){ .cpu = cpu, .priority = priority };
    CHECK_EQ(sem_init(&a->told, 0, 0), 0);
    CHECK_EQ(pthread_create(&a->thread, NULL, actor_main, a), 0);
}

void actor_do(struct actor *a, void (*what)(void *argument), void *argument)
{
    CHECK(!atomic_load(&a->is_busy));
    a->what = what;
    a->argument = argument;
    atomic_store(&a->is_busy, true);
    CHECK_EQ(sem_post(&a->told), 0);
}

void actor_wait(struct actor *a)
{
    WAIT_UNTIL(!atomic_load(&a->is_busy));
}

void actor_hog(void *flag)
{
    _Atomic bool *is_over = flag;
    while (!atomic_load_explicit(is_over, memory_order_relaxed))
        ;
}

void stage_begin(void)
{
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        test_skip("needs two CPUs to force the order of events");
    if (!can_use_fifo())
        test_skip("needs a real-time class to force the order of events (root, or RLIMIT_RTPRIO)");
    thread_pin(0);
}

void stage_direct(void)
{
    thread_pin(0);
    thread_fifo(PRIORITY_DIRECTOR);
}
