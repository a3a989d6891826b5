/* pressure.h - for how long threads have had to wait for a CPU, of all that the machine has: the kernel's account
 * (Documentation/accounting/psi.rst, cpu, "some"). A time in which several wait counts once. Contract: nothing is
 * allocated; any thread. */
#ifndef SYS_PRESSURE_H
#define SYS_PRESSURE_H

#include <stdint.h>

/* A descriptor, the caller's. Negative errno: the kernel does not count it (psi=0), or we may not look. */
int pressure_open(void);
/* Since the machine began, in whole us; what goes on just now is in it. 0: it could not be read, or fd is negative.
 * About 2 us of CPU. */
uint64_t pressure_waited_ns(int fd);

#endif
