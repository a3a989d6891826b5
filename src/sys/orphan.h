/* orphan.h - a child process that is not to outlive who made it, also if that is killed before this is
 * called. Contract: the child's, right after fork(); nothing is allocated. */
#ifndef SYS_ORPHAN_H
#define SYS_ORPHAN_H

#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

/* The signal comes when the thread that forked ends; exec keeps that, a change of credentials does not
 * (prctl(2), PR_SET_PDEATHSIG). False: it has ended already, or the kernel refuses. */
static inline bool orphan_is_ended_by(int signal, pid_t parent)
{
    return prctl(PR_SET_PDEATHSIG, signal) == 0 && getppid() == parent;
}

#endif
