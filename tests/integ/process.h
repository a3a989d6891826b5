/* process.h - what a process holds, seen from outside through /proc. Contract: any thread, also where no test
 * has begun; nothing fails here, a process that has gone holds nothing. */
#ifndef INTEG_PROCESS_H
#define INTEG_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/* How many names stand in a folder, "." and ".." among them; 0: it can't be read. */
unsigned folder_entries(const char *path);
/* The same for one of /proc/PID: "fd", "task". */
unsigned process_entries(pid_t pid, const char *folder);
/* The least that are open within 200 ms: what it opens for a moment, or is about to close, is not among them. */
unsigned process_descriptors_at_rest(pid_t pid);
/* What /proc/PID/status says of a field ("RssAnon", in KiB), written in this base; 0: nothing. */
unsigned long long process_status_number(pid_t pid, const char *field, int base);
/* It runs no more and has closed all it had; whether somebody has waited for it does not matter. */
bool process_has_ended(pid_t pid);
/* SIGSTOP, and it has come to all of its threads: until then one that runs goes on. False: it did not within 5 s. */
bool process_stop(pid_t pid);
/* The first thread of that name ("pp-agent"), and how many there are; 0: none. */
pid_t process_thread(pid_t pid, const char *name);
unsigned process_nr_threads(pid_t pid, const char *name);

#endif
