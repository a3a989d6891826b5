/* smaps.h - which mappings a child of fork() finds empty: MADV_WIPEONFORK, of which nobody is told.
 * Reading it costs the kernel a walk over all of the process's memory. Nothing is allocated. */
#ifndef SYS_SMAPS_H
#define SYS_SMAPS_H

#include "base/intervals.h"

/* Adds the calling process's to the set. 0, -ENOSPC, or why it can't be read. */
int smaps_wiped(struct intervals *s);

#endif
