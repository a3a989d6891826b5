/* status.h - what /proc/PID/status says of a process that is not ours. */
#ifndef SYS_STATUS_H
#define SYS_STATUS_H

#include <stdint.h>

struct process_status {
    uint64_t nr_threads;
    /* Private memory and mapped files. Not shared memory: our store is mapped there, and nothing of it
     * leaves. */
    uint64_t resident_bytes;
};

/* About 20 us. -ESRCH: there is no such process, or we may not look; -EPROTO: the file has another form.
 * ret is untouched then. */
int process_status_read(const char *path, struct process_status *ret);

#endif
