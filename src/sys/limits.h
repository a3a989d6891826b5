/* limits.h - what the process may have. Contract: nothing is allocated. */
#ifndef SYS_LIMITS_H
#define SYS_LIMITS_H

#include <stdbool.h>

/* May a mapping call fail for want of address space: RLIMIT_AS is set, or the machine counts what is
 * promised strictly (vm.overcommit_memory=2)? */
bool limits_address_space(void);

#endif
