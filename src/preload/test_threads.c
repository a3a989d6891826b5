/* Every thread's control block is found, whether it runs or sleeps, and a process whose first thread has left is
 * told from one that goes on. Method: threads that do both; pthread_self() is the control block's address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "preload/threads.h"

static struct threads threads;
static _Atomic int nr_up, must_end;

static void *spins(void *unused)
{
    nr_up++;
    while (!must_end)
        ;
    return unused;
}

static void *sleeps(void *unused)
{
    nr_up++;
    while (!must_end)
        usleep(1000);
    return unused;
}

/* The list's head is in the block's first page, or in the one after it. */
static const struct control_block *block_of(pthread_t thread)
{
    for (page_number page = page_of((uintptr_t)thread), last = page + 1; page <= last; page++)
        for (uint32_t i = 0; i < threads.nr_blocks; i++)
            if (threads.blocks[i].page == page)
                return &threads.blocks[i];
    return NULL;
}

static void control_blocks_are_found(void **state)
{
    (void)state;
    pthread_t one, two;
    assert_int_equal(pthread_create(&one, NULL, spins, NULL), 0);
    assert_int_equal(pthread_create(&two, NULL, sleeps, NULL), 0);
    while (nr_up < 2)
        usleep(1000);
    assert_int_equal(threads_list(&threads), 0);
    assert_int_equal(threads.nr, 3);
    assert_int_equal(threads.nr_blocks, 3);
    const struct control_block *self = block_of(pthread_self());
    assert_non_null(self);
    assert_true(self->is_of_main && self->is_of_caller);
    assert_true(block_of(one) && !block_of(one)->is_of_main && !block_of(one)->is_of_caller);
    assert_true(block_of(two) && !block_of(two)->is_of_main);
    assert_false(threads_are_orphans(&threads, 2)); /* as few as that, but the first one is here */
    must_end = 1;
    assert_int_equal(pthread_join(one, NULL), 0);
    assert_int_equal(pthread_join(two, NULL), 0);
}

static void *looks(void *unused)
{
    (void)unused;
    for (int i = 0; i < 2000; i++) {
        if (threads_list(&threads))
            _exit(2);
        if (threads_are_orphans(&threads, 1))
            _exit(threads_are_orphans(&threads, 0)); /* one more than its own: somebody else's */
        usleep(1000);
    }
    _exit(3);
}

static void orphans_are_told(void **state)
{
    (void)state;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t t;
        if (pthread_create(&t, NULL, looks, NULL))
            _exit(4);
        pthread_exit(NULL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_blocks_are_found),
        cmocka_unit_test(orphans_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
