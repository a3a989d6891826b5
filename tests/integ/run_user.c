/* run_user - an ordinary user's program under `process-pager run`: at a root daemon, which hands it the device,
 * and with a daemon of its own where every user may have a userfaultfd. Neither program nor daemon has any
 * right then. Method: copies of the programs where nobody can reach them; for the second half a device open
 * to all, in a mount namespace of this test. */
#include "support.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "command.h"

#define DEVICE "/dev/userfaultfd"

static struct command c;

static void copy_programs(void)
{
    static const char *const names[] = { "process-pager", "process-pagerd", "libprocess-pager-preload.so" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        program_copy(program_path(names[i]), test_path(names[i]));
    if (!getenv("PP_VICTIM"))
        test_skip("no program to run: set PP_VICTIM");
    program_copy(getenv("PP_VICTIM"), test_path("run_victim"));
    directory_open_to_all();
}

static void run(const char *const words[])
{
    command_orphans_ms = 20000;
    command_run(&c, NOBODY, words);
    CHECK(!c.has_left_processes);
}

#define RUN(...) run((const char *const[]){ test_path("process-pager"), "run", "--strict", __VA_ARGS__, NULL })
#define EAGERLY "--start-after", "0ms", "--min-range", "64K"

/* Nothing in the program is root's: the daemon hands it what it needs. */
static void at_roots_daemon(void)
{
    static struct daemon d;
    daemon_start(&d, (const char *[]){ "--cold-age", "100ms", NULL });
    test_case("a root daemon, its socket for all");
    CHECK_EQ(chmod(d.socket_path, 0666), 0);
    RUN("--socket", d.socket_path, EAGERLY, "--", test_path("run_victim"), "idle");
    CHECK(c.code == 0 && !*c.err);
    test_case("its socket closed");
    CHECK_EQ(chmod(d.socket_path, 0600), 0);
    RUN("--socket", d.socket_path, "--", "/bin/true");
    CHECK(c.code == 125 && strstr(c.err, "no right to the daemon's socket "));
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
}

/* For this process and what comes of it the device is everybody's, as after `chmod 666`. */
static void open_the_device(void)
{
    struct stat st;
    char folder[128], node[160];
    (void)snprintf(folder, sizeof folder, "%s", test_path("device"));
    (void)snprintf(node, sizeof node, "%s/userfaultfd", folder);
    if (stat(DEVICE, &st))
        test_skip("no " DEVICE " here: the rest is not shown");
    CHECK_EQ(mkdir(folder, 0755), 0);
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("none", folder, "tmpfs", 0, "mode=755") || mknod(node, S_IFCHR | 0666, st.st_rdev) ||
        chmod(node, 0666) || mount(node, DEVICE, NULL, MS_BIND, NULL)) {
        (void)umount(folder);
        (void)rmdir(folder);
        test_skip("no mounts or devices of one's own here: the rest is not shown");
    }
    (void)umount2(folder, MNT_DETACH);
    CHECK_EQ(rmdir(folder), 0);
}

/* A program with AddressSanitizer would want to be first. */
static const char ask[] =
    "pid=$(env -u LD_PRELOAD \"$0\" status --json | sed -n 's/.*\"pid\":[[:space:]]*\\([0-9]*\\).*/\\1/p' | head -n 1); "
    "grep -E '^(Uid|CapPrm|CapBnd|NoNewPrivs|Seccomp):' /proc/$pid/status";

static void with_a_daemon_of_its_own(void)
{
    if (is_userfaultfd_closed_to_users()) {
        test_case("no right to userfaultfd");
        RUN("--private", "--", "/bin/true");
        CHECK(c.code == 125 && strstr(c.err, "sysctl vm.unprivileged_userfaultfd=1"));
        open_the_device();
    }
    char place[128];
    (void)snprintf(place, sizeof place, "%s", test_path("place"));
    CHECK(mkdir(place, 0700) == 0 && chown(place, NOBODY, NOBODY) == 0 && setenv("TMPDIR", place, 1) == 0);
    (void)unsetenv("XDG_RUNTIME_DIR");
    test_case("a daemon of its own");
    RUN("--private", "--cold-age", "100ms", EAGERLY, "--", test_path("run_victim"), "idle");
    CHECK(c.code == 0 && !*c.err);
    RUN("--private", "--cold-age", "100ms", EAGERLY, "--", test_path("run_victim"), "forks");
    CHECK(c.code == 0 && !*c.err);
    test_case("what its daemon may");
    RUN("--private", "--", "/bin/sh", "-c", ask, test_path("process-pager"));
    CHECK(c.code == 0 && !*c.err);
    CHECK(strstr(c.out, "Uid:\t65534\t65534\t65534\t65534\n"));
    CHECK(strstr(c.out, "CapPrm:\t0000000000000000\n"));
    CHECK(strstr(c.out, "NoNewPrivs:\t1\n") && strstr(c.out, "Seccomp:\t2\n"));
    CHECK_EQ(rmdir(place), 0); /* nothing is left in it */
}

int main(void)
{
    test_begin("an ordinary user's programs run with a pager", 110);
    if (geteuid() != 0)
        test_skip("only root can become somebody else");
    copy_programs();
    at_roots_daemon();
    with_a_daemon_of_its_own();
    return test_end();
}
