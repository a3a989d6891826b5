/* half_hot.h - what half_hot.c and its way through the daemon share. */
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
/* Calls `offered` for each run since the last time. */
void daemon_poll(void (*offered)(page_number first, uint32_t nr_pages));
/* The client has gone: what the daemon says of it at the end, probes not counted. False: it says nothing. */
bool daemon_sum(uint64_t *ret_nr_offered, uint64_t *ret_nr_returned);
/* Also at exit(). */
void daemon_end(void);

#endif
