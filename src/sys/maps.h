/* maps.h - is this piece of our own address space memory that can be paged? Asked with PROCMAP_QUERY
 * (Linux 6.11), else read from /proc/self/maps. Contract: one thread at a time per struct; nothing is
 * allocated, so that the agent may call it. */
#ifndef SYS_MAPS_H
#define SYS_MAPS_H

#include <stdbool.h>
#include <stdint.h>

struct maps {
    int fd;        /* /proc/self/maps */
    bool no_query; /* learnt at the first call: the kernel is older than 6.11 */
};

struct maps_vma {
    uint64_t start, end; /* addresses */
    bool is_private_anonymous;
    bool is_read_write; /* readable, writable, not executable */
    bool is_accessible; /* readable, writable or executable: more than a reservation */
};

int maps_open(struct maps *m); /* negative errno on failure */
void maps_close(struct maps *m);
/* The mapping that covers address, or the next one after it. -ENOENT: none. */
int maps_find(struct maps *m, uint64_t address, struct maps_vma *ret_vma);

#endif
