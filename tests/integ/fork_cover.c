/* fork_cover - a fork leaves the parent's pages out, and the child finds every byte as it was at the fork,
 * whatever the parent does meanwhile; or it ends, and never runs on zeros (docs/fork.md). Method: a rogue daemon
 * that overwrites each place as soon as it is given up; children that compare all bytes; parents that write,
 * evict, end, and are killed; handlers of fork() that run in the child before ours. */
#include "rogue.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/tasks.h"
#include "sys/uffd.h"
#include "wire/test_lingering.h"

#define NR 1024u

/* What the test and its helpers tell each other. */
static struct shared {
    _Atomic int nr_gone_on, has_passed; /* children that returned from fork(); that found everything right */
    _Atomic pid_t pid;
    _Atomic bool may_go_on;
    int end; /* enum parents_end */
} *shared;

static struct arena a;

static uint64_t nr_covered(void)
{
    return pager_stat(a.pager, "forks_covered");
}

static void check_and_end(void)
{
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
    pages_check_all(&a.pages);
    shared->has_passed++;
    _exit(0);
}

/* ---- handlers of the program's that run in the child before ours: they were there first */

static _Atomic(void (*)(void)) early;

static void early_in_child(void)
{
    void (*f)(void) = atomic_load(&early);
    if (f)
        f();
}

/* ---- the parent lives on */

static void parent_keeps_its_pages_out(void)
{
    test_case("fork with everything out");
    for (int round = 0; round < 3; round++) {
        arena_all_out(&a);
        uint64_t before = nr_covered();
        pid_t pid = fork();
        if (!pid)
            check_and_end();
        CHECK_EQ(pages_nr_present(&a.pages, 0, NR), 0);
        CHECK_EQ(nr_covered(), before + 1);
        CHECK_EQ(child_wait(pid), 0);
        CHECK_EQ(pages_nr_present(&a.pages, 0, NR), 0);
        pages_check_all(&a.pages);
        pages_write_all(&a.pages);
    }
}

/* Held in the child until the parent has changed everything, twice. */
static void wait_to_go_on(void)
{
    while (!atomic_load(&shared->may_go_on))
        test_nap_us(200);
}

/* The child has what it needs and reads on slowly; the parent needs none of it any more. A rogue overwrites
 * places at once. */
static void parent_writes_and_evicts(void)
{
    test_case("the parent writes and evicts while its child reads");
    for (int round = 0; round < 5; round++) {
        arena_all_out(&a);
        uint64_t given_up = a.rogue->nr_given_up;
        pid_t pid = fork();
        if (!pid)
            check_and_end();
        pages_write_all(&a.pages);
        arena_out(&a, 0, NR);
        pages_check_all(&a.pages);
        pages_write_all(&a.pages);
        CHECK_EQ(child_wait(pid), 0);
        WAIT_UNTIL(a.rogue->nr_given_up > given_up); /* and then they are */
    }
}

static void child_is_slow(void)
{
    test_case("the parent goes on after a second, and changes everything before its child begins");
    arena_all_out(&a);
    atomic_store(&shared->may_go_on, false);
    atomic_store(&early, wait_to_go_on);
    uint64_t begun_ms = test_now_ms();
    pid_t pid = fork();
    if (!pid)
        check_and_end();
    atomic_store(&early, NULL);
    CHECK(test_now_ms() - begun_ms < test_limit_ms(5000));
    pages_write_all(&a.pages);
    arena_out(&a, 0, NR);
    pages_check_all(&a.pages);
    atomic_store(&shared->may_go_on, true);
    CHECK_EQ(child_wait(pid), 0);
    pages_write_all(&a.pages);
}

/* ---- what the child touches before our handler: the parent's agent answers */

static void touch_some(void)
{
    for (uint32_t i = 0; i < NR; i += 64)
        pages_check(&a.pages, i);
    CHECK_EQ(madvise(pages_at(&a.pages, 32), PAGE_BYTES, MADV_DONTNEED), 0);
    CHECK_EQ(*pages_at(&a.pages, 32), 0);
    a.pages.versions[32] = 0;
}

static void early_touches(void)
{
    test_case("pages that are touched and discarded before our handler runs");
    arena_all_out(&a);
    atomic_store(&early, touch_some);
    pid_t pid = fork();
    if (!pid)
        check_and_end();
    atomic_store(&early, NULL);
    CHECK_EQ(child_wait(pid), 0);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

/* ---- grandchildren, exec */

static void grandchildren(void)
{
    test_case("a grandchild, and one of its own");
    arena_all_out(&a);
    pid_t pid = fork();
    if (!pid) {
        pid_t grandchild = fork();
        if (!grandchild) {
            pid_t last = fork();
            if (!last)
                check_and_end();
            CHECK_EQ(child_wait(last), 0);
            check_and_end();
        }
        CHECK_EQ(child_wait(grandchild), 0);
        check_and_end();
    }
    CHECK_EQ(child_wait(pid), 0);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

static void child_with_a_pager(void)
{
    test_case("a child that starts a pager, and forks with its pages out");
    arena_all_out(&a);
    pid_t pid = fork();
    if (!pid) {
        pages_write_all(&a.pages);
        pager_start(a.pager);
        WAIT_UNTIL(pager_stat(a.pager, "ranges_watched") > 0);
        arena_all_out(&a);
        pid_t grandchild = fork();
        if (!grandchild)
            check_and_end();
        CHECK_EQ(pages_nr_present(&a.pages, 0, NR), 0);
        CHECK_EQ(child_wait(grandchild), 0);
        CHECK_EQ(pp_stop(a.pager), 0);
        check_and_end();
    }
    CHECK_EQ(child_wait(pid), 0);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

static void exec_at_once(void)
{
    test_case("a child that execs at once");
    arena_all_out(&a);
    for (int i = 0; i < 5; i++) {
        pid_t pid = fork();
        if (!pid) {
            execl("/bin/true", "true", NULL);
            _exit(1);
        }
        CHECK_EQ(child_wait(pid), 0);
    }
    CHECK_EQ(pages_nr_present(&a.pages, 0, NR), 0);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

static void children_side_by_side(void)
{
    test_case("more children than can be covered at a time");
    pid_t pids[24];
    arena_all_out(&a);
    for (unsigned i = 0; i < 24; i++) {
        pids[i] = fork();
        if (!pids[i])
            check_and_end();
        if (i % 8 == 7) {
            pages_write_all(&a.pages);
            arena_out(&a, 0, NR);
        }
    }
    for (unsigned i = 0; i < 24; i++)
        CHECK_EQ(child_wait(pids[i]), 0);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

static void two_pagers(struct rogue *r)
{
    test_case("two pagers in one process");
    struct arena b;
    arena_begin(&b, r, NR);
    arena_all_out(&a);
    arena_all_out(&b);
    pid_t pid = fork();
    if (!pid) {
        pages_check_all(&b.pages);
        check_and_end();
    }
    CHECK_EQ(pages_nr_present(&a.pages, 0, NR) + pages_nr_present(&b.pages, 0, NR), 0);
    CHECK_EQ(child_wait(pid), 0);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
    arena_end(&b);
}

/* ---- memory that is not the child's */

static void wiped_memory(void)
{
    test_case("MADV_WIPEONFORK and MADV_DONTFORK");
    arena_all_out(&a);
    CHECK_EQ(madvise(pages_at(&a.pages, 100), pages_to_bytes(50), MADV_WIPEONFORK), 0);
    CHECK_EQ(madvise(pages_at(&a.pages, 200), pages_to_bytes(50), MADV_DONTFORK), 0);
    pid_t pid = fork();
    if (!pid) {
        for (uint32_t i = 100; i < 150; i++)
            a.pages.versions[i] = 0;
        CHECK_EQ(mmap(pages_at(&a.pages, 200), pages_to_bytes(50), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == pages_at(&a.pages, 200), 1);
        for (uint32_t i = 200; i < 250; i++)
            a.pages.versions[i] = 0;
        check_and_end();
    }
    CHECK_EQ(child_wait(pid), 0);
    CHECK_EQ(madvise(pages_at(&a.pages, 100), pages_to_bytes(50), MADV_KEEPONFORK), 0);
    CHECK_EQ(madvise(pages_at(&a.pages, 200), pages_to_bytes(50), MADV_DOFORK), 0);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

/* ---- strangers at the agent's door: who were let in would be sent the stores */

static struct strangers {
    struct sockaddr_un address;
    socklen_t address_bytes;
    unsigned nr_wanted;      /* connections; as many as there is room for, if that is less */
    _Atomic unsigned nr_let_in;
    _Atomic bool are_there, may_go;
    bool has_heard; /* anything but the end of a connection */
    bool bring_descriptors; /* whose last close waits for ten minutes */
} *strangers;

/* The name behind an inode of a socket that listens. */
static bool name_of(unsigned long inode, struct strangers *s)
{
    char line[256], name[64];
    bool is_found = false;
    FILE *f = fopen("/proc/self/net/unix", "re");
    CHECK(f);
    while (!is_found && fgets(line, sizeof line, f)) {
        unsigned long flags, number;
        if (sscanf(line, "%*s %*s %*s %lx %*s %*s %lu @%63s", &flags, &number, name) == 3 && number == inode)
            is_found = flags & 0x10000; /* it listens */
    }
    fclose(f);
    if (is_found) { /* the kernel shows its first byte, which is 0, as @ */
        s->address = (struct sockaddr_un){ .sun_family = AF_UNIX };
        memcpy(s->address.sun_path + 1, name, strlen(name));
        s->address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    }
    return is_found;
}

static int on_descriptor(pid_t tid, void *found)
{
    for (int fd = 0; fd < 64; fd++) {
        char path[64], link[64] = "";
        unsigned long inode;
        (void)snprintf(path, sizeof path, "/proc/self/task/%d/fd/%d", (int)tid, fd);
        if (readlink(path, link, sizeof link - 1) > 0 && sscanf(link, "socket:[%lu]", &inode) == 1 &&
            name_of(inode, found))
            return 1;
    }
    return 0;
}

static void send_lingering(int socket)
{
    int peer, fd = test_lingering(&peer); /* the peer's stays open, and is never read */
    if (fd < 0)
        return;
    _Alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(sizeof fd)] = { 0 };
    struct iovec bytes = { "x", socket % 2 }; /* an empty message may bring one, too */
    CHECK_EQ(send(socket, "", 0, 0), 0);
    struct msghdr m = { .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control,
                        .msg_controllen = sizeof control };
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    *c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    const struct linger none = { .l_onoff = 0 };
    if (sendmsg(socket, &m, MSG_DONTWAIT) < 0) /* EPERM: it is not taken, and we must not wait ourselves */
        CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
    close(fd);
}

static int be_strangers(void *unused)
{
    (void)unused;
    int fds[16];
    unsigned nr = 0;
    for (; nr < strangers->nr_wanted && nr < 16; nr++) {
        fds[nr] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        CHECK(fds[nr] >= 0);
        if (connect(fds[nr], (struct sockaddr *)&strangers->address, strangers->address_bytes))
            break;
        if (strangers->bring_descriptors)
            send_lingering(fds[nr]);
    }
    atomic_store(&strangers->nr_let_in, nr);
    atomic_store(&strangers->are_there, true);
    WAIT_LONG_UNTIL(atomic_load(&strangers->may_go));
    for (unsigned i = 0; i < nr; i++) {
        char byte;
        strangers->has_heard |= recv(fds[i], &byte, 1, 0) > 0;
    }
    return 0;
}

static void fork_beside(unsigned nr_wanted, bool is_covered)
{
    arena_all_out(&a);
    strangers->nr_wanted = nr_wanted;
    atomic_store(&strangers->are_there, false);
    atomic_store(&strangers->may_go, false);
    pid_t helper = helper_start(be_strangers, NULL);
    WAIT_UNTIL(atomic_load(&strangers->are_there));
    uint64_t before = nr_covered();
    pid_t pid = fork();
    if (!pid)
        check_and_end();
    CHECK_EQ(child_wait(pid), 0);
    CHECK_EQ(nr_covered(), before + is_covered);
    atomic_store(&strangers->may_go, true);
    CHECK_EQ(helper_wait(helper), 0);
    CHECK(!strangers->has_heard);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

static void strangers_knock(void)
{
    test_case("strangers connect to what children are told through");
    CHECK_EQ(tasks_each(on_descriptor, strangers), 1);
    fork_beside(2, true);
    CHECK_EQ(strangers->nr_let_in, 2);
    fork_beside(16, false); /* no room for who forks */
    CHECK(strangers->nr_let_in < 16);
    strangers->bring_descriptors = true;
    fork_beside(2, true);
    fork_beside(16, false);
    strangers->bring_descriptors = false;
    fork_beside(0, true);
}

/* ---- without a descriptor */

static void no_descriptor(void)
{
    test_case("no descriptor is free: everything comes back first");
    struct rlimit limit, none;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    arena_all_out(&a);
    for (rlim_t nr = 1; nr < 4; nr += 2) {
        none = limit;
        none.rlim_cur = nr;
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
        uint64_t before = nr_covered();
        pid_t pid = fork();
        if (!pid)
            check_and_end();
        CHECK_EQ(child_wait(pid), 0);
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
        CHECK_EQ(nr_covered(), before);
    }
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

/* ---- signals, and a fork that fails */

static _Atomic int nr_signals;

static void on_signal(int signal)
{
    (void)signal;
    for (uint32_t i = 0; i < NR; i += 37)
        if (!pages_is_right(&a.pages, i))
            _exit(3);
    atomic_fetch_add(&nr_signals, 1);
}

static void signals(void)
{
    test_case("signals that touch everything");
    struct sigaction act = { .sa_handler = on_signal };
    CHECK_EQ(sigaction(SIGUSR1, &act, NULL), 0);
    for (int round = 0; round < 5; round++) {
        arena_all_out(&a);
        pid_t pid = fork();
        if (!pid) {
            CHECK_EQ(raise(SIGUSR1), 0); /* let in again */
            CHECK(atomic_load(&nr_signals) > 0);
            (void)signal(SIGUSR1, SIG_IGN); /* what writes has its pages half written now and then */
            check_and_end();
        }
        (void)kill(pid, SIGUSR1);
        CHECK_EQ(raise(SIGUSR1), 0);
        CHECK_EQ(child_wait(pid), 0);
        pages_write_all(&a.pages);
    }
}

static void failed_fork(void)
{
    test_case("a fork that the kernel refuses");
    if (setresuid(65533, 0, 0)) /* no limit of processes holds for root */
        return;
    arena_all_out(&a);
    struct rlimit limit, none;
    CHECK_EQ(getrlimit(RLIMIT_NPROC, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    CHECK_EQ(setrlimit(RLIMIT_NPROC, &none), 0);
    CHECK_EQ(seteuid(65533), 0);
    errno = 0;
    pid_t pid = fork();
    int error = errno;
    if (!pid)
        _exit(0); /* it may, here */
    CHECK_EQ(seteuid(0), 0);
    CHECK_EQ(setrlimit(RLIMIT_NPROC, &limit), 0);
    CHECK_EQ(setresuid(0, 0, 0), 0);
    if (pid > 0)
        CHECK_EQ(child_wait(pid), 0);
    else
        CHECK_EQ(error, EAGAIN);
    rogue_offer_all(a.rogue); /* it is over: pages leave again */
    pages_write_all(&a.pages);
    arena_all_out(&a);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

/* ---- other threads */

static _Atomic bool is_over;

static void *toucher(void *argument)
{
    uint64_t random = 8;
    (void)argument;
    while (!atomic_load(&is_over)) {
        uint32_t i = (uint32_t)(test_random(&random) % (NR / 2)); /* the other half is the child's to check */
        pages_check(&a.pages, i);
        if (random >> 50 & 1)
            pages_write(&a.pages, i);
    }
    return NULL;
}

static void under_fire(void)
{
    test_case("forks while another thread writes and all is evicted");
    pthread_t thread;
    atomic_store(&is_over, false);
    rogue_offer_all(a.rogue);
    CHECK_EQ(pthread_create(&thread, NULL, toucher, NULL), 0);
    for (int round = 0; round < 20; round++) {
        pid_t pid = fork();
        if (!pid) {
            for (uint32_t i = NR / 2; i < NR; i++)
                pages_check(&a.pages, i);
            _exit(0);
        }
        for (uint32_t i = NR / 2; i < NR; i++)
            pages_write(&a.pages, i);
        CHECK_EQ(child_wait(pid), 0);
    }
    atomic_store(&is_over, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    rogue_pause(a.rogue);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages); /* what was there at a fork leaves only when it has been written */
}

/* ---- the parent ends */

enum parents_end { ENDS_AT_ONCE, IS_KILLED, IS_KILLED_EARLY };

/* In the child, before our handler. */
static void kill_parent(void)
{
    pid_t pid = getppid();
    (void)kill(pid, SIGKILL);
    while (getppid() == pid)
        test_nap_us(100);
}

/* A helper: a pager of its own, everything out, a fork, and then its end. */
static int parent(void *rogue)
{
    a.rogue = rogue;
    pages_map(&a.pages, NR);
    pages_write_all(&a.pages);
    a.pager = pager_open(a.rogue->socket_path);
    CHECK_EQ(pp_register(a.pager, a.pages.memory, pages_to_bytes(NR)), 0);
    pager_start(a.pager);
    WAIT_UNTIL(a.rogue->nr_ranges > 0);
    arena_all_out(&a);
    if (shared->end == IS_KILLED_EARLY)
        atomic_store(&early, kill_parent);
    pid_t pid = fork();
    if (!pid) {
        shared->nr_gone_on++;
        check_and_end();
    }
    CHECK_EQ(nr_covered(), 1);
    atomic_store(&shared->pid, pid);
    if (shared->end == IS_KILLED)
        (void)kill(getpid(), SIGKILL);
    _exit(0);
}

static void parent_ends(struct rogue *r, enum parents_end end)
{
    int before = shared->has_passed;
    shared->end = end;
    (void)helper_wait(helper_start(parent, r));
    WAIT_LONG_UNTIL(shared->has_passed == before + 1);
}

/* Its end is nobody's to wait for but init's: so it has some time to go on, if it wants to. */
static void parent_is_killed_early(struct rogue *r)
{
    test_case("the parent is killed before its child has what it needs: the child ends");
    int before = shared->nr_gone_on;
    shared->end = IS_KILLED_EARLY;
    int status = helper_wait(helper_start(parent, r));
    CHECK(WIFSIGNALED(status));
    test_nap_us(50000);
    CHECK_EQ(shared->nr_gone_on, before);
}

/* ---- memory that is moved just before the fork, and of which the agent hears after it */

struct mover {
    int uffd; /* of what is in the way: our own */
    unsigned char *from, *to;
    size_t bytes;
};
static struct mover mover;

/* The kernel has moved the memory, then says what was unmapped for it, waits until that is read, and only then
 * says that it has moved. */
static void *move(void *unused)
{
    void *r = mremap(mover.from, mover.bytes, mover.bytes, MREMAP_MAYMOVE | MREMAP_FIXED, mover.to);
    CHECK(r == mover.to);
    return unused;
}

/* In the child, before our handler: the agent has been told of the fork, and not of the move. */
static void let_mover_go(void)
{
    struct uffd_msg m;
    CHECK_EQ(uffd_read(mover.uffd, &m, 1), 1);
}

static void put_in_the_way(void)
{
    uint64_t offered;
    mover.uffd = uffd_open(-1);
    CHECK(mover.uffd >= 0);
    CHECK_EQ(uffd_handshake(mover.uffd, UFFD_FEATURE_EVENT_UNMAP, &offered), 0);
    mover.to = mmap(NULL, mover.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mover.to != MAP_FAILED);
    CHECK_EQ(uffd_register(mover.uffd, (uintptr_t)mover.to, mover.bytes, UFFD_WATCH), 0);
}

static void move_back(void)
{
    void *r = mremap(mover.to, mover.bytes, mover.bytes, MREMAP_MAYMOVE | MREMAP_FIXED, mover.from);
    CHECK(r == mover.from);
}

static void moved_just_before(void)
{
    test_case("memory that has moved before the fork, which is told after it");
    pthread_t thread;
    arena_all_out(&a);
    mover.bytes = pages_to_bytes(64);
    mover.from = pages_at(&a.pages, 300);
    put_in_the_way();
    uint64_t before = pager_stat(a.pager, "fork_late_moves");
    CHECK_EQ(pthread_create(&thread, NULL, move, NULL), 0);
    struct pollfd moved = { .fd = mover.uffd, .events = POLLIN };
    CHECK_EQ(poll(&moved, 1, (int)test_limit_ms(5000)), 1);
    atomic_store(&early, let_mover_go);
    pid_t pid = fork();
    if (!pid) {
        move_back();
        check_and_end();
    }
    atomic_store(&early, NULL);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(child_wait(pid), 0);
    CHECK_EQ(pager_stat(a.pager, "fork_late_moves"), before + 1);
    close(mover.uffd);
    move_back();
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

int main(void)
{
    struct rogue *r = rogue_new("rogue"), *second = rogue_new("second");
    shared = test_shared(sizeof *shared);
    strangers = test_shared(sizeof *strangers);
    CHECK_EQ(pthread_atfork(NULL, NULL, early_in_child), 0);
    test_begin("a fork leaves pages out, and the child finds its bytes", 40);
    if (!forks_are_told())
        test_skip("nobody tells this user of forks (CAP_SYS_PTRACE)");
    arena_begin(&a, r, NR);
    parent_keeps_its_pages_out();
    parent_writes_and_evicts();
    early_touches();
    grandchildren();
    child_with_a_pager();
    exec_at_once();
    children_side_by_side();
    two_pagers(second);
    wiped_memory();
    moved_just_before();
    strangers_knock();
    no_descriptor();
    signals();
    under_fire();
    failed_fork();
    child_is_slow();
    arena_end(&a);
    rogue_start(second);
    for (int i = 0; i < 3; i++) {
        test_case("the parent ends at once");
        parent_ends(second, ENDS_AT_ONCE);
        test_case("the parent is killed at once");
        parent_ends(second, IS_KILLED);
    }
    parent_is_killed_early(second);
    return test_end();
}
