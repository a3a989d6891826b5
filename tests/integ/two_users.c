/* two_users - what one user can take of a root daemon leaves enough for another: connections, sessions,
 * watched memory, lists of ranges, stores, messages. Method: a helper of one user takes all that it gets of
 * one kind, by hand from the wire headers, and holds on to it; meanwhile a client of another user joins,
 * and its pages leave and come back. */
#include "command.h"
#include "process.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/limits.h"
#include "wire/msg.h"
#include "wire/session_memory.h"

#define GREEDY NOBODY
#define OTHER 65533u
#define NR 1024u
#define SOCKETS_MAX 400u
#define USER_CAP ((uint64_t)4 << 20)

static struct shared {
    char socket_path[108];
    _Atomic uint32_t nr_got;  /* what the greedy one has got */
    _Atomic uint32_t nr_told; /* messages it has got rid of */
    _Atomic bool has_all;     /* it gets no more */
    _Atomic uint64_t join_ms; /* of the other one */
} *shared;

static struct daemon d;

/* ---- a client by hand */

static bool is_readable(int fd, int ms)
{
    struct pollfd f = { .fd = fd, .events = POLLIN };
    return poll(&f, 1, ms) == 1;
}

static bool become(uid_t uid)
{
    struct rlimit files = { 4096, 4096 };
    (void)setrlimit(RLIMIT_NOFILE, &files);
    return become_client(uid);
}

static int connect_patiently(void)
{
    for (int i = 0; i < 2000; i++) {
        int fd = socket_connect(shared->socket_path);
        if (fd >= 0)
            return fd;
        test_nap_us(1000); /* the queue of those who want in is full */
    }
    return -1;
}

/* The answer to a hello: a type, or -1: hung up. The socket is kept in any case. */
static int join(int socket, struct msg_fds *ret_fds)
{
    struct msg_hello hello = { .version = WIRE_VERSION, .nr_cpus = 1, .name = "greedy" };
    struct msg_fds fds = { .fd = { open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) }, .nr = 1 };
    struct msg m;
    *ret_fds = (struct msg_fds){ .nr = 0 };
    int r = msg_send(socket, MSG_HELLO, &hello, &fds);
    msg_fds_close(&fds);
    if (r && r != -ECONNRESET)
        return -1;
    if (!is_readable(socket, (int)test_limit_ms(10000)) || msg_recv(socket, &m, ret_fds))
        return -1;
    return (int)m.header.type;
}

/* A session: its socket. The daemon may still have those of the one before, who was killed, and refuse. -1: it
 * does not stop to. */
static int join_patiently(struct msg_fds *ret_fds)
{
    for (int i = 0; i < 2000; i++) {
        int socket = connect_patiently(), type = join(socket, ret_fds);
        if (type == MSG_WELCOME)
            return socket;
        msg_fds_close(ret_fds);
        close(socket);
        if (type != MSG_REFUSE) {
            fprintf(stderr, "no session, no refusal but %d\n", type);
            return -1;
        }
        test_nap_us(5000);
    }
    fprintf(stderr, "no session: refused for too long\n");
    return -1;
}

static int send_patiently(int socket, enum msg_type type, const void *payload)
{
    for (int i = 0;; i++) {
        int r = msg_send(socket, type, payload, NULL);
        if (r != -EAGAIN || i > 20000)
            return r;
        test_nap_us(1000);
    }
}

static _Noreturn void hold_on(void)
{
    atomic_store(&shared->has_all, true);
    for (;;)
        pause();
}

/* ---- the greedy one; each is a helper and holds what it has got until it is killed */

/* Connects and says nothing: all the time, because the daemon ends who says nothing. */
static int takes_connections(void *unused)
{
    static int sockets[SOCKETS_MAX];
    (void)unused;
    if (!become(GREEDY))
        return 1;
    for (unsigned i = 0;; i = (i + 1) % SOCKETS_MAX) {
        if (sockets[i])
            close(sockets[i]);
        sockets[i] = connect_patiently();
        atomic_fetch_add(&shared->nr_got, 1);
        if (i == SOCKETS_MAX - 1)
            atomic_store(&shared->has_all, true);
    }
}

static int takes_sessions(void *unused)
{
    (void)unused;
    if (!become(GREEDY))
        return 1;
    for (unsigned i = 0; i < SOCKETS_MAX; i++) {
        struct msg_fds fds;
        int socket = connect_patiently(), type = join(socket, &fds);
        msg_fds_close(&fds);
        if (type != MSG_WELCOME) {
            if (type != MSG_REFUSE)
                fprintf(stderr, "no refusal but %d\n", type);
            close(socket);
            break;
        }
        atomic_fetch_add(&shared->nr_got, 1);
    }
    hold_on();
}

/* 1 TiB in each session, until one is ended for it. */
static int takes_pages(void *unused)
{
    (void)unused;
    if (!become(GREEDY))
        return 1;
    for (unsigned i = 0; i < 20; i++) {
        const struct msg_empty empty = { 0 };
        struct msg m;
        struct msg_fds fds;
        int socket = join_patiently(&fds);
        struct msg_range range = { .start = (uint64_t)1 << 40, .bytes = SESSION_PAGES_MAX * PAGE_BYTES };
        if (socket < 0 || send_patiently(socket, MSG_RANGE_ADD, &range))
            return 1;
        msg_fds_close(&fds);
        /* A question behind it is answered when the range has been taken. */
        if (send_patiently(socket, MSG_STATUS_GET, &empty) || !is_readable(socket, (int)test_limit_ms(10000)) ||
            msg_recv(socket, &m, &fds))
            break; /* hung up */
        msg_fds_close(&fds);
        atomic_fetch_add(&shared->nr_got, 1);
    }
    hold_on();
}

/* One page here, one there, in as many sessions as it takes. */
static int takes_ranges(void *unused)
{
    static int sockets[USER_SESSIONS_MAX];
    (void)unused;
    if (!become(GREEDY))
        return 1;
    for (unsigned i = 0; i < 60; i++) {
        struct msg_fds fds;
        sockets[i] = join_patiently(&fds);
        if (sockets[i] < 0)
            return 1;
        msg_fds_close(&fds);
    }
    atomic_store(&shared->has_all, true); /* from now on it talks */
    for (uint64_t at = (uint64_t)1 << 40;; at += 2 * PAGE_BYTES)
        for (unsigned i = 0; i < 60; i++) {
            struct msg_range range = { .start = at, .bytes = PAGE_BYTES };
            if (msg_send(sockets[i], MSG_RANGE_ADD, &range, NULL) == 0)
                atomic_fetch_add(&shared->nr_told, 1);
        }
}

/* Pages that shrink to 2 KiB each, into one store after the other. */
static void fill_page(unsigned char *page, uint32_t nr)
{
    uint64_t random = 88172645463325252u + nr * 0x9e3779b97f4a7c15u;
    memset(page, 0, PAGE_BYTES);
    for (size_t at = 0; at < PAGE_BYTES / 2; at += sizeof random) {
        random = test_random(&random);
        memcpy(page + at, &random, sizeof random);
    }
}

static unsigned put_until_full(struct msg_fds *fds, uint32_t *nr)
{
    struct session_memory *m = mmap(NULL, SESSION_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                                    fds->fd[1], 0);
    struct ring raw, raw_free, stored;
    unsigned nr_stored = 0;
    if (m == MAP_FAILED)
        return 0;
    ring_init(&raw, &m->raw, m->raw_entries, RAW_SLOTS_MAX, sizeof(struct raw_entry));
    ring_init(&raw_free, &m->raw_free, m->raw_free_entries, RAW_SLOTS_MAX, sizeof(struct raw_free_entry));
    ring_init(&stored, &m->stored, m->stored_entries, STAGING_SLOTS_MAX, sizeof(struct stored_entry));
    for (bool is_full = false; !is_full && nr_stored < 20000;) {
        struct raw_entry e = { .raw_slot = 0 };
        struct stored_entry answer = { .result = STORED_RESULT_NR };
        struct raw_free_entry slot;
        fill_page(session_raw_page(m, 0), ++*nr);
        if (ring_put(&raw, &e))
            break;
        doorbell_ring(&m->daemon_bell, fds->fd[2]);
        while (ring_take(&stored, &answer) == 0)
            test_nap_us(10);
        (void)ring_take(&raw_free, &slot);
        is_full = answer.result == STORED_FULL;
        nr_stored += answer.result == STORED_AT;
    }
    munmap(m, SESSION_MEMORY_BYTES);
    return nr_stored;
}

static int takes_stores(void *unused)
{
    uint32_t nr = 0;
    (void)unused;
    if (!become(GREEDY))
        return 1;
    for (unsigned i = 0; i < 3; i++) {
        struct msg_fds fds;
        if (join_patiently(&fds) < 0)
            return 1;
        atomic_fetch_add(&shared->nr_got, put_until_full(&fds, &nr));
    }
    hold_on();
}

/* ---- the other one */

static int is_served(void *unused)
{
    (void)unused;
    if (!become(OTHER))
        return 1;
    struct pages p;
    uint64_t begin_ms = test_now_ms();
    struct pp_pager *pager = pager_begin(shared->socket_path, &p, NR);
    atomic_store(&shared->join_ms, test_now_ms() - begin_ms);
    pager_is_served(pager, &p, NR);
    return 0;
}

/* Returns what the greedy one got. */
static uint32_t while_one_takes(const char *what, int (*takes)(void *), unsigned nap_ms)
{
    test_case(what);
    atomic_store(&shared->nr_got, 0);
    atomic_store(&shared->has_all, false);
    pid_t greedy = helper_start(takes, NULL);
    WAIT_LONG_UNTIL(atomic_load(&shared->has_all));
    test_nap_us(nap_ms * 1000);
    CHECK_EQ(helper_wait(helper_start(is_served, NULL)), 0);
    uint32_t nr = atomic_load(&shared->nr_got);
    fprintf(stderr, "%s: it got %u; the other one joined in %llu ms\n", what, nr,
            (unsigned long long)atomic_load(&shared->join_ms));
    CHECK(atomic_load(&shared->join_ms) < test_limit_ms(4000));
    CHECK_EQ(kill(d.pid, 0), 0);
    (void)helper_kill(greedy, SIGKILL);
    return nr;
}

int main(void)
{
    shared = test_shared(sizeof *shared);
    test_begin("one user does not exhaust the daemon for another", 120);
    if (geteuid() != 0)
        test_skip("only root can start clients of two users");
    daemon_start(&d, (const char *[]){ "--cold-age", "50ms", "--heat", "scan", "--reclaim-rate", "4G",
                                       "--user-store-cap", "4M", NULL });
    directory_open_to_all();
    strcpy(shared->socket_path, d.socket_path);
    CHECK_EQ(chmod(d.socket_path, 0666), 0);

    CHECK_EQ(helper_wait(helper_start(is_served, NULL)), 0);
    unsigned at_rest = process_descriptors_at_rest(d.pid); /* with what it keeps from its first client on */
    (void)while_one_takes("connections", takes_connections, 0);
    WAIT_LONG_UNTIL(process_descriptors_at_rest(d.pid) <= at_rest); /* it is heard again, and all has gone */
    uint32_t nr = while_one_takes("sessions", takes_sessions, 0);
    CHECK_EQ(nr, USER_SESSIONS_MAX);
    nr = while_one_takes("pages", takes_pages, 0);
    CHECK_EQ(nr, USER_PAGES_MAX / SESSION_PAGES_MAX);
    nr = while_one_takes("stores", takes_stores, 0);
    CHECK(nr * 2048u < USER_CAP + (USER_CAP >> 2)); /* three stores, one ceiling */
    CHECK(nr * 2048u > USER_CAP / 2);
    uint64_t begin_ms = test_now_ms();
    (void)while_one_takes("messages without end", takes_ranges, 3000);
    uint64_t ms = test_now_ms() - begin_ms, told = atomic_load(&shared->nr_told);
    fprintf(stderr, "%llu messages in %llu ms\n", (unsigned long long)told, (unsigned long long)ms);
    CHECK(told < (USER_BURST_NS / 1000000 + ms / USER_TIME_SHARE) * (1000000 / USER_MESSAGE_NS) + 60000);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    return test_end();
}
