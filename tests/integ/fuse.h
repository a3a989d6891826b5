/* fuse.h - a file of an ordinary user's, whose server stops answering when it is told to: whoever closes it last, or
 * with something unwritten, waits until the server has gone; whoever touches a page of it may keep the lock of his
 * memory meanwhile. Method: the kernel's own protocol on /dev/fuse. */
#ifndef INTEG_FUSE_H
#define INTEG_FUSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#define FUSE_PAGES 4096u /* of the file; its size is known to who calls ftruncate() */

/* What the server passes over; shared memory of the test. */
struct fuse_silence {
    _Atomic bool of_flush, of_write;
    _Atomic unsigned flush_ms; /* what it does not pass over takes so long */
    /* A touch of a page that is read from it reads three times: two fail, and the fault has let go of the lock; in
     * the third it keeps it, and that is answered after so long. With a thread that maps something all the time
     * everybody else waits behind that one. */
    _Atomic unsigned of_read_ms;
    _Atomic unsigned nr_kept; /* such third reads */
};

/* In a helper, as root: mounts it over an existing file, in a mount namespace of its own, and has a child serve it
 * for who has this uid. The server's pid, whose end frees all; 0: no FUSE here. */
pid_t fuse_serve(const char *path, uid_t owner, struct fuse_silence *silence);

#endif
