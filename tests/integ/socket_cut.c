/* socket_cut - the connection between a client and its daemon is cut while both live: no byte is lost, no
 * thread hangs, the session ends on both sides and the same daemon is joined anew. Method: two threads read and
 * write; at random moments the test borrows the daemon's end of the socket (pidfd_getfd) and shuts it down,
 * for reading, for writing, or both. */
#include "process.h"
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR 2048u
#define WORKERS 2u
#define CUTS 12u

static struct worker {
    struct pages pages; /* its own */
    pthread_t thread;
} workers[WORKERS];
static _Atomic bool must_end;
static _Atomic uint64_t nr_rounds;

static void *work(void *argument)
{
    struct worker *w = argument;
    uint64_t random = 3 + (uint64_t)(w - workers);
    while (!atomic_load(&must_end)) {
        for (unsigned k = 0; k < 16; k++) {
            uint32_t i = (uint32_t)((test_random(&random) >> 20) % NR);
            pages_check(&w->pages, i);
            if (random >> 50 & 1)
                pages_write(&w->pages, i);
        }
        atomic_fetch_add(&nr_rounds, 1);
        test_nap_us(3000);
    }
    return NULL;
}

/* ---- the daemon's end */

static bool is_ours(int fd)
{
    struct ucred peer;
    socklen_t nr = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &nr) == 0 && peer.pid == getpid();
}

/* Calls `what` for each descriptor of the daemon's. */
static void each_descriptor(pid_t pid, void (*what)(int number, void *argument), void *argument)
{
    char path[48];
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    CHECK(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            what(atoi(e->d_name), argument);
    closedir(d);
}

struct cut {
    int pidfd, how;
    unsigned nr;
};

static void cut_if_ours(int number, void *argument)
{
    struct cut *c = argument;
    int fd = (int)syscall(SYS_pidfd_getfd, c->pidfd, number, 0);
    if (fd < 0 && errno == EPERM)
        test_skip("may not borrow a descriptor of the daemon's (CAP_SYS_PTRACE)");
    if (fd < 0)
        return; /* closed meanwhile */
    if (is_ours(fd) && shutdown(fd, c->how) == 0)
        c->nr++;
    close(fd);
}

static void cut(pid_t pid, int how)
{
    struct cut c = { .pidfd = (int)syscall(SYS_pidfd_open, pid, 0), .how = how };
    CHECK(c.pidfd >= 0);
    each_descriptor(pid, cut_if_ours, &c);
    CHECK_EQ(c.nr, 1);
    close(c.pidfd);
}

int main(void)
{
    static struct daemon d;
    static const int ways[] = { SHUT_RDWR, SHUT_RD, SHUT_WR };
    uint64_t random = 71;
    test_begin("the connection is cut, and made anew", 60);
    daemon_start(&d, (const char *[]){ "--cold-age", "5ms", "--squeeze-age", "20ms", "--reclaim-rate", "4G",
                                       NULL });
    struct pp_pager *pager = pager_open(d.socket_path);
    for (unsigned i = 0; i < WORKERS; i++) {
        pages_map(&workers[i].pages, NR);
        pages_write_all(&workers[i].pages);
        CHECK_EQ(pp_register(pager, workers[i].pages.memory, pages_to_bytes(NR)), 0);
    }
    pager_start(pager);
    daemon_await_look(&d);
    unsigned nr_descriptors = process_descriptors_at_rest(d.pid);
    CHECK(nr_descriptors);
    for (unsigned i = 0; i < WORKERS; i++)
        CHECK_EQ(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    for (unsigned i = 0; i < CUTS; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "cut %u", i);
        test_case(name);
        WAIT_LONG_UNTIL(pages_nr_present(&workers[0].pages, 0, NR) < NR); /* it has work */
        test_nap_us((unsigned)(test_random(&random) % 60000));
        uint64_t joins = pager_stat(pager, "daemon_joins"), rounds = atomic_load(&nr_rounds);
        cut(d.pid, ways[i % 3]);
        WAIT_LONG_UNTIL(pager_stat(pager, "daemon_joins") > joins);
        WAIT_LONG_UNTIL(atomic_load(&nr_rounds) > rounds + 2);
    }
    atomic_store(&must_end, true);
    for (unsigned i = 0; i < WORKERS; i++) {
        CHECK_EQ(pthread_join(workers[i].thread, NULL), 0);
        pages_check_all(&workers[i].pages);
    }
    test_case("what was for the sessions that were cut");
    WAIT_LONG_UNTIL(process_entries(d.pid, "fd") == nr_descriptors);
    CHECK_EQ(pager_stat(pager, "restore_fail"), 0);
    CHECK_EQ(pp_stop(pager), 0);
    for (unsigned i = 0; i < WORKERS; i++)
        pages_check_all(&workers[i].pages);
    pp_close(pager);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    return test_end();
}
