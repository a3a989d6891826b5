/* msg.c - the vocabulary, the checks, and one datagram out or in. Runs in the agent too: no
 * allocation, no stdio. */
#include "wire/msg.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mutant.h"
#include "base/pagesize.h"
#include "base/point.h"

#define ERRNO_MAX 4095 /* the kernel's own bound on error numbers */

struct vocabulary {
    const char *name;
    size_t bytes;
    unsigned fds_max;
};

static const struct vocabulary vocabulary[MSG_TYPE_NR] = {
#define MESSAGE(name, payload, fds)                                                                \
    [MSG_##name] = {#name, sizeof(struct msg_header) + sizeof(payload), fds},
#include "wire/msg.def"
#undef MESSAGE
};

#define MESSAGE(name, payload, fds) _Static_assert((fds) <= MSG_FDS_MAX, "descriptors of " #name);
#include "wire/msg.def"
#undef MESSAGE
_Static_assert(sizeof(struct msg_header) == 8, "wire size");
_Static_assert(sizeof(struct msg_empty) == 8, "wire size");
_Static_assert(sizeof(struct msg_hello) == 32, "wire size");
_Static_assert(sizeof(struct msg_welcome) == 48, "wire size");
_Static_assert(sizeof(struct msg_refuse) == 128, "wire size");
_Static_assert(sizeof(struct msg_range) == 16, "wire size");
_Static_assert(sizeof(struct msg_uffd_api) == 16, "wire size");
_Static_assert(sizeof(struct msg_status) == 8, "wire size");
_Static_assert(sizeof(struct msg_order) == 16, "wire size");
_Static_assert(sizeof(struct msg_order_done) == 24, "wire size");

size_t msg_bytes(uint32_t type)
{
    return type < MSG_TYPE_NR ? vocabulary[type].bytes : 0;
}

unsigned msg_fds_max(uint32_t type)
{
    return type < MSG_TYPE_NR ? vocabulary[type].fds_max : 0;
}

const char *msg_name(uint32_t type)
{
    return type < MSG_TYPE_NR ? vocabulary[type].name : "?";
}

static bool is_terminated(const char *text, size_t capacity)
{
    return memchr(text, 0, capacity) != NULL;
}

static bool is_error_or_0(int32_t error)
{
    return error <= 0 && error >= -ERRNO_MAX;
}

static bool is_range(const struct msg_range *range)
{
    return range->bytes > 0 && (range->bytes & ~PAGE_MASK) == 0 &&
           (range->start & ~PAGE_MASK) == 0 && range->start + range->bytes > range->start;
}

static bool is_payload(enum msg_type type, const union msg_payload *p)
{
    switch (type) {
    case MSG_HELLO:         return is_terminated(p->hello.name, sizeof(p->hello.name));
    case MSG_WELCOME:       return p->welcome.has_device <= 1 && p->welcome.dry_run <= 1 &&
                                   p->welcome.reserved == 0;
    case MSG_REFUSE:        return p->refuse.reserved == 0 && p->refuse.error != 0 &&
                                   is_error_or_0(p->refuse.error) &&
                                   is_terminated(p->refuse.text, sizeof(p->refuse.text));
    case MSG_RANGE_ADD:
    case MSG_RANGE_DEL:     return is_range(&p->range);
    case MSG_RANGES_RESET:
    case MSG_STATUS_GET:    return p->empty.reserved == 0;
    case MSG_UFFD_API:
    case MSG_UFFD_API_DONE: return p->uffd_api.reserved == 0 && is_error_or_0(p->uffd_api.error);
    case MSG_STATUS:        return true;
    case MSG_ORDER:         return p->order.op < ORDER_OP_NR && p->order.pid >= 0;
    case MSG_ORDER_DONE:    return p->order_done.op < ORDER_OP_NR &&
                                   is_error_or_0(p->order_done.error);
    case MSG_TYPE_NR:       break;
    }
    return false;
}

int msg_decode(const void *bytes, size_t size, struct msg *ret_msg)
{
    struct msg m = {0};
    if (size < sizeof(m.header))
        return -EPROTO;
    memcpy(&m.header, bytes, sizeof(m.header));
    if (m.header.magic != WIRE_MAGIC || m.header.type >= MSG_TYPE_NR)
        return -EPROTO;
    if (size != msg_bytes(m.header.type) && !mutant_is(MUTANT_WIRE_BELIEVE_SIZE))
        return -EPROTO;
    memcpy(&m.payload, (const char *)bytes + sizeof(m.header), size - sizeof(m.header));
    if (!is_payload((enum msg_type)m.header.type, &m.payload))
        return -EPROTO;
    *ret_msg = m;
    return 0;
}

/* Room for one SCM_RIGHTS with all descriptors a message may have, aligned as cmsg wants it. */
union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * MSG_FDS_MAX)];
};

int msg_send(int socket, enum msg_type type, const void *payload, const struct msg_fds *fds)
{
    unsigned nr_fds = fds ? fds->nr : 0;
    if (type >= MSG_TYPE_NR || nr_fds > msg_fds_max(type))
        return -EINVAL;

    struct msg m = {.header = {.magic = WIRE_MAGIC, .type = type}};
    memcpy(&m.payload, payload, msg_bytes(type) - sizeof(m.header));
    struct iovec part = {&m, msg_bytes(type)};
    struct msghdr h = {.msg_iov = &part, .msg_iovlen = 1};
    union control control = {0};
    if (nr_fds) {
        h.msg_control = control.bytes;
        h.msg_controllen = CMSG_SPACE(sizeof(int) * nr_fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nr_fds);
        memcpy(CMSG_DATA(c), fds->fd, sizeof(int) * nr_fds);
    }
    for (;;) {
        if (!point_fails(POINT_SEND) && sendmsg(socket, &h, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno == EPIPE)
            return -ECONNRESET;
        if (errno != EINTR)
            return -errno;
    }
}

void msg_fds_close(struct msg_fds *fds)
{
    for (unsigned i = 0; i < fds->nr; i++)
        (void)close(fds->fd[i]); /* also after an error the number is free */
    fds->nr = 0;
}

/* Takes the descriptors out of the control data. False: there were more than fit; the surplus is
 * closed, what fits is in ret_fds. */
static bool collect_fds(struct msghdr *h, struct msg_fds *ret_fds)
{
    bool is_all = true;
    ret_fds->nr = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < nr; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (ret_fds->nr < MSG_FDS_MAX) {
                ret_fds->fd[ret_fds->nr++] = fd;
            } else {
                (void)close(fd);
                is_all = false;
            }
        }
    }
    return is_all;
}

int msg_recv(int socket, struct msg *ret_msg, struct msg_fds *ret_fds)
{
    struct msg raw;
    union control control;
    struct iovec part = {&raw, sizeof(raw)};
    struct msghdr h;
    ssize_t size;
    unsigned nr_resets = 0;
    do {
        h = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                            .msg_controllen = sizeof(control.bytes)};
        size = point_fails(POINT_RECV) ? -1 : recvmsg(socket, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (size < 0 && errno == ECONNRESET)
            nr_resets++;
        /* Who hangs up with a message of ours unread: that is reported once, and before what he has sent. */
    } while (size < 0 && (errno == EINTR || (errno == ECONNRESET && nr_resets == 1)));
    if (size < 0)
        return -errno;

    struct msg_fds fds;
    bool is_whole = collect_fds(&h, &fds) && !(h.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
    /* Cut off though our buffer had room: it was our descriptor table that had none. */
    bool is_table_full = h.msg_flags & MSG_CTRUNC && !(h.msg_flags & MSG_TRUNC) &&
                         fds.nr < MSG_FDS_MAX;
    struct msg m;
    int r;
    if (size == 0) /* closed; an empty datagram looks the same and deserves the same */
        r = -ECONNRESET;
    else if (!is_whole)
        r = is_table_full ? -EMFILE : -EPROTO;
    else
        r = msg_decode(&raw, (size_t)size, &m);
    if (r == 0 && fds.nr > msg_fds_max(m.header.type))
        r = -EPROTO;
    if (r < 0) {
        msg_fds_close(&fds);
        return r;
    }
    *ret_msg = m;
    *ret_fds = fds;
    return 0;
}

int msg_brings_fds(int socket)
{
    char first;
    struct iovec part = {&first, sizeof(first)};
    struct msghdr h;
    ssize_t n;
    unsigned nr_resets = 0;
    do {
        h = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1}; /* no room: it says if there were any */
        n = recvmsg(socket, &h, MSG_PEEK | MSG_DONTWAIT);
        if (n < 0 && errno == ECONNRESET)
            nr_resets++;
        /* As in msg_recv(): who has hung up may have sent something before. */
    } while (n < 0 && (errno == EINTR || (errno == ECONNRESET && nr_resets == 1)));
    return n < 0 ? -errno : (h.msg_flags & MSG_CTRUNC) != 0;
}
