/* rss.h - what a process holds of its own memory. Any thread; costs one small file. */
#ifndef SYS_RSS_H
#define SYS_RSS_H

#include <stdint.h>
#include <sys/types.h>

/* Anonymous memory that is there now, from /proc/PID/statm, which everybody may read. 0: no such process
 * here (it has gone, or lives in another pid namespace). */
uint64_t rss_private_bytes(pid_t pid);

#endif
