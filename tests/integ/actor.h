/* actor.h - threads that do one thing at a time when told, on a given CPU and in a given class, to
 * force an order of events that would otherwise be one in a million. */
#ifndef INTEG_ACTOR_H
#define INTEG_ACTOR_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

struct actor {
    int cpu;      /* -1: any */
    int priority; /* SCHED_FIFO; 0: ordinary */
    pthread_t thread;
    sem_t told;
    void (*what)(void *argument);
    void *argument;
    _Atomic bool is_busy;
};

void actor_begin(struct actor *a, int cpu, int priority);
void actor_do(struct actor *a, void (*what)(void *argument), void *argument); /* returns at once */
void actor_wait(struct actor *a); /* at most five seconds */

/* Something to do: spins until *flag is true, and lets nobody of a lower class on its CPU. */
void actor_hog(void *flag);

/* Skips the test unless there are two CPUs and a real-time class. Then the caller goes to CPU 0, so
 * that the pager's threads, which inherit, stay there. */
void stage_begin(void);
/* After the pager has been started: the caller becomes the director: CPU 0, before everybody else
 * there. It must sleep to let others run. */
void stage_direct(void);

#define PRIORITY_HOG 10
#define PRIORITY_ACTOR 20
#define PRIORITY_HIGH_HOG 30
#define PRIORITY_DIRECTOR 40

#endif
