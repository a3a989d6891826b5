/* hostile_clients - whoever lies to the daemon loses its own session, with a reason in the log, and
 * nobody else anything: another client's pages go on leaving and coming back, and afterwards the
 * daemon has as many descriptors and as much memory as before. Method: the real daemon; clients made
 * by hand from the wire headers, one kind of lie after the other, 200 of them. */
#include "command.h"
#include "process.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/limits.h"
#include "stats/stats.h"
#include "sys/uffd.h"
#include "wire/msg.h"
#include "wire/session_memory.h"

#define NR 2048u /* the decent client's pages */
#define SESSIONS 200u
#define HUGE_BYTES ((off_t)1 << 40)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_MEMORY_OURS 0 /* it is the sanitizer's; what leaks it tells at the daemon's end */
#else
#define IS_MEMORY_OURS 1
#endif

static struct daemon d;
static char log_path[128], csv_path[128];
static char *shared_path; /* the socket's, for helpers */
static unsigned nr_joined;

/* Another process, which lends its userfaultfd: by this way. */
static int lane[2];
static struct lender {
    bool is_told_of_forks; /* who asks for a userfaultfd that tells */
    bool is_handshaken;    /* before it is lent */
    _Atomic bool is_back;
} *lender;

/* ---- a client by hand */

struct client {
    int socket;
    struct msg_fds fds;
    struct session_memory *memory;
};

static bool is_readable(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, ms) == 1;
}

static int connect_only(void)
{
    int fd = socket_connect(d.socket_path);
    CHECK(fd >= 0);
    return fd;
}

/* Takes the descriptor, too. */
static void send_hello(int socket, uint32_t version, int fd)
{
    struct msg_hello hello = { .version = version, .nr_cpus = 1, .name = "liar" };
    struct msg_fds fds = { .fd = { fd }, .nr = fd >= 0 };
    CHECK_EQ(msg_send(socket, MSG_HELLO, &hello, &fds), 0);
    if (fd >= 0)
        close(fd);
}

static int own_pagemap(void)
{
    return open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

static struct client join(void)
{
    struct client c = { .socket = connect_only() };
    struct msg m;
    send_hello(c.socket, WIRE_VERSION, own_pagemap());
    CHECK(is_readable(c.socket, (int)test_limit_ms(10000)));
    CHECK_EQ(msg_recv(c.socket, &m, &c.fds), 0);
    CHECK_EQ(m.header.type, MSG_WELCOME);
    c.memory = mmap(NULL, SESSION_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, c.fds.fd[1], 0);
    CHECK(c.memory != MAP_FAILED);
    nr_joined++;
    return c;
}

static void close_client(struct client *c)
{
    munmap(c->memory, SESSION_MEMORY_BYTES);
    msg_fds_close(&c->fds);
    close(c->socket);
}

/* The daemon has hung up; answers that it gave before are passed over. */
static bool has_hung_up(int socket)
{
    for (uint64_t until = test_now_ms() + test_limit_ms(10000); test_now_ms() < until;) {
        struct msg m;
        struct msg_fds fds = { .nr = 0 };
        if (!is_readable(socket, 100))
            continue;
        if (msg_recv(socket, &m, &fds) == -ECONNRESET)
            return true;
        msg_fds_close(&fds);
    }
    return false;
}

static void is_ended(struct client *c)
{
    CHECK(has_hung_up(c->socket));
    close_client(c);
}

static void ring_daemon(const struct client *c)
{
    (void)eventfd_write(c->fds.fd[2], 1);
}

/* ---- the decent client */

static struct pp_pager *pager;

/* The decent client: pages leave and come back right, and it is still in its first session. New pages
 * each time: those that came back soon would wait longer. */
static void is_undisturbed(void)
{
    struct pages p;
    pages_map(&p, NR);
    pages_write_all(&p);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) < NR / 20);
    pages_check_all(&p);
    pages_write_all(&p);
    CHECK_EQ(pp_unregister(pager, p.memory, pages_to_bytes(NR)), 0);
    pages_check_all(&p);
    pages_unmap(&p);
    CHECK_EQ(pager_stat(pager, "daemon_joins"), 1);
}

/* ---- the lies; each ends the session, for the reason beside it */

static void refused(uint32_t version, int fd)
{
    int socket = connect_only();
    struct msg m;
    struct msg_fds fds = { .nr = 0 };
    send_hello(socket, version, fd);
    CHECK(is_readable(socket, (int)test_limit_ms(10000)));
    CHECK_EQ(msg_recv(socket, &m, &fds), 0);
    CHECK_EQ(m.header.type, MSG_REFUSE);
    CHECK(m.payload.refuse.error < 0 && *m.payload.refuse.text);
    CHECK(has_hung_up(socket));
    close(socket);
}

static void garbage_first(void)
{
    int socket = connect_only();
    CHECK(send(socket, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL) == 18);
    CHECK(has_hung_up(socket));
    close(socket);
}

static void garbage_later(void)
{
    struct client c = join();
    char bytes[MSG_BYTES_MAX + 64];
    memset(bytes, 0x5a, sizeof bytes);
    CHECK(send(c.socket, bytes, sizeof bytes, MSG_NOSIGNAL) > 0);
    is_ended(&c);
}

static void surplus_descriptors(void)
{
    struct client c = join();
    struct msg m = { .header = { WIRE_MAGIC, MSG_RANGES_RESET } };
    struct iovec bytes = { &m, msg_bytes(MSG_RANGES_RESET) };
    int fds[8] = { 0, 1, 2, 0, 1, 2, 0, 1 };
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof fds)];
    } control = { .header = { .cmsg_len = CMSG_LEN(sizeof fds), .cmsg_level = SOL_SOCKET,
                              .cmsg_type = SCM_RIGHTS } };
    memcpy(CMSG_DATA(&control.header), fds, sizeof fds);
    struct msghdr h = { .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control,
                        .msg_controllen = sizeof control };
    CHECK(sendmsg(c.socket, &h, MSG_NOSIGNAL) > 0);
    is_ended(&c);
}

static void another_version(void)
{
    refused(WIRE_VERSION + 1, own_pagemap());
}

static void no_descriptor(void)
{
    refused(WIRE_VERSION, -1);
}

static void a_pipe(void)
{
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    close(fds[1]); /* its other end is closed, too: it reads as ended */
    refused(WIRE_VERSION, fds[0]);
}

static void a_file(void)
{
    refused(WIRE_VERSION, open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
}

static void a_file_called_pagemap(void)
{
    int fd = open(test_path("pagemap"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    refused(WIRE_VERSION, fd);
}

/* Sparse: nothing of it may be read, mapped or gone through. */
static int huge_file(void)
{
    int fd = memfd_create("pagemap", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, HUGE_BYTES) == 0);
    return fd;
}

static void a_huge_file(void)
{
    refused(WIRE_VERSION, huge_file());
}

static void somebodys_userfaultfd(void)
{
    int fd = uffd_open(-1);
    CHECK(fd >= 0);
    refused(WIRE_VERSION, fd);
}

/* In a mount namespace of its own anybody may put anything at /proc/1/pagemap. Runs in a helper. */
static int bring_false_proc(void *socket_path)
{
    strcpy(d.socket_path, socket_path);
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("none", "/proc", "tmpfs", 0, NULL) || mkdir("/proc/1", 0755))
        return 77;
    int fd = open("/proc/1/pagemap", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    refused(WIRE_VERSION, fd);
    return 0;
}

static void a_false_proc(void)
{
    int status = helper_wait(helper_start(bring_false_proc, shared_path));
    if (!WIFEXITED(status) || WEXITSTATUS(status) == 77)
        refused(WIRE_VERSION, -1); /* not here: so that the reason is there */
    else
        CHECK_EQ(WEXITSTATUS(status), 0);
}

static void a_path_only(void)
{
    refused(WIRE_VERSION, open("/proc/self/maps", O_PATH | O_CLOEXEC));
}

static void a_second_hello(void)
{
    struct client c = join();
    send_hello(c.socket, WIRE_VERSION, own_pagemap());
    is_ended(&c);
}

static void out_of_order(void)
{
    struct client c = join();
    struct msg_status status = { 0 };
    CHECK_EQ(msg_send(c.socket, MSG_STATUS, &status, NULL), 0);
    is_ended(&c);
}

/* ---- what is to be handshaken; the session goes on, whatever comes of it */

/* Takes the descriptor, too. Returns what the daemon says. */
static int ask_api(const struct client *c, int fd, uint64_t features)
{
    struct msg_uffd_api ask = { .features = features };
    struct msg_fds fds = { .fd = { fd }, .nr = 1 }, none;
    struct msg m;
    CHECK_EQ(msg_send(c->socket, MSG_UFFD_API, &ask, &fds), 0);
    close(fd);
    CHECK(is_readable(c->socket, (int)test_limit_ms(10000)));
    CHECK_EQ(msg_recv(c->socket, &m, &none), 0);
    CHECK_EQ(m.header.type, MSG_UFFD_API_DONE);
    CHECK_EQ(none.nr, 0);
    return m.payload.uffd_api.error;
}

static void a_huge_file_to_handshake(void)
{
    struct client c = join();
    CHECK_EQ(ask_api(&c, huge_file(), UFFD_FEATURES_MAIN), -EBADF);
    CHECK_EQ(ask_api(&c, huge_file(), UFFD_FEATURES_MAIN | UFFD_FEATURE_EVENT_FORK), -EBADF);
    close_client(&c);
}

/* The process whose it is, in a helper: lends it, and afterwards uses it as if nothing had been. */
static int lend(void *unused)
{
    struct msg_uffd_api none = { .features = 0 };
    uint64_t offered;
    static unsigned char page[PAGE_BYTES] = { 42 };
    (void)unused;
    struct msg_fds fds = { .fd = { uffd_open(-1) }, .nr = 1 };
    if (lender->is_handshaken)
        CHECK_EQ(uffd_handshake(fds.fd[0], UFFD_FEATURES_MAIN, &offered), 0);
    CHECK_EQ(msg_send(lane[1], MSG_UFFD_API, &none, &fds), 0);
    WAIT_LONG_UNTIL(atomic_load(&lender->is_back));
    (void)uffd_handshake(fds.fd[0], UFFD_FEATURES_MAIN, &offered); /* if nobody has */
    unsigned char *m = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED);
    CHECK_EQ(uffd_register(fds.fd[0], (uintptr_t)m, PAGE_BYTES, UFFD_ARM), 0);
    CHECK_EQ(uffd_copy(fds.fd[0], (uintptr_t)m, page), 0);
    CHECK_EQ(m[0], 42);
    return 0;
}

static void lent(bool is_handshaken, uint64_t features, int error)
{
    struct client c = join();
    struct msg m;
    struct msg_fds fds;
    lender->is_handshaken = is_handshaken;
    atomic_store(&lender->is_back, false);
    pid_t pid = helper_start(lend, NULL);
    CHECK(is_readable(lane[0], (int)test_limit_ms(10000)));
    CHECK_EQ(msg_recv(lane[0], &m, &fds), 0);
    CHECK_EQ(fds.nr, 1);
    CHECK_EQ(ask_api(&c, fds.fd[0], features), error);
    atomic_store(&lender->is_back, true);
    CHECK_EQ(helper_wait(pid), 0);
    close_client(&c);
}

static void anothers_userfaultfd(void)
{
    lent(false, UFFD_FEATURES_MAIN, 0); /* what it may ask for itself */
    lent(false, UFFD_FEATURES_MAIN | UFFD_FEATURE_EVENT_FORK, lender->is_told_of_forks ? 0 : -EPERM);
}

static void anothers_handshaken_one(void)
{
    lent(true, UFFD_FEATURES_MAIN, -EINVAL);
    lent(true, UFFD_FEATURES_MAIN | UFFD_FEATURE_EVENT_FORK, lender->is_told_of_forks ? -EINVAL : -EPERM);
}

/* ---- rings */

static void spoil(size_t offset)
{
    struct client c = join();
    atomic_store((_Atomic uint32_t *)((unsigned char *)c.memory + offset), 0x77777777u);
    ring_daemon(&c);
    is_ended(&c);
}

static void raw_position(void)
{
    spoil(offsetof(struct session_memory, raw.head));
}

static void given_up_position(void)
{
    spoil(offsetof(struct session_memory, given_up.head));
}

static void candidates_position(void)
{
    spoil(offsetof(struct session_memory, candidates.tail));
}

static void feedback_position(void)
{
    spoil(offsetof(struct session_memory, feedback.head));
}

static void squeeze_position(void)
{
    spoil(offsetof(struct session_memory, squeeze.head));
}

/* It asks without end, and takes no answer. */
static void squeezed_not_taken(void)
{
    struct client c = join();
    for (uint64_t until = test_now_ms() + test_limit_ms(10000); test_now_ms() < until && !is_readable(c.socket, 0);) {
        atomic_store(&c.memory->squeeze.head, atomic_load(&c.memory->squeeze.tail) + SQUEEZES_NR / 2);
        ring_daemon(&c);
        test_nap_us(2000);
    }
    is_ended(&c);
}

static void no_such_raw_slot(void)
{
    struct client c = join();
    c.memory->raw_entries[0].raw_slot = RAW_SLOTS_MAX;
    atomic_store(&c.memory->raw.head, 1u);
    ring_daemon(&c);
    is_ended(&c);
}

/* Raw pages without end, and no answer is ever taken; or it says it has taken more than there were. */
static void answers_without_room(bool has_lied, struct ring_shared *ring, struct client *c)
{
    if (has_lied)
        atomic_store(&ring->tail, 0x77777777u);
    for (uint64_t until = test_now_ms() + test_limit_ms(10000); test_now_ms() < until && !is_readable(c->socket, 0);) {
        atomic_store(&c->memory->raw.head, atomic_load(&c->memory->raw.tail) + RAW_SLOTS_MAX / 2);
        ring_daemon(c);
        test_nap_us(2000);
    }
    is_ended(c);
}

static void stored_position(void)
{
    struct client c = join();
    answers_without_room(true, &c.memory->stored, &c);
}

static void raw_free_position(void)
{
    struct client c = join();
    answers_without_room(true, &c.memory->raw_free, &c);
}

static void answers_not_taken(void)
{
    struct client c = join();
    answers_without_room(false, &c.memory->stored, &c);
}

static void too_many_pages(void)
{
    struct client c = join();
    struct msg_range range = { .bytes = (uint64_t)1 << 46 };
    CHECK_EQ(msg_send(c.socket, MSG_RANGE_ADD, &range, NULL), 0);
    is_ended(&c);
}

/* Every other page. From the bottom up there is an end to it; from the top down each is put in front
 * of all others, which takes long: then the others must have their turns. */
static void flood(struct client *c, int64_t step, const _Atomic bool *must_end)
{
    struct msg_range range = { .start = (uint64_t)1 << 46, .bytes = PAGE_BYTES };
    for (int r = 0; r != -ECONNRESET && !atomic_load(must_end);) {
        r = msg_send(c->socket, MSG_RANGE_ADD, &range, NULL);
        if (r == -EAGAIN)
            test_nap_us(100);
        if (r == 0)
            range.start += (uint64_t)step;
    }
}

static void a_flood_of_ranges(void)
{
    const _Atomic bool never = false;
    struct client c = join();
    flood(&c, 2 * PAGE_BYTES, &never);
    is_ended(&c);
}

static void never_reads(void)
{
    struct client c = join();
    struct msg_uffd_api ask = { .features = 0 };
    for (int i = 0, r = 0; r != -ECONNRESET; i++) {
        CHECK(i < 100000);
        r = msg_send(c.socket, MSG_UFFD_API, &ask, NULL);
        if (r == -EAGAIN)
            test_nap_us(100);
    }
    close_client(&c);
}

/* Asks without end and never reads: it gets no answers, and may stay as long as it likes. */
static void never_reads_its_status(void)
{
    struct client c = join();
    struct msg_empty empty = { 0 };
    for (int i = 0; i < 300; i++)
        (void)msg_send(c.socket, MSG_STATUS_GET, &empty, NULL);
    close_client(&c);
}

static void bells_that_block(void)
{
    struct client c = join();
    for (int bell = 3; bell <= 4; bell++) {
        CHECK_EQ(eventfd_write(c.fds.fd[bell], UINT64_MAX - 1), 0);
        CHECK_EQ(fcntl(c.fds.fd[bell], F_SETFL, fcntl(c.fds.fd[bell], F_GETFL) & ~O_NONBLOCK), 0);
    }
    doorbell_will_sleep(&c.memory->agent_bell);
    doorbell_will_sleep(&c.memory->porter_bell);
    atomic_store(&c.memory->raw.head, 1u);
    ring_daemon(&c);
    is_ended(&c);
}

static uint32_t nr_offered(const struct client *c)
{
    return atomic_load(&c->memory->candidates.head) - atomic_load(&c->memory->candidates.tail);
}

/* More is cold than it may be offered ahead, and it takes none of it: that much is offered, no more; it may
 * stay, and another client is served beside it. */
static void offers_not_taken(void)
{
    struct client c = join();
    struct pages p;
    uint64_t offered;
    int fd = uffd_open(-1);
    CHECK(fd >= 0 && uffd_handshake(fd, UFFD_FEATURES_MAIN, &offered) == 0);
    pages_map(&p, 4 * CANDIDATES_AHEAD);
    CHECK_EQ(uffd_register(fd, (uintptr_t)p.memory, pages_to_bytes(p.nr), UFFD_WATCH), 0);
    for (uint32_t i = 0; i < p.nr; i += 2) /* none has a neighbour: an offer each */
        pages_write(&p, i);
    struct msg_range range = { .start = (uintptr_t)p.memory, .bytes = pages_to_bytes(p.nr) };
    CHECK_EQ(msg_send(c.socket, MSG_RANGE_ADD, &range, NULL), 0);
    WAIT_LONG_UNTIL(nr_offered(&c) == CANDIDATES_AHEAD);
    is_undisturbed();
    CHECK_EQ(nr_offered(&c), CANDIDATES_AHEAD);
    CHECK(!is_readable(c.socket, 0));
    pages_check_all(&p);
    close_client(&c);
    close(fd);
    pages_unmap(&p);
}

static void goes_at_once(void)
{
    close(connect_only());
}

static void goes_after_hello(void)
{
    int socket = connect_only();
    send_hello(socket, WIRE_VERSION, own_pagemap());
    close(socket);
    nr_joined++; /* perhaps not: see check_csv */
}

static void goes_without_a_word(void)
{
    struct client c = join();
    close_client(&c);
}

#define NOT_PAGEMAP "the hello brought no /proc/self/pagemap"

static const struct lie {
    const char *name;
    void (*tell)(void);
    const char *reason; /* in the daemon's log; NULL: none is asked for */
    bool is_slow;       /* told once */
} lies[] = {
    /* clang-format off */
    { "garbage instead of a hello", garbage_first, NULL, false },
    { "garbage later", garbage_later, "not a message", false },
    { "surplus descriptors", surplus_descriptors, "not a message", false },
    { "another version", another_version, "another protocol version", false },
    { "no descriptor", no_descriptor, NOT_PAGEMAP, false },
    { "a pipe", a_pipe, NOT_PAGEMAP, false },
    { "a file", a_file, NOT_PAGEMAP, false },
    { "a file called pagemap", a_file_called_pagemap, NOT_PAGEMAP, false },
    { "a file where /proc should be", a_false_proc, NOT_PAGEMAP, true },
    { "a huge file", a_huge_file, NOT_PAGEMAP, false },
    { "somebody's userfaultfd", somebodys_userfaultfd, NOT_PAGEMAP, false },
    { "a huge file to handshake", a_huge_file_to_handshake, "the client has gone", false },
    { "another's userfaultfd", anothers_userfaultfd, "the client has gone", false },
    { "another's handshaken userfaultfd", anothers_handshaken_one, "the client has gone", false },
    { "a path only", a_path_only, NOT_PAGEMAP, false },
    { "a second hello", a_second_hello, "a second hello", false },
    { "a message out of order", out_of_order, "a message out of order", false },
    { "raw ring", raw_position, "raw ring: impossible position", false },
    { "given_up ring", given_up_position, "given_up ring: impossible position", false },
    { "candidates ring", candidates_position, "candidates ring: impossible position", false },
    { "feedback ring", feedback_position, "feedback ring: impossible position", false },
    { "squeeze ring", squeeze_position, "squeeze ring: impossible position", false },
    { "squeezed not taken", squeezed_not_taken, "an answer does not fit", false },
    { "stored ring", stored_position, "an answer does not fit", false },
    { "raw_free ring", raw_free_position, "an answer does not fit", false },
    { "answers not taken", answers_not_taken, "an answer does not fit", false },
    { "no such raw slot", no_such_raw_slot, "raw ring: no such slot", false },
    { "too many pages", too_many_pages, "more pages than a session may have", false },
    { "a flood of ranges", a_flood_of_ranges, "more ranges than a session may have", true },
    { "never reads", never_reads, "the client does not read its answers", false },
    { "never reads its status", never_reads_its_status, "the client has gone", false },
    { "offers not taken", offers_not_taken, "the client has gone", true },
    { "bells that block", bells_that_block, "it keeps its doorbells", true },
    { "goes at once", goes_at_once, NULL, false },
    { "goes after its hello", goes_after_hello, NULL, false },
    { "goes without a word", goes_without_a_word, "the client has gone", false },
    /* clang-format on */
};
#define NR_LIES (sizeof lies / sizeof *lies)

/* ---- what the daemon has */

/* Its own memory and its memfds', in KiB. */
static unsigned long memory_kib(void)
{
    unsigned long long anonymous = process_status_number(d.pid, "RssAnon", 10);
    CHECK(anonymous);
    return (unsigned long)(anonymous + process_status_number(d.pid, "RssShmem", 10));
}

/* How often a text stands in the log after this position; and where the log ends now. */
static unsigned log_count(const char *text, long from, long *ret_end)
{
    char line[1024];
    unsigned nr = 0;
    FILE *f = fopen(log_path, "re");
    CHECK(f && fseek(f, from, SEEK_SET) == 0);
    while (fgets(line, sizeof line, f))
        nr += strstr(line, text) != NULL;
    if (ret_end)
        *ret_end = ftell(f);
    fclose(f);
    return nr;
}

static void start_daemon(void)
{
    const char *program = program_path("process-pagerd");
    (void)snprintf(log_path, sizeof log_path, "%s", test_path("log"));
    (void)snprintf(csv_path, sizeof csv_path, "%s", test_path("csv"));
    (void)snprintf(d.socket_path, sizeof d.socket_path, "%s", test_path("daemon.sock"));
    const char *const words[] = { "/bin/sh", "-c", "log=$0; exec \"$@\" 2>\"$log\"", log_path,
                                  program, "--socket", d.socket_path, "--cold-age", "100ms",
                                  "--reclaim-rate", "4G", "--csv", csv_path, NULL };
    d.pid = helper_exec((char *const *)words);
    WAIT_LONG_UNTIL(access(d.socket_path, F_OK) == 0);
}

/* ---- */

static void tell(const struct lie *lie)
{
    long from;
    test_case(lie->name);
    (void)log_count("", 0, &from);
    lie->tell();
    CHECK_EQ(kill(d.pid, 0), 0);
    if (lie->reason)
        WAIT_UNTIL(log_count(lie->reason, from, NULL) >= 1);
}

static void lies_cost_nobody_else_anything(void)
{
    for (size_t i = 0; i < NR_LIES; i++) { /* once: what is made once is made */
        tell(&lies[i]);
        if (i % 4 == 0)
            is_undisturbed();
    }
    is_undisturbed();
    test_case("descriptors and memory");
    unsigned fds = process_descriptors_at_rest(d.pid), told = 0;
    CHECK(fds);
    unsigned long kib = memory_kib();
    for (size_t i = 0; told < SESSIONS; i++) {
        const struct lie *lie = &lies[i % NR_LIES];
        if (lie->is_slow)
            continue;
        lie->tell();
        told++;
        if (told % 50 == 0)
            is_undisturbed();
    }
    WAIT_LONG_UNTIL(process_entries(d.pid, "fd") == fds);
    if (IS_MEMORY_OURS) {
        unsigned long now = memory_kib();
        fprintf(stderr, "after %u sessions: %u descriptors, memory %lu KiB before, %lu KiB after\n",
                SESSIONS, fds, kib, now);
        WAIT_UNTIL(memory_kib() < kib + 1024);
    }
    is_undisturbed();
}

struct flooder {
    struct client client;
    pthread_t thread;
    _Atomic bool must_end;
};

static void *flood_main(void *argument)
{
    struct flooder *f = argument;
    flood(&f->client, -2 * (int64_t)PAGE_BYTES, &f->must_end);
    return NULL;
}

/* In front of half a million others; 64 of them in one turn took half a second. */
static void a_flood_leaves_turns_to_others(void)
{
    test_case("a flood that goes on");
    struct flooder f = { .client = join() };
    struct msg_range many = { .start = (uint64_t)1 << 46, /* 1 TiB, but for some room */
                              .bytes = ((uint64_t)1 << 40) - ((uint64_t)1 << 32) };
    CHECK_EQ(msg_send(f.client.socket, MSG_RANGE_ADD, &many, NULL), 0);
    CHECK_EQ(pthread_create(&f.thread, NULL, flood_main, &f), 0);
    uint64_t least_ms = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        test_nap_us(200000);
        uint64_t begin_ms = test_now_ms();
        struct client other = join();
        uint64_t ms = test_now_ms() - begin_ms;
        least_ms = ms < least_ms ? ms : least_ms;
        close_client(&other);
        is_undisturbed();
    }
    atomic_store(&f.must_end, true);
    CHECK_EQ(pthread_join(f.thread, NULL), 0);
    close_client(&f.client);
    fprintf(stderr, "during a flood: welcome after %llu ms\n", (unsigned long long)least_ms);
    CHECK(least_ms < 200);
}

/* They keep nothing but a place, and that for five seconds. */
static void who_says_nothing_is_ended(void)
{
    test_case("no hello");
    int sockets[8];
    for (int i = 0; i < 8; i++)
        sockets[i] = connect_only();
    for (int i = 0; i < 8; i++) {
        CHECK(has_hung_up(sockets[i]));
        close(sockets[i]);
    }
}

/* A header of the names that everything else uses, too, and one row for each session that began. */
static void check_csv(void)
{
    test_case("csv");
    static char line[1 << 16];
    FILE *f = fopen(csv_path, "re");
    CHECK(f && fgets(line, sizeof line, f));
    unsigned commas = 0, nr_rows = 0;
    const char *at = line;
    static const char first[] = "session_id,name,pid,wall_ms,daemon_cpu_ns,store_held_bytes_peak,"
                                "process_madvise_unsupported";
    CHECK(strncmp(at, first, strlen(first)) == 0);
    at += strlen(first);
    for (size_t i = 0; i < stats_export_count(); i++) {
        size_t length = strlen(stats_export_name(i));
        CHECK(*at == ',' && strncmp(at + 1, stats_export_name(i), length) == 0);
        at += 1 + length;
    }
    CHECK(*at == '\n');
    for (const char *c = line; *c; c++)
        commas += *c == ',';
    while (fgets(line, sizeof line, f)) {
        unsigned own = 0;
        for (const char *c = line; *c; c++)
            own += *c == ',';
        CHECK_EQ(own, commas);
        nr_rows++;
    }
    fclose(f);
    CHECK_EQ(nr_rows, log_count("event=session_end", 0, NULL));
    CHECK_EQ(nr_rows, log_count("event=session_begin", 0, NULL));
    CHECK(nr_rows > SESSIONS / 2 && nr_rows <= nr_joined + 1);
}

int main(void)
{
    shared_path = test_shared(sizeof d.socket_path);
    lender = test_shared(sizeof *lender);
    lender->is_told_of_forks = forks_are_told();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, lane))
        return 1;
    test_begin("who lies to the daemon loses only its own session", 100);
    start_daemon();
    strcpy(shared_path, d.socket_path);
    pager = pager_open(d.socket_path);
    pager_start(pager);
    is_undisturbed();
    lies_cost_nobody_else_anything();
    a_flood_leaves_turns_to_others();
    who_says_nothing_is_ended();
    is_undisturbed();
    test_case("the end");
    CHECK_EQ(pp_stop(pager), 0);
    pp_close(pager);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    check_csv();
    return test_end();
}
