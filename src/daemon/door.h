/* door.h - where clients' descriptors come in, and their sockets go out.
 *
 * Closing a stranger's descriptor may wait for ever, and no signal ends that: a file of a FUSE server that
 * does not answer, the last userfaultfd of a process that holds the lock of its own memory. No thread of the
 * daemon may meet it. So another process, a door, receives each message that brings descriptors, hands on what
 * we want of it, and closes the rest. Sockets are closed there, too, with what lies in them unread.
 *
 * One door serves all, one message after the other. If it does not answer within DOOR_MS it is held: it
 * belongs to the user whose message it has, and whatever else that user has to be received or closed waits
 * behind it. A new door serves the others. A process of ours, the keeper, makes doors: the daemon itself may
 * not fork any more.
 *
 * Doors also have the one right that clients need of us, CAP_SYS_PTRACE, to have a userfaultfd tell of forks.
 * The daemon, which holds other processes' memory, can do without.
 *
 * Contract: door_begin() before the sandbox and the first thread; then one thread, control's. Only
 * door_begin() and door_end() wait, for seconds at most. */
#ifndef DAEMON_DOOR_H
#define DAEMON_DOOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/msg.h"

#define DOOR_MS 500u

/* Whose socket it is. */
struct visitor {
    uint32_t session; /* 0: nobody waits for an answer */
    uid_t uid;
    pid_t pid;
};

enum door_event_kind {
    DOOR_ANSWER,    /* error: receive()'s; 0: msg, and fds, which are the caller's */
    DOOR_IS_HELD,   /* DOOR_MS have gone by; its answer may still come */
    DOOR_HAS_ENDED, /* with the message */
};

struct door_event {
    enum door_event_kind kind;
    uint32_t session;
    int error;
    struct msg msg;
    struct msg_fds fds;
};

/* Makes the keeper and the first door; *ret_tells_forks: can they have clients told? False: there are none, as
 * the daemon serves only its own user, or no process could be had, or no filter of system calls for it. */
bool door_begin(bool *ret_tells_forks);
/* Ready when there is an event; -1: never. */
int door_fd(void);
/* False: call receive() and impatience_close() yourself. */
bool door_is_there(void);
/* Is its user waited for already? */
bool door_is_held_by(const struct visitor *v);
/* Is there something to be heard of, also while nobody is connected? */
bool door_is_busy(void);
/* Asks for the next message of the socket. False: all are busy. */
bool door_ask(const struct visitor *v, int socket);
/* Shuts the socket down, and has it closed. It is not the caller's any more. */
void door_close(const struct visitor *v, int socket);
/* To be called when door_fd() is ready, and from time to time. False: nothing has happened. */
bool door_next(struct door_event *ret);
/* Closing and receiving take turns: door_next() has one socket closed, and none again before a message was
 * received. Where nobody has one to be received, the next may be closed at once. */
void door_close_more(void);
/* Before the daemon ends in order: when it has ended, they have, too, but those that are held. */
void door_end(void);

#endif
