/* unmodified_build.c - programs that live for a moment: this project's rooms compiled (build.mk), and one
 * process after the other that does nothing. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "common/options.h"
#include "common/pace.h"
#include "unmodified.h"

#define PATIENCE_NS (300 * UINT64_C(1000000000))

static double children_cpu_s(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_CHILDREN, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* From start to end, and what its whole tree has used. The daemon is not in it: it has not ended yet. */
static int measure(struct unmodified *m, struct under *u, const char *const *words)
{
    double cpu_s = children_cpu_s();
    uint64_t begin_ns = pace_now_ns();
    int code = under_start(u, words);
    if (code)
        return code;
    if (child_wait_until(&u->program, begin_ns + PATIENCE_NS, &u->program_code) != CHILD_ENDED)
        return under_fail(u, EXIT_SYSTEM, words[0], "did not end");
    uint64_t ns = pace_now_ns() - begin_ns;
    if (u->program_code)
        return under_fail(u, EXIT_SYSTEM, words[0], "failed");
    unmodified_row(m, u, 0);
    csv_table_set(m->table, "elapsed_s", "%.4f", (double)ns / 1e9);
    csv_table_set(m->table, "cpu_s", "%.4f", children_cpu_s() - cpu_s);
    return 0;
}

int unmodified_build(struct unmodified *m, struct under *u)
{
    char makefile[PATH_MAX], source[PATH_MAX + 16], objects[PATH_MAX + 16];
    (void)snprintf(makefile, sizeof makefile, "%s/bench/build.mk", m->source);
    (void)snprintf(source, sizeof source, "SOURCE=%s", m->source);
    (void)snprintf(objects, sizeof objects, "OBJECTS=%s", u->folder);
    return measure(m, u, (const char *[]){ "make", "-s", "-j2", "-f", makefile, source, objects, NULL });
}

int unmodified_spawn(struct unmodified *m, struct under *u)
{
    return measure(m, u, (const char *[]){ "/bin/sh", "-c", "for i in $(seq 2000); do /bin/true; done", NULL });
}
