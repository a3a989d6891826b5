/* hand.h - what reclaim and drain share: asking the daemon to move a process's memory, and saying how it
 * went. */
#ifndef CLI_HAND_H
#define CLI_HAND_H

#include <sys/types.h>

#include "wire/msg.h"

/* The one process id among the words from `first` on; 0 after saying what is wrong. */
pid_t hand_read_pid(const char *command, int argc, char **argv, int first);
/* Asks and waits. 0, with *ret_done without an error; else the exit code, after saying why. */
int hand_ask(const char *socket_path, const struct msg_order *order, struct msg_order_done *ret_done);

#endif
