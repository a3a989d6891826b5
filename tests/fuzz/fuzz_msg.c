/* fuzz_msg - whatever bytes and descriptors come through the socket: msg_decode believes exactly what
 * msg.h promises, reads nothing behind the datagram, and msg_recv leaves no descriptor open that its
 * caller does not own. Method: the rules once more, written down independently; the datagram alone in
 * memory of its exact size, then through a real socket pair with up to 15 descriptors, also where
 * the table has no room for them.
 *
 *   input: byte 0  descriptors sent along (low four bits), no room for them (16), the sender is one
 *                  that uses msg_send (32), nobody at the other end (64)
 *          rest    the datagram */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/pagesize.h"
#include "fuzz.h"
#include "wire/msg.h"

#define FDS_SENT_MAX 15u
#define DATAGRAM_MAX 400u /* longer than the longest message, to be cut off */

static int sockets[2];
static int first_free; /* the lowest descriptor number that nobody uses, between two inputs */

static int lowest_free(void)
{
    int fd = dup(sockets[0]);
    close(fd);
    return fd;
}

static void begin(void)
{
    if (first_free)
        return;
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
    first_free = lowest_free();
}

/* ---- the rules of msg.h, once more */

static bool ends_within(const char *text, size_t capacity)
{
    for (size_t i = 0; i < capacity; i++)
        if (!text[i])
            return true;
    return false;
}

static bool is_error(int32_t e)
{
    return e < 0 && e > -4096;
}

static bool is_right_payload(const struct msg *m)
{
    const union msg_payload *p = &m->payload;
    switch ((enum msg_type)m->header.type) {
    case MSG_HELLO:
        return ends_within(p->hello.name, 16);
    case MSG_WELCOME:
        return p->welcome.has_device < 2 && p->welcome.dry_run < 2 && !p->welcome.reserved;
    case MSG_REFUSE:
        return !p->refuse.reserved && is_error(p->refuse.error) && ends_within(p->refuse.text, 120);
    case MSG_RANGE_ADD:
    case MSG_RANGE_DEL:
        return p->range.bytes && p->range.bytes % PAGE_BYTES == 0 &&
               p->range.start % PAGE_BYTES == 0 && p->range.bytes <= UINT64_MAX - p->range.start;
    case MSG_RANGES_RESET:
    case MSG_STATUS_GET:
        return !p->empty.reserved;
    case MSG_UFFD_API:
    case MSG_UFFD_API_DONE:
        return !p->uffd_api.reserved && (!p->uffd_api.error || is_error(p->uffd_api.error));
    case MSG_STATUS:
        return true;
    case MSG_ORDER:
        return p->order.op < ORDER_OP_NR && p->order.pid >= 0;
    case MSG_ORDER_DONE:
        return p->order_done.op < ORDER_OP_NR &&
               (!p->order_done.error || is_error(p->order_done.error));
    case MSG_TYPE_NR:
        break;
    }
    return false;
}

static bool is_right(const uint8_t *bytes, size_t size, struct msg *ret)
{
    struct msg m = { 0 };
    if (size < 8 || size > sizeof m)
        return false;
    memcpy(&m, bytes, size);
    if (m.header.magic != WIRE_MAGIC || m.header.type >= MSG_TYPE_NR ||
        size != msg_bytes(m.header.type) || !is_right_payload(&m))
        return false;
    *ret = m;
    return true;
}

/* ---- */

static void decode_alone(const uint8_t *bytes, size_t size)
{
    struct msg should_be, is, untouched;
    memset(&is, 0xa5, sizeof is);
    memset(&untouched, 0xa5, sizeof untouched);
    uint8_t *exact = malloc(size ? size : 1);
    CHECK(exact);
    memcpy(exact, bytes, size);
    int r = msg_decode(exact, size, &is);
    if (is_right(bytes, size, &should_be)) {
        CHECK(r == 0);
        CHECK(memcmp(&is, &should_be, sizeof is) == 0);
        CHECK(*msg_name(is.header.type) != '?' && msg_fds_max(is.header.type) <= MSG_FDS_MAX);
    } else {
        CHECK(r == -EPROTO);
        CHECK(memcmp(&is, &untouched, sizeof is) == 0);
    }
    free(exact);
    if (size >= 8) { /* types that there are not */
        uint32_t type;
        memcpy(&type, bytes + 4, sizeof type);
        CHECK((msg_bytes(type) == 0) == (type >= MSG_TYPE_NR));
        CHECK(type < MSG_TYPE_NR || (!msg_fds_max(type) && *msg_name(type) == '?'));
    }
}

static bool send_raw(const uint8_t *bytes, size_t size, unsigned nr_fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * FDS_SENT_MAX)];
    } control = { .bytes = { 0 } };
    struct iovec part = { (void *)(uintptr_t)bytes, size };
    struct msghdr h = { .msg_iov = &part, .msg_iovlen = 1 };
    if (nr_fds) {
        h.msg_control = control.bytes;
        h.msg_controllen = CMSG_SPACE(sizeof(int) * nr_fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nr_fds);
        for (unsigned i = 0; i < nr_fds; i++)
            memcpy(CMSG_DATA(c) + i * sizeof(int), &sockets[0], sizeof(int));
    }
    return sendmsg(sockets[0], &h, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* The same datagram by our own sender, which takes any type and number of descriptors. */
static bool send_by_type(const uint8_t *bytes, size_t size, unsigned nr_fds)
{
    struct msg m = { .header = { 0 } };
    memcpy(&m, bytes, size < sizeof m ? size : sizeof m);
    struct msg_fds fds = { .nr = nr_fds };
    for (unsigned i = 0; i < MSG_FDS_MAX; i++)
        fds.fd[i] = sockets[0];
    int r = msg_send(sockets[0], (enum msg_type)m.header.type, &m.payload, nr_fds ? &fds : NULL);
    bool may_be_sent = m.header.type < MSG_TYPE_NR && nr_fds <= msg_fds_max(m.header.type);
    CHECK(r == (may_be_sent ? 0 : -EINVAL));
    return r == 0;
}

static int receive(bool has_no_room, struct msg *m, struct msg_fds *fds)
{
    struct rlimit limit, none;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    none = (struct rlimit){ .rlim_cur = (rlim_t)first_free, .rlim_max = limit.rlim_max };
    if (has_no_room)
        CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    int r = msg_recv(sockets[1], m, fds);
    if (has_no_room)
        CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    return r;
}

static void through_the_socket(const uint8_t *bytes, size_t size, uint8_t how)
{
    unsigned nr_fds = how & 15u;
    bool has_no_room = how & 16u, is_ours = how & 32u;
    if (is_ours && nr_fds > MSG_FDS_MAX)
        nr_fds = MSG_FDS_MAX;
    bool is_sent = is_ours ? send_by_type(bytes, size, nr_fds) : send_raw(bytes, size, nr_fds);
    struct msg m, should_be;
    struct msg_fds fds = { .nr = 77 };
    int r = receive(has_no_room, &m, &fds);
    if (!is_sent) {
        CHECK(r == -EAGAIN);
    } else if (is_ours) { /* a payload that may not be is the receiver's to refuse */
        CHECK(r == 0 || r == -EPROTO || (r == -EMFILE && has_no_room && nr_fds));
    } else {
        bool is_right_message = is_right(bytes, size, &should_be);
        bool fits = !has_no_room || !nr_fds;
        CHECK((r == 0) == (is_right_message && fits && nr_fds <= msg_fds_max(should_be.header.type)));
        CHECK(r == 0 || r == -EPROTO || r == -ECONNRESET || r == -EMFILE);
        CHECK((r == -ECONNRESET) == (size == 0));
        CHECK(r != -EMFILE || !fits);
    }
    if (r == 0) {
        CHECK(fds.nr == nr_fds);
        for (unsigned i = 0; i < fds.nr; i++)
            CHECK(fcntl(fds.fd[i], F_GETFD) == FD_CLOEXEC);
        msg_fds_close(&fds);
        CHECK(fds.nr == 0);
    } else {
        CHECK(fds.nr == 77);
    }
    CHECK(lowest_free() == first_free);
    CHECK(msg_recv(sockets[1], &m, &fds) == -EAGAIN);
}

static void to_nobody(void)
{
    int pair[2];
    struct msg_empty empty = { 0 };
    struct msg m;
    struct msg_fds fds;
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    close(pair[1]);
    CHECK(msg_send(pair[0], MSG_STATUS_GET, &empty, NULL) == -ECONNRESET);
    CHECK(msg_recv(pair[0], &m, &fds) == -ECONNRESET);
    close(pair[0]);
    CHECK(msg_send(pair[0], MSG_STATUS_GET, &empty, NULL) == -EBADF);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin();
    uint8_t how = size ? data[0] : 0;
    const uint8_t *bytes = data + (size > 0);
    size -= size > 0;
    if (size > DATAGRAM_MAX)
        size = DATAGRAM_MAX;
    decode_alone(bytes, size);
    through_the_socket(bytes, size, how);
    if (how & 64u)
        to_nobody();
    return 0;
}
