/* accessed.c - of pages that a process touches all the time, how many show it: the bit "accessed" is cleared
 * as DAMON clears it, without flushing the TLB, and looked at some time later. docs/heat.md, "What was learnt
 * about DAMON", has the figures.
 *
 * Method: 1 in /proc/PID/clear_refs clears the bits of all pages, and flushes nothing; Referenced in smaps
 * counts those that have it again (Documentation/filesystems/proc.rst). The child is on a CPU that we
 * are not on, unless --together; whatever else is there makes it forget its TLB: an idle machine says most. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/pagesize.h"
#include "common/options.h"
#include "common/pace.h"

#define PAGES_MAX 16384u
#define SETTLE_NS 300000000u

static unsigned char *memory;

static struct {
    uint64_t after_ns, sleep_ns, repeats;
    bool is_together;
} wanted = { .after_ns = 5000000, .repeats = 20 };

static void fail(const char *what, int error)
{
    fprintf(stderr, "accessed: %s: %s\n", what, strerror(error));
    exit(EXIT_SYSTEM);
}

static void sleep_ns(uint64_t ns)
{
    pace_sleep_until_ns(pace_now_ns() + ns);
}

/* The first or the second CPU of those that we may use. */
static void go_to(const cpu_set_t *allowed, int which)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, allowed) && which-- == 0)
            CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one))
        fail("a CPU", errno);
}

static void touch_for_ever(unsigned nr_pages)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    memset(memory, 1, pages_to_bytes(nr_pages));
    for (;;) {
        for (unsigned i = 0; i < nr_pages; i++)
            (void)*(volatile unsigned char *)(memory + pages_to_bytes(i));
        if (wanted.sleep_ns)
            sleep_ns(wanted.sleep_ns);
    }
}

static void clear_accessed(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/clear_refs", (int)pid);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "1", 1) != 1)
        fail(path, errno);
    close(fd);
}

static uint64_t nr_accessed(pid_t pid)
{
    char path[64], line[256];
    (void)snprintf(path, sizeof path, "/proc/%d/smaps", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        fail(path, errno);
    unsigned long first, end, kib = 0;
    bool is_ours = false;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%lx-%lx ", &first, &end) == 2)
            is_ours = first <= (uintptr_t)memory && (uintptr_t)memory < end;
        else if (is_ours && sscanf(line, "Referenced: %lu kB", &kib) == 1)
            break;
    }
    (void)fclose(file);
    return kib * 1024 / PAGE_BYTES;
}

/* Of nr_pages, in each look. */
static double measure(unsigned nr_pages, const cpu_set_t *allowed)
{
    pid_t pid = fork();
    if (pid < 0)
        fail("fork", errno);
    if (pid == 0) {
        go_to(allowed, wanted.is_together ? 0 : 1);
        touch_for_ever(nr_pages);
    }
    sleep_ns(SETTLE_NS);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < wanted.repeats; i++) {
        clear_accessed(pid);
        sleep_ns(wanted.after_ns);
        sum += nr_accessed(pid);
        if (waitpid(pid, NULL, WNOHANG))
            fail("the child that touches", ECHILD); /* it has said why it ended */
    }
    kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    return (double)sum / (double)wanted.repeats;
}

int main(int argc, char **argv)
{
    const struct option_row rows[] = {
        { "after", OPTION_TIME, &wanted.after_ns, 1e6, 1e10, NULL, "from clearing the bits to a look" },
        { "sleep", OPTION_TIME, &wanted.sleep_ns, 0, 1e10, NULL, "of the child after each pass" },
        { "together", OPTION_FLAG, &wanted.is_together, 0, 0, NULL, "both on one CPU" },
        { "repeats", OPTION_UINT, &wanted.repeats, 1, 1000, NULL, "looks for each number of pages" },
    };
    const struct option_table table = { "accessed", "Which touches the bit \"accessed\" shows.", { rows },
                                        { sizeof rows / sizeof *rows } };
    enum options_result parsed = options_parse(&table, argc, argv);
    if (parsed != OPTIONS_RUN)
        return parsed == OPTIONS_DONE ? 0 : EXIT_USAGE;
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed))
        fail("sched_getaffinity", errno);
    if (!wanted.is_together && CPU_COUNT(&allowed) < 2)
        fail("a CPU for each of two processes (--together needs one)", EINVAL);
    memory = mmap(NULL, pages_to_bytes(PAGES_MAX), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("memory", ENOMEM);
    (void)madvise(memory, pages_to_bytes(PAGES_MAX), MADV_NOHUGEPAGE);
    go_to(&allowed, 0);
    for (unsigned nr_pages = 128; nr_pages <= PAGES_MAX; nr_pages *= 2)
        printf("%5u pages: %5.1f %% seen touched\n", nr_pages,
               100 * measure(nr_pages, &allowed) / nr_pages);
    return 0;
}
