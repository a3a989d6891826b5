/* tsan.h - what the models share: threads, ends, and releases that a mutant takes away. */
#ifndef TSAN_H
#define TSAN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                                 \
            _Exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static inline pthread_t begin(void *(*main)(void *), void *argument)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, main, argument) == 0);
    return thread;
}

static inline void join(pthread_t thread)
{
    CHECK(pthread_join(thread, NULL) == 0);
}

static inline uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

#endif
