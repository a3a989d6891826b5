/* program.h - what kind of file a command is: can a library be preloaded into it? */
#ifndef CLI_PROGRAM_H
#define CLI_PROGRAM_H

#include <stddef.h>

enum program_kind {
    PROGRAM_DYNAMIC,    /* the loader brings our library in; scripts count as their interpreter */
    PROGRAM_STATIC,     /* there is no loader */
    PROGRAM_PRIVILEGED, /* set-user-id, set-group-id or with capabilities: the loader does not listen to us */
    PROGRAM_FOREIGN,    /* of another architecture than our library: the loader says so and goes on */
    PROGRAM_OTHER_LIBC, /* its loader would try ours, and fail */
    PROGRAM_UNREADABLE, /* may be run but not looked at */
};

/* Where execvp() would find it. 0; -ENOENT, -EACCES: as execvp() would fail. */
int program_find(const char *name, char *ret_path, size_t capacity);
enum program_kind program_kind_of(const char *path);
/* "is statically linked": why its own memory is not paged. NULL: it is. */
const char *program_obstacle(enum program_kind kind);

#endif
