/* pageout - with a daemon that says --evict-by pageout the kernel takes the pages into its swap, and all
 * else is as with moves: idle pages leave, bytes come back, the daemon hears what came back and leaves it
 * alone for twice as long, and a page that stayed is not counted. Nothing is ours to bring back at a
 * discard, a fork, an unregister or a stop. Method: a zram of our own as swap, the real daemon; pagemap
 * says where pages are, the daemon's status what it has heard. */
#include "support.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/pagemap.h"
#include "zram.h"

#define NR 4096u
#define COLD_MS 200u
/* Fresh pages wait in a batch of the CPU they came to life on, 31 at most; the kernel pages them out when
 * the batch has gone its way, which on an idle CPU takes long. */
#define FEW (NR / 32)
#define CLAIM_MS 10000u
#define LOCKED_FIRST 1000u

static struct zram zram;
static struct daemon d;
static struct pages p;
static struct pp_pager *pager;
static uint64_t nr_left, nr_busy; /* before the present pages */

/* A number of the daemon's status; there is one session. */
static uint64_t daemon_says(const char *name)
{
    const char *status = daemon_status(&d);
    CHECK(strstr(status, "\"evict_by\":\"pageout\""));
    return status_number(status, NULL, name);
}

static uint32_t nr_swapped(uint32_t first, uint32_t nr)
{
    static pagemap_entry entries[NR];
    FILE *f = fopen("/proc/self/pagemap", "re");
    CHECK(f);
    CHECK_EQ(pagemap_read(fileno(f), page_of((uintptr_t)pages_at(&p, first)), nr, entries), 0);
    fclose(f);
    uint32_t swapped = 0;
    for (uint32_t i = 0; i < nr; i++)
        swapped += pagemap_is_swapped(entries[i]);
    return swapped;
}

static void all_out(void)
{
    WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) <= FEW);
    WAIT_UNTIL(pager_stat(pager, "pages_paged_out") == nr_swapped(0, NR));
}

/* Pages that the daemon knows nothing of yet: else each return doubles the time until they leave. Some are
 * locked before anything can leave. */
static void begin_anew(unsigned nr_locked)
{
    if (p.memory) {
        CHECK_EQ(pp_unregister(pager, p.memory, pages_to_bytes(NR / 2)), 0);
        CHECK_EQ(pp_unregister(pager, pages_at(&p, NR / 2), pages_to_bytes(NR / 2)), 0);
        pages_unmap(&p);
    }
    nr_left = pager_stat(pager, "client_evict_success");
    nr_busy = pager_stat(pager, "evict_busy");
    pages_map(&p, NR);
    pages_write_all(&p);
    if (nr_locked) /* not by libc's name: ASan makes that do nothing */
        CHECK_EQ(syscall(SYS_mlock, pages_at(&p, LOCKED_FIRST), pages_to_bytes(nr_locked)), 0);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR / 2)), 0);
    CHECK_EQ(pp_register(pager, pages_at(&p, NR / 2), pages_to_bytes(NR / 2)), 0);
}

static void everything_leaves_and_is_counted_once(void)
{
    test_case("everything leaves");
    all_out();
    WAIT_UNTIL(pager_stat(pager, "client_evict_success") == nr_swapped(0, NR));
    WAIT_UNTIL(pager_stat(pager, "evicted_bytes_raw") == pages_to_bytes(nr_swapped(0, NR)));
    CHECK_EQ(pager_stat(pager, "pages_staged") + pager_stat(pager, "pages_stored") +
             pager_stat(pager, "pages_zero") + pager_stat(pager, "compress_success"), 0);
    CHECK_EQ(daemon_says("store_held_bytes"), 0);
    WAIT_UNTIL(daemon_says("pages_paged_out") == nr_swapped(0, NR));
    CHECK_EQ(daemon_says("pages_returned"), 0);
}

/* Only read, they are still unwritten: without the daemon's hearing of it they would leave at once. */
static void what_is_read_comes_back_and_is_left_alone(void)
{
    test_case("half of it is read");
    uint64_t nr_out = nr_swapped(0, NR / 2), touched_ms = test_now_ms();
    for (uint32_t i = 0; i < NR / 2; i++)
        pages_check(&p, i);
    WAIT_UNTIL(daemon_says("pages_returned") >= nr_out);
    CHECK(pager_stat(pager, "pageout_returns") <= NR / 2);
    WAIT_LONG_UNTIL(nr_swapped(0, NR / 2) > FEW);
    CHECK(test_now_ms() - touched_ms >= 2 * COLD_MS);
    all_out();
    CHECK(pager_stat_now(pager, "client_evict_success") <= NR + NR / 2); /* the other half never came */
    CHECK(daemon_says("pages_returned") <= NR / 2);
    CHECK_EQ(pager_stat(pager, "faults_missing"), 0); /* ranges are not armed */
}

static void what_is_written_leaves_with_its_new_bytes(void)
{
    test_case("all of it is written");
    begin_anew(0);
    all_out();
    for (int round = 0; round < 2; round++) {
        pages_write_all(&p);
        all_out();
        pages_check_all(&p);
    }
}

/* The kernel refuses locked pages; a mapping of them in the midst of others ends the whole advice. */
static void what_does_not_leave_is_not_counted(void)
{
    test_case("a few locked pages");
    begin_anew(4);
    WAIT_UNTIL(pager_stat(pager, "evict_busy") >= nr_busy + 4);
    WAIT_LONG_UNTIL(nr_swapped(0, NR) >= NR - 4 - FEW);
    CHECK_EQ(pages_nr_present(&p, LOCKED_FIRST, 4), 4);
    WAIT_UNTIL(pager_stat(pager, "client_evict_success") == nr_left + nr_swapped(0, NR));
    WAIT_UNTIL(pager_stat(pager, "pages_paged_out") == nr_swapped(0, NR));
    CHECK_EQ(syscall(SYS_munlock, pages_at(&p, LOCKED_FIRST), pages_to_bytes(4)), 0);
    pages_check_all(&p);
}

static void what_is_discarded_has_not_returned(void)
{
    test_case("a quarter is discarded");
    begin_anew(0);
    all_out();
    uint64_t nr_returned = daemon_says("pages_returned");
    CHECK_EQ(madvise(pages_at(&p, 0), pages_to_bytes(NR / 4), MADV_DONTNEED), 0);
    memset(p.versions, 0, NR / 4 * sizeof *p.versions);
    CHECK_EQ(nr_swapped(0, NR / 4), 0);
    WAIT_UNTIL(pager_stat(pager, "pages_paged_out") == nr_swapped(0, NR));
    for (uint32_t i = 0; i < NR / 4; i++)
        pages_check(&p, i); /* the zero page now */
    test_nap_us(COLD_MS * 1000);
    CHECK_EQ(daemon_says("pages_returned"), nr_returned);
    for (uint32_t i = 0; i < NR / 4; i++)
        pages_write(&p, i);
    all_out();
    CHECK_EQ(daemon_says("pages_returned"), nr_returned);
}

static void a_child_has_it_all(void)
{
    test_case("a fork with everything out");
    begin_anew(0);
    all_out();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pages_check_all(&p);
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(nr_swapped(0, NR) >= NR - FEW); /* nothing had to be brought back for it */
    pages_check_all(&p);
    pages_write_all(&p);
    all_out(); /* also what the two had shared */
    pages_check_all(&p);
}

static void unregistered_and_stopped(void)
{
    test_case("unregister and stop with everything out");
    begin_anew(0);
    all_out();
    CHECK_EQ(pp_unregister(pager, pages_at(&p, 0), pages_to_bytes(NR / 2)), 0);
    WAIT_UNTIL(pager_stat(pager, "pages_paged_out") == nr_swapped(NR / 2, NR / 2));
    CHECK(nr_swapped(0, NR) >= NR - FEW);
    for (uint32_t i = 0; i < NR / 2; i++)
        pages_check(&p, i);
    test_nap_us(3 * COLD_MS * 1000);
    CHECK_EQ(pages_nr_present(&p, 0, NR / 2), NR / 2); /* nobody's business any more */
    CHECK_EQ(pp_stop(pager), 0);
    CHECK(nr_swapped(NR / 2, NR / 2) >= NR / 2 - FEW);
    pages_check_all(&p);
}

static void end_zram(void)
{
    zram_end(&zram);
}

int main(void)
{
    /* The supervisor has the zram, and tidies up however the test ends. */
    char reason[160];
    int lock = zram_claim(CLAIM_MS);
    if (lock >= 0)
        close(lock);
    if (lock == -EBUSY || zram_begin(&zram, 4 * pages_to_bytes(NR), reason, sizeof reason)) {
        printf("SKIP: %s\n", lock == -EBUSY ? "another run has swap" : reason);
        return 77;
    }
    (void)atexit(end_zram);
    test_begin("the kernel's own way out, with our heat, governor and feedback", 80);
    daemon_start(&d, (const char *[]){ "--cold-age", "200ms", "--reclaim-rate", "4G", "--evict-by",
                                       "pageout", NULL });
    pager = pager_open(d.socket_path);
    pager_start(pager);
    begin_anew(0);
    everything_leaves_and_is_counted_once();
    what_is_read_comes_back_and_is_left_alone();
    what_is_written_leaves_with_its_new_bytes();
    what_does_not_leave_is_not_counted();
    what_is_discarded_has_not_returned();
    a_child_has_it_all();
    unregistered_and_stopped();
    pp_close(pager);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    return test_end();
}
