/* fork_exec - a child of fork() sees all bytes and goes on without a pager; the parent goes on with
 * its own; vfork, posix_spawn and exec are not disturbed. Method: each with everything out; children
 * report by their exit code. */
#include "rogue.h"

#include <errno.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR 1024u

extern char **environ;

static struct arena a;

/* In the child: everything right, and a pager of its own works. */
static void child(void)
{
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
    CHECK_EQ(pp_stop(a.pager), -EALREADY);
    CHECK_EQ(pp_pin(a.pager, a.pages.memory, pages_to_bytes(NR)), 0); /* nothing to do */
    pages_check_all(&a.pages);
    a.pager = pp_close(a.pager);
    pages_check_all(&a.pages);
    _exit(0);
}

static void plain_fork(void)
{
    test_case("fork with everything out");
    for (int round = 0; round < 3; round++) {
        arena_all_out(&a);
        pid_t pid = fork();
        if (!pid)
            child();
        CHECK_EQ(child_wait(pid), 0);
        pages_check_all(&a.pages);
        pages_write_all(&a.pages);
    }
}

static void fork_with_staged_pages(void)
{
    test_case("fork with pages staged");
    rogue_answers(a.rogue, ROGUE_NEVER);
    arena_out(&a, 0, 300);
    pid_t pid = fork();
    if (!pid)
        child();
    CHECK_EQ(child_wait(pid), 0);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
    rogue_answers(a.rogue, ROGUE_HONEST);
}

static void child_outlives_parent_and_has_children(void)
{
    test_case("grandchild");
    arena_all_out(&a);
    pid_t pid = fork();
    if (!pid) {
        pid_t grandchild = fork();
        if (!grandchild)
            child();
        CHECK_EQ(child_wait(grandchild), 0);
        child();
    }
    CHECK_EQ(child_wait(pid), 0);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

static void pager_in_the_child(void)
{
    test_case("the child starts its own pager");
    arena_all_out(&a);
    uint64_t joins = a.rogue->nr_joins;
    pid_t pid = fork();
    if (!pid) {
        pages_write_all(&a.pages); /* its own from now on */
        pager_start(a.pager);
        WAIT_UNTIL(pager_stat(a.pager, "ranges_watched") > 0);
        arena_all_out(&a);
        pages_check_all(&a.pages);
        CHECK_EQ(pp_stop(a.pager), 0);
        pages_check_all(&a.pages);
        _exit(0);
    }
    CHECK_EQ(child_wait(pid), 0);
    CHECK_EQ(a.rogue->nr_joins, joins + test_sessions_of_one());
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

static _Atomic bool is_over;

static void *toucher(void *argument)
{
    uint64_t random = 8;
    (void)argument;
    while (!atomic_load(&is_over)) {
        uint32_t i = (uint32_t)(test_random(&random) % NR);
        pages_check(&a.pages, i);
        if (random >> 50 & 1)
            pages_write(&a.pages, i);
    }
    return NULL;
}

static void under_fire(void)
{
    test_case("fork while another thread writes and all is evicted");
    pthread_t thread;
    rogue_offer_all(a.rogue);
    CHECK_EQ(pthread_create(&thread, NULL, toucher, NULL), 0);
    for (int round = 0; round < 20; round++) {
        pid_t pid = fork();
        if (!pid)
            _exit(0); /* it may have forked in the middle of a write: nothing to check */
        CHECK_EQ(child_wait(pid), 0);
    }
    atomic_store(&is_over, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    rogue_pause(a.rogue);
    pages_check_all(&a.pages);
}

static void others(void)
{
    pages_write_all(&a.pages); /* after a fork pages leave only when written */
    test_case("vfork");
    arena_all_out(&a);
    pid_t pid = vfork();
    if (!pid) {
        execl("/bin/true", "true", NULL);
        _exit(1);
    }
    CHECK_EQ(child_wait(pid), 0);
    CHECK_EQ(pages_nr_present(&a.pages, 0, NR), 0); /* nobody was brought back for it */
    test_case("posix_spawn");
    char *argv[] = { (char *)"true", NULL };
    CHECK_EQ(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ), 0);
    CHECK_EQ(child_wait(pid), 0);
    CHECK_EQ(pages_nr_present(&a.pages, 0, NR), 0);
    pages_check_all(&a.pages);
    test_case("exec with everything out");
    arena_all_out(&a);
    execl("/bin/true", "true", NULL); /* the test's own end: 0 */
    CHECK(!"exec failed");
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("fork, vfork, spawn and exec with everything out", 20);
    arena_begin(&a, r, NR);
    plain_fork();
    fork_with_staged_pages();
    child_outlives_parent_and_has_children();
    pager_in_the_child();
    under_fire();
    others();
    return 1;
}
