/* full_cgroup - a client whose memory cgroup is full. Nothing comes back there that nobody has asked for:
 * no page ahead of a pass, nothing by `process-pager drain`. What is touched is answered as long as there is
 * room. Then the kernel kills the client, and nobody else notices; or, where the cgroup says not to kill
 * (version 1), the touch waits, whoever looks can see it, other clients go on, and it is answered when there
 * is room.
 *
 * Method: a client in a cgroup of its own, one beside it; all of both is out; the limit is set to what is in
 * use and a little more. */
#include "command.h"
#include "group.h"
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#define NR 3072u /* 12 MiB */
#define MIB ((uint64_t)1 << 20)

enum wish { NONE, RECLAIM, PASS, CHECK_ALL, END };

static struct client {
    _Atomic enum wish wish;
    _Atomic uint64_t nr_ahead; /* of the last pass */
    _Atomic bool is_out, could_enter;
    bool is_in_group; /* set before it is started, as the next */
    char socket_path[108];
    pid_t pid;
} *inside, *beside;

static struct memory_group *group;
static struct daemon d;

/* ---- a client; it does what it is told */

static void reclaim(struct pp_pager *pager, struct pages *p)
{
    for (int i = 0; i < 100 && pages_nr_present(p, 0, NR); i++)
        (void)pp_reclaim(pager, p->memory, pages_to_bytes(NR));
    CHECK_EQ(pages_nr_present(p, 0, NR), 0);
}

static uint64_t pass(struct pp_pager *pager, const struct pages *p)
{
    uint64_t before = pager_stat(pager, "prefetch_pages");
    for (uint32_t i = 0; i < NR; i++)
        pages_check(p, i);
    return pager_stat(pager, "prefetch_pages") - before;
}

static int live(void *argument)
{
    struct client *me = argument;
    struct pages p;
    if (me->is_in_group && !group_enter(group))
        return 3;
    atomic_store(&me->could_enter, true);
    pages_map(&p, NR);
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(me->socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    for (enum wish wish = NONE; wish != END;) {
        while ((wish = atomic_load(&me->wish)) == NONE)
            test_nap_us(500);
        if (wish == RECLAIM)
            reclaim(pager, &p);
        if (wish == PASS)
            atomic_store(&me->nr_ahead, pass(pager, &p));
        if (wish == CHECK_ALL)
            pages_check_all(&p);
        atomic_store(&me->wish, NONE);
    }
    CHECK_EQ(pager_stat(pager, "restore_fail"), 0);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    return 0;
}

static bool has_ended(struct client *c)
{
    int status;
    return helper_has_ended(c->pid, &status);
}

static void ask(struct client *c, enum wish wish)
{
    atomic_store(&c->wish, wish);
}

static void wait_for(struct client *c)
{
    WAIT_LONG_UNTIL(atomic_load(&c->wish) == NONE || has_ended(c));
    if (has_ended(c))
        test_fail(__FILE__, __LINE__, "a client has ended, status %#x", helper_wait(c->pid));
}

static void have(struct client *c, enum wish wish)
{
    ask(c, wish);
    wait_for(c);
}

static void begin(struct client *c, bool is_in_group)
{
    c->is_in_group = is_in_group;
    strcpy(c->socket_path, d.socket_path);
    atomic_store(&c->could_enter, false);
    c->pid = helper_start(live, c);
    WAIT_UNTIL(atomic_load(&c->could_enter) || has_ended(c));
    if (has_ended(c))
        test_skip("no process may be put into a memory cgroup of its own here");
    have(c, RECLAIM);
}

static void end(struct client *c)
{
    ask(c, END);
    CHECK_EQ(helper_wait(c->pid), 0);
}

/* The other client's pages leave and come back. */
static void beside_goes_on(void)
{
    have(beside, RECLAIM);
    have(beside, CHECK_ALL);
}

/* ---- cases */

/* On a busy machine whoever reads outruns the agent now and then, so it is tried a few times; how many come
 * ahead is for the test `prefetch` to say. */
static void ahead_of_a_pass(void)
{
    test_case("ahead of a pass: without a limit");
    for (int tries = 0; tries < 8 && !atomic_load(&inside->nr_ahead); tries++) {
        have(inside, RECLAIM);
        have(inside, PASS);
    }
    CHECK(atomic_load(&inside->nr_ahead) > 0);
    test_case("ahead of a pass: a limit 24 MiB away");
    have(inside, RECLAIM);
    CHECK(group_limit(group, group_usage(group) + 24 * MIB));
    test_nap_us(200000); /* it looks ten times a second */
    have(inside, PASS);
    CHECK_EQ(atomic_load(&inside->nr_ahead), 0);
    have(inside, RECLAIM);
}

static void by_hand(void)
{
    static struct command c;
    char pid[16];
    (void)snprintf(pid, sizeof pid, "%d", (int)inside->pid);
    const char *const words[] = { program_path("process-pager"), "drain", "--socket", d.socket_path, pid,
                                  NULL };
    test_case("drain: a limit 6 MiB away");
    CHECK(group_limit(group, group_usage(group) + 6 * MIB));
    command_run(&c, 0, words);
    CHECK_EQ(c.code, EX_UNAVAILABLE);
    CHECK(strstr(c.err, "has room for") && strstr(c.err, strrchr(group->path, '/')));
    test_case("drain: there is room");
    CHECK(group_limit(group, UINT64_MAX));
    command_run(&c, 0, words);
    CHECK_EQ(c.code, 0);
    const char *const resume[] = { words[0], "drain", "--resume", "--socket", d.socket_path, pid, NULL };
    command_run(&c, 0, resume);
    CHECK_EQ(c.code, 0);
    have(inside, RECLAIM);
}

static const char *in_status(const struct client *c)
{
    char name[32];
    (void)snprintf(name, sizeof name, "\"pid\":%d,", (int)c->pid);
    return strstr(daemon_status(&d), name);
}

static uint64_t waits_seen(void)
{
    const char *me = in_status(inside);
    return me ? status_number(me, NULL, "restore_no_memory") : 0;
}

static bool has_come_through(void)
{
    return atomic_load(&inside->wish) == NONE && !has_ended(inside);
}

/* All that is out is wanted, and there is no room for it. What has just left may still be counted, makes room as
 * it goes, and then all of it fits: once more, with that gone. */
static void fill(bool (*is_full)(void))
{
    bool has_filled = false;
    for (int tries = 0; tries < 5; tries++) {
        CHECK(group_limit(group, group_usage(group) + 2 * MIB));
        ask(inside, CHECK_ALL);
        WAIT_LONG_UNTIL((has_filled = is_full()) || has_come_through());
        if (has_filled)
            return;
        CHECK(group_limit(group, UINT64_MAX));
        have(inside, RECLAIM);
        test_nap_us(200000);
    }
    CHECK(has_filled);
}

/* Or the agent does: where it is the first to write to a page that it shares with the daemon, as to the next
 * one of a ring, that page is counted for its cgroup. */
static bool has_waited(void)
{
    return waits_seen() > 0 || group_waits_for_room(group) || has_ended(inside);
}

static bool inside_has_ended(void)
{
    return has_ended(inside);
}

static void waits(void)
{
    test_case("no room, and nobody is killed: the touch waits");
    fill(has_waited);
    beside_goes_on();
    CHECK(!has_ended(inside));
    CHECK_EQ(atomic_load(&inside->wish), CHECK_ALL);
    uint64_t before = waits_seen();
    WAIT_UNTIL(waits_seen() > before || group_waits_for_room(group)); /* it asks again, and tells */
    CHECK(group_limit(group, UINT64_MAX));
    wait_for(inside);
    have(inside, RECLAIM);
    have(inside, CHECK_ALL);
    end(inside);
}

static void is_killed(void)
{
    test_case("no room: the kernel kills the client");
    fill(inside_has_ended);
    CHECK_EQ(helper_wait(inside->pid), SIGKILL);
    CHECK_EQ(group_nr_killed(group), 1);
    WAIT_LONG_UNTIL(!in_status(inside));
    beside_goes_on();
}

static void remove_group(void)
{
    group_remove(group);
}

int main(void)
{
    const char *why = NULL;
    char name[32];
    inside = test_shared(sizeof *inside);
    beside = test_shared(sizeof *beside);
    group = test_shared(sizeof *group);
    (void)snprintf(name, sizeof name, "pp-full-%d", (int)getpid());
    bool has_group = group_make(group, name, &why);
    test_cleans_up(remove_group);
    test_begin("a client whose cgroup is full", 60);
    if (!has_group)
        test_skip(why);
    daemon_start(&d, (const char *[]){ "--cold-age", "1h", NULL });
    begin(beside, false);
    begin(inside, true);
    ahead_of_a_pass();
    by_hand();
    is_killed();
    CHECK(group_limit(group, UINT64_MAX));
    if (group_must_not_kill(group)) {
        begin(inside, true);
        waits();
    }
    end(beside);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    return test_end();
}
