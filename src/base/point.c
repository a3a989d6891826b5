/* point.c - see point.h. Any thread passes a point, so all of it is atomic; it allocates nothing and
 * touches no memory but its own. A name that is unknown ends the process, as with mutants. */
#include "base/point.h"

#ifdef PP_WITH_MUTANTS
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
    const char *name;
    int error; /* 0: it can only kill */
} points[POINT_NR] = {
#define FAULT(name, error, text) { #name, error },
#define KILL(name, text) { #name, 0 },
#include "base/point.def"
#undef FAULT
#undef KILL
};

static struct {
    _Atomic uint32_t nr_passes, nr_fired;
    _Atomic uint32_t at_pass; /* from 1; 0: not armed */
    _Atomic uint32_t nr_times;
    _Atomic bool is_kill;
    _Atomic(void (*)(void)) call;
} armed[POINT_NR];

static bool is_from_environment;

/* Tests of another process read it. */
static void say(enum point p, const char *what)
{
    char line[96];
    int n = snprintf(line, sizeof line, "%s=%s\n", what, points[p].name);
    ssize_t unused = write(STDERR_FILENO, line, (size_t)n);
    (void)unused;
}

static bool is_time(enum point p)
{
    uint32_t at_pass = atomic_load_explicit(&armed[p].at_pass, memory_order_relaxed);
    if (!at_pass)
        return false;
    uint32_t pass = atomic_fetch_add(&armed[p].nr_passes, 1) + 1;
    if (pass < at_pass || pass - at_pass >= atomic_load(&armed[p].nr_times))
        return false;
    atomic_fetch_add(&armed[p].nr_fired, 1);
    void (*call)(void) = atomic_load(&armed[p].call);
    if (call) {
        call();
        return false;
    }
    if (atomic_load(&armed[p].is_kill)) {
        if (is_from_environment)
            say(p, "kill");
        (void)syscall(SYS_tgkill, getpid(), gettid(), SIGKILL); /* a sandbox leaves us this one */
        __builtin_trap();
    }
    return true;
}

bool point_fails(enum point p)
{
    if (!is_time(p))
        return false;
    if (is_from_environment)
        say(p, "fault");
    errno = points[p].error;
    return true;
}

void point_kills(enum point p)
{
    (void)is_time(p);
}

static void arm(enum point p, uint32_t at_pass, uint32_t nr_times, bool is_kill, void (*call)(void))
{
    atomic_store(&armed[p].at_pass, 0);
    atomic_store(&armed[p].nr_passes, 0);
    atomic_store(&armed[p].nr_fired, 0);
    atomic_store(&armed[p].nr_times, nr_times);
    atomic_store(&armed[p].is_kill, is_kill);
    atomic_store(&armed[p].call, call);
    atomic_store(&armed[p].at_pass, at_pass);
}

void point_arm(enum point p, uint32_t at_pass, uint32_t nr_times)
{
    arm(p, at_pass, nr_times, false, NULL);
}

void point_arm_kill(enum point p, uint32_t at_pass)
{
    arm(p, at_pass, 1, true, NULL);
}

void point_arm_call(enum point p, uint32_t at_pass, void (*call)(void))
{
    arm(p, at_pass, 1, false, call);
}

void point_disarm_all(void)
{
    for (int p = 0; p < POINT_NR; p++)
        atomic_store(&armed[p].at_pass, 0);
}

uint32_t point_nr_fired(enum point p)
{
    return atomic_load(&armed[p].nr_fired);
}

const char *point_name(enum point p)
{
    return points[p].name;
}

bool point_is_kill_only(enum point p)
{
    return !points[p].error;
}

int point_error(enum point p)
{
    return points[p].error;
}

/* ---- the environment */

_Noreturn static void refuse(const char *variable, const char *wanted)
{
    fprintf(stderr, "%s=%s: should be NAME:N or NAME:N+, of a point that can do that (src/base/point.def)\n",
            variable, wanted);
    exit(64);
}

static enum point find(const char *wanted, size_t length)
{
    int p = 0;
    while (p < POINT_NR && (strlen(points[p].name) != length || strncmp(points[p].name, wanted, length)))
        p++;
    return (enum point)p;
}

static void read_variable(const char *variable, bool is_kill)
{
    const char *wanted = getenv(variable);
    if (!wanted || !*wanted)
        return;
    size_t length = strcspn(wanted, ":");
    enum point p = find(wanted, length);
    if (p == POINT_NR || (!is_kill && point_is_kill_only(p)))
        refuse(variable, wanted);
    char *end = (char *)"";
    unsigned long at_pass = wanted[length] ? strtoul(wanted + length + 1, &end, 10) : 1;
    bool is_for_good = !strcmp(end, "+");
    if (!at_pass || at_pass > UINT32_MAX || (*end && !is_for_good))
        refuse(variable, wanted);
    is_from_environment = true;
    arm(p, (uint32_t)at_pass, is_for_good ? POINT_FOR_GOOD : 1, is_kill, NULL);
}

/* Before main, so that nothing passes unarmed; and before a sandbox. */
__attribute__((constructor)) static void read_environment(void)
{
    read_variable("PP_FAULT", false);
    read_variable("PP_KILL", true);
}
#endif
