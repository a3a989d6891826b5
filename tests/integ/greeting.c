/* greeting.c - see greeting.h. */
#include "greeting.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support.h"

#define WELCOME_MS 5000u

void greeting_send(int socket, int fd)
{
    const struct msg_hello hello = { .version = WIRE_VERSION, .nr_cpus = 1, .name = "by-hand" };
    const struct msg_fds fds = { .fd = { fd }, .nr = 1 };
    CHECK_EQ(msg_send(socket, MSG_HELLO, &hello, &fds), 0);
}

int greeting_hear(int socket, unsigned ms, struct msg *ret, struct msg_fds *ret_fds)
{
    struct pollfd readable = { .fd = socket, .events = POLLIN };
    ret_fds->nr = 0;
    return poll(&readable, 1, (int)test_limit_ms(ms)) == 1 ? msg_recv(socket, ret, ret_fds) : -EAGAIN;
}

void greeting_expect(int socket, unsigned ms, enum msg_type type, struct msg *ret)
{
    struct msg_fds fds;
    CHECK_EQ(greeting_hear(socket, ms, ret, &fds), 0);
    CHECK_EQ(ret->header.type, type);
    msg_fds_close(&fds);
}

int greeting_begin(const char *socket_path, unsigned ms, struct msg_fds *ret_fds)
{
    struct msg m;
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), socket = socket_connect(socket_path);
    CHECK(pagemap >= 0 && socket >= 0);
    greeting_send(socket, pagemap);
    close(pagemap);
    int r = greeting_hear(socket, ms, &m, ret_fds);
    if (r == 0 && m.header.type == MSG_WELCOME)
        return socket;
    msg_fds_close(ret_fds);
    close(socket);
    return r ? r : -EPROTO;
}

struct by_hand greeting_watch(const char *socket_path, const void *start, uint64_t bytes)
{
    const struct msg_range range = { .start = (uintptr_t)start, .bytes = bytes };
    struct msg_fds fds;
    struct by_hand b = { .socket = greeting_begin(socket_path, WELCOME_MS, &fds) };
    CHECK(b.socket >= 0);
    b.memory = mmap(NULL, SESSION_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds.fd[1], 0);
    CHECK(b.memory != MAP_FAILED);
    b.daemon_bell = dup(fds.fd[2]);
    msg_fds_close(&fds);
    CHECK_EQ(msg_send(b.socket, MSG_RANGE_ADD, &range, NULL), 0);
    return b;
}
