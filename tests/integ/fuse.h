/* fuse.h - a file of an ordinary user's, whose server stops answering when it is told to: whoever closes it last, or
 * with something unwritten, waits until the server has gone. Method: the kernel's own protocol on /dev/fuse. */
#ifndef INTEG_FUSE_H
#define INTEG_FUSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

/* What the server passes over; shared memory of the test. */
struct fuse_silence {
    _Atomic bool of_flush, of_write;
    _Atomic unsigned flush_ms; /* what it does not pass over takes so long */
};

/* In a helper, as root: mounts it over an existing file, in a mount namespace of its own, and has a child serve it
 * for who has this uid. The server's pid, whose end frees all; 0: no FUSE here. */
pid_t fuse_serve(const char *path, uid_t owner, struct fuse_silence *silence);

#endif
