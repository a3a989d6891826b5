/* listen.h - the socket that clients find. */
#ifndef DAEMON_LISTEN_H
#define DAEMON_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct listener {
    int fd;
    bool is_ours; /* we made the file and remove it at the end; else systemd's */
    char path[108];
    dev_t device; /* of the file that is ours */
    ino_t inode;
};

/* Takes systemd's socket if it gave one, whatever path says; else makes ours: at path, or (NULL) at the
 * place for this user.
 * As root: mode 0660, group process-pager if there is one. 0, or the exit code, and ret_error says in a
 * line what is wrong and how to mend it. */
int listener_open(const char *path, struct listener *ret, char *ret_error, size_t capacity);
void listener_close(struct listener *l);

#endif
