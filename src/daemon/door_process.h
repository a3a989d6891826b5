/* door_process.h - the other side of door.h: the processes, and what is said between them and the daemon.
 *
 *   daemon    -> keeper  a byte: make a door
 *   keeper    -> daemon  door_word, first about itself, then one with each door's channel
 *   daemon    -> door    door_request, with a client's socket. If that is to be closed a second one follows,
 *                        without, when the daemon has closed its own: whoever closes last may wait
 *   door      -> daemon  door_answer, with a pagemap if one came; by then all else of the client's is closed
 *
 * Each ends when the other end of its socket is closed, or whoever made it has ended. */
#ifndef DAEMON_DOOR_PROCESS_H
#define DAEMON_DOOR_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

#include "wire/msg.h"

struct door_word {
    int32_t pid;          /* of the new door; 0: there is none */
    uint32_t tells_forks; /* doors have the right to CAP_SYS_PTRACE's handshake */
};

struct door_request {
    uint64_t wants_message; /* receive() one; 0: the socket is to be closed, and nothing else */
};

struct door_answer {
    int32_t error; /* receive()'s */
    uint32_t reserved;
    struct msg msg; /* if that is 0 */
};

/* In a new process, with its end of a socket pair: the keeper. */
_Noreturn void door_keep(int socket, pid_t daemon);

#endif
