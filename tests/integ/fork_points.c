/* fork_points - parent, child and daemon die between any two steps of the hand-over of what was out at a fork,
 * named in base/point.def. Who lives on has all of its bytes, and no descriptor or map too many; a child that
 * can't be covered ends and says so; nobody reads zeros, and nobody hangs (docs/fork.md).
 *
 * Method: a row for each point, and four deaths: the parent at its own steps, the parent at the child's, the
 * child at its own, the daemon at all of them. The daemon is a rogue, which overwrites places at once that are
 * given up. And the process that has clients told of forks, and its daemon, die while they are asked for it. */
#include "forker.h"
#include "points.h"
#include "rogue.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR 64u /* pages: four runs */

/* Of the child, when the parent is killed there. */
enum fate {
    NONE,   /* there is none yet */
    ENDS,   /* with a word, if it has come to life */
    LIVES,
    EITHER,
};

struct row {
    enum point point;
    enum fate fate;
};

static const struct row parent_rows[] = {
    { POINT_FORK_KNOCKED, NONE },    { POINT_FORK_READY, NONE },
    { POINT_FORK_TAKEN, NONE },      { POINT_FORK_SENT, NONE },
    { POINT_FORK_READ, ENDS },       { POINT_FORK_LISTED, ENDS },
    { POINT_FORK_RETURNED, EITHER }, { POINT_FORK_TOUCH_READ, ENDS },
    { POINT_FORK_TOUCHED, ENDS },    { POINT_FORK_HEARD, ENDS },
    { POINT_FORK_GIVEN, LIVES },     { POINT_FORK_THAWED, LIVES },
    { POINT_FORK_DONE_READ, LIVES }, { POINT_FORK_LET_GO, LIVES },
};
#define PARENT_ROWS_NR (sizeof parent_rows / sizeof *parent_rows)

static const struct row child_rows[] = {
    { POINT_FORK_CHILD_BEGINS, ENDS },  { POINT_FORK_CHILD_ASKED, EITHER },
    { POINT_FORK_CHILD_MAPPED, EITHER }, { POINT_FORK_CHILD_TAKES, LIVES },
    { POINT_FORK_CHILD_OWN, LIVES },    { POINT_FORK_CHILD_LOOKED, LIVES },
    { POINT_FORK_CHILD_DECODED, LIVES }, { POINT_FORK_CHILD_RUN, LIVES },
    { POINT_FORK_CHILD_ALL, LIVES },    { POINT_FORK_CHILD_DONE, LIVES },
    { POINT_FORK_CHILD_ALONE, LIVES },  { POINT_FORK_CHILD_ENDS, LIVES },
};
#define CHILD_ROWS_NR (sizeof child_rows / sizeof *child_rows)

static const enum point helper_points[] = { POINT_FORK_HELPER_GOT, POINT_FORK_HELPER_DID };
static const enum point daemon_points[] = { POINT_FORK_HELPER_ASKED, POINT_FORK_HELPER_ANSWERED };

static struct arena a;

/* What a fork has left shared leaves only when it has been written. */
static void all_out(void)
{
    pages_write_all(&a.pages);
    WAIT_UNTIL(pp_reclaim(a.pager, a.pages.memory, pages_to_bytes(NR)) == 0 &&
               pages_nr_present(&a.pages, 0, NR) == 0);
}

static void show_and_fail(int line, const char *what)
{
    forker_show_log();
    test_fail(__FILE__, line, "%s", what);
}
#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            show_and_fail(__LINE__, #condition);                                                   \
    } while (0)

/* ---- the parent dies: at its own steps, or at the child's */

static struct {
    struct row row;
    bool is_at_childs;
    struct rogue *rogue;
} *doomed; /* shared with the helper that is the parent */

static void kill_parent(void)
{
    pid_t pid = atomic_load(&forker->parent);
    (void)kill(pid, SIGKILL);
    while (getppid() == pid)
        test_nap_us(50);
}

static int parent(void *unused)
{
    (void)unused;
    a.rogue = doomed->rogue;
    pages_map(&a.pages, NR);
    a.pager = pager_open(a.rogue->socket_path);
    CHECK_EQ(pp_register(a.pager, a.pages.memory, pages_to_bytes(NR)), 0);
    pager_start(a.pager);
    all_out();
    if (doomed->is_at_childs)
        point_arm_call(doomed->row.point, 1, kill_parent);
    else
        point_arm_kill(doomed->row.point, 1);
    (void)forker_fork(&a.pages, NULL, NULL);
    test_nap_us(5000000);
    return 1; /* the point was not passed */
}

static bool has_ended_well(void)
{
    static const char word[] = "process-pager: ending this child of fork(): ";
    return !forker->has_gone_on && (!forker->child || forker_has_said(word));
}

static void meets(enum fate fate)
{
    WAIT_UNTIL(forker->has_passed || forker_child_is_over());
    switch (fate) {
    case NONE:
        EXPECT(!forker->child);
        return;
    case ENDS:
        EXPECT(has_ended_well());
        return;
    case LIVES:
        EXPECT(forker->has_passed);
        return;
    case EITHER:
        EXPECT(forker->has_passed || has_ended_well());
        return;
    }
}

static void parent_dies(const struct row *row, bool is_at_childs)
{
    test_case(point_name(row->point));
    doomed->row = *row;
    doomed->is_at_childs = is_at_childs;
    atomic_store(&forker->child, 0);
    int status = helper_wait(helper_start(parent, NULL));
    EXPECT(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGKILL);
    meets(row->fate);
}

/* The stack of the thread that forks is out, too, but for what it uses: once the parent has gone nobody brings
 * back more of it for the child. */
static struct pages stack;
static _Atomic bool may_fork;

static void *fork_on_it(void *unused)
{
    WAIT_LONG_UNTIL(atomic_load(&may_fork));
    (void)forker_fork(&a.pages, NULL, NULL);
    return unused;
}

static int parent_on_managed_stack(void *unused)
{
    pthread_attr_t attributes;
    pthread_t thread;
    (void)unused;
    a.rogue = doomed->rogue;
    pages_map(&a.pages, NR);
    pages_map(&stack, NR);
    pages_write_all(&stack);
    a.pager = pager_open(a.rogue->socket_path);
    CHECK_EQ(pp_register(a.pager, a.pages.memory, pages_to_bytes(NR)), 0);
    CHECK_EQ(pp_register(a.pager, stack.memory, pages_to_bytes(NR)), 0);
    pager_start(a.pager);
    CHECK_EQ(pthread_attr_init(&attributes), 0);
    CHECK_EQ(pthread_attr_setstack(&attributes, stack.memory, pages_to_bytes(NR)), 0);
    CHECK_EQ(pthread_create(&thread, &attributes, fork_on_it, NULL), 0);
    WAIT_UNTIL(pp_reclaim(a.pager, stack.memory, pages_to_bytes(NR)) == 0 &&
               pages_nr_present(&stack, 0, NR) < 8);
    all_out();
    point_arm_call(POINT_FORK_CHILD_TAKES, 1, kill_parent);
    atomic_store(&may_fork, true);
    test_nap_us(5000000);
    return 1; /* the point was not passed */
}

static void stack_is_out(void)
{
    test_case("the parent is killed, and the child's stack was out");
    atomic_store(&forker->child, 0);
    int status = helper_wait(helper_start(parent_on_managed_stack, NULL));
    EXPECT(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGKILL);
    meets(LIVES);
}

/* ---- the child dies: its parent goes on, with all of it out, and lets go of everything */

static void child_dies(enum point p)
{
    test_case(point_name(p));
    all_out();
    unsigned descriptors = forker_nr_descriptors();
    uint64_t given_up = a.rogue->nr_given_up;
    point_arm_kill(p, 1);
    int status = forker_wait(forker_fork(&a.pages, NULL, NULL));
    point_disarm_all();
    EXPECT(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGKILL);
    CHECK_EQ(pages_nr_present(&a.pages, 0, NR), 0);
    pages_check_all(&a.pages);
    WAIT_UNTIL(forker_nr_descriptors() == descriptors);
    WAIT_UNTIL(forker_nr_maps("memfd:process-pager-fork") == 0);
    WAIT_UNTIL(a.rogue->nr_given_up > given_up);
}

/* ---- the daemon dies: parent and child have their bytes, and the next one is joined */

static void kill_daemon(void)
{
    (void)kill(a.rogue->pid, SIGKILL);
}

static void daemon_dies(enum point p)
{
    int status = 0;
    test_case(point_name(p));
    all_out();
    unsigned descriptors = forker_nr_descriptors();
    point_arm_call(p, 1, kill_daemon);
    EXPECT(forker_wait(forker_fork(&a.pages, NULL, NULL)) == 0);
    WAIT_UNTIL(helper_has_ended(a.rogue->pid, &status)); /* some are passed after the fork */
    point_disarm_all();
    pages_check_all(&a.pages);
    CHECK_EQ(pp_stop(a.pager), 0);
    pages_check_all(&a.pages);
    CHECK_EQ(forker_nr_maps("memfd:process-pager-fork") + forker_nr_maps("memfd:rogue-"), 0);
    rogue_start(a.rogue);
    pager_start(a.pager);
    WAIT_UNTIL(forker_nr_descriptors() == descriptors); /* the agent before it may not have gone yet */
}

/* ---- the daemon dies, and the next is joined, while a child is held that has not asked for anything yet */

static _Atomic bool *child_may_go_on; /* shared */

static void wait_and_touch(void)
{
    WAIT_LONG_UNTIL(atomic_load(child_may_go_on));
    pages_check_all(&a.pages);
}

/* Beside the fork: what was stored with the first daemon is back in the parent, which needs its store no more. */
static void *change_daemons(void *unused)
{
    WAIT_LONG_UNTIL(forker->child);
    uint64_t joins = pager_stat(a.pager, "daemon_joins");
    rogue_kill(a.rogue);
    rogue_start(a.rogue);
    WAIT_LONG_UNTIL(pager_stat(a.pager, "daemon_joins") > joins);
    WAIT_LONG_UNTIL(pages_nr_present(&a.pages, 0, NR) == NR);
    (void)pager_stat_now(a.pager, "pages_stored"); /* what is of no use is unmapped by then */
    atomic_store(child_may_go_on, true);
    return unused;
}

static void store_outlives_its_daemon(void)
{
    test_case("the next daemon is joined while a child has yet to touch pages in the store of the first");
    pthread_t thread;
    all_out();
    atomic_store(&forker->child, 0);
    CHECK_EQ(forker_nr_maps("memfd:rogue-store"), 1);
    CHECK_EQ(pthread_create(&thread, NULL, change_daemons, NULL), 0);
    EXPECT(forker_wait(forker_fork(&a.pages, wait_and_touch, NULL)) == 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    pages_check_all(&a.pages);
    WAIT_UNTIL(forker_nr_maps("memfd:rogue-store") == 1); /* and then the first one's goes */
}

/* ---- who has clients told of forks */

static void join(struct point_daemon *d)
{
    pages_map(&a.pages, NR);
    a.pager = pager_open(d->socket_path);
    CHECK_EQ(pp_register(a.pager, a.pages.memory, pages_to_bytes(NR)), 0);
    point_arm(POINT_UFFD_API, 1, 1); /* its own handshake is refused, so it asks */
    pager_start(a.pager);
    point_disarm_all();
}

static void fork_once(const char *how)
{
    uint64_t before = pager_stat(a.pager, how);
    all_out();
    EXPECT(forker_wait(forker_fork(&a.pages, NULL, NULL)) == 0);
    CHECK_EQ(pager_stat(a.pager, how), before + 1);
    pages_check_all(&a.pages);
}

static void leave(struct point_daemon *d)
{
    CHECK_EQ(pp_stop(a.pager), 0);
    pages_check_all(&a.pages);
    a.pager = pp_close(a.pager);
    pages_unmap(&a.pages);
    CHECK_EQ(helper_kill(d->pid, SIGTERM), 0);
}

/* The daemon lives; the client is not told of forks, and so everything comes back before one. */
static void helper_dies(struct point_daemon *d, enum point p)
{
    test_case(point_name(p));
    point_daemon_dies(d, p, 1);
    point_daemon_wait_for_socket(d);
    join(d);
    if (!point_daemon_has_said(d, "event=door_gone")) {
        point_daemon_show_log(d);
        test_fail(__FILE__, __LINE__, "the daemon does not say that it has lost a door");
    }
    fork_once("forks_drained_untold");
    leave(d);
}

/* The client goes on without, and is told once it has started with the next one. */
static void daemon_dies_asking(struct point_daemon *d, enum point p)
{
    test_case(point_name(p));
    point_daemon_dies(d, p, 1);
    point_daemon_wait_for_socket(d);
    join(d);
    CHECK_EQ(helper_wait(d->pid), SIGKILL);
    pages_write_all(&a.pages);
    pages_check_in_child(&a.pages);
    CHECK_EQ(pp_stop(a.pager), 0);
    point_daemon_whole(d);
    point_daemon_wait_for_socket(d);
    pager_start(a.pager);
    fork_once("forks_covered");
    leave(d);
}

/* ---- all of them */

static bool is_in(const struct row *rows, size_t nr, enum point p)
{
    for (size_t i = 0; i < nr; i++)
        if (rows[i].point == p)
            return true;
    return false;
}

static void each_point_has_a_row(void)
{
    test_case("each point has a row");
    for (enum point p = 0; p < POINT_NR; p++) {
        const char *name = point_name(p);
        if (point_is_kill_only(p) && !strncmp(name, "FORK_", 5) && strncmp(name, "FORK_HELPER_", 12) &&
            !is_in(parent_rows, PARENT_ROWS_NR, p) && !is_in(child_rows, CHILD_ROWS_NR, p))
            test_fail(__FILE__, __LINE__, "no row for %s", name);
    }
}

static void all_deaths(void)
{
    for (size_t i = 0; i < PARENT_ROWS_NR; i++) {
        parent_dies(&parent_rows[i], false);
        daemon_dies(parent_rows[i].point);
    }
    for (size_t i = 0; i < CHILD_ROWS_NR; i++) {
        parent_dies(&child_rows[i], true);
        child_dies(child_rows[i].point);
        daemon_dies(child_rows[i].point);
    }
}

int main(void)
{
    static const char *const options[] = { "--cold-age", "1h", "--sandbox", "off", NULL };
    struct point_daemon *d = point_daemon_new(options);
    struct rogue *r = rogue_new("rogue"), *second = rogue_new("second");
    doomed = test_shared(sizeof *doomed);
    child_may_go_on = test_shared(sizeof *child_may_go_on);
    forker_new();
    test_begin("parent, child and daemon may die at any step of a fork with pages out", 60);
    if (!forks_are_told())
        test_skip("nobody tells this user of forks (CAP_SYS_PTRACE)");
    each_point_has_a_row();
    doomed->rogue = second;
    rogue_start(second);
    arena_begin(&a, r, NR);
    store_outlives_its_daemon();
    stack_is_out();
    all_deaths();
    arena_end(&a);
    for (size_t i = 0; i < 2; i++) {
        helper_dies(d, helper_points[i]);
        daemon_dies_asking(d, daemon_points[i]);
    }
    return test_end();
}
