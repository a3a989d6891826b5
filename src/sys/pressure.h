/* pressure.h - whether anybody waits for a CPU, by /proc/pressure/cpu (Documentation/accounting/psi.rst).
 * Whole machine, as far as its kernel knows: what a cgroup's quota holds up, or the host, is not seen.
 * Contract: one thread; nothing is allocated. */
#ifndef SYS_PRESSURE_H
#define SYS_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

#define PRESSURE_CPU "/proc/pressure/cpu"

struct pressure {
    int fd; /* negative errno: none, and then there is always somebody who waits */
    uint64_t looked_ns, waited_us;
    bool is_high;
};

/* What can't be opened is taken for high pressure. path: PRESSURE_CPU, or a test's. */
void pressure_open(struct pressure *p, const char *path);
void pressure_close(struct pressure *p);
/* Somebody waited for more than a twentieth of the time between the last two looks. Looks anew where the last
 * one was PRESSURE_LOOK_NS ago, which takes 5 us; high before there have been two. now_ns: CLOCK_MONOTONIC. */
#define PRESSURE_LOOK_NS UINT64_C(100000000)
bool pressure_is_high(struct pressure *p, uint64_t now_ns);

#endif
