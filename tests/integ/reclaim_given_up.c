/* reclaim_given_up - pp_reclaim and a daemon that stands still: it waits for one that goes on soon, and for
 * one that answers now and then; after 5 s without an answer it gives up. Nothing is lost by that: neither
 * what has not left, nor what has and is stored nowhere. Method: a cold age of an hour, so that nothing leaves
 * by itself; SIGSTOP for the daemon, for longer and for less. */
#include "process.h"
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define NR 10000u
#define NR_LITTLE 300u /* less than staging holds */

static struct pages p;
static struct pp_pager *pager;
static struct daemon d;

/* ---- it goes on */

static void *go_on_after_2s(void *unused)
{
    (void)unused;
    test_nap_us(2000000);
    CHECK_EQ(kill(d.pid, SIGCONT), 0);
    return NULL;
}

/* What the daemon's thread that answers has had of a CPU; its others have enough to do when they go on. */
static uint64_t answering_ns(void)
{
    char path[64];
    unsigned long long ns = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/schedstat", d.pid, process_thread(d.pid, "pp-compress"));
    FILE *f = fopen(path, "re");
    CHECK(f && fscanf(f, "%llu", &ns) == 1);
    (void)fclose(f);
    return ns;
}

/* For as long as storing some hundred pages takes, whenever it gets its CPU. */
static void go_on_for_a_moment(void)
{
    uint64_t begin_ns = answering_ns();
    CHECK_EQ(kill(d.pid, SIGCONT), 0);
    WAIT_UNTIL(answering_ns() - begin_ns > 1000000 * test_limit_ms(1));
    CHECK(process_stop(d.pid));
}

static void *go_on_now_and_then(void *unused)
{
    (void)unused;
    for (int i = 0; i < 3; i++) { /* longer in all than it waits for an answer */
        test_nap_us(2500000);
        go_on_for_a_moment();
    }
    CHECK_EQ(kill(d.pid, SIGCONT), 0);
    return NULL;
}

static void is_waited_for(void *(*go_on)(void *unused))
{
    pthread_t t;
    CHECK(process_stop(d.pid));
    CHECK_EQ(pthread_create(&t, NULL, go_on, NULL), 0);
    CHECK_EQ(pp_reclaim(pager, p.memory, pages_to_bytes(NR)), 0);
    CHECK_EQ(pages_nr_present(&p, 0, NR), 0);
    pthread_join(t, NULL);
    pages_check_all(&p);
    pages_write_all(&p);
}

/* ---- it does not */

static void gives_up(uint32_t nr)
{
    CHECK_EQ(pager_stat_now(pager, "pages_staged"), 0); /* it owes nothing yet */
    uint64_t begin_ms = test_now_ms();
    CHECK_EQ(pp_reclaim(pager, p.memory, pages_to_bytes(nr)), -ETIMEDOUT);
    uint64_t ms = test_now_ms() - begin_ms;
    CHECK(ms >= 5000 && ms < test_limit_ms(15000));
    CHECK(strstr(pp_error(pager), "answered nothing"));
    CHECK(pages_nr_present(&p, 0, nr) < nr);
    CHECK(pager_stat_now(pager, "pages_staged") > 0);
}

static void is_given_up(void)
{
    test_case("all of it has left, nothing is stored");
    CHECK(process_stop(d.pid));
    gives_up(NR_LITTLE);
    CHECK_EQ(pages_nr_present(&p, 0, NR_LITTLE), 0);
    test_case("more is asked for: it has answered nothing yet");
    CHECK_EQ(pp_reclaim(pager, p.memory, pages_to_bytes(NR)), -ETIMEDOUT);
    pages_check_all(&p);
    test_case("staging is full");
    gives_up(NR);
    for (uint32_t i = 0; i < NR; i += 2) { /* the others stay where they are */
        pages_check(&p, i);
        pages_write(&p, i);
    }
}

static void goes_on_at_last(void)
{
    test_case("it goes on");
    CHECK_EQ(kill(d.pid, SIGCONT), 0);
    WAIT_LONG_UNTIL(pp_reclaim(pager, p.memory, pages_to_bytes(NR)) == 0);
    CHECK_EQ(pages_nr_present(&p, 0, NR), 0);
    CHECK_EQ(pager_stat_now(pager, "pages_staged"), 0);
    pages_check_all(&p);
    CHECK_EQ(pager_stat(pager, "daemon_joins"), test_sessions_of_one());
}

int main(void)
{
    test_begin("pp_reclaim gives up a daemon that stands still, and loses nothing", 70);
    /* The agent's clock goes by the squeeze age then, and what is asked of it is there sooner. */
    daemon_start(&d, (const char *const[]){ "--cold-age", "1h", "--squeeze-age", "1s", NULL });
    pages_map(&p, NR);
    pages_write_all(&p);
    pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    test_case("it goes on after 2 s");
    is_waited_for(go_on_after_2s);
    test_case("it goes on for a moment, now and then");
    is_waited_for(go_on_now_and_then);
    is_given_up();
    goes_on_at_last();
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    return test_end();
}
