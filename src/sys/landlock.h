/* landlock.h - which files this thread, and those that it starts, may open from now on (Linux 5.13). What is
 * open stays so, and so do memfds and sockets; modes and owners count as before. There is no way back.
 * From Documentation/userspace-api/landlock.rst. */
#ifndef SYS_LANDLOCK_H
#define SYS_LANDLOCK_H

#include <stddef.h>

enum landlock_right { /* bits */
    LANDLOCK_READ = 1,   /* files, and lists of them */
    LANDLOCK_WRITE = 2,  /* files that are there; to cut them off, too */
    LANDLOCK_MAKE = 4,   /* plain files */
    LANDLOCK_REMOVE = 8, /* anything but folders */
};

struct landlock_path {
    const char *path; /* a file, or all below a folder; one that cannot be reached is passed over */
    unsigned rights;  /* enum landlock_right */
};

/* Only these. Wants no_new_privs to be set. -EOPNOTSUPP: this kernel has no Landlock, or it is off. */
int landlock_confine(const struct landlock_path *paths, size_t nr);

#endif
