/* other_user - what an ordinary user finds of another user's session at a root daemon: nothing. Not the
 * daemon's memory, maps and descriptors below /proc, nor the client's; no signal, no trace, no descriptor
 * borrowed from either; in the store that the daemon hands over nothing to write to, and no byte of
 * anybody's, also not when the other session has just ended.
 *
 * Method: a client of one user has its pages stored; a helper of another user tries each of these, and so does
 * root, who shows that there was something to be found. */
#include "command.h"
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wire/msg.h"

#define OWNER 65533u
#define INTRUDER NOBODY
#define NR 1024u

static struct shared {
    char socket_path[108];
    pid_t daemon, client;
    unsigned char *memory; /* the client's pages */
    _Atomic bool is_out, must_end;
    _Atomic unsigned nr_found; /* by the last who tried */
} *shared;

static int owner(void *unused)
{
    struct pages p;
    (void)unused;
    if (!become_client(OWNER))
        return 1;
    struct pp_pager *pager = pager_open(shared->socket_path);
    pages_map(&p, NR);
    pages_write_all(&p);
    shared->memory = p.memory;
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) < NR / 20);
    atomic_store(&shared->is_out, true);
    WAIT_FOR(50, atomic_load(&shared->must_end));
    return 0; /* as it is: with everything out */
}

/* ---- who tries; each returns whether there was something */

static bool opens(pid_t pid, const char *what)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        DIR *d = opendir(path);
        if (d)
            closedir(d);
        return d;
    }
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_open = fd >= 0 && (!strcmp(what, "mem") || read(fd, &byte, 1) >= 0);
    if (fd >= 0)
        close(fd);
    return is_open;
}

static bool reads_memory(pid_t pid, void *at)
{
    char bytes[64];
    struct iovec to = { bytes, sizeof bytes }, from = { at, sizeof bytes };
    return process_vm_readv(pid, &to, 1, &from, 1, 0) > 0;
}

static bool traces(pid_t pid)
{
    if (ptrace(PTRACE_SEIZE, pid, 0, 0))
        return false;
    (void)ptrace(PTRACE_INTERRUPT, pid, 0, 0);
    (void)waitpid(pid, NULL, __WALL);
    (void)ptrace(PTRACE_DETACH, pid, 0, 0);
    return true;
}

static bool borrows_a_descriptor(pid_t pid)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), nr = 0;
    for (int number = 0; pidfd >= 0 && number < 40; number++) {
        int fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
        if (fd < 0)
            continue;
        nr++;
        close(fd);
    }
    if (pidfd >= 0)
        close(pidfd);
    return nr > 0;
}

static bool may_signal(pid_t pid)
{
    return kill(pid, 0) == 0;
}

static void found(bool is_found, const char *what, pid_t pid)
{
    if (!is_found)
        return;
    atomic_fetch_add(&shared->nr_found, 1);
    if (geteuid())
        fprintf(stderr, "%s of %s\n", what, pid == shared->daemon ? "the daemon" : "the client");
}

static void try_process(pid_t pid)
{
    static const char *const files[] = { "mem", "maps", "smaps", "map_files", "fd", "fdinfo", "pagemap",
                                         "environ", "auxv", "stack", "syscall" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        found(opens(pid, files[i]), files[i], pid);
    if (pid == shared->client)
        found(reads_memory(pid, shared->memory), "memory", pid);
    found(borrows_a_descriptor(pid), "descriptors", pid);
    found(traces(pid), "a trace", pid);
    found(may_signal(pid), "signals", pid);
}

static int try_processes(void *uid)
{
    if ((uid_t)(uintptr_t)uid && !become_client((uid_t)(uintptr_t)uid))
        return 1;
    try_process(shared->daemon);
    try_process(shared->client);
    return 0;
}

/* ---- one's own session: what of it could be another's? */

static int join(struct msg_fds *ret_fds)
{
    struct msg_hello hello = { .version = WIRE_VERSION, .nr_cpus = 1, .name = "intruder" };
    struct msg_fds fds = { .fd = { open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) }, .nr = 1 };
    struct msg m;
    int socket = socket_connect(shared->socket_path);
    CHECK(socket >= 0);
    CHECK_EQ(msg_send(socket, MSG_HELLO, &hello, &fds), 0);
    msg_fds_close(&fds);
    struct pollfd readable = { .fd = socket, .events = POLLIN };
    CHECK_EQ(poll(&readable, 1, (int)test_limit_ms(10000)), 1);
    CHECK_EQ(msg_recv(socket, &m, ret_fds), 0);
    CHECK_EQ(m.header.type, MSG_WELCOME);
    return socket;
}

static void store_is_empty_and_closed(int store_fd)
{
    char path[48];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", store_fd);
    CHECK(open(path, O_RDWR | O_CLOEXEC) < 0 && errno == EACCES); /* written to by another name */
    CHECK(mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, store_fd, 0) == MAP_FAILED);
    CHECK(write(store_fd, "x", 1) < 0);
    CHECK(fallocate(store_fd, 0, 0, PAGE_BYTES) && ftruncate(store_fd, 0));
    off_t data = lseek(store_fd, 0, SEEK_DATA);
    CHECK(data < 0 && errno == ENXIO); /* not one byte */
}

static int try_session(void *unused)
{
    (void)unused;
    if (!become_client(INTRUDER))
        return 1;
    struct msg_fds fds = { .nr = 0 };
    int socket = join(&fds);
    store_is_empty_and_closed(fds.fd[0]);
    off_t end = lseek(fds.fd[1], 0, SEEK_END);
    const unsigned char *m = mmap(NULL, (size_t)end, PROT_READ, MAP_SHARED, fds.fd[1], 0);
    CHECK(m != MAP_FAILED);
    for (off_t at = 0; at < end; at += PAGE_BYTES) {
        unsigned nr = 0; /* counters and positions; a page of anybody's would be full of bytes */
        for (unsigned i = 0; i < PAGE_BYTES; i++)
            nr += m[at + i] != 0;
        CHECK(nr < PAGE_BYTES / 4);
    }
    msg_fds_close(&fds);
    close(socket);
    return 0;
}

static unsigned nr_found_as(uid_t uid)
{
    atomic_store(&shared->nr_found, 0);
    CHECK_EQ(helper_wait(helper_start(try_processes, (void *)(uintptr_t)uid)), 0);
    return atomic_load(&shared->nr_found);
}

int main(void)
{
    static struct daemon d;
    shared = test_shared(sizeof *shared);
    test_begin("an ordinary user finds nothing of another user's session", 60);
    if (geteuid() != 0)
        test_skip("only root can start clients of two users");
    daemon_start(&d, (const char *[]){ "--cold-age", "20ms", "--heat", "scan", "--reclaim-rate", "4G", NULL });
    directory_open_to_all();
    strcpy(shared->socket_path, d.socket_path);
    CHECK_EQ(chmod(d.socket_path, 0666), 0);
    shared->daemon = d.pid;
    shared->client = helper_start(owner, NULL);
    WAIT_LONG_UNTIL(atomic_load(&shared->is_out));

    test_case("processes: root finds them");
    CHECK(nr_found_as(0) > 10);
    test_case("processes: another user");
    CHECK_EQ(nr_found_as(INTRUDER), 0);
    test_case("a session beside it");
    CHECK_EQ(helper_wait(helper_start(try_session, NULL)), 0);
    test_case("a session after it");
    atomic_store(&shared->must_end, true);
    CHECK_EQ(helper_wait(shared->client), 0);
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQ(helper_wait(helper_start(try_session, NULL)), 0);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    return test_end();
}
