/* pageout_no_swap - --evict-by pageout where no swap is on: the daemon says so once, no page leaves or is
 * counted as gone, and all else goes on. Method: the lock that all who turn swap on here hold, the real
 * daemon, and its log, which is kept. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "zram.h"

#define NR 1024u
#define CLAIM_MS 10000u

static int log_fd, stderr_fd;

static void tell_log(void)
{
    char text[4096];
    ssize_t n;
    for (off_t at = 0; (n = pread(log_fd, text, sizeof text, at)) > 0; at += n)
        (void)!write(stderr_fd, text, (size_t)n);
}

static unsigned nr_in_log(const char *word)
{
    static char text[65536];
    ssize_t n = pread(log_fd, text, sizeof text - 1, 0);
    CHECK(n >= 0);
    text[n] = 0;
    unsigned nr = 0;
    for (const char *at = text; (at = strstr(at, word)); at++)
        nr++;
    return nr;
}

static void run_with(const char *evict_by, bool leaves)
{
    struct daemon d;
    struct pages p;
    daemon_start(&d, (const char *[]){ "--cold-age", "50ms", "--evict-by", evict_by, NULL });
    pages_map(&p, NR);
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    if (leaves)
        WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) == 0);
    else
        WAIT_LONG_UNTIL(pager_stat(pager, "evict_busy") > 2 * NR); /* tried, and tried again */
    CHECK_EQ(pages_nr_present(&p, 0, NR), leaves ? 0 : NR);
    CHECK_EQ(pager_stat_now(pager, "client_evict_success") > 0, leaves);
    CHECK_EQ(pager_stat(pager, "pages_paged_out"), 0);
    pages_check_all(&p);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    pages_unmap(&p);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
}

int main(void)
{
    struct sysinfo info;
    int lock = zram_claim(CLAIM_MS);
    if (lock < 0 || sysinfo(&info) || info.totalswap) {
        printf("SKIP: %s\n", lock == -EACCES ? "not root: no way to know who turns swap on"
                             : lock < 0      ? "another run has swap"
                                             : "this machine has swap");
        return 77;
    }
    log_fd = memfd_create("log", MFD_CLOEXEC);
    stderr_fd = fcntl(2, F_DUPFD_CLOEXEC, 10);
    if (log_fd < 0 || stderr_fd < 0 || dup2(log_fd, 2) < 0)
        return 1;
    (void)atexit(tell_log);
    test_begin("without swap, paging out does nothing, and says so", 40);
    run_with("move", true);
    CHECK_EQ(nr_in_log("event=no_swap"), 0);
    run_with("pageout", false);
    CHECK_EQ(nr_in_log("event=no_swap"), 1);
    return test_end();
}
