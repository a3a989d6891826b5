/* support.c - see support.h. */
#include "support.h"

#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys/pagemap.h"
#include "sys/uffd.h"
#include "wire/msg.h"

#define HELPERS_MAX 4096 /* ended ones, too */
#define SKIPPED 77

static struct {
    const char *what, *test_case;
    void (*clean)(void);
    char directory[64];
    int socket; /* to the other side: test or supervisor */
    uint64_t begun_ms;
} test = { .test_case = "" };

uint64_t test_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t test_limit_ms(uint64_t ms)
{
    const char *patience = getenv("PP_PATIENCE");
    uint64_t times = patience ? strtoull(patience, NULL, 10) : 1;
    return ms * (times ? times : 1);
}

bool test_is_emulated(void)
{
    return test_limit_ms(1) > 1;
}

void test_nap_us(unsigned us)
{
    struct timespec t = { us / 1000000, (long)(us % 1000000) * 1000 };
    (void)nanosleep(&t, NULL);
}

/* ---- supervisor */

enum request_op { REQUEST_FUNCTION, REQUEST_EXEC, REQUEST_STATUS };

#define ARGUMENTS_MAX 16
struct request {
    enum request_op op;
    int (*function)(void *argument); /* valid on both sides: one image */
    void *argument;
    pid_t pid;
    char words[ARGUMENTS_MAX][112]; /* REQUEST_EXEC; "" ends */
};
struct reply {
    pid_t pid;
    bool has_ended;
    int status;
};

struct helper {
    pid_t pid;
    bool has_ended;
    int status;
};

struct supervisor {
    struct helper helpers[HELPERS_MAX];
    unsigned nr;
    pid_t test;
    int test_status;
    bool is_test_over;
};

static void die_with(pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
}

static pid_t start_helper(const struct request *q)
{
    pid_t supervisor = getpid(), pid = fork();
    if (pid)
        return pid;
    die_with(supervisor);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGINT, SIG_DFL);
    close(test.socket);
    if (q->op == REQUEST_FUNCTION)
        _exit(q->function(q->argument));
    char *argv[ARGUMENTS_MAX + 1] = { NULL };
    for (unsigned i = 0; i < ARGUMENTS_MAX && q->words[i][0]; i++)
        argv[i] = (char *)q->words[i];
    (void)dup2(2, 1);
    (void)unsetenv("PP_MUTANT"); /* the programs are whole; only the test has mutants */
    execv(argv[0], argv);
    perror(argv[0]);
    _exit(127);
}

static void answer_request(struct supervisor *s)
{
    struct request q;
    if (recv(test.socket, &q, sizeof q, MSG_DONTWAIT) != sizeof q)
        return;
    struct reply reply = { .pid = q.pid };
    if (q.op == REQUEST_STATUS) {
        for (unsigned i = 0; i < s->nr; i++)
            if (s->helpers[i].pid == q.pid) {
                reply.has_ended = s->helpers[i].has_ended;
                reply.status = s->helpers[i].status;
            }
    } else if (s->nr < HELPERS_MAX) {
        reply.pid = start_helper(&q);
        s->helpers[s->nr++] = (struct helper){ .pid = reply.pid };
    } else {
        reply.pid = -1;
    }
    (void)send(test.socket, &reply, sizeof reply, MSG_NOSIGNAL);
}

static void reap(struct supervisor *s)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid == s->test) {
            s->is_test_over = true;
            s->test_status = status;
        }
        for (unsigned i = 0; i < s->nr; i++)
            if (s->helpers[i].pid == pid) {
                s->helpers[i].has_ended = true;
                s->helpers[i].status = status;
            }
    }
}

static void clean_up(struct supervisor *s)
{
    for (unsigned i = 0; i < s->nr; i++)
        if (!s->helpers[i].has_ended) {
            (void)kill(s->helpers[i].pid, SIGKILL);
            (void)waitpid(s->helpers[i].pid, NULL, 0);
        }
    DIR *d = opendir(test.directory);
    for (struct dirent *e; d && (e = readdir(d));)
        (void)unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    (void)rmdir(test.directory);
    if (test.clean)
        test.clean();
}

static int verdict(const struct supervisor *s, bool is_late)
{
    double seconds = (double)(test_now_ms() - test.begun_ms) / 1000;
    if (is_late)
        fprintf(stderr, "FAIL: %s: not done after %.1f s\n", test.what, seconds);
    else if (WIFSIGNALED(s->test_status))
        fprintf(stderr, "FAIL: %s: killed by signal %d (%s) after %.1f s\n", test.what,
                WTERMSIG(s->test_status), strsignal(WTERMSIG(s->test_status)), seconds);
    else if (WEXITSTATUS(s->test_status) == 0)
        printf("passed in %.2f s: %s\n", seconds, test.what);
    if (is_late || WIFSIGNALED(s->test_status))
        return 1;
    return WEXITSTATUS(s->test_status);
}

static volatile sig_atomic_t is_told_to_end;

static void on_end(int signal)
{
    (void)signal;
    is_told_to_end = 1;
}

_Noreturn static void supervise(pid_t pid, unsigned seconds_max)
{
    struct supervisor s = { .test = pid };
    bool is_late = false;
    struct sigaction end = { .sa_handler = on_end }; /* for the tidying up */
    (void)sigaction(SIGTERM, &end, NULL);
    (void)sigaction(SIGINT, &end, NULL);
    while (!s.is_test_over && !is_late) {
        struct pollfd fd = { .fd = test.socket, .events = POLLIN };
        if (poll(&fd, 1, 5) > 0)
            answer_request(&s);
        reap(&s);
        is_late = is_told_to_end || test_now_ms() - test.begun_ms > test_limit_ms(seconds_max * 1000);
    }
    if (is_late) {
        (void)kill(s.test, SIGKILL);
        (void)waitpid(s.test, &s.test_status, 0);
    }
    clean_up(&s);
    exit(verdict(&s, is_late));
}

/* ---- the test's side */

static void need_userfaultfd(void)
{
    uint64_t offered;
    int fd = uffd_open(-1);
    if (fd < 0)
        test_skip("userfaultfd is not permitted here (root, or vm.unprivileged_userfaultfd=1)");
    int r = uffd_handshake(fd, UFFD_FEATURES_MAIN, &offered);
    close(fd);
    if (r)
        test_skip("this kernel lacks UFFDIO_MOVE or its companions (Linux 6.8)");
}

void test_begin(const char *what_is_shown, unsigned seconds_max)
{
    test.what = what_is_shown;
    test.begun_ms = test_now_ms();
    const char *base = getenv("TMPDIR");
    (void)snprintf(test.directory, sizeof test.directory, "%s/pp-integ-XXXXXX",
                   base && strlen(base) < 30 ? base : "/tmp");
    int sockets[2];
    if (!mkdtemp(test.directory) || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets)) {
        perror("test_begin");
        exit(1);
    }
    struct rlimit core = { 0, 0 };
    (void)getrlimit(RLIMIT_CORE, &core);
    core.rlim_cur = 0; /* of a test; what is said of the daemon's it has to see to itself */
    (void)setrlimit(RLIMIT_CORE, &core);
    (void)signal(SIGPIPE, SIG_IGN);
    pid_t supervisor = getpid(), pid = fork();
    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    test.socket = sockets[pid ? 0 : 1];
    close(sockets[pid ? 1 : 0]);
    if (pid)
        supervise(pid, seconds_max);
    die_with(supervisor);
    setvbuf(stdout, NULL, _IOLBF, 0);
    need_userfaultfd();
}

void test_cleans_up(void (*clean)(void))
{
    test.clean = clean;
}

int test_socket(void)
{
    return test.socket;
}

int test_end(void)
{
    fflush(NULL);
    _exit(0); /* no destructors: a test that leaves a pager open means it */
}

void test_case(const char *name)
{
    test.test_case = name;
}

void test_skip(const char *reason)
{
    printf("SKIP: %s\n", reason);
    fflush(NULL);
    _exit(SKIPPED);
}

void test_fail(const char *file, int line, const char *format, ...)
{
    const char *slash = strrchr(file, '/');
    fprintf(stderr, "FAIL: %s%s%s\n%s:%d: ", test.what, *test.test_case ? ": " : "", test.test_case,
            slash ? slash + 1 : file, line);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    fflush(NULL);
    _exit(1);
}

const char *test_path(const char *name)
{
    static char paths[4][96];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", test.directory, name);
    return path;
}

/* ---- helpers */

void *test_shared(size_t bytes)
{
    void *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return m;
}

static struct reply ask(const struct request *q)
{
    struct reply reply;
    if (send(test.socket, q, sizeof *q, MSG_NOSIGNAL) != sizeof *q ||
        recv(test.socket, &reply, sizeof reply, 0) != sizeof reply)
        test_fail(__FILE__, __LINE__, "the supervisor does not answer: %s", strerror(errno));
    return reply;
}

pid_t helper_start(int (*function)(void *argument), void *argument)
{
    struct reply r = ask(&(struct request){ .op = REQUEST_FUNCTION, .function = function,
                                            .argument = argument });
    CHECK(r.pid > 0);
    return r.pid;
}

pid_t helper_exec(char *const argv[])
{
    struct request q = { .op = REQUEST_EXEC };
    for (unsigned i = 0; argv[i]; i++) {
        CHECK(i < ARGUMENTS_MAX && strlen(argv[i]) < sizeof q.words[0]);
        strcpy(q.words[i], argv[i]);
    }
    struct reply r = ask(&q);
    CHECK(r.pid > 0);
    return r.pid;
}

bool helper_has_ended(pid_t pid, int *ret_status)
{
    struct reply r = ask(&(struct request){ .op = REQUEST_STATUS, .pid = pid });
    if (r.has_ended)
        *ret_status = r.status;
    return r.has_ended;
}

int helper_wait(pid_t pid)
{
    uint64_t deadline_ms = test_now_ms() + test_limit_ms(30000);
    int status;
    for (; test_now_ms() < deadline_ms; test_nap_us(1000))
        if (helper_has_ended(pid, &status))
            return status;
    test_fail(__FILE__, __LINE__, "helper %d has not ended after 30 s", (int)pid);
}

int helper_kill(pid_t pid, int signal)
{
    CHECK_EQ(kill(pid, signal), 0);
    return signal == SIGKILL || signal == SIGTERM ? helper_wait(pid) : 0;
}

int child_wait(pid_t pid)
{
    int status;
    CHECK(pid > 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

/* ---- pages */

/* At a multiple of four pages: so many make a group, and none shall begin in the middle of one. */
static void *map_plain(size_t bytes)
{
    size_t spare = pages_to_bytes(3);
    bytes = page_round_up(bytes);
    char *m = mmap(NULL, bytes + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED);
    char *at = (char *)(((uintptr_t)m + spare) / (4 * PAGE_BYTES) * (4 * PAGE_BYTES));
    CHECK((at == m || munmap(m, (size_t)(at - m)) == 0) &&
          (at == m + spare || munmap(at + bytes, (size_t)(m + spare - at)) == 0));
    return at;
}

void pages_map(struct pages *p, uint32_t nr)
{
    static uint32_t salts;
    *p = (struct pages){ .memory = map_plain(pages_to_bytes(nr)), .nr = nr, .salt = ++salts };
    /* Neighbours of other kinds would merge with it, or THP make it another test. */
    (void)madvise(p->memory, pages_to_bytes(nr), MADV_NOHUGEPAGE);
    p->versions = map_plain(nr * sizeof *p->versions);
}

void pages_unmap(struct pages *p)
{
    munmap(p->memory, pages_to_bytes(p->nr));
    munmap(p->versions, p->nr * sizeof *p->versions);
}

unsigned char *pages_at(const struct pages *p, uint32_t i)
{
    return p->memory + pages_to_bytes(i);
}

/* 64 words of noise from page and version, eight times over, each time with another last byte: half
 * a page in place of another version's half is seen, too. Seven bits of a byte: zstd makes less of
 * that than LZ4 does, so that pages are squeezed. */
void pages_fill(void *ret_bytes, uint32_t salt, uint32_t i, uint32_t version)
{
    uint64_t *words = ret_bytes;
    if (!version) {
        memset(ret_bytes, 0, PAGE_BYTES);
        return;
    }
    uint64_t state = ((uint64_t)version << 32 | i) * 0x9e3779b97f4a7c15 + salt;
    for (unsigned w = 0; w < 64; w++) {
        state += 0x9e3779b97f4a7c15;
        uint64_t x = (state ^ state >> 30) * 0xbf58476d1ce4e5b9;
        words[w] = (x ^ x >> 27) & 0x7f7f7f7f7f7f7f7f;
    }
    for (unsigned part = 1; part < 8; part++) {
        memcpy(words + 64 * part, words, 512);
        words[64 * part] ^= part;
    }
}

void pages_write(struct pages *p, uint32_t i)
{
    p->versions[i]++;
    pages_fill(pages_at(p, i), p->salt, i, p->versions[i]);
}

void pages_write_all(struct pages *p)
{
    for (uint32_t i = 0; i < p->nr; i++)
        pages_write(p, i);
}

bool pages_is_right(const struct pages *p, uint32_t i)
{
    _Alignas(8) unsigned char expected[PAGE_BYTES];
    pages_fill(expected, p->salt, i, p->versions[i]);
    return memcmp(expected, pages_at(p, i), PAGE_BYTES) == 0;
}

void pages_check(const struct pages *p, uint32_t i)
{
    if (pages_is_right(p, i))
        return;
    _Alignas(8) unsigned char expected[PAGE_BYTES];
    for (uint32_t version = p->versions[i] + 1; version-- > 0;) {
        pages_fill(expected, p->salt, i, version);
        if (memcmp(expected, pages_at(p, i), PAGE_BYTES) == 0)
            test_fail(__FILE__, __LINE__, "page %u reads as version %u, should be %u", i, version,
                      p->versions[i]);
    }
    test_fail(__FILE__, __LINE__, "page %u should be version %u and reads as none it ever had", i,
              p->versions[i]);
}

void pages_check_all(const struct pages *p)
{
    for (uint32_t i = 0; i < p->nr; i++) /* a stride that meets each page once, out of order */
        pages_check(p, p->nr % 7 ? (uint32_t)((uint64_t)i * 7 % p->nr) : i);
}

void pages_check_in_child(const struct pages *p)
{
    pid_t pid = fork();
    if (!pid) {
        pages_check_all(p);
        _exit(0);
    }
    CHECK_EQ(child_wait(pid), 0);
}

uint64_t memory_nr_present(const void *address, size_t nr_pages)
{
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC); /* anew: tests fork, and close all */
    CHECK(fd >= 0);
    pagemap_entry entries[512];
    uint64_t nr = 0;
    for (size_t done = 0; done < nr_pages;) {
        size_t some = nr_pages - done < 512 ? nr_pages - done : 512;
        CHECK_EQ(pagemap_read(fd, page_of((uintptr_t)address) + done, some, entries), 0);
        for (size_t i = 0; i < some; i++)
            nr += pagemap_is_present(entries[i]);
        done += some;
    }
    close(fd);
    return nr;
}

uint32_t pages_nr_present(const struct pages *p, uint32_t first, uint32_t nr)
{
    return (uint32_t)memory_nr_present(pages_at(p, first), nr);
}

/* ---- pagers and daemons */

bool test_is_direct(void)
{
    const char *value = getenv("PP_TEST_DIRECT");
    return value && *value == '1';
}

unsigned test_sessions_of_one(void)
{
    return test_is_direct() ? 2 : 1;
}

int test_register(struct pp_pager *pager, void *address, size_t bytes)
{
    return pp_register_flags(pager, address, bytes, test_is_direct() ? PP_DIRECT : 0);
}

uint64_t pager_stat(const struct pp_pager *pager, const char *name)
{
    for (size_t i = 0; i < pp_stats_count(); i++)
        if (!strcmp(pp_stats_name(i), name))
            return pp_stats_value(pager, i);
    test_fail(__FILE__, __LINE__, "no number is called %s", name);
}

/* The agent's CPU time is published with the gauges and is never twice the same. What is read is the sum of all
 * agents, and one may publish more often than another: with direct ranges there are two. */
uint64_t pager_stat_now(const struct pp_pager *pager, const char *name)
{
    unsigned nr = process_nr_threads(getpid(), "pp-agent") > 1 ? 6 : 2;
    for (unsigned i = 0; i < nr; i++) {
        uint64_t before = pager_stat(pager, "agent_cpu_ns");
        WAIT_UNTIL(pager_stat(pager, "agent_cpu_ns") != before);
    }
    return pager_stat(pager, name);
}

struct pp_pager *pager_open(const char *socket_path)
{
    struct pp_config config = PP_CONFIG_INIT;
    config.socket_path = socket_path;
    struct pp_pager *pager;
    CHECK_EQ(pp_open(&config, &pager), 0);
    return pager;
}

void pager_start(struct pp_pager *pager)
{
    uint64_t deadline_ms = test_now_ms() + test_limit_ms(5000);
    int r = pp_start(pager);
    while (r == -ETIMEDOUT && test_is_emulated() && test_now_ms() < deadline_ms)
        r = pp_start(pager); /* its own limit knows nothing of ours */
    if (r)
        test_fail(__FILE__, __LINE__, "pp_start: %s (%s)", strerror(-r), pp_error(pager));
}

struct pp_pager *pager_begin(const char *socket_path, struct pages *p, uint32_t nr)
{
    pages_map(p, nr);
    pages_write_all(p);
    struct pp_pager *pager = pager_open(socket_path);
    CHECK_EQ(pp_register(pager, p->memory, pages_to_bytes(nr)), 0);
    pager_start(pager);
    return pager;
}

void pager_is_served(struct pp_pager *pager, struct pages *p, uint32_t nr)
{
    for (int round = 0; round < 2; round++) {
        WAIT_LONG_UNTIL(pages_nr_present(p, 0, nr) < nr / 20);
        pages_check_all(p);
        pages_write_all(p);
    }
    CHECK_EQ(pager_stat(pager, "daemon_joins"), 1);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(p);
    pp_close(pager);
}

bool forks_are_told(void)
{
    uint64_t offered;
    int fd = uffd_open(-1);
    bool are_told = fd >= 0 && uffd_handshake(fd, UFFD_FEATURE_EVENT_FORK, &offered) == 0;
    if (fd >= 0)
        close(fd);
    return are_told;
}

void daemon_start(struct daemon *d, const char *const options[])
{
    const char *program = getenv("PP_DAEMON");
    if (!program || access(program, X_OK))
        test_skip("no process-pagerd to test with: set PP_DAEMON to its path");
    (void)snprintf(d->socket_path, sizeof d->socket_path, "%s", test_path("daemon.sock"));
    char *argv[ARGUMENTS_MAX + 1] = { (char *)program, (char *)"--socket", d->socket_path };
    unsigned nr = 3;
    for (; *options && nr < ARGUMENTS_MAX; options++)
        argv[nr++] = (char *)*options;
    d->pid = helper_exec(argv);
    WAIT_UNTIL(access(d->socket_path, F_OK) == 0 ||
               ask(&(struct request){ .op = REQUEST_STATUS, .pid = d->pid }).has_ended);
}

const char *daemon_status(const struct daemon *d)
{
    static char text[65536];
    struct msg_empty empty = { 0 };
    struct msg m;
    struct msg_fds fds = { .nr = 0 };
    int socket = socket_connect(d->socket_path);
    CHECK(socket >= 0);
    CHECK_EQ(msg_send(socket, MSG_STATUS_GET, &empty, NULL), 0);
    struct pollfd readable = { .fd = socket, .events = POLLIN };
    CHECK_EQ(poll(&readable, 1, (int)test_limit_ms(5000)), 1);
    CHECK_EQ(msg_recv(socket, &m, &fds), 0);
    CHECK(m.header.type == MSG_STATUS && fds.nr == 1 && m.payload.status.bytes < sizeof text);
    CHECK(pread(fds.fd[0], text, m.payload.status.bytes, 0) == (ssize_t)m.payload.status.bytes);
    text[m.payload.status.bytes] = 0;
    msg_fds_close(&fds);
    close(socket);
    return text;
}

static bool has_looked(const struct daemon *d)
{
    const char *status = daemon_status(d);
    return strstr(status, "\"resident_bytes\":") && status_number(status, NULL, "resident_bytes") > 0;
}

void daemon_await_look(const struct daemon *d)
{
    WAIT_UNTIL(has_looked(d));
}

uint64_t status_number(const char *status, const char *from, const char *name)
{
    char key[64];
    (void)snprintf(key, sizeof key, "\"%s\":", name);
    const char *begin = from ? strstr(status, from) : status;
    CHECK(begin);
    const char *at = strstr(begin, key);
    CHECK(at);
    return strtoull(at + strlen(key), NULL, 10);
}

/* ---- threads */

bool can_use_fifo(void)
{
    struct sched_param one = { .sched_priority = 1 }, none = { 0 };
    if (sched_setscheduler(0, SCHED_FIFO, &one))
        return false;
    return sched_setscheduler(0, SCHED_OTHER, &none) == 0;
}

void thread_pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    CHECK_EQ(sched_setaffinity(0, sizeof set, &set), 0);
}

void thread_fifo(int priority)
{
    struct sched_param p = { .sched_priority = priority };
    CHECK_EQ(sched_setscheduler(0, priority ? SCHED_FIFO : SCHED_OTHER, &p), 0);
}

uint64_t test_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}
