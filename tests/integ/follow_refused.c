/* follow_refused - an agent that may not run where the faults are does not ask again at every fault where
 * that is. Method: pp_start on one CPU, which the agent's threads inherit, touches on another; the
 * agent's reads are counted by the kernel (task/TID/io). */
#include "process.h"
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#define NR 2000u

static struct pages p;
static struct pp_pager *pager;

static uint64_t nr_agent_reads(void)
{
    char path[64], line[64];
    unsigned long long nr = 0;
    bool is_counted = false;
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/io", (int)process_thread(getpid(), "pp-agent"));
    FILE *f = fopen(path, "re");
    while (f && !is_counted && fgets(line, sizeof line, f))
        is_counted = sscanf(line, "syscr: %llu", &nr) == 1;
    if (f)
        (void)fclose(f);
    if (!is_counted)
        test_skip("the kernel does not count reads by thread");
    return nr;
}

static uint64_t reads_for_touches(int cpu)
{
    CHECK_EQ(pp_reclaim(pager, p.memory, pages_to_bytes(NR)), 0);
    CHECK_EQ(pages_nr_present(&p, 0, NR), 0);
    thread_pin(cpu);
    uint64_t before = nr_agent_reads();
    pages_check_all(&p);
    return nr_agent_reads() - before;
}

int main(void)
{
    test_begin("an agent that may not follow looks rarely", 30);
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        test_skip("one CPU");
    struct daemon d;
    const char *const options[] = { "--cold-age", "1h", "--prefetch", "off", NULL }; /* each touch is a fault */
    daemon_start(&d, options);
    pages_map(&p, NR);
    pages_write_all(&p);
    pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    thread_pin(0);
    pager_start(pager);
    uint64_t here = reads_for_touches(0), elsewhere = reads_for_touches(1);
    fprintf(stderr, "reads for %u touches: %llu where it is, %llu elsewhere\n", NR,
            (unsigned long long)here, (unsigned long long)elsewhere);
    CHECK(elsewhere < here + NR / 2);
    CHECK_EQ(pp_stop(pager), 0);
    pp_close(pager);
    return test_end();
}
