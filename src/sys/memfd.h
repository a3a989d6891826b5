/* memfd.h - anonymous memory with a descriptor, to be shared with a process that is not trusted. */
#ifndef SYS_MEMFD_H
#define SYS_MEMFD_H

#include <stddef.h>

/* A memfd of `bytes` that nobody can shrink, grow, or seal further; mapped shared and writable, and
 * left out of core dumps. Close-on-exec. 0 or negative errno. */
int memfd_share(const char *name, size_t bytes, int *ret_fd, void **ret_map);
/* How much of such a map holds memory, by whoever's touch. */
size_t memfd_populated_bytes(void *map, size_t bytes);

#endif
