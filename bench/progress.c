/* progress.c - see progress.h. */
#include "progress.h"

#include <stdio.h>
#include <unistd.h>

#include "common/pace.h"

#define OVERHEAD_GUESS_SEC 1.5 /* first touch and last check of half a GiB, until we know better   \
                                */

struct progress progress_new(uint64_t nr_runs, size_t nr_arms, double arm_sec)
{
    return (struct progress){.is_terminal = isatty(STDERR_FILENO) == 1,
                             .nr_runs = nr_runs,
                             .nr_arms = nr_arms,
                             .arm_sec = arm_sec};
}

void progress_format_sec(double sec, char *ret_text, size_t size)
{
    unsigned long whole = sec > 0 ? (unsigned long)(sec + 0.5) : 0;
    if (whole >= 3600)
        snprintf(ret_text, size, "%lu h %lu min", whole / 3600, whole % 3600 / 60);
    else if (whole >= 60)
        snprintf(ret_text, size, "%lu min %lu s", whole / 60, whole % 60);
    else
        snprintf(ret_text, size, "%lu s", whole);
}

static double arm_age_sec(const struct progress *p)
{
    return (double)(pace_now_ns() - p->arm_start_ns) / 1e9;
}

/* Of this arm never less than nothing: it may take longer than the others did. */
static double left_sec(const struct progress *p)
{
    double overhead = p->nr_done > 0 ? p->overhead_sec / (double)p->nr_done : OVERHEAD_GUESS_SEC;
    double each = p->arm_sec + overhead, here = each - arm_age_sec(p);
    return (double)(p->nr_arms - p->nr_done - 1) * each + (here > 0 ? here : 0);
}

static void show(const struct progress *p)
{
    char left[48];
    progress_format_sec(left_sec(p), left, sizeof(left));
    fprintf(stderr, "%s%s, %zu of %zu, about %s left%s", p->is_terminal ? "\r" : "", p->what,
            p->nr_done + 1, p->nr_arms, left, p->is_terminal ? "\033[K" : "\n");
}

void progress_arm(struct progress *p, uint64_t run, const char *row, const char *arm)
{
    p->arm_start_ns = pace_now_ns();
    snprintf(p->what, sizeof(p->what), "run %llu/%llu %s %s", (unsigned long long)run,
             (unsigned long long)p->nr_runs, row, arm);
    show(p);
}

void progress_beat(struct progress *p)
{
    if (p->is_terminal)
        show(p);
}

void progress_arm_end(struct progress *p)
{
    double beside = arm_age_sec(p) - p->arm_sec;
    p->overhead_sec += beside > 0 ? beside : 0;
    p->nr_done++;
    progress_clear(p);
}

void progress_clear(const struct progress *p)
{
    if (p->is_terminal)
        fputs("\r\033[K", stderr);
}
