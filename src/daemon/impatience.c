/* impatience.c - see impatience.h. */
#include "daemon/impatience.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static timer_t timer;
static bool has_timer;

/* It has done what it is for by coming. */
static void on_signal(int signal)
{
    (void)signal;
}

int impatience_new(void)
{
    const struct sigaction action = { .sa_handler = on_signal }; /* no SA_RESTART: what waits is to end */
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM };
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    (void)sigprocmask(SIG_UNBLOCK, &alarm, NULL); /* whoever started us may have blocked it */
    if (has_timer)
        (void)timer_delete(timer);
    has_timer = sigaction(SIGALRM, &action, NULL) == 0 && timer_create(CLOCK_MONOTONIC, &event, &timer) == 0;
    return has_timer ? 0 : -errno;
}

static void set(long ns)
{
    const struct itimerspec every = { .it_interval.tv_nsec = ns, .it_value.tv_nsec = ns };
    if (has_timer)
        (void)timer_settime(timer, 0, &every, NULL); /* cannot fail: the time is one */
}

void impatience_begin(void)
{
    set(NS_PER_MS);
}

void impatience_end(void)
{
    set(0);
}

void impatience_close(int fd)
{
    impatience_begin();
    (void)close(fd);
    impatience_end();
}
