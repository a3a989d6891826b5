/* status.h - what /proc/PID/status says of a process.
 *
 * Opening waits for whoever lists /proc/PID, for as long as the process likes: it may do so itself, into memory
 * of which a fault is not answered, while another thread of it tries to make a file there. Reading waits for
 * nobody. */
#ifndef SYS_STATUS_H
#define SYS_STATUS_H

#include <stdint.h>
#include <sys/types.h>

struct process_status {
    uint64_t nr_threads;
    /* Private memory and mapped files. Not shared memory: our store is mapped there, and nothing of it
     * leaves. */
    uint64_t resident_bytes;
    uint64_t private_bytes; /* of them, without the files */
};

/* A descriptor, the caller's. -ESRCH: there is no such process, or we may not look. */
int process_status_open(pid_t pid);
/* About 20 us. -ESRCH: the process has ended, or fd is none; -EPROTO: the file has another form. ret is
 * untouched then. */
int process_status_read(int fd, struct process_status *ret);

#endif
