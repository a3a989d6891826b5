/* An agent in the real-time class stays there when its weight would change, and has more weight only where
 * nobody is in its way; what others choose for it stays. Method: the real urgent.c by one thread; it is told
 * that it had to wait, and sees faults that come soon; the kernel says in which class it is, and at which nice
 * value. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "client/client.h"

static struct agent a;
static struct stats_block stats;

static int policy(void)
{
    return sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
}

static void sees_faults(unsigned nr, uint64_t after_ns)
{
    for (unsigned i = 0; i < nr; i++)
        urgent_see(&a, after_ns);
}

/* Told so for longer than the tests run. */
static void finds_a_crowd(void)
{
    a.urgency.crowded_until_ns = now_ns() + 60 * NS_PER_S;
}

static void becomes(int policy)
{
    const struct sched_param none = { 0 };
    assert_int_equal(sched_setscheduler(0, policy | SCHED_RESET_ON_FORK, &none), 0);
}

static void begins(void)
{
    a.pg.stats = &stats;
    a.urgency.crowded_until_ns = 0;
    urgent_set_wanted(&a, true);
    urgent_begin(&a);
}

/* Skips where it may not. */
static void begins_in_the_class(void)
{
    begins();
    if (a.urgency.own.kind != CLASS_REALTIME)
        skip();
    finds_a_crowd();
    urgent_rest(&a);
    assert_int_equal(policy(), SCHED_RR);
}

static void stays_in_the_class_whatever_it_weighs(void **state)
{
    (void)state;
    int nice = getpriority(PRIO_PROCESS, 0);
    begins_in_the_class();
    sees_faults(100, 0);
    urgent_rest(&a);
    assert_int_equal(policy(), SCHED_RR);
    sees_faults(1, NS_PER_S);
    urgent_rest(&a);
    assert_int_equal(policy(), SCHED_RR);

    urgent_leave(&a);
    assert_int_equal(policy(), SCHED_OTHER);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), nice);
    urgent_end(&a);
}

static void leaves_the_class_when_it_is_used_up(void **state)
{
    (void)state;
    begins_in_the_class();
    a.urgency.allowance.left_ns = -ALLOWANCE_NS_MAX;
    a.urgency.next_look_ns = 0;
    urgent_rest(&a);
    assert_int_equal(policy(), SCHED_OTHER);
    urgent_rest(&a);
    assert_int_equal(policy(), SCHED_OTHER);
    urgent_end(&a);
}

static void weighs_more_only_while_faults_come_soon(void **state)
{
    (void)state;
    begins();
    int nice = a.urgency.own.nice, lower = a.urgency.own.urgent_nice;
    if (lower == nice)
        skip();
    sees_faults(7, 0);
    urgent_rest(&a);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), nice);
    sees_faults(1, 0);
    urgent_rest(&a);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), lower);
    sees_faults(1, NS_PER_S);
    urgent_rest(&a);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), nice);

    sees_faults(8, 0);
    urgent_rest(&a);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), lower);
    urgent_leave(&a); /* for other work, after which no fault has come yet */
    urgent_rest(&a);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), nice);
    urgent_end(&a);
}

/* Else who has used up the class would go on at the weight of nine others. */
static void weighs_no_more_in_a_crowd(void **state)
{
    (void)state;
    begins();
    int nice = a.urgency.own.nice;
    if (a.urgency.own.urgent_nice == nice)
        skip();
    sees_faults(8, 0);
    urgent_rest(&a); /* heavy, and then somebody comes */
    finds_a_crowd();
    a.urgency.allowance.left_ns = -ALLOWANCE_NS_MAX;
    urgent_rest(&a);
    assert_int_equal(policy(), SCHED_OTHER);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), nice);
    urgent_leave(&a);
    urgent_end(&a);
}

static void is_as_it_was_when_it_is_not_wanted_any_more(void **state)
{
    (void)state;
    begins();
    int nice = a.urgency.own.nice;
    sees_faults(8, 0);
    urgent_rest(&a); /* heavy, where it may */
    urgent_set_wanted(&a, false);
    sees_faults(8, 0);
    urgent_rest(&a);
    finds_a_crowd();
    urgent_rest(&a);
    assert_int_equal(policy(), SCHED_OTHER);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), nice);
    assert_int_equal(stats_get(&stats, STAT_agents_nice) + stats_get(&stats, STAT_agents_realtime), 0);
    urgent_end(&a);
}

/* As setpriority(2) of a process group does, and who tunes a desktop. */
static void is_left_at_what_somebody_has_chosen(void **state)
{
    (void)state;
    begins();
    int nice = a.urgency.own.nice, lower = a.urgency.own.urgent_nice;
    int chosen = nice - 1;
    if (lower >= chosen)
        skip();
    sees_faults(8, 0);
    urgent_rest(&a);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), lower);
    setpriority(PRIO_PROCESS, 0, chosen);
    urgent_leave(&a);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), chosen);
    sees_faults(8, 0);
    urgent_rest(&a); /* refused, and found anew */
    urgent_rest(&a);
    assert_true(getpriority(PRIO_PROCESS, 0) < chosen);
    urgent_leave(&a);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), chosen);

    becomes(SCHED_BATCH);
    sees_faults(8, 0);
    for (int i = 0; i < 3; i++)
        urgent_rest(&a);
    finds_a_crowd();
    for (int i = 0; i < 3; i++)
        urgent_rest(&a);
    urgent_set_wanted(&a, false);
    assert_int_equal(policy(), SCHED_BATCH);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), chosen);
    becomes(SCHED_OTHER);
    setpriority(PRIO_PROCESS, 0, nice);
    urgent_end(&a);
}

static void is_left_in_another_class_than_that_it_took(void **state)
{
    (void)state;
    begins_in_the_class();
    becomes(SCHED_BATCH);
    urgent_leave(&a);
    urgent_rest(&a);
    urgent_rest(&a);
    assert_int_equal(policy(), SCHED_BATCH);
    becomes(SCHED_OTHER);
    urgent_end(&a);
}

static void give_rights_up(struct rlimit *ret_nice, struct rlimit *ret_realtime)
{
    getrlimit(RLIMIT_NICE, ret_nice);
    getrlimit(RLIMIT_RTPRIO, ret_realtime);
    const struct rlimit no_nice = { .rlim_max = ret_nice->rlim_max };
    const struct rlimit no_realtime = { .rlim_max = ret_realtime->rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NICE, &no_nice) | setrlimit(RLIMIT_RTPRIO, &no_realtime), 0);
    assert_int_equal(seteuid(65534), 0);
}

static void is_ordinary_when_rights_were_given_up(void **state)
{
    (void)state;
    if (geteuid())
        skip(); /* they are taken back at the end */
    struct rlimit limit_nice, limit_realtime;
    begins();
    int nice = a.urgency.own.nice;
    a.urgency.own.kind = CLASS_NICE;
    give_rights_up(&limit_nice, &limit_realtime);
    sees_faults(8, 0);
    urgent_rest(&a);
    finds_a_crowd();
    urgent_rest(&a);
    assert_int_equal(stats_get(&stats, STAT_agents_nice) + stats_get(&stats, STAT_agents_realtime), 0);
    assert_int_equal(policy(), SCHED_OTHER);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), nice);
    urgent_end(&a);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(setrlimit(RLIMIT_NICE, &limit_nice) | setrlimit(RLIMIT_RTPRIO, &limit_realtime), 0);
}

/* Its signal would be the application's. */
static void does_not_enter_where_a_limit_of_its_time_was_set(void **state)
{
    (void)state;
    struct rlimit before, limit;
    begins();
    if (a.urgency.own.kind != CLASS_REALTIME)
        skip();
    getrlimit(RLIMIT_RTTIME, &before);
    limit = (struct rlimit){ .rlim_cur = 200000, .rlim_max = before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_RTTIME, &limit), 0);
    finds_a_crowd();
    urgent_rest(&a);
    urgent_rest(&a);
    assert_int_equal(policy(), SCHED_OTHER);
    urgent_leave(&a);
    urgent_end(&a);
    assert_int_equal(setrlimit(RLIMIT_RTTIME, &before), 0);
}

/* It yields when a slice has passed, and not right after an answer. */
static void gives_way_after_a_slice(void **state)
{
    (void)state;
    begins();
    if (!a.urgency.own.is_slice_kept)
        skip();
    a.last_fault_ns = 0;
    a.urgency.next_way_ns = 0;
    urgent_give_way(&a);
    uint64_t next_ns = a.urgency.next_way_ns;
    assert_in_range(next_ns, now_ns() - NS_PER_S, now_ns() + a.urgency.own.slice_ns);
    a.urgency.next_way_ns = next_ns = now_ns() + NS_PER_S;
    urgent_give_way(&a);
    assert_int_equal(a.urgency.next_way_ns, next_ns);
    for (unsigned i = 0; i < 100 && a.urgency.next_way_ns; i++) { /* we may have no CPU in between */
        a.urgency.next_way_ns = 0;
        a.last_fault_ns = now_ns();
        urgent_give_way(&a);
    }
    assert_int_equal(a.urgency.next_way_ns, 0);
    a.last_fault_ns = 0;
    urgent_set_wanted(&a, false);
    urgent_give_way(&a);
    assert_int_equal(a.urgency.next_way_ns, 0);
    urgent_end(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_way_after_a_slice),
        cmocka_unit_test(stays_in_the_class_whatever_it_weighs),
        cmocka_unit_test(leaves_the_class_when_it_is_used_up),
        cmocka_unit_test(weighs_more_only_while_faults_come_soon),
        cmocka_unit_test(weighs_no_more_in_a_crowd),
        cmocka_unit_test(is_as_it_was_when_it_is_not_wanted_any_more),
        cmocka_unit_test(is_left_at_what_somebody_has_chosen),
        cmocka_unit_test(is_left_in_another_class_than_that_it_took),
        cmocka_unit_test(is_ordinary_when_rights_were_given_up),
        cmocka_unit_test(does_not_enter_where_a_limit_of_its_time_was_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
