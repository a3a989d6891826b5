/* rss.h - what this process holds of its own memory, from /proc/self/statm. Any thread; the file is
 * opened once, because whoever lists our folder of /proc can hold up who opens something there. */
#ifndef SYS_RSS_H
#define SYS_RSS_H

#include <stdint.h>

/* A descriptor, the caller's; -1: none. */
int rss_open(void);
/* Anonymous memory that is there now. 0: fd is -1. */
uint64_t rss_private_bytes(int fd);

#endif
