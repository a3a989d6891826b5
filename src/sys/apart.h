/* apart.h - memory of our own, at addresses where no application's mapping has been.
 *
 * Without a hint the kernel gives the highest hole, which may be one that the application has just made and
 * means to fill again with MAP_FIXED: a program of one thread may rely on nobody else mapping there. Our
 * threads map while it runs, so they ask for addresses that nothing else is given. Contract: any thread;
 * nothing is allocated; not for use under a lock of the C library's. */
#ifndef SYS_APART_H
#define SYS_APART_H

#include <stddef.h>

/* As mmap() with offset 0. The place is a wish: where it is taken, or this kernel has fewer addresses, it is the
 * kernel's choice. Returns MAP_FAILED with errno set where mmap() does. */
void *map_apart(size_t bytes, int protection, int flags, int fd);

#endif
