/* daemon_restart - the real daemon is killed, ended in order, stopped, with pages out: no byte is
 * lost, and its successor is joined and goes on. Its own memory goes back when a client is killed. */
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define NR 8192u
#define HOLE_BYTES ((size_t)1 << 30)

static const char *const options[] = { "--cold-age", "100ms", "--reclaim-rate", "4G", NULL };
static struct daemon d;
static struct pages p;
static struct pp_pager *pager;

static void all_out(void)
{
    WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) < NR / 20);
}

static void next_daemon(uint64_t joins_before)
{
    daemon_start(&d, options);
    WAIT_LONG_UNTIL(pager_stat(pager, "daemon_joins") > joins_before);
}

/* The place that the kernel would choose next. An application may fill its own hole with MAP_FIXED; what we
 * mapped there meanwhile would be gone. */
static void *hole_make(void)
{
    void *hole = mmap(NULL, HOLE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(hole != MAP_FAILED && munmap(hole, HOLE_BYTES) == 0);
    return hole;
}

static void hole_check(void *hole)
{
    CHECK(mmap(hole, HOLE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
               -1, 0) == hole);
    CHECK_EQ(munmap(hole, HOLE_BYTES), 0);
}

static void ended(int signal, const char *name)
{
    test_case(name);
    void *hole = hole_make();
    uint64_t joins = pager_stat(pager, "daemon_joins");
    all_out();
    CHECK_EQ(helper_kill(d.pid, signal), signal == SIGTERM ? 0 : SIGKILL); /* in order: exit code 0 */
    pages_check_all(&p);
    pages_write_all(&p);
    next_daemon(joins);
    all_out();
    CHECK_EQ(helper_kill(d.pid, signal), signal == SIGTERM ? 0 : SIGKILL); /* in order: exit code 0 */
    next_daemon(joins + 1);
    hole_check(hole);
    pages_check_all(&p);
    pages_write_all(&p);
}

static void stopped(void)
{
    test_case("SIGSTOP");
    all_out();
    (void)helper_kill(d.pid, SIGSTOP);
    pages_check_all(&p);
    pages_write_all(&p);
    test_nap_us(200000);
    pages_check_all(&p);
    (void)helper_kill(d.pid, SIGCONT);
    all_out();
    pages_check_all(&p);
}

/* Memory of the daemon, its memfds too. */
static uint64_t daemon_rss_kib(void)
{
    char path[64], line[128];
    unsigned long kib = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)d.pid);
    FILE *f = fopen(path, "re");
    CHECK(f);
    while (fgets(line, sizeof line, f) && sscanf(line, "Rss: %lu", &kib) != 1)
        ;
    fclose(f);
    return kib;
}

/* What a helper process must know: its image is older than the daemon. */
struct shared {
    _Atomic bool is_out;
    char socket_path[108];
};

static int victim(void *argument)
{
    struct shared *shared = argument;
    struct pages v;
    pages_map(&v, 2 * NR);
    pages_write_all(&v);
    struct pp_pager *own = pager_open(shared->socket_path);
    CHECK_EQ(pp_register(own, v.memory, pages_to_bytes(v.nr)), 0);
    pager_start(own);
    WAIT_LONG_UNTIL(pages_nr_present(&v, 0, v.nr) < v.nr / 20);
    atomic_store(&shared->is_out, true);
    for (;;)
        test_nap_us(100000);
}

static void client_killed(struct shared *shared)
{
    test_case("a client is killed with pages out");
    pages_check_all(&p);
    uint64_t before_kib = daemon_rss_kib();
    for (int round = 0; round < 3; round++) {
        atomic_store(&shared->is_out, false);
        pid_t pid = helper_start(victim, shared);
        WAIT_LONG_UNTIL(atomic_load(&shared->is_out));
        CHECK(daemon_rss_kib() > before_kib + 4 * 1024); /* 64 MiB shrink to about 8 */
        (void)helper_kill(pid, SIGKILL);
        WAIT_LONG_UNTIL(daemon_rss_kib() < before_kib + 4 * 1024);
    }
    pages_check_all(&p);
}

int main(void)
{
    struct shared *shared = test_shared(sizeof *shared);
    test_begin("the real daemon dies, ends, stops, and loses a client", 100);
    daemon_start(&d, options);
    strcpy(shared->socket_path, d.socket_path);
    pages_map(&p, NR);
    pages_write_all(&p);
    pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    stopped();
    client_killed(shared);
    ended(SIGKILL, "SIGKILL");
    ended(SIGTERM, "SIGTERM");
    all_out();
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    return test_end();
}
