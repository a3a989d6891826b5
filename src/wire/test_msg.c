/* Messages arrive whole with their descriptors, or not at all and then nothing leaks. Method: every
 * type over a socketpair; each way of being wrong, with /proc/self/fd counted before and after. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "wire/msg.h"

static unsigned open_fds(void)
{
    unsigned nr = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir));)
        nr += d->d_name[0] != '.';
    closedir(dir);
    return nr - 1; /* the directory's own */
}

static void make_pair(int sockets[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
}

static void close_pair(const int sockets[2])
{
    close(sockets[0]);
    close(sockets[1]);
}

/* A payload of each type that is right, with something in every field. */
static union msg_payload good_payload(enum msg_type type)
{
    union msg_payload p = {0};
    switch (type) {
    case MSG_HELLO:
        p.hello = (struct msg_hello){.version = WIRE_VERSION, .nr_cpus = 3, .name = "fifteen letters"};
        break;
    case MSG_WELCOME:
        p.welcome = (struct msg_welcome){WIRE_VERSION, 1, 2, 1, 1u << 30, 4096, 5000, 1, 30000, 0};
        break;
    case MSG_REFUSE:
        p.refuse = (struct msg_refuse){.error = -EPERM, .text = "not you"};
        break;
    case MSG_RANGE_ADD:
    case MSG_RANGE_DEL:
        p.range = (struct msg_range){0x7f0000001000, 0x5000};
        break;
    case MSG_UFFD_API:
    case MSG_UFFD_API_DONE:
        p.uffd_api = (struct msg_uffd_api){.features = 0x1234567890, .error = -EINVAL};
        break;
    case MSG_STATUS:
        p.status = (struct msg_status){12345};
        break;
    case MSG_ORDER:
        p.order = (struct msg_order){ORDER_RECLAIM, 4711, 1500};
        break;
    case MSG_ORDER_DONE:
        p.order_done = (struct msg_order_done){ORDER_DRAIN, -EIO, 1000, 1};
        break;
    case MSG_RANGES_RESET:
    case MSG_STATUS_GET:
    case MSG_TYPE_NR:
        break;
    }
    return p;
}

static struct msg good_message(enum msg_type type)
{
    return (struct msg){{WIRE_MAGIC, type}, good_payload(type)};
}

/* Sends any bytes with any descriptors, as somebody without our library might. */
static void send_raw(int socket, const void *bytes, size_t size, const int *fds, unsigned nr_fds)
{
    char control[CMSG_SPACE(sizeof(int) * 64)] __attribute__((aligned(16))) = {0};
    struct iovec part = {(void *)bytes, size};
    struct msghdr h = {.msg_iov = &part, .msg_iovlen = 1};
    if (nr_fds) {
        h.msg_control = control;
        h.msg_controllen = CMSG_SPACE(sizeof(int) * nr_fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nr_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * nr_fds);
    }
    assert_int_equal(sendmsg(socket, &h, 0), (ssize_t)size);
}

static void expect_refused(int socket, int error)
{
    struct msg m, untouched;
    struct msg_fds fds = {.nr = 77};
    memset(&m, 0x5a, sizeof(m));
    untouched = m;
    unsigned before = open_fds();
    assert_int_equal(msg_recv(socket, &m, &fds), error);
    assert_int_equal(open_fds(), before);
    assert_memory_equal(&m, &untouched, sizeof(m));
    assert_int_equal(fds.nr, 77);
}

static void every_type_arrives_with_its_descriptors(void **state)
{
    (void)state;
    int sockets[2];
    make_pair(sockets);
    struct stat null_stat, got_stat;
    for (uint32_t type = 0; type < MSG_TYPE_NR; type++) {
        union msg_payload payload = good_payload(type);
        struct msg_fds sent = {.nr = msg_fds_max(type)}, got;
        unsigned before = open_fds();
        for (unsigned i = 0; i < sent.nr; i++)
            sent.fd[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_int_equal(msg_send(sockets[0], type, &payload, &sent), 0);
        struct msg m;
        assert_int_equal(msg_recv(sockets[1], &m, &got), 0);
        assert_int_equal(m.header.type, type);
        assert_memory_equal(&m.payload, &payload, msg_bytes(type) - sizeof(m.header));
        assert_int_equal(got.nr, sent.nr);
        assert_int_equal(stat("/dev/null", &null_stat), 0);
        for (unsigned i = 0; i < got.nr; i++) {
            assert_int_equal(fstat(got.fd[i], &got_stat), 0);
            assert_int_equal(got_stat.st_rdev, null_stat.st_rdev);
            assert_int_equal(fcntl(got.fd[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        }
        msg_fds_close(&sent);
        msg_fds_close(&got);
        assert_int_equal(got.nr, 0);
        assert_int_equal(open_fds(), before);
    }
    struct msg m;
    struct msg_fds fds;
    assert_int_equal(msg_recv(sockets[1], &m, &fds), -EAGAIN);
    close(sockets[0]);
    assert_int_equal(msg_recv(sockets[1], &m, &fds), -ECONNRESET);
    union msg_payload empty = {0};
    assert_int_equal(msg_send(sockets[1], MSG_STATUS_GET, &empty, NULL), -ECONNRESET);
    close(sockets[1]);
}

static void names_and_sizes_come_from_the_vocabulary(void **state)
{
    (void)state;
    assert_string_equal(msg_name(MSG_HELLO), "HELLO");
    assert_string_equal(msg_name(MSG_STATUS), "STATUS");
    assert_string_equal(msg_name(MSG_TYPE_NR), "?");
    assert_string_equal(msg_name(UINT32_MAX), "?");
    assert_int_equal(msg_bytes(MSG_TYPE_NR), 0);
    assert_int_equal(msg_bytes(MSG_RANGE_ADD), 24);
    assert_int_equal(msg_fds_max(MSG_WELCOME), 6);
    assert_int_equal(msg_fds_max(UINT32_MAX), 0);
}

static void only_exact_sizes_decode(void **state)
{
    (void)state;
    unsigned char bytes[MSG_BYTES_MAX + 8] = {0};
    for (uint32_t type = 0; type < MSG_TYPE_NR; type++) {
        struct msg good = good_message(type), m;
        memcpy(bytes, &good, sizeof(good));
        for (size_t size = 0; size <= sizeof(bytes); size++) {
            /* A copy of exactly this size, so that a sanitizer sees any look beyond it. */
            unsigned char *exact = malloc(size ? size : 1);
            assert_non_null(exact);
            memcpy(exact, bytes, size);
            assert_int_equal(msg_decode(exact, size, &m), size == msg_bytes(type) ? 0 : -EPROTO);
            free(exact);
        }
    }
}

static void refuses(struct msg m)
{
    struct msg out;
    assert_int_equal(msg_decode(&m, msg_bytes(m.header.type), &out), -EPROTO);
}

static void fields_out_of_range_do_not_decode(void **state)
{
    (void)state;
    struct msg m = good_message(MSG_STATUS_GET);
    m.header.magic ^= 1;
    refuses(m);
    m = good_message(MSG_STATUS_GET);
    m.header.type = MSG_TYPE_NR;
    struct msg out;
    for (size_t size = 0; size <= sizeof(m); size++)
        assert_int_equal(msg_decode(&m, size, &out), -EPROTO);
    m = good_message(MSG_RANGES_RESET);
    m.payload.empty.reserved = 1;
    refuses(m);

    m = good_message(MSG_HELLO);
    memset(m.payload.hello.name, 'x', sizeof(m.payload.hello.name));
    refuses(m);
    m = good_message(MSG_REFUSE);
    memset(m.payload.refuse.text, 'x', sizeof(m.payload.refuse.text));
    refuses(m);
    static const int32_t no_errors[] = {0, 1, -4096, INT32_MIN};
    for (size_t i = 0; i < 4; i++) {
        m = good_message(MSG_REFUSE);
        m.payload.refuse.error = no_errors[i];
        refuses(m);
    }
    m = good_message(MSG_WELCOME);
    m.payload.welcome.has_device = 2;
    refuses(m);
    m = good_message(MSG_UFFD_API_DONE);
    m.payload.uffd_api.error = 5;
    refuses(m);
    m = good_message(MSG_ORDER);
    m.payload.order.op = ORDER_OP_NR;
    refuses(m);
    m = good_message(MSG_ORDER);
    m.payload.order.pid = -1;
    refuses(m);
    m = good_message(MSG_ORDER_DONE);
    m.payload.order_done.op = ORDER_OP_NR;
    refuses(m);
    m = good_message(MSG_ORDER_DONE);
    m.payload.order_done.error = 5;
    refuses(m);

    static const struct msg_range bad_ranges[] = {
        {0x1000, 0}, {0x1001, 0x1000}, {0x1000, 0x1001}, {0x1000, 0x800},
        {UINT64_MAX & ~0xfffull, 0x1000}, {UINT64_MAX & ~0xfffull, 0x2000},
        {0x1000, UINT64_MAX & ~0xfffull}, {0x2000, UINT64_MAX & ~0xfffull},
    };
    for (size_t i = 0; i < sizeof(bad_ranges) / sizeof(bad_ranges[0]); i++) {
        m = good_message(i & 1 ? MSG_RANGE_ADD : MSG_RANGE_DEL);
        m.payload.range = bad_ranges[i];
        refuses(m);
    }
}

static void what_is_wrong_is_refused_and_leaks_nothing(void **state)
{
    (void)state;
    int sockets[2], fds[32];
    make_pair(sockets);
    for (int i = 0; i < 32; i++)
        fds[i] = STDERR_FILENO;
    struct msg m = good_message(MSG_WELCOME);
    size_t size = msg_bytes(MSG_WELCOME);

    static const unsigned too_many[] = {7, 8, 9, 32}; /* WELCOME may have 6 */
    for (int i = 0; i < 4; i++) {
        send_raw(sockets[0], &m, size, fds, too_many[i]);
        expect_refused(sockets[1], -EPROTO);
    }
    struct msg hello = good_message(MSG_HELLO); /* may have 1 */
    send_raw(sockets[0], &hello, msg_bytes(MSG_HELLO), fds, 2);
    expect_refused(sockets[1], -EPROTO);

    send_raw(sockets[0], &m, size - 1, fds, 3);
    expect_refused(sockets[1], -EPROTO);
    send_raw(sockets[0], &m, 3, fds, 3);
    expect_refused(sockets[1], -EPROTO);
    char long_bytes[sizeof(struct msg) + 1] = {0};
    struct msg refuse = good_message(MSG_REFUSE); /* the longest: a byte more is cut off by the kernel */
    memcpy(long_bytes, &refuse, sizeof(refuse));
    send_raw(sockets[0], long_bytes, sizeof(long_bytes), NULL, 0);
    expect_refused(sockets[1], -EPROTO);
    m.header.magic++;
    send_raw(sockets[0], &m, size, fds, 6);
    expect_refused(sockets[1], -EPROTO);
    send_raw(sockets[0], NULL, 0, fds, 2);
    expect_refused(sockets[1], -ECONNRESET);

    /* After all that the socket still works. */
    union msg_payload empty = {0};
    assert_int_equal(msg_send(sockets[0], MSG_STATUS_GET, &empty, NULL), 0);
    struct msg_fds none;
    assert_int_equal(msg_recv(sockets[1], &m, &none), 0);
    close_pair(sockets);
}

static void a_full_descriptor_table_is_told_apart(void **state)
{
    (void)state;
    int sockets[2], fds[6];
    make_pair(sockets);
    for (int i = 0; i < 6; i++)
        fds[i] = STDERR_FILENO;
    struct msg m = good_message(MSG_WELCOME);
    struct rlimit old, tight;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    for (unsigned nr_free = 0; nr_free < 6; nr_free += 5) {
        int first_free = dup(sockets[0]);
        close(first_free);
        tight = (struct rlimit){(rlim_t)first_free + nr_free, old.rlim_max};
        send_raw(sockets[0], &m, msg_bytes(MSG_WELCOME), fds, 6);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
        struct msg got;
        struct msg_fds got_fds = {.nr = 0};
        int r = msg_recv(sockets[1], &got, &got_fds);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        assert_int_equal(r, -EMFILE);
        int still_free = dup(sockets[0]);
        close(still_free);
        assert_int_equal(still_free, first_free);
    }
    close(sockets[0]);
    close(sockets[1]);
}

static void sending_does_not_block_and_refuses_surplus(void **state)
{
    (void)state;
    int sockets[2];
    make_pair(sockets);
    union msg_payload empty = {0};
    struct msg_fds fds = {.fd = {2}, .nr = 1};
    assert_int_equal(msg_send(sockets[0], MSG_STATUS_GET, &empty, &fds), -EINVAL);
    assert_int_equal(msg_send(sockets[0], MSG_TYPE_NR, &empty, NULL), -EINVAL);
    int r = 0;
    for (int i = 0; i < 1000000 && r == 0; i++)
        r = msg_send(sockets[0], MSG_STATUS_GET, &empty, NULL);
    assert_int_equal(r, -EAGAIN);
    close_pair(sockets);
}

static void random_bytes_never_hurt(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (int i = 0; i < 200000; i++) {
        random = random * 1664525u + 1013904223u;
        struct msg m = good_message((random >> 8) % MSG_TYPE_NR), out;
        size_t size = msg_bytes(m.header.type);
        for (int flips = 1 + (random >> 28) % 3; flips; flips--) {
            random = random * 1664525u + 1013904223u;
            ((unsigned char *)&m)[(random >> 8) % size] ^= (unsigned char)(1u << (random >> 29));
        }
        if (msg_decode(&m, size, &out) != 0)
            continue;
        /* What was believed keeps its promises. */
        if (out.header.type == MSG_RANGE_ADD || out.header.type == MSG_RANGE_DEL)
            assert_true(out.payload.range.start < out.payload.range.start + out.payload.range.bytes);
        if (out.header.type == MSG_HELLO)
            assert_true(strlen(out.payload.hello.name) < sizeof(out.payload.hello.name));
    }
}

static void last_words_arrive(void **state)
{
    (void)state;
    int sockets[2];
    make_pair(sockets);
    struct msg m = good_message(MSG_RANGE_ADD), out;
    struct msg_fds none = { .nr = 0 };
    assert_int_equal(msg_send(sockets[0], m.header.type, &m.payload, NULL), 0); /* never read */
    m = good_message(MSG_REFUSE);
    assert_int_equal(msg_send(sockets[1], m.header.type, &m.payload, NULL), 0);
    close(sockets[1]);
    assert_int_equal(msg_recv(sockets[0], &out, &none), 0);
    assert_int_equal(out.header.type, MSG_REFUSE);
    assert_int_equal(msg_recv(sockets[0], &out, &none), -ECONNRESET);
    close(sockets[0]);
}

static void whether_descriptors_come_is_told_before(void **state)
{
    (void)state;
    int sockets[2], fds[2];
    make_pair(sockets);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(msg_brings_fds(sockets[1]), -EAGAIN);
    struct msg m = good_message(MSG_RANGE_ADD);
    send_raw(sockets[0], &m, msg_bytes(MSG_RANGE_ADD), NULL, 0);
    assert_int_equal(msg_brings_fds(sockets[1]), 0);
    struct msg_fds got;
    assert_int_equal(msg_recv(sockets[1], &m, &got), 0);
    send_raw(sockets[0], NULL, 0, fds, 2);
    send_raw(sockets[0], &m, 3, fds, 1);
    unsigned nr = open_fds();
    assert_int_equal(msg_brings_fds(sockets[1]), 1);
    assert_int_equal(msg_recv(sockets[1], &m, &got), -ECONNRESET);
    /* Who has hung up with something unread: that is reported first, and the message is still there. */
    m = good_message(MSG_REFUSE);
    assert_int_equal(msg_send(sockets[1], MSG_REFUSE, &m.payload, NULL), 0);
    close(sockets[0]);
    assert_int_equal(msg_brings_fds(sockets[1]), 1);
    assert_int_equal(open_fds(), nr - 1);
    assert_int_equal(msg_recv(sockets[1], &m, &got), -EPROTO);
    assert_int_equal(msg_brings_fds(sockets[1]), 0);
    close(sockets[1]);
    close_pair(fds);
}

static void candidates_come_in_order(void **state)
{
    (void)state;
    char buffer[200];
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    unsetenv("PROCESS_PAGER_SOCKET");
    assert_string_equal(socket_path_candidate(0, NULL, buffer, sizeof(buffer)),
                        "/run/process-pager/pager.sock");
    assert_string_equal(socket_path_candidate(1, NULL, buffer, sizeof(buffer)),
                        "/run/user/7/process-pager/pager.sock");
    assert_null(socket_path_candidate(2, NULL, buffer, sizeof(buffer)));

    setenv("PROCESS_PAGER_SOCKET", "/tmp/e.sock", 1);
    assert_string_equal(socket_path_candidate(0, NULL, buffer, sizeof(buffer)), "/tmp/e.sock");
    assert_null(socket_path_candidate(1, NULL, buffer, sizeof(buffer)));
    assert_string_equal(socket_path_candidate(0, "/x", buffer, sizeof(buffer)), "/x");
    assert_null(socket_path_candidate(1, "/x", buffer, sizeof(buffer)));

    setenv("PROCESS_PAGER_SOCKET", "", 1); /* as good as not set */
    assert_string_equal(socket_path_candidate(0, NULL, buffer, sizeof(buffer)),
                        "/run/process-pager/pager.sock");
    unsetenv("XDG_RUNTIME_DIR");
    assert_null(socket_path_candidate(1, NULL, buffer, sizeof(buffer)));
    setenv("XDG_RUNTIME_DIR", "relative", 1);
    assert_null(socket_path_candidate(1, NULL, buffer, sizeof(buffer)));

    /* A path that does not fit is never cut to another one. */
    const char *long_path = "/a/path/of/some/length.sock";
    assert_string_equal(socket_path_candidate(0, long_path, buffer, 10), long_path);
}

static void connecting_says_what_is_missing(void **state)
{
    (void)state;
    char directory[] = "/tmp/pp-msg-XXXXXX", path[64], long_path[300];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/s", directory);
    unsigned before = open_fds();
    assert_int_equal(socket_connect(path), -ENOENT);
    assert_int_equal(socket_connect(""), -ENOENT);
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = 0;
    assert_int_equal(socket_connect(long_path), -ENAMETOOLONG);

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(socket_connect(path), -ECONNREFUSED);
    assert_int_equal(listen(listener, 4), 0);
    int client = socket_connect(path);
    assert_true(client >= 0);
    assert_true(fcntl(client, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(client, F_GETFD) & FD_CLOEXEC);
    close(client);
    close(listener);
    assert_int_equal(open_fds(), before);
    unlink(path);
    rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_arrives_with_its_descriptors),
        cmocka_unit_test(names_and_sizes_come_from_the_vocabulary),
        cmocka_unit_test(only_exact_sizes_decode),
        cmocka_unit_test(fields_out_of_range_do_not_decode),
        cmocka_unit_test(what_is_wrong_is_refused_and_leaks_nothing),
        cmocka_unit_test(a_full_descriptor_table_is_told_apart),
        cmocka_unit_test(sending_does_not_block_and_refuses_surplus),
        cmocka_unit_test(random_bytes_never_hurt),
        cmocka_unit_test(last_words_arrive),
        cmocka_unit_test(whether_descriptors_come_is_told_before),
        cmocka_unit_test(candidates_come_in_order),
        cmocka_unit_test(connecting_says_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
