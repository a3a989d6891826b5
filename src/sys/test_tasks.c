/* test_tasks.c - the kernel's account of this process's own threads. */
#include "sys/tasks.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void filters_are_counted(void **state)
{
    (void)state;
    int before = task_nr_filters(getpid());
    assert_true(before >= 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        struct sock_fprog program = { .len = 1, .filter = &all };
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
            _exit(2);
        _exit(task_nr_filters(getpid()) == before + 1 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void no_such_task(void **state)
{
    (void)state;
    assert_int_equal(task_nr_filters(0), -ENOENT);
}

/* ---- one that lives is listed, whoever ends meanwhile */

#define ENDING 3u

static _Atomic bool may_end, may_stay_no_more;
static _Atomic pid_t who_stays;

static void *ends(void *spins)
{
    while (!atomic_load(&may_end))
        ;
    for (volatile uintptr_t i = 0; i < (uintptr_t)spins; i++)
        ;
    return NULL;
}

static void *stays(void *unused)
{
    (void)unused;
    atomic_store(&who_stays, (pid_t)syscall(SYS_gettid));
    while (!atomic_load(&may_stay_no_more))
        (void)usleep(100);
    return NULL;
}

static int look_for_it(pid_t tid, void *is_listed)
{
    *(bool *)is_listed |= tid == atomic_load(&who_stays);
    return 0;
}

static void one_that_lives_is_in_the_list(void **state)
{
    (void)state;
    unsigned nr_lists = 0, nr_missed_by_each = 0, nr_again = 0;
    time_t end = time(NULL) + 6;
    for (uintptr_t round = 0; time(NULL) < end && nr_missed_by_each < 10; round++) {
        pthread_t ending[ENDING], staying;
        atomic_store(&may_end, false);
        atomic_store(&may_stay_no_more, false);
        atomic_store(&who_stays, 0);
        for (uintptr_t i = 0; i < ENDING; i++) /* older than it: the kernel lists by age */
            assert_int_equal(pthread_create(&ending[i], NULL, ends, (void *)(round % 100 * 20 + i * 300)), 0);
        assert_int_equal(pthread_create(&staying, NULL, stays, NULL), 0);
        while (!atomic_load(&who_stays))
            ;
        atomic_store(&may_end, true);
        for (unsigned i = 0; i < 8; i++) {
            pid_t tids[64];
            bool is_listed = false, is_seen = false;
            int nr = tasks_list(tids, 64);
            for (int k = 0; k < nr; k++)
                is_listed |= tids[k] == atomic_load(&who_stays);
            assert_true(is_listed || nr == -EAGAIN);
            nr_again += nr == -EAGAIN;
            nr_lists++;
            assert_int_equal(tasks_each(look_for_it, &is_seen), 0);
            nr_missed_by_each += !is_seen;
        }
        atomic_store(&may_stay_no_more, true);
        for (unsigned i = 0; i < ENDING; i++)
            (void)pthread_join(ending[i], NULL);
        (void)pthread_join(staying, NULL);
    }
    print_message("%u lists, %u not had; tasks_each() alone has missed it %u times\n", nr_lists, nr_again,
                  nr_missed_by_each);
    assert_true(nr_again < nr_lists);
}

static void too_many_are_refused(void **state)
{
    (void)state;
    pid_t tid;
    pthread_t other;
    atomic_store(&may_stay_no_more, false);
    assert_int_equal(pthread_create(&other, NULL, stays, NULL), 0);
    assert_int_equal(tasks_list(&tid, 1), -E2BIG);
    atomic_store(&may_stay_no_more, true);
    (void)pthread_join(other, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_are_counted),
        cmocka_unit_test(no_such_task),
        cmocka_unit_test(one_that_lives_is_in_the_list),
        cmocka_unit_test(too_many_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
