/* test_tasks.c - the kernel's account of this process's own threads. */
#include "sys/tasks.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_are_counted),
        cmocka_unit_test(no_such_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
