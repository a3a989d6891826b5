/* half_hot.h - what half_hot.c, its way through the daemon and its count of what that costs share. */
#ifndef VM_HALF_HOT_H
#define VM_HALF_HOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/pagesize.h"

_Noreturn void die(const char *what, int error);

/* ---- half_hot_daemon.c: process-pagerd itself ($PP_DAEMON, else by $PATH), with a socket of its own. What it
 * offers is read from its log: --verbose names each run. */

/* The path of its socket. Ends the program if it can't be started. */
const char *daemon_begin(const char *const options[]);
pid_t daemon_pid(void);
/* Calls `offered` for each run since the last time. */
void daemon_poll(void (*offered)(page_number first, uint32_t nr_pages));
/* The client has gone: what the daemon says of it at the end, probes not counted. False: it says nothing. */
bool daemon_sum(uint64_t *ret_nr_offered, uint64_t *ret_nr_returned);
/* Also at exit(). */
void daemon_end(void);

/* ---- half_hot_cost.c: time of the machine, from cost_begin() on: the daemon's, or without one what the source
 * takes in this process; and that of the kernel's DAMON. */

void cost_begin(pid_t daemon); /* 0: none */
/* Before and after each time that the source is driven: with 0, then with what that returned. */
uint64_t cost_of_tick(uint64_t begin_ns);
void cost_print(void);

#endif
