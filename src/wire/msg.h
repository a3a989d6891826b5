/* msg.h - messages of the control socket. Encoding is the structs' own layout: fixed-width fields,
 * no padding, native byte order (both ends are on one machine). msg_decode is pure and is the
 * fuzzers' front door: size before fields, and nothing out of a datagram is believed before it. */
#ifndef WIRE_MSG_H
#define WIRE_MSG_H

#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION 1u
#define WIRE_MAGIC 0x50504731u /* "PPG1" */

enum msg_type {
#define MESSAGE(name, payload, fds) MSG_##name,
#include "wire/msg.def"
#undef MESSAGE
    MSG_TYPE_NR
};

#define MSG_FDS_MAX 6

struct msg_header {
    uint32_t magic; /* WIRE_MAGIC */
    uint32_t type;  /* enum msg_type */
};

struct msg_empty {
    uint64_t reserved; /* 0 */
};

enum hello_feature { /* bits; a daemon passes over those it does not know */
    HELLO_TAKES_ORDERS = 1, /* send it ORDER: it answers */
};

struct msg_hello {
    uint32_t version;  /* WIRE_VERSION */
    uint32_t features; /* enum hello_feature */
    uint32_t nr_cpus;  /* for the log */
    uint32_t grace_ms; /* for so long nothing is to leave by itself; 0: at once */
    char name[16]; /* the program's name, zero-terminated; for status and CSV */
};

enum welcome_feature { /* bits; a client passes over those it does not know */
    WELCOME_EVICT_BY_PAGEOUT = 1, /* evict by madvise(MADV_PAGEOUT), hand no page over */
    WELCOME_PREFETCH = 2,         /* bring pages back before they are touched */
    WELCOME_URGENT = 4,           /* the agent may wait for faults in a real-time class, if it is permitted */
};

struct msg_welcome {
    uint32_t version;
    uint32_t features;       /* enum welcome_feature */
    uint32_t session_id;
    uint32_t has_device;     /* 1: the last descriptor is /dev/userfaultfd */
    uint64_t store_bytes;    /* how much of the store descriptor to map */
    uint64_t session_bytes;  /* SESSION_MEMORY_BYTES as the daemon knows it; else refuse */
    uint32_t cold_age_ms;    /* younger ranges are not registered with the kernel */
    uint32_t dry_run;        /* 1: evict nothing */
    uint32_t squeeze_age_ms; /* what has been stored for so long is put into groups; 0: nothing is */
    uint32_t reserved;       /* 0 */
};

struct msg_refuse {
    int32_t error;  /* negative errno */
    uint32_t reserved;
    char text[120]; /* one line, zero-terminated */
};

struct msg_range {
    uint64_t start; /* page-aligned address */
    uint64_t bytes; /* whole pages, > 0 */
};

struct msg_uffd_api {
    uint64_t features; /* asked for; in the answer: what the kernel offers */
    int32_t error;     /* 0, or negative errno */
    uint32_t reserved;
};

struct msg_status {
    uint64_t bytes;
};

enum order_op {
    /* From a tool, for all sessions of one process: */
    ORDER_RECLAIM, /* take out what has been idle for age_ms, governor or not; ends a drain's hold */
    ORDER_DRAIN,   /* bring everything back, and let nothing leave ... (and to the client) */
    ORDER_RESUME,  /* ... until now (and to the client) */
    /* To the client, as the steps of a reclaim: */
    ORDER_WATCH,  /* let go of a hold; age_ms 0: and watch what is too young for that */
    ORDER_SETTLE, /* answer when nothing that was offered is under way any more */
    ORDER_OP_NR
};

#define ORDER_AGE_COLD UINT64_MAX /* as old as the daemon's cold age */

struct msg_order {
    uint32_t op;     /* enum order_op */
    int32_t pid;     /* whom a tool means, by the daemon's numbers; to a client: 0 */
    uint64_t age_ms; /* 0: whatever its age */
};

struct msg_order_done {
    uint32_t op;
    int32_t error;                 /* 0, or negative errno */
    uint64_t nr_before, nr_after; /* pages that were out, that are out now */
};

union msg_payload {
    struct msg_empty empty;
    struct msg_hello hello;
    struct msg_welcome welcome;
    struct msg_refuse refuse;
    struct msg_range range;
    struct msg_uffd_api uffd_api;
    struct msg_status status;
    struct msg_order order;
    struct msg_order_done order_done;
};

struct msg {
    struct msg_header header;
    union msg_payload payload;
};

#define MSG_BYTES_MAX sizeof(struct msg)

/* Bytes of a message of this type, header included; 0: no such type. */
size_t msg_bytes(uint32_t type);
/* The most descriptors a message of this type may carry. */
unsigned msg_fds_max(uint32_t type);
/* "HELLO"; "?" for no such type. */
const char *msg_name(uint32_t type);
/* Checks magic, type, exact size, and the fields whose range is fixed (text terminated, intervals
 * page-aligned and not wrapping, versions left to the caller). -EPROTO: not a message. */
int msg_decode(const void *bytes, size_t size, struct msg *ret_msg);

/* One message with its descriptors. On success the caller owns the received fds. */
struct msg_fds {
    int fd[MSG_FDS_MAX];
    unsigned nr;
};

/* Sends without blocking. -EAGAIN: the peer's queue is full. -ECONNRESET: closed by the peer. -EINVAL:
 * no such type, or more descriptors than it may carry. Never raises SIGPIPE. */
int msg_send(int socket, enum msg_type type, const void *payload, const struct msg_fds *fds);
/* Receives one, without blocking. -EAGAIN: nothing there. -ECONNRESET: closed by the peer, and all that it had
 * sent was received. -EPROTO: not a message, truncated, or more descriptors than its type allows; -EMFILE: no
 * descriptor was free for one that came. In both cases all received descriptors have been closed and the message
 * is lost. They are close-on-exec. */
int msg_recv(int socket, struct msg *ret_msg, struct msg_fds *ret_fds);
/* Does the next one bring descriptors? It stays where it is, and they with it. 1 or 0; 0 also at the end of all;
 * -EAGAIN: there is none yet, and whether the one that comes then brings some is to be asked again. */
int msg_brings_fds(int socket);
void msg_fds_close(struct msg_fds *fds);

/* Where a client looks for the daemon, in order; index 0.. until NULL. explicit_path and environment
 * override. Writes into buffer and returns it, or NULL when the list is at its end. A path that is
 * named but does not fit is returned as it is, so that socket_connect refuses it by name. */
const char *socket_path_candidate(unsigned index, const char *explicit_path, char *buffer,
                                  size_t capacity);
/* Connects (SEQPACKET, nonblocking, close-on-exec). -ENOENT/-ECONNREFUSED: nobody there;
 * -EACCES: no right; -EAGAIN: too many are waiting to be let in; -ENAMETOOLONG. */
int socket_connect(const char *path);

#endif
