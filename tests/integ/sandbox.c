/* sandbox - set up, the daemon has no right left that it does not need, in none of its threads, and does
 * all of its work with what it keeps: sessions, stores, both sources of heat, restart, its own end.
 * Method: the real daemon with --sandbox strict, where a system call that is not on its list ends it;
 * the kernel's account of each thread in /proc; a root without capabilities who tries to look at it. */
#include "command.h"
#include "support.h"

#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR 2048u

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1 /* its search for leaks has to look at the process */
#else
#define IS_SANITIZED 0
#endif

static struct daemon d;
static struct pages p;
static struct pp_pager *pager;

/* ---- what the kernel says */

static bool has_line(const char *path, const char *wanted)
{
    char line[512];
    bool is_there = false;
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        is_there |= strncmp(line, wanted, strlen(wanted)) == 0;
    if (f)
        fclose(f);
    if (!is_there)
        fprintf(stderr, "%s has no line \"%s\"\n", path, wanted);
    return is_there;
}

/* False: it has ended, as one that was left behind in a look at a client may at any time. */
static bool check_thread(const char *tid)
{
    static const char *const lines[] = { "NoNewPrivs:\t1\n", "Seccomp:\t2\n", "CapInh:\t0000000000000000\n",
                                         "CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n",
                                         "CapAmb:\t0000000000000000\n" };
    char path[300];
    (void)snprintf(path, sizeof path, "/proc/%d/task/%s/status", (int)d.pid, tid);
    for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!has_line(path, lines[i])) {
            CHECK(access(path, F_OK) < 0);
            return false;
        }
    return true;
}

static unsigned check_threads(void)
{
    char path[64];
    unsigned nr = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)d.pid);
    DIR *dir = opendir(path);
    CHECK(dir);
    for (struct dirent *e; (e = readdir(dir));)
        nr += *e->d_name != '.' && check_thread(e->d_name);
    closedir(dir);
    return nr;
}

/* Maps of others' pages are marked "dd", do not dump. */
static void check_maps(const char *path, unsigned nr_least)
{
    char line[512];
    bool is_ours = false;
    unsigned nr = 0, nr_marked = 0;
    FILE *f = fopen(path, "re");
    CHECK(f);
    while (fgets(line, sizeof line, f)) {
        unsigned long start, end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
            is_ours = strstr(line, "memfd:process-pager-store") || strstr(line, "memfd:process-pager-session");
            nr += is_ours;
        } else if (is_ours && strncmp(line, "VmFlags:", 8) == 0) {
            nr_marked += strstr(line, " dd") != NULL;
        }
    }
    fclose(f);
    CHECK(nr >= nr_least);
    CHECK_EQ(nr_marked, nr);
}

static int may_be_last(void *unused)
{
    (void)unused;
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    return fd < 0 || write(fd, "-900", 4) != 4;
}

static void nothing_is_left(void)
{
    char path[64];
    test_case("what the kernel says");
    CHECK(check_threads() >= 2);
    (void)snprintf(path, sizeof path, "/proc/%d/limits", (int)d.pid);
    CHECK(has_line(path, "Max core file size        0                    0 "));
    (void)snprintf(path, sizeof path, "/proc/%d/smaps", (int)d.pid);
    check_maps(path, 2);
    check_maps("/proc/self/smaps", 2);
    (void)snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)d.pid);
    if (has_line("/proc/self/oom_score_adj", "0") && helper_wait(helper_start(may_be_last, NULL)) == 0)
        CHECK(has_line(path, "-900"));
}

/* Root, but with no more capabilities than the daemon: only its being hidden is in the way. */
static int look_at_it(void *pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/mem", *(pid_t *)pid);
    capng_clear(CAPNG_SELECT_ALL);
    if (capng_apply(CAPNG_SELECT_CAPS))
        return 2;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        return 1;
    return errno == EACCES || errno == EPERM ? 0 : 3;
}

/* ---- its work */

static void all_out_and_back(void)
{
    WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) < NR / 20);
    pages_check_all(&p);
    pages_write_all(&p);
}

static void start(const char *heat, const char *cold_age)
{
    daemon_start(&d, (const char *[]){ "--sandbox", "strict", "--heat", heat, "--cold-age", cold_age,
                                       "--reclaim-rate", "4G", "--squeeze-age", "100ms", "--csv",
                                       test_path("csv"), NULL });
}

static void end(void)
{
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    CHECK(access(d.socket_path, F_OK) < 0);
}

int main(void)
{
    pid_t *pid = test_shared(sizeof *pid);
    test_begin("the daemon works without rights", 60);
    start("scan", "50ms");
    pager = pager_open(d.socket_path);
    pages_map(&p, NR);
    pages_write_all(&p);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    test_case("heat from the scan");
    all_out_and_back();
    WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) < NR / 20);
    test_nap_us(1000000); /* for the second tier, too */
    all_out_and_back();
    CHECK(strstr(daemon_status(&d), "\"sessions\""));
    nothing_is_left();
    if (geteuid() == 0 && !IS_SANITIZED) {
        *pid = d.pid;
        test_case("root without capabilities looks");
        CHECK_EQ(helper_wait(helper_start(look_at_it, pid)), 0);
    }
    test_case("the next daemon, with DAMON where there is one for us");
    WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) < NR / 20);
    end();
    start("damon", "600ms");
    WAIT_LONG_UNTIL(pager_stat(pager, "daemon_joins") == 2);
    pages_check_all(&p);
    pages_write_all(&p);
    all_out_and_back();
    CHECK(check_threads() >= 2);
    test_case("the end");
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    end();
    return test_end();
}
