/* command.h - runs a program to its end and keeps what it said: for tests that look at exit codes
 * and messages. Only in a test without a pager, because it forks. */
#ifndef INTEG_COMMAND_H
#define INTEG_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct command {
    int code; /* 0..255; 128 + n: ended by signal n; -1: had to be killed after ten seconds */
    char out[16384], err[4096];
    bool has_left_processes; /* children of its own that outlived it; they have been killed */
};

/* Of the build directory that $PP_DAEMON is in: "bench/ab"; static storage, a few at a time. Skips
 * the test if it is not there. */
const char *program_path(const char *name);
/* How long orphans may take to end by themselves before they count as left; 0 at first. */
extern unsigned command_orphans_ms;
/* uid 0: as we are. Words end with NULL. */
void command_run(struct command *ret, uid_t uid, const char *const words[]);
/* Where others can reach it, too: the folders above a build may be closed to them. */
void program_copy(const char *from, const char *to);
/* For another user's eyes: the test's directory can be entered, but not listed. */
void directory_open_to_all(void);
/* Another user's one group beside its own, from now on; 0, as at first: none. */
extern gid_t command_group;
/* Becomes this user for good, in a child. False: could not. */
bool become_user(uid_t uid);
/* The same, and what is its own in /proc is so, as after exec: it is to be a client. */
bool become_client(uid_t uid);
/* Is userfaultfd root's alone on this machine? */
bool is_userfaultfd_closed_to_users(void);

#define NOBODY 65534u

#endif
