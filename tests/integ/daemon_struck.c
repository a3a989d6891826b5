/* daemon_struck - the kernel ends the daemon, not somebody's `kill -9`: a signal of an access that faults
 * (SIGSEGV), and its search for memory in a full cgroup. Nothing of ours catches the first, and no core file
 * is left of it. Clients keep every byte, go on, and join the next daemon.
 *
 * Method: a daemon in a memory cgroup of its own, clients outside it. SIGSEGV is sent, with everything stored
 * and while pages leave. Then the cgroup's limit is set to what is in use and a little more, and more is to be
 * stored. One client compares, a second one reads, writes and compares all the time. */
#include "group.h"
#include "process.h"
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR 16384u /* 64 MiB; 8 of them in the store */
#define NR_BESIDE 2048u
#define ROOM_BYTES ((uint64_t)1 << 20)
#define DEATHS 3u

static struct shared {
    char socket_path[108];
    bool has_group;
    _Atomic bool is_refused; /* the cgroup took nobody in */
    _Atomic bool must_end;   /* the client beside */
    _Atomic uint64_t nr_rounds, nr_joins_beside;
    struct memory_group group;
} *shared;

static struct pages p;
static struct pp_pager *pager;

/* ---- the daemon */

/* A sanitizer's runtime would catch such signals in the daemon, and report them; asked is what we do. */
static void leave_to_kernel(const char *variable)
{
    char text[512];
    const char *before = getenv(variable);
    (void)snprintf(text, sizeof text, "%s%shandle_segv=0:handle_sigbus=0", before ? before : "", before ? ":" : "");
    (void)setenv(variable, text, 1);
}

/* That there is no core file must be the daemon's own doing. */
static void allow_core_files(void)
{
    struct rlimit core;
    if (getrlimit(RLIMIT_CORE, &core) == 0) {
        core.rlim_cur = core.rlim_max;
        (void)setrlimit(RLIMIT_CORE, &core);
    }
}

/* In the helper, which becomes the daemon. */
static int become_daemon(void *unused)
{
    const char *program = getenv("PP_DAEMON");
    char *const argv[] = { (char *)program, (char *)"--socket", shared->socket_path, (char *)"--cold-age",
                           (char *)"100ms", (char *)"--reclaim-rate", (char *)"4G", NULL };
    (void)unused;
    if (shared->has_group && !group_enter(&shared->group))
        atomic_store(&shared->is_refused, true);
    allow_core_files();
    leave_to_kernel("ASAN_OPTIONS");
    leave_to_kernel("UBSAN_OPTIONS");
    leave_to_kernel("TSAN_OPTIONS");
    (void)unsetenv("PP_MUTANT");
    (void)dup2(2, 1);
    execv(program, argv);
    return 127;
}

static pid_t next_daemon(void)
{
    (void)unlink(shared->socket_path); /* what a killed one has left says nothing of the next */
    pid_t pid = helper_start(become_daemon, NULL);
    WAIT_LONG_UNTIL(access(shared->socket_path, F_OK) == 0);
    return pid;
}

/* Once more, and both have joined it: they look for it in turns of their own. */
static pid_t follow(uint64_t joins_before)
{
    uint64_t beside_before = atomic_load(&shared->nr_joins_beside);
    pid_t pid = next_daemon();
    WAIT_LONG_UNTIL(pager_stat(pager, "daemon_joins") > joins_before);
    WAIT_LONG_UNTIL(atomic_load(&shared->nr_joins_beside) > beside_before);
    return pid;
}

static int end_of(pid_t pid)
{
    int status = 0;
    WAIT_LONG_UNTIL(helper_has_ended(pid, &status));
    return status;
}

/* ---- the client beside */

static int live_beside(void *unused)
{
    struct pages q;
    uint64_t random = 21;
    (void)unused;
    pages_map(&q, NR_BESIDE);
    pages_write_all(&q);
    struct pp_pager *own = pager_open(shared->socket_path);
    CHECK_EQ(pp_register(own, q.memory, pages_to_bytes(q.nr)), 0);
    pager_start(own);
    while (!atomic_load(&shared->must_end)) {
        for (int k = 0; k < 16; k++) {
            uint32_t i = (uint32_t)((test_random(&random) >> 20) % q.nr);
            pages_check(&q, i);
            if (random >> 50 & 1)
                pages_write(&q, i);
        }
        atomic_store(&shared->nr_joins_beside, pager_stat(own, "daemon_joins"));
        atomic_fetch_add(&shared->nr_rounds, 1);
        test_nap_us(2000);
    }
    pages_check_all(&q);
    WAIT_LONG_UNTIL(pager_stat(own, "daemon_joins") >= DEATHS + 1);
    CHECK_EQ(pager_stat(own, "restore_fail"), 0);
    CHECK(pager_stat(own, "restore_success") > 0);
    CHECK_EQ(pp_stop(own), 0);
    pages_check_all(&q);
    pp_close(own);
    return 0;
}

static void beside_goes_on(void)
{
    uint64_t before = atomic_load(&shared->nr_rounds);
    WAIT_UNTIL(atomic_load(&shared->nr_rounds) > before + 2);
}

/* ---- cases */

static void all_out(void)
{
    WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) < NR / 20);
}

static void struck(pid_t pid)
{
    unsigned long long caught = process_status_number(pid, "SigCgt", 16);
    CHECK(!(caught >> (SIGSEGV - 1) & 1) && !(caught >> (SIGBUS - 1) & 1));
    CHECK_EQ(kill(pid, SIGSEGV), 0);
    int status = end_of(pid);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGSEGV);
    CHECK(!WCOREDUMP(status));
}

static pid_t by_a_fault(pid_t pid)
{
    uint64_t joins = pager_stat(pager, "daemon_joins");
    test_case("SIGSEGV, with everything stored");
    all_out();
    struck(pid);
    pages_check_all(&p);
    beside_goes_on();
    pid = follow(joins);
    pages_check_all(&p);

    test_case("SIGSEGV, while pages leave");
    pages_write_all(&p);
    WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) < NR / 4 * 3);
    struck(pid);
    pages_check_all(&p);
    beside_goes_on();
    pid = follow(joins + 1);
    pages_check_all(&p);
    return pid;
}

/* All of one range is stored; for a second one there is no room, and there is nobody else to kill. */
static pid_t for_want_of_memory(pid_t pid)
{
    test_case("a full cgroup: the kernel kills the daemon");
    struct pages more;
    uint64_t joins = pager_stat(pager, "daemon_joins");
    all_out();
    CHECK(group_limit(&shared->group, group_usage(&shared->group) + ROOM_BYTES));
    pages_map(&more, NR);
    pages_write_all(&more);
    CHECK_EQ(pp_register(pager, more.memory, pages_to_bytes(NR)), 0);
    int status = end_of(pid);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGKILL);
    CHECK(group_nr_killed(&shared->group) >= 1);
    CHECK(pages_nr_present(&p, 0, NR) < NR / 4); /* they are where the killed one has put them */
    pages_check_all(&p);
    pages_check_all(&more);
    beside_goes_on();
    CHECK(group_limit(&shared->group, UINT64_MAX));
    pid = follow(joins);
    pages_check_all(&p);
    all_out();
    WAIT_LONG_UNTIL(pages_nr_present(&more, 0, NR) < NR / 20);
    pages_check_all(&p);
    pages_check_all(&more);
    return pid;
}

static void remove_group(void)
{
    group_remove(&shared->group);
}

int main(void)
{
    const char *why = NULL;
    char name[32];
    shared = test_shared(sizeof *shared);
    (void)snprintf(name, sizeof name, "pp-struck-%d", (int)getpid());
    shared->has_group = group_make(&shared->group, name, &why);
    test_cleans_up(remove_group);
    test_begin("the kernel ends the daemon, and no client loses a byte", 60);
    const char *program = getenv("PP_DAEMON");
    if (!program || access(program, X_OK))
        test_skip("no process-pagerd to test with: set PP_DAEMON to its path");
    (void)snprintf(shared->socket_path, sizeof shared->socket_path, "%s", test_path("daemon.sock"));
    pid_t pid = next_daemon();
    pages_map(&p, NR);
    pages_write_all(&p);
    pager = pager_open(shared->socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    pid_t beside = helper_start(live_beside, NULL);
    WAIT_LONG_UNTIL(atomic_load(&shared->nr_rounds) > 0);
    pid = by_a_fault(pid);
    if (!shared->has_group)
        test_skip(why);
    if (atomic_load(&shared->is_refused))
        test_skip("no process may be put into a memory cgroup of its own here");
    pid = for_want_of_memory(pid);
    CHECK_EQ(pager_stat(pager, "restore_fail"), 0);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    atomic_store(&shared->must_end, true);
    CHECK_EQ(helper_wait(beside), 0);
    CHECK_EQ(helper_kill(pid, SIGTERM), 0);
    return test_end();
}
