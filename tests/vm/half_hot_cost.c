/* half_hot_cost.c - see half_hot.h. Of this process counts what it does for the source, not what it counts. */
#include "half_hot.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

static struct {
    pid_t daemon, kdamond;
    uint64_t begin_ns, daemon_ns, kdamond_ns, others_ns;
    uint64_t ticks_ns; /* of the thread that drives the source */
} cost;

static uint64_t clock_of_ns(clockid_t clock)
{
    struct timespec t;
    return clock_gettime(clock, &t) ? 0 : (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t process_ns(pid_t pid)
{
    clockid_t clock;
    return pid > 0 && clock_getcpuclockid(pid, &clock) == 0 ? clock_of_ns(clock) : 0;
}

/* Threads of ours beside this one: the watcher's. */
static uint64_t others_ns(void)
{
    return clock_of_ns(CLOCK_PROCESS_CPUTIME_ID) - clock_of_ns(CLOCK_THREAD_CPUTIME_ID);
}

static pid_t find_kdamond(void)
{
    DIR *d = opendir("/proc");
    pid_t found = 0;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        char path[64], name[16] = "";
        (void)snprintf(path, sizeof path, "/proc/%.16s/comm", e->d_name);
        FILE *f = atoi(e->d_name) > 0 ? fopen(path, "re") : NULL;
        if (f && fgets(name, sizeof name, f) && !strncmp(name, "kdamond.", 8))
            found = atoi(e->d_name);
        if (f)
            fclose(f);
    }
    if (d)
        closedir(d);
    return found;
}

void cost_begin(pid_t daemon)
{
    cost.daemon = daemon;
    cost.kdamond = find_kdamond();
    cost.begin_ns = now_ns();
    cost.daemon_ns = process_ns(daemon);
    cost.kdamond_ns = process_ns(cost.kdamond);
    cost.others_ns = others_ns();
    cost.ticks_ns = 0;
}

uint64_t cost_of_tick(uint64_t begin_ns)
{
    uint64_t at_ns = clock_of_ns(CLOCK_THREAD_CPUTIME_ID);
    if (begin_ns)
        cost.ticks_ns += at_ns - begin_ns;
    return at_ns;
}

void cost_print(void)
{
    double wall_ns = (double)(now_ns() - cost.begin_ns);
    uint64_t own_ns = cost.daemon ? process_ns(cost.daemon) - cost.daemon_ns
                                  : cost.ticks_ns + others_ns() - cost.others_ns;
    printf("cost: %.2f %% of a CPU %s", 100.0 * (double)own_ns / wall_ns,
           cost.daemon ? "by the daemon" : "by the source");
    if (cost.kdamond)
        printf(", %.2f %% by the kernel's thread",
               100.0 * (double)(process_ns(cost.kdamond) - cost.kdamond_ns) / wall_ns);
    printf("\n");
}
