/* lock.h - memory that the kernel keeps in RAM. Contract: any thread. */
#ifndef SYS_LOCK_H
#define SYS_LOCK_H

#include <stddef.h>

/* Page by page as it is first touched, so address space costs nothing. 0, or negative errno: -ENOMEM and -EPERM
 * where the user may not lock so much. */
int memory_lock(const void *at, size_t bytes);

#endif
