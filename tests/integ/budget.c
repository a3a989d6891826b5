/* budget - with the real daemon: what a process loses stays under its budget, also where reads make
 * memory that is in use look cold; memory is kept below a target; with nothing said what is idle
 * leaves soon; and who has just started is left alone, if it says so. Method: a thread reads 64 MiB at random
 * without rest, by which writes alone can't tell it from idle memory; what it has waited is counted by the
 * agent, and felt here as touches of more than 5 us. The sum that is felt holds what the machine does to the
 * thread, too, so it is only printed. */
#include "support.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/client.h"

#define READ_NR 16384u
#define IDLE_NR 8192u
#define READ_S 20u
#define LONG_NS 5000u
#define GRACE_MS 15000u

static struct daemon d;
static struct pages p;
static _Atomic bool is_over;
static uint64_t felt_ns, nr_long;

static uint64_t clock_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *read_all_the_time(void *unused)
{
    (void)unused;
    uint64_t random = 88172645463325252u;
    while (!atomic_load(&is_over)) {
        uint64_t begin_ns = clock_ns();
        (void)*(volatile unsigned char *)pages_at(&p, (uint32_t)(test_random(&random) % READ_NR));
        uint64_t ns = clock_ns() - begin_ns;
        if (ns > LONG_NS) {
            felt_ns += ns;
            nr_long++;
        }
    }
    return NULL;
}

/* 0.2 % of the two threads' 60 s, and no more within any 60 s: READ_S are fewer. */
static void reads_that_look_cold_cost_no_more_than_allowed(void)
{
    test_case("reads");
    daemon_start(&d, (const char *[]){ "--slowdown", "0.2%", "--heat", "scan", NULL });
    pages_map(&p, READ_NR);
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(READ_NR)), 0);
    pager_start(pager);
    pthread_t reader;
    CHECK_EQ(pthread_create(&reader, NULL, read_all_the_time, NULL), 0);
    test_nap_us(READ_S * 1000000u);
    uint64_t longest_ns = pager_stat_now(pager, "fault_missing_ns_max"); /* the machine may have stalled in it */
    uint64_t waited_ns = pager_stat_now(pager, "fault_wait_ns") + pager_stat_now(pager, "other_wait_ns");
    uint64_t nr_out = pager_stat(pager, "client_evict_success");
    uint64_t nr_faults = pager_stat(pager, "faults_missing");
    atomic_store(&is_over, true);
    CHECK_EQ(pthread_join(reader, NULL), 0);
    printf("%lu pages left, %lu faults: counted %.1f ms, felt %.1f ms in %lu long touches\n",
           (unsigned long)nr_out, (unsigned long)nr_faults, (double)waited_ns / 1e6,
           (double)felt_ns / 1e6, (unsigned long)nr_long);
    CHECK(nr_out > 0); /* else nothing was tried */
    CHECK(waited_ns - longest_ns <= test_limit_ms(2u * 60u * 2u) * 1000000u);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    pages_unmap(&p);
    (void)helper_kill(d.pid, SIGTERM);
}

/* With nothing said: 5 s until it is watched, 4 s until it is cold, and 32 MiB. */
static void what_is_idle_leaves_by_itself(void)
{
    test_case("idle");
    daemon_start(&d, (const char *[]){ NULL });
    pages_map(&p, IDLE_NR);
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(IDLE_NR)), 0);
    pager_start(pager);
    uint64_t begin_ms = test_now_ms();
    WAIT_FOR(30, pages_nr_present(&p, 0, IDLE_NR) < IDLE_NR / 20);
    printf("idle: out after %.1f s\n", (double)(test_now_ms() - begin_ms) / 1000);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    pages_unmap(&p);
    (void)helper_kill(d.pid, SIGTERM);
}

/* Where the budget is time; who wants memory below a target has no time for it. By itself it would have begun
 * to leave after 9 s or so, as above. */
static void who_asks_for_grace_has_it(const char *option, const char *value, bool has_grace)
{
    test_case(has_grace ? "grace" : "no grace below a target");
    /* Without questions: what would have to be asked could not leave either. */
    daemon_start(&d, (const char *[]){ option, value, "--probe", "off", NULL });
    pages_map(&p, IDLE_NR);
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(IDLE_NR)), 0);
    uint64_t begin_ms = test_now_ms();
    pager->grace_until_ns = clock_ns() + GRACE_MS * UINT64_C(1000000);
    pager_start(pager);
    bool is_starting = strstr(daemon_status(&d), "\"starting\"");
    WAIT_FOR(40, pages_nr_present(&p, 0, IDLE_NR) < IDLE_NR);
    uint64_t first_ms = test_now_ms() - begin_ms;
    printf("%s, grace of %u s: out after %.1f s\n", option, GRACE_MS / 1000, (double)first_ms / 1000);
    CHECK(has_grace == is_starting && (!has_grace || first_ms + 20 >= GRACE_MS));
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    pages_unmap(&p);
    (void)helper_kill(d.pid, SIGTERM);
}

/* 32 MiB are idle and 16 M is the target for all that this process has: more than half of them leaves. What
 * the process needs besides is its own affair. */
static void memory_is_kept_below_a_target(void)
{
    test_case("resident");
    daemon_start(&d, (const char *[]){ "--resident", "24M", NULL });
    pages_map(&p, IDLE_NR);
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(IDLE_NR)), 0);
    pager_start(pager);
    WAIT_FOR(30, pages_nr_present(&p, 0, IDLE_NR) < IDLE_NR * 3 / 4);
    test_nap_us(5000000); /* and no more than it takes */
    CHECK(pages_nr_present(&p, 0, IDLE_NR) > IDLE_NR / 4);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    pages_unmap(&p);
    (void)helper_kill(d.pid, SIGTERM);
}

int main(void)
{
    test_begin("what is lost stays under the budget, and what is idle leaves", 140);
    reads_that_look_cold_cost_no_more_than_allowed();
    what_is_idle_leaves_by_itself();
    memory_is_kept_below_a_target();
    who_asks_for_grace_has_it("--slowdown", "1%", true);
    who_asks_for_grace_has_it("--resident", "24M", false);
    return test_end();
}
