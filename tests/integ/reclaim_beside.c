/* reclaim_beside - pp_reclaim beside everything else: a daemon that stands still keeps nobody but its
 * caller waiting, other calls get their turn, and what another thread does with its mappings meanwhile
 * leaves no memory behind that may leave. Method: a cold age of an hour, so that nothing leaves by
 * itself; SIGSTOP for the daemon. */
#include "process.h"
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR 10000u
#define NR_LITTLE 100u

static struct pages p;
static struct pp_pager *pager;
static struct daemon d;
static atomic_bool is_over, has_returned;
static uint32_t nr_asked;

static void *reclaim_all(void *unused)
{
    (void)unused;
    CHECK_EQ(pp_reclaim(pager, p.memory, pages_to_bytes(nr_asked)), 0);
    atomic_store(&has_returned, true);
    return NULL;
}

/* Everything that takes the lock of the commands, while the daemon answers nothing. */
static void the_daemon_stands_still(uint32_t nr_reclaimed)
{
    nr_asked = nr_reclaimed;
    CHECK(process_stop(d.pid));
    atomic_store(&has_returned, false);
    pthread_t t;
    CHECK_EQ(pthread_create(&t, NULL, reclaim_all, NULL), 0);
    WAIT_UNTIL(pages_nr_present(&p, 0, NR) <= NR - 300);
    test_nap_us(100000);
    CHECK(!atomic_load(&has_returned));
    uint64_t begin_ms = test_now_ms();
    CHECK_EQ(pp_pin(pager, p.memory, PAGE_BYTES), 0);
    CHECK_EQ(pages_nr_present(&p, 0, 1), 1);
    CHECK_EQ(pp_unpin(pager, p.memory, PAGE_BYTES), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(pages_is_right(&p, 7) ? 0 : 1);
    CHECK(child > 0);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK(test_now_ms() - begin_ms < test_limit_ms(5000));
    CHECK_EQ(kill(d.pid, SIGCONT), 0);
    pthread_join(t, NULL);
    pages_check_all(&p);
    pages_write_all(&p); /* after the fork they are shared until written */
}

/* A stop is one of them; the reclaim ends with it. */
static void *reclaim_until_stopped(void *unused)
{
    (void)unused;
    CHECK_EQ(pp_reclaim(pager, p.memory, pages_to_bytes(NR)), -ENOTCONN);
    return NULL;
}

static void a_stop_while_it_stands_still(void)
{
    test_case("pp_stop while the daemon stands still");
    CHECK(process_stop(d.pid));
    pthread_t t;
    CHECK_EQ(pthread_create(&t, NULL, reclaim_until_stopped, NULL), 0);
    WAIT_UNTIL(pages_nr_present(&p, 0, NR) < NR);
    test_nap_us(100000);
    CHECK_EQ(pp_stop(pager), 0);
    pthread_join(t, NULL);
    CHECK_EQ(kill(d.pid, SIGCONT), 0);
    pages_check_all(&p);
    pager_start(pager);
}

static void mapped_again(void)
{
    test_case("what is mapped later where a range is");
    struct pages q;
    pages_map(&q, NR_LITTLE);
    CHECK_EQ(munmap(q.memory, pages_to_bytes(NR_LITTLE)), 0);
    CHECK_EQ(pp_register(pager, q.memory, pages_to_bytes(NR_LITTLE)), 0);
    CHECK_EQ(pp_reclaim(pager, q.memory, pages_to_bytes(NR_LITTLE)), 0);
    for (int i = 0; i < 3; i++) {
        CHECK(mmap(q.memory, pages_to_bytes(NR_LITTLE), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == q.memory);
        pages_write_all(&q);
        CHECK_EQ(pp_reclaim(pager, q.memory, pages_to_bytes(NR_LITTLE)), 0);
        CHECK_EQ(pages_nr_present(&q, 0, NR_LITTLE), 0);
        pages_check_all(&q);
    }
    CHECK_EQ(pp_unregister(pager, q.memory, pages_to_bytes(NR_LITTLE)), 0);
    pages_unmap(&q);
}

static void *discard(void *memory)
{
    while (!atomic_load(&is_over)) {
        CHECK_EQ(madvise(memory, PAGE_BYTES, MADV_DONTNEED), 0);
        test_nap_us(200);
    }
    return NULL;
}

/* The call waits a tenth of a second for a young range to be watched; an emulated machine may take longer. */
static void reclaim_little(struct pages *q)
{
    unsigned tries = test_is_emulated() ? 20 : 1;
    do
        CHECK_EQ(pp_reclaim(pager, q->memory, pages_to_bytes(NR_LITTLE)), 0);
    while (--tries && pages_nr_present(q, 0, NR_LITTLE));
    CHECK_EQ(pages_nr_present(q, 0, NR_LITTLE), 0);
}

/* An event that is unread makes the kernel say "not now" to everything, for a moment. */
static void beside_discards(void)
{
    test_case("young ranges, beside a thread that discards");
    struct pages other;
    pages_map(&other, NR_LITTLE);
    CHECK_EQ(pp_register(pager, other.memory, pages_to_bytes(NR_LITTLE)), 0);
    CHECK_EQ(pp_reclaim(pager, other.memory, pages_to_bytes(NR_LITTLE)), 0);
    pthread_t t[2];
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&t[i], NULL, discard, pages_at(&other, (uint32_t)i)), 0);
    for (int i = 0; i < 200; i++) {
        struct pages q;
        pages_map(&q, NR_LITTLE);
        pages_write_all(&q);
        CHECK_EQ(pp_register(pager, q.memory, pages_to_bytes(NR_LITTLE)), 0);
        reclaim_little(&q);
        pages_check_all(&q);
        CHECK_EQ(pp_unregister(pager, q.memory, pages_to_bytes(NR_LITTLE)), 0);
        pages_unmap(&q);
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    CHECK_EQ(pp_unregister(pager, other.memory, pages_to_bytes(NR_LITTLE)), 0);
    pages_unmap(&other);
}

int main(int argc, char **argv)
{
    int only = argc > 1 ? argv[1][0] - '0' : 0;
    test_begin("pp_reclaim beside other calls, a daemon that stands still, and discards", 50);
    daemon_start(&d, (const char *const[]){ "--cold-age", "1h", NULL });
    pages_map(&p, NR);
    pages_write_all(&p);
    pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    if (!only || only == 1) {
        test_case("staging is full, and the daemon stands still");
        the_daemon_stands_still(NR);
        test_case("all has left, nothing is stored, and the daemon stands still");
        the_daemon_stands_still(300);
    }
    if (!only || only == 2)
        a_stop_while_it_stands_still();
    if (!only || only == 3)
        mapped_again();
    if (!only || only == 4)
        beside_discards();
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    return test_end();
}
