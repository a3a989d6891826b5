/* Control goes on in another thread when the one it is in waits in a look, and only then: not while that works or
 * has no CPU; nor from another look than the one that has waited. Method: look_run() once, with looks that end
 * when the test says so, and a pthread_create() of its own, in which a successor is made to be late. */
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "daemon/limits.h"
#include "daemon/look.h"
#include "daemon/session.h"

/* Why the looks are as they are. */
static struct session works, comes_back, next, is_held;

static _Atomic bool has_clock_come, is_in_next, is_late_one_through, may_go;
static _Atomic unsigned nr_successors;
static struct session *_Atomic left_in;

/* ---- looks */

static void nap(void)
{
    (void)usleep(1000);
}

static bool look(struct heat *h, uint64_t now_ms)
{
    (void)now_ms;
    uint64_t until_ns = now_ns() + 3 * LOOK_MS_MAX * NS_PER_MS;
    if (h == (struct heat *)&works)
        while (now_ns() < until_ns)
            ;
    while (h == (struct heat *)&comes_back && !atomic_load(&has_clock_come))
        nap();
    if (h == (struct heat *)&next) {
        atomic_store(&is_in_next, true);
        while (!atomic_load(&is_late_one_through) && !atomic_load(&left_in))
            ; /* works, so that it is not its turn to be left */
    }
    while (h == (struct heat *)&is_held && !atomic_load(&may_go))
        nap();
    return false;
}

static const struct heat_ops ops = { .tick = look };

static void begin_look(struct session *s)
{
    s->heat_ops = &ops;
    s->heat = (struct heat *)s;
    look_at(s, 0);
}

/* ---- threads */

struct body {
    void *(*function)(void *);
    void *argument;
};

static void *run_late_one(void *argument)
{
    const struct body *body = argument;
    void *result = body->function(body->argument);
    atomic_store(&is_late_one_through, true);
    return result;
}

int pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*function)(void *), void *argument)
{
    static struct body late_one;
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    if (!atomic_load(&comes_back.is_looked_at))
        return real(ret, attributes, function, argument);
    atomic_store(&has_clock_come, true);
    while (!atomic_load(&is_in_next))
        nap();
    late_one = (struct body){ function, argument };
    return real(ret, attributes, run_late_one, &late_one);
}

static void be_control(void *argument, struct session *s)
{
    int *nr_returns = argument;
    if (s) {
        atomic_fetch_add(&nr_successors, 1);
        atomic_store(&left_in, s);
        atomic_store(&may_go, true);
        while (atomic_load(&s->is_looked_at)) /* until that thread ends, too */
            nap();
        return;
    }
    begin_look(&works);
    begin_look(&comes_back);
    begin_look(&next);
    begin_look(&is_held);
    (*nr_returns)++;
}

static void who_waits_is_left_and_nobody_else(void **state)
{
    (void)state;
    int nr_returns = 0;
    assert_int_equal(look_open(), 0);
    assert_int_equal(look_run(be_control, &nr_returns), 0);
    assert_true(atomic_load(&is_late_one_through));
    assert_ptr_equal(atomic_load(&left_in), &is_held);
    assert_int_equal(atomic_load(&nr_successors), 1);
    assert_int_equal(nr_returns, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_is_left_and_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
