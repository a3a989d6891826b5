/* A client that lies ends its own session and nobody else's. Method: the daemon's control and compress
 * threads in a child process, clients made by hand from the wire headers; after each lie a decent client
 * must still be served, and at the end there is a row for every session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "codec/codec.h"
#include "daemon/control.h"
#include "daemon/door.h"
#include "daemon/limits.h"
#include "sys/uffd.h"
#include "wire/msg.h"
#include "wire/session_memory.h"
#include "wire/test_lingering.h"

static char folder[] = "/tmp/test_abuse.XXXXXX", socket_path[64], csv_path[64];
static pid_t daemon_pid;
static unsigned nr_welcomed;

struct client {
    int socket;
    struct msg_fds fds; /* of the welcome */
    struct msg_welcome welcome;
    struct session_memory *memory;
    struct ring raw, raw_free, stored, given_up, candidates, feedback, squeeze, squeezed;
};

static int open_pagemap(void)
{
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static bool wait_readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms) == 1;
}

static void send_hello(int fd, uint32_t version, int pagemap)
{
    struct msg_hello hello = {.version = version, .nr_cpus = 1, .name = "a,\"liar\"\n"};
    struct msg_fds fds = {.fd = {pagemap}, .nr = pagemap >= 0};
    assert_int_equal(msg_send(fd, MSG_HELLO, &hello, &fds), 0);
    if (pagemap >= 0)
        close(pagemap);
}

static struct msg answer_of(int fd, struct msg_fds *ret_fds)
{
    struct msg m;
    assert_true(wait_readable(fd, 15000));
    assert_int_equal(msg_recv(fd, &m, ret_fds), 0);
    return m;
}

static struct client join(void)
{
    struct client c = {.socket = socket_connect(socket_path)};
    assert_true(c.socket >= 0);
    send_hello(c.socket, WIRE_VERSION, open_pagemap());
    struct msg m = answer_of(c.socket, &c.fds);
    assert_int_equal(m.header.type, MSG_WELCOME);
    c.welcome = m.payload.welcome;
    assert_true(c.fds.nr >= 5);
    assert_int_equal(c.welcome.session_bytes, SESSION_MEMORY_BYTES);
    c.memory = mmap(NULL, SESSION_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, c.fds.fd[1], 0);
    assert_ptr_not_equal(c.memory, MAP_FAILED);
    struct session_memory *s = c.memory;
    ring_init(&c.raw, &s->raw, s->raw_entries, RAW_SLOTS_MAX, sizeof(struct raw_entry));
    ring_init(&c.raw_free, &s->raw_free, s->raw_free_entries, RAW_SLOTS_MAX,
              sizeof(struct raw_free_entry));
    ring_init(&c.stored, &s->stored, s->stored_entries, STAGING_SLOTS_MAX,
              sizeof(struct stored_entry));
    ring_init(&c.given_up, &s->given_up, s->given_up_entries, RING_GIVEN_UP_NR,
              sizeof(struct given_up_entry));
    ring_init(&c.candidates, &s->candidates, s->candidate_entries, RING_CANDIDATES_NR,
              sizeof(struct candidate_entry));
    ring_init(&c.feedback, &s->feedback, s->feedback_entries, RING_FEEDBACK_NR,
              sizeof(struct feedback_entry));
    ring_init(&c.squeeze, &s->squeeze, s->squeeze_entries, SQUEEZES_NR, sizeof(struct squeeze_entry));
    ring_init(&c.squeezed, &s->squeezed, s->squeezed_entries, SQUEEZES_NR,
              sizeof(struct squeezed_entry));
    nr_welcomed++;
    return c;
}

static void leave(struct client *c)
{
    munmap(c->memory, SESSION_MEMORY_BYTES);
    msg_fds_close(&c->fds);
    close(c->socket);
}

static void ring_daemon(struct client *c)
{
    (void)eventfd_write(c->fds.fd[2], 1);
}

static void put_raw(struct client *c, uint32_t slot)
{
    struct raw_entry e = {.raw_slot = slot, .staging_slot = slot, .generation = 7};
    assert_int_equal(ring_put(&c->raw, &e), 0);
}

static void take_next(struct ring *answers, void *ret_entry)
{
    for (int i = 0; i < 15000; i++) {
        int r = ring_take(answers, ret_entry);
        assert_true(r >= 0);
        if (r == 1)
            return;
        usleep(1000);
    }
    fail_msg("no answer after 3 s");
}

static struct stored_entry next_answer(struct client *c)
{
    struct stored_entry e;
    take_next(&c->stored, &e);
    return e;
}

/* A decent client: a page goes in and comes out again. */
static void daemon_serves(void)
{
    struct client c = join();
    unsigned char *store = mmap(NULL, c.welcome.store_bytes, PROT_READ, MAP_SHARED, c.fds.fd[0], 0);
    assert_ptr_not_equal(store, MAP_FAILED);
    unsigned char page[PAGE_BYTES], back[PAGE_BYTES];
    for (size_t i = 0; i < PAGE_BYTES; i++)
        page[i] = (unsigned char)(i / 64 * 7 + i % 3);
    for (uint32_t slot = 0; slot < 40; slot++) {
        page[17] = (unsigned char)slot;
        memcpy(session_raw_page(c.memory, slot), page, PAGE_BYTES);
        put_raw(&c, slot);
    }
    doorbell_ring(&c.memory->daemon_bell, c.fds.fd[2]);
    for (uint32_t slot = 0; slot < 40; slot++) {
        struct stored_entry e = next_answer(&c);
        assert_int_equal(e.result, STORED_AT);
        assert_int_equal(e.staging_slot, slot);
        assert_int_equal(e.generation, 7);
        assert_int_equal(locator_kind_of(e.place), LOCATOR_LZ4);
        assert_int_equal(codec_decode(LOCATOR_LZ4, store + locator_offset(e.place),
                                      locator_size(e.place), back), 0);
        page[17] = (unsigned char)slot;
        assert_memory_equal(back, page, PAGE_BYTES);
        struct given_up_entry g = {.place = e.place};
        assert_int_equal(ring_put(&c.given_up, &g), 0);
    }
    munmap(store, c.welcome.store_bytes);
    leave(&c);
}

static void is_ended(struct client *c)
{
    struct msg m;
    struct msg_fds fds = {.nr = 0};
    assert_true(wait_readable(c->socket, 15000));
    assert_int_equal(msg_recv(c->socket, &m, &fds), -ECONNRESET);
    leave(c);
    daemon_serves();
}

/* ---- the lies */

static void refused(uint32_t version, int pagemap)
{
    int fd = socket_connect(socket_path);
    struct msg_fds fds = {.nr = 0};
    send_hello(fd, version, pagemap);
    struct msg m = answer_of(fd, &fds);
    assert_int_equal(m.header.type, MSG_REFUSE);
    assert_true(m.payload.refuse.error < 0 && *m.payload.refuse.text);
    assert_int_equal(fds.nr, 0);
    close(fd);
}

static void wrong_hellos_are_refused(void **state)
{
    (void)state;
    char path[80];
    refused(WIRE_VERSION + 1, open_pagemap());
    refused(WIRE_VERSION, -1);
    refused(WIRE_VERSION, open("/dev/null", O_RDONLY));
    refused(WIRE_VERSION, open("/proc/self/maps", O_RDONLY));
    (void)snprintf(path, sizeof(path), "%s/pagemap", folder);
    refused(WIRE_VERSION, open(path, O_RDWR | O_CREAT, 0600));
    unlink(path);
    daemon_serves();
}

static void messages_out_of_order_end_it(void **state)
{
    (void)state;
    struct msg_range range = {.start = 0x10000000, .bytes = PAGE_BYTES};
    struct msg_empty empty = {0};
    struct msg_welcome welcome = {.version = 1};
    struct msg_status status = {0};
    char garbage[40] = "garbage";
    struct msg_order order = {.op = ORDER_DRAIN, .pid = getpid()};
    struct msg_order_done done = {.op = ORDER_DRAIN};
    for (int i = 0; i < 8; i++) {
        struct client c = join();
        switch (i) {
        case 0: send_hello(c.socket, WIRE_VERSION, open_pagemap()); break;
        case 1: assert_int_equal(msg_send(c.socket, MSG_WELCOME, &welcome, NULL), 0); break;
        case 2: assert_int_equal(msg_send(c.socket, MSG_STATUS, &status, NULL), 0); break;
        case 3: assert_true(send(c.socket, garbage, sizeof(garbage), 0) > 0); break;
        case 4: assert_true(send(c.socket, garbage, 1, 0) > 0); break;
        case 5: assert_int_equal(msg_send(c.socket, MSG_ORDER, &order, NULL), 0); break;
        case 6: assert_int_equal(msg_send(c.socket, MSG_ORDER_DONE, &done, NULL), 0); break;
        default: assert_int_equal(shutdown(c.socket, SHUT_WR), 0); break;
        }
        is_ended(&c);
    }
    int fd = socket_connect(socket_path);
    struct msg m;
    struct msg_fds fds = {.nr = 0};
    assert_int_equal(msg_send(fd, MSG_RANGE_ADD, &range, NULL), 0);
    assert_true(wait_readable(fd, 15000));
    assert_int_equal(msg_recv(fd, &m, &fds), -ECONNRESET);
    close(fd);
    fd = socket_connect(socket_path);
    assert_int_equal(msg_send(fd, MSG_RANGES_RESET, &empty, NULL), 0);
    assert_true(wait_readable(fd, 15000));
    assert_int_equal(msg_recv(fd, &m, &fds), -ECONNRESET);
    close(fd);
    daemon_serves();
}

static void positions_that_cannot_be_end_it(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct client c = join();
        switch (i) {
        case 0: atomic_store(&c.memory->raw.head, 0x77777777u); break;
        case 1: atomic_store(&c.memory->given_up.head, 0x77777777u); break;
        case 2: atomic_store(&c.memory->feedback.head, RING_FEEDBACK_NR + 1); break;
        case 3: atomic_store(&c.memory->candidates.tail, 5u); break;
        case 4: put_raw(&c, RAW_SLOTS_MAX); break;
        default: put_raw(&c, UINT32_MAX); break;
        }
        ring_daemon(&c);
        is_ended(&c);
    }
    /* Positions of the answers are looked at when there is no room by the last believed one. */
    for (int i = 0; i < 3; i++) {
        struct client c = join();
        if (i == 0)
            atomic_store(&c.memory->stored.tail, 0x77777777u);
        if (i == 1)
            atomic_store(&c.memory->raw_free.tail, 0x77777777u);
        for (int round = 0; round < 3; round++)
            for (uint32_t slot = 0; slot < RAW_SLOTS_MAX; slot++) {
                struct raw_entry e = {.raw_slot = slot};
                for (int k = 0; k < 2000 && ring_put(&c.raw, &e) == -ENOSPC; k++) {
                    ring_daemon(&c);
                    usleep(100);
                    if (wait_readable(c.socket, 0))
                        goto ended; /* never taking an answer is enough */
                }
            }
    ended:
        is_ended(&c);
    }
}

/* It takes what it is offered, and says later that it has taken less: the ring holds no more than it may, so
 * only who remembers notices. Whoever counts from the one to the other goes once around, for ten seconds. */
static void what_was_read_stays_read(void **state)
{
    (void)state;
    struct client c = join();
    uint64_t offered, bytes = 4 << 20;
    int uffd = uffd_open(c.fds.nr == 6 ? c.fds.fd[5] : -1);
    if (uffd < 0 || uffd_handshake(uffd, UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED, &offered)) {
        fprintf(stderr, "no userfaultfd: not asked\n");
        leave(&c);
        return;
    }
    unsigned char *cold = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(cold, MAP_FAILED);
    uint64_t start = (uint64_t)(uintptr_t)cold;
    assert_int_equal(uffd_register(uffd, start, bytes, UFFD_WATCH), 0);
    struct msg_range range = {.start = start, .bytes = bytes};
    assert_int_equal(msg_send(c.socket, MSG_RANGE_ADD, &range, NULL), 0);
    struct candidate_entry e;
    for (int round = 0; round < 2; round++) { /* with the second offer it has seen that the first was read */
        memset(cold, round + 1, bytes);
        take_next(&c.candidates, &e);
        usleep(100000);
        while (ring_take(&c.candidates, &e) == 1)
            ;
    }
    usleep(300000);
    atomic_store(&c.memory->candidates.tail, 0u);
    is_ended(&c);
    munmap(cold, bytes);
    close(uffd);
}

static void places_that_are_not_theirs_are_not_given_up(void **state)
{
    (void)state;
    struct client c = join(), other = join();
    memset(session_raw_page(other.memory, 0), 0, PAGE_BYTES);
    for (size_t i = 0; i < PAGE_BYTES; i += 3)
        session_raw_page(other.memory, 0)[i] = (unsigned char)(i >> 4);
    put_raw(&other, 0);
    ring_daemon(&other);
    struct stored_entry mine = next_answer(&other);
    assert_int_equal(mine.result, STORED_AT);
    static const uint64_t words[] = {0, 1, 2, 3, 7, UINT64_MAX, 0x8000000000000000u};
    for (uint32_t i = 0; i < 3000; i++) {
        struct given_up_entry e = {.place = i < 7 ? words[i] : mine.place + ((uint64_t)i << 15)};
        assert_int_equal(ring_put(&c.given_up, &e), 0);
    }
    struct given_up_entry twice = {.place = mine.place};
    assert_int_equal(ring_put(&other.given_up, &twice), 0);
    assert_int_equal(ring_put(&other.given_up, &twice), 0);
    ring_daemon(&c);
    ring_daemon(&other);
    for (int i = 0; i < 1500 && !(ring_room(&c.given_up) == RING_GIVEN_UP_NR &&
                                 ring_room(&other.given_up) == RING_GIVEN_UP_NR); i++)
        usleep(10000);
    assert_int_equal(ring_room(&c.given_up), RING_GIVEN_UP_NR);
    assert_int_equal(ring_room(&other.given_up), RING_GIVEN_UP_NR);
    daemon_serves();
    leave(&c);
    leave(&other);
}

static struct squeezed_entry next_squeezed(struct client *c)
{
    struct squeezed_entry e;
    take_next(&c->squeezed, &e);
    return e;
}

/* Every ask is answered, whatever it names; what is told lies in the store. */
static void whatever_is_asked_for_is_answered(void **state)
{
    (void)state;
    struct client c = join();
    locator places[40];
    for (uint32_t slot = 0; slot < 40; slot++) {
        for (size_t i = 0; i < PAGE_BYTES; i++)
            session_raw_page(c.memory, slot)[i] = (unsigned char)(i / 40 * 7 + i % 3 + slot);
        put_raw(&c, slot);
    }
    doorbell_ring(&c.memory->daemon_bell, c.fds.fd[2]);
    for (uint32_t slot = 0; slot < 40; slot++)
        places[slot] = next_answer(&c).place;
    uint64_t word = 88172645463325252u;
    unsigned nr_at = 0;
    for (uint32_t i = 0; i < 3000; i++) {
        struct squeeze_entry ask = {.cookie = i, .nr = (uint16_t)(i % 7), .kind = (uint16_t)(i / 7 % 4)};
        for (unsigned k = 0; k < LOCATOR_GROUP_PAGES; k++) {
            word ^= word << 13, word ^= word >> 7, word ^= word << 17;
            ask.places[k] = i % 3 == 0 ? word : places[word % 40];
            if (i % 3 == 1)
                ask.places[k] ^= (locator)1 << (word >> 32) % 64;
        }
        assert_int_equal(ring_put(&c.squeeze, &ask), 0);
        doorbell_ring(&c.memory->daemon_bell, c.fds.fd[2]);
        struct squeezed_entry e = next_squeezed(&c);
        assert_int_equal(e.cookie, i);
        assert_true(e.result < SQUEEZED_RESULT_NR);
        for (unsigned k = 0; k < LOCATOR_GROUP_PAGES && e.result == SQUEEZED_AT; k++) {
            if (!e.places[k])
                continue;
            nr_at++;
            assert_true(locator_has_blob(e.places[k]));
            assert_true(locator_offset(e.places[k]) + locator_size(e.places[k]) <= c.welcome.store_bytes);
            places[word % 40] = e.places[k]; /* groups, too, from now on */
        }
    }
    assert_true(nr_at > 500);
    daemon_serves();
    leave(&c);
}

static void hints_about_nothing_are_ignored(void **state)
{
    (void)state;
    struct client c = join();
    for (uint64_t i = 0; i < RING_FEEDBACK_NR; i++) {
        struct feedback_entry e = {.word = i * 0x9e3779b97f4a7c15u};
        assert_int_equal(ring_put(&c.feedback, &e), 0);
    }
    struct msg_range range = {.start = 0x10000000, .bytes = 64 * PAGE_BYTES}; /* nothing is there */
    assert_int_equal(msg_send(c.socket, MSG_RANGE_ADD, &range, NULL), 0);
    range.start = 0x10000000 + 8 * PAGE_BYTES;
    range.bytes = PAGE_BYTES;
    assert_int_equal(msg_send(c.socket, MSG_RANGE_DEL, &range, NULL), 0);
    usleep(50000);
    daemon_serves();
    assert_false(wait_readable(c.socket, 0));
    leave(&c);
}

static void more_pages_than_there_can_be_end_it(void **state)
{
    (void)state;
    struct client c = join();
    struct msg_range range = {.start = 0, .bytes = (SESSION_PAGES_MAX + 1) * PAGE_BYTES};
    assert_int_equal(msg_send(c.socket, MSG_RANGE_ADD, &range, NULL), 0);
    is_ended(&c);
}

static void only_userfaultfds_get_a_handshake(void **state)
{
    (void)state;
    struct client c = join();
    struct msg_uffd_api ask = {.features = UFFD_FEATURE_MOVE};
    struct msg_fds fds = {.fd = {open("/dev/null", O_RDWR)}, .nr = 1}, none = {.nr = 0};
    assert_int_equal(msg_send(c.socket, MSG_UFFD_API, &ask, &fds), 0);
    msg_fds_close(&fds);
    struct msg m = answer_of(c.socket, &none);
    assert_int_equal(m.header.type, MSG_UFFD_API_DONE);
    assert_int_equal(m.payload.uffd_api.error, -EBADF);
    assert_int_equal(msg_send(c.socket, MSG_UFFD_API, &ask, NULL), 0);
    m = answer_of(c.socket, &none);
    assert_int_equal(m.payload.uffd_api.error, -EBADF);
    int uffd = uffd_open(c.fds.nr == 6 ? c.fds.fd[5] : -1);
    if (uffd >= 0) {
        fds = (struct msg_fds){.fd = {uffd}, .nr = 1};
        assert_int_equal(msg_send(c.socket, MSG_UFFD_API, &ask, &fds), 0);
        m = answer_of(c.socket, &none);
        assert_int_equal(m.payload.uffd_api.error, 0);
        assert_true(m.payload.uffd_api.features & UFFD_FEATURE_MOVE);
        close(uffd);
    }
    daemon_serves();
    leave(&c);
}

static void who_does_not_read_answers_is_ended(void **state)
{
    (void)state;
    struct client c = join();
    struct msg_uffd_api ask = {.features = 0};
    int r = 0;
    for (int i = 0; i < 100000 && r != -ECONNRESET; i++) {
        r = msg_send(c.socket, MSG_UFFD_API, &ask, NULL);
        if (r == -EAGAIN)
            usleep(100);
    }
    assert_int_equal(r, -ECONNRESET);
    leave(&c);
    daemon_serves();
}

/* An eventfd that is full and has lost O_NONBLOCK: whoever rings it waits. */
static void a_bell_that_blocks_ends_it(void **state)
{
    (void)state;
    struct client c = join();
    for (int bell = 3; bell <= 4; bell++) {
        int fd = c.fds.fd[bell];
        assert_int_equal(eventfd_write(fd, UINT64_MAX - 1), 0);
        assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
    }
    doorbell_will_sleep(&c.memory->agent_bell);
    doorbell_will_sleep(&c.memory->porter_bell);
    memset(session_raw_page(c.memory, 0), 1, PAGE_BYTES);
    put_raw(&c, 0);
    ring_daemon(&c);
    is_ended(&c);
}

/* As the seventh descriptor of a message, where there is room for six: we get six, the kernel closes it. */
static void send_as_surplus(int socket, int fd)
{
    struct msg m = {.header = {.magic = WIRE_MAGIC, .type = MSG_HELLO}, .payload.hello.version = WIRE_VERSION};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(7 * sizeof(int))];
    } control = {.align = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    int fds[7] = {0, 0, 0, 0, 0, 0, fd};
    control.align.cmsg_len = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(&control.align), fds, sizeof(fds));
    struct iovec part = {&m, msg_bytes(MSG_HELLO)};
    struct msghdr h = {.msg_iov = &part, .msg_iovlen = 1};
    h.msg_control = &control;
    h.msg_controllen = sizeof(control);
    assert_true(sendmsg(socket, &h, 0) > 0);
}

/* The daemon is stopped meanwhile, so that its descriptor is the last one. */
static void a_descriptor_that_lingers_keeps_nobody(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        int peer, fd = test_lingering(&peer), socket = socket_connect(socket_path);
        if (fd < 0) {
            fprintf(stderr, "no TCP here: not asked\n");
            close(socket);
            return;
        }
        kill(daemon_pid, SIGSTOP);
        /* All of its threads: if one still reads what follows, our own close is the last, and waits. */
        assert_int_equal(waitpid(daemon_pid, NULL, WUNTRACED), daemon_pid);
        if (i == 1) /* what follows is not read, but is there when the socket is closed */
            assert_int_equal(send(socket, "?", 1, 0), 1);
        if (i == 2)
            send_as_surplus(socket, fd);
        else
            send_hello(socket, WIRE_VERSION, dup(fd));
        close(fd);
        kill(daemon_pid, SIGCONT);
        daemon_serves();
        close(socket);
        close(peer);
    }
}

static void nothing_in_the_memory_lets_them_touch_more(void **state)
{
    (void)state;
    struct client c = join();
    /* The seals hold, and the store can't be written. */
    assert_true(ftruncate(c.fds.fd[1], PAGE_BYTES) < 0);
    assert_true(ftruncate(c.fds.fd[1], 64 << 20) < 0);
    assert_true(ftruncate(c.fds.fd[0], PAGE_BYTES) < 0);
    assert_ptr_equal(mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, c.fds.fd[0], 0),
                     MAP_FAILED);
    assert_true(write(c.fds.fd[0], "x", 1) < 0);
    assert_true(fallocate(c.fds.fd[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE_BYTES) < 0);
    /* Raw pages punched away under the daemon's hands are zeros to it. */
    assert_int_equal(madvise(session_raw_page(c.memory, 0), RAW_SLOTS_MAX * PAGE_BYTES, MADV_REMOVE), 0);
    put_raw(&c, 3);
    ring_daemon(&c);
    struct stored_entry e = next_answer(&c);
    assert_int_equal(e.result, STORED_AT);
    assert_int_equal(e.place, locator_make_fill32(0));
    leave(&c);
    daemon_serves();
}

static void statistics_may_be_anything(void **state)
{
    (void)state;
    struct client c = join();
    memset(&c.memory->agent_stats, 0xff, sizeof(c.memory->agent_stats));
    memset(&c.memory->porter_stats, 0xff, sizeof(c.memory->porter_stats));
    int fd = socket_connect(socket_path);
    struct msg_empty empty = {0};
    struct msg_fds fds = {.nr = 0};
    assert_int_equal(msg_send(fd, MSG_STATUS_GET, &empty, NULL), 0);
    struct msg m = answer_of(fd, &fds);
    assert_int_equal(m.header.type, MSG_STATUS);
    assert_int_equal(fds.nr, 1);
    char *text = calloc(1, m.payload.status.bytes + 1);
    assert_int_equal(pread(fds.fd[0], text, m.payload.status.bytes, 0), m.payload.status.bytes);
    assert_non_null(strstr(text, "\"schema\":1"));
    assert_non_null(strstr(text, "\"a__liar__\""));
    free(text);
    msg_fds_close(&fds);
    close(fd);
    leave(&c);
    daemon_serves();
}

static void the_hundredth_client_is_served_like_the_first(void **state)
{
    (void)state;
    static struct client clients[SESSIONS_MAX];
    unsigned nr = 0;
    for (; nr < 120; nr++)
        clients[nr] = join();
    daemon_serves();
    while (nr)
        leave(&clients[--nr]);
    daemon_serves();
}

static void killed_clients_get_their_row_too(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct client c = join();
        put_raw(&c, 1);
        ring_daemon(&c);
        (void)raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    nr_welcomed++; /* counted in the child only */
    daemon_serves();
}

/* A socket outlives who has connected it, whose number may soon be another process's. */
static void a_session_ends_with_its_process(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) { /* before its hello, and after */
        int ends[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
        pid_t pid = fork();
        if (pid == 0) { /* as a "hello": any message may carry one in this socket of ours */
            struct client c = {.socket = socket_connect(socket_path)};
            if (i)
                send_hello(c.socket, WIRE_VERSION, open_pagemap());
            struct msg_hello hello = {.version = WIRE_VERSION};
            struct msg_fds fds = {.fd = {c.socket}, .nr = 1};
            _exit(msg_send(ends[1], MSG_HELLO, &hello, &fds) || (i && !wait_readable(c.socket, 3000)));
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        nr_welcomed += (unsigned)i;
        struct msg m;
        struct msg_fds fds;
        assert_int_equal(msg_recv(ends[0], &m, &fds), 0);
        assert_int_equal(fds.nr, 1);
        struct client c = {.socket = fds.fd[0]};
        if (i == 0)
            send_hello(c.socket, WIRE_VERSION, open_pagemap());
        struct msg_fds given = {.nr = 0};
        int r = 0;
        for (int k = 0; k < 2 && r == 0; k++) { /* the second's welcome is still there */
            assert_true(wait_readable(c.socket, 5000));
            r = msg_recv(c.socket, &m, &given);
            msg_fds_close(&given);
            assert_true(r || i);
        }
        assert_int_equal(r, -ECONNRESET);
        close(c.socket);
        close(ends[0]);
        close(ends[1]);
        daemon_serves();
    }
}

/* ---- the daemon */

static int run_daemon(void)
{
    struct config config = {.socket_path = socket_path,
                            .csv_path = csv_path,
                            .cold_age_ms = 20,
                            .store_cap_bytes = 64 << 20,
                            .user_store_cap_bytes = 64 << 20,
                            .store_cap_total_bytes = 64 << 20,
                            .squeeze_age_ms = 20,
                            .reclaim_rate = 500 << 20};
    struct features features = {.has_page_size = true, .remote_dontneed = EINVAL};
    struct listener listener;
    char error[200];
    bool tells_forks;
    log_set_level(LOG_AT_ERROR);
    (void)door_begin(&tells_forks);
    int code = listener_open(socket_path, &listener, error, sizeof(error));
    if (code) {
        fprintf(stderr, "%s\n", error);
        return code;
    }
    code = control_run(&config, &features, &listener, NULL);
    door_end();
    listener_close(&listener);
    return code;
}

static int start(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(socket_path, sizeof(socket_path), "%s/s", folder);
    (void)snprintf(csv_path, sizeof(csv_path), "%s/csv", folder);
    signal(SIGPIPE, SIG_IGN);
    daemon_pid = fork();
    if (daemon_pid == 0)
        exit(run_daemon());
    for (int i = 0; i < 500 && access(socket_path, F_OK); i++)
        usleep(10000);
    return access(socket_path, F_OK);
}

static int end(void **state)
{
    (void)state;
    struct client last = join(); /* still there when the daemon ends: it has its row, too */
    int status = -1;
    kill(daemon_pid, SIGTERM);
    for (int i = 0; i < 3000 && waitpid(daemon_pid, &status, WNOHANG) == 0; i++)
        usleep(10000);
    leave(&last);
    bool is_right = WIFEXITED(status) && WEXITSTATUS(status) == 0 && access(socket_path, F_OK) < 0;
    if (!is_right) {
        kill(daemon_pid, SIGKILL);
        fprintf(stderr, "the daemon did not end in order: status %#x\n", (unsigned)status);
    }
    FILE *f = fopen(csv_path, "r");
    static char line[1 << 16];
    unsigned nr_lines = 0, nr_commas = 0;
    while (f && fgets(line, sizeof(line), f)) {
        unsigned commas = 0;
        for (const char *p = line; *p; p++)
            commas += *p == ',';
        nr_commas = nr_lines++ ? nr_commas : commas;
        is_right &= commas == nr_commas && commas > 50;
    }
    if (f)
        fclose(f);
    if (nr_lines != nr_welcomed + 1) {
        fprintf(stderr, "%u lines for %u sessions\n", nr_lines, nr_welcomed);
        is_right = false;
    }
    unlink(csv_path);
    is_right &= rmdir(folder) == 0; /* nothing else is left */
    return is_right ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_hellos_are_refused),
        cmocka_unit_test(messages_out_of_order_end_it),
        cmocka_unit_test(positions_that_cannot_be_end_it),
        cmocka_unit_test(what_was_read_stays_read),
        cmocka_unit_test(places_that_are_not_theirs_are_not_given_up),
        cmocka_unit_test(whatever_is_asked_for_is_answered),
        cmocka_unit_test(hints_about_nothing_are_ignored),
        cmocka_unit_test(more_pages_than_there_can_be_end_it),
        cmocka_unit_test(only_userfaultfds_get_a_handshake),
        cmocka_unit_test(who_does_not_read_answers_is_ended),
        cmocka_unit_test(a_bell_that_blocks_ends_it),
        cmocka_unit_test(a_descriptor_that_lingers_keeps_nobody),
        cmocka_unit_test(nothing_in_the_memory_lets_them_touch_more),
        cmocka_unit_test(statistics_may_be_anything),
        cmocka_unit_test(the_hundredth_client_is_served_like_the_first),
        cmocka_unit_test(killed_clients_get_their_row_too),
        cmocka_unit_test(a_session_ends_with_its_process),
    };
    return cmocka_run_group_tests(tests, start, end);
}
