/* run_messages - `process-pager run` is transparent: the command's exit code, its signal, its input and output,
 * its descriptors and its children are what they would be without; what can't be run or paged is said in
 * one line, with env(1)'s codes. Nothing outlives the command. Method: short commands, their codes, and every
 * word they say. */
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "command.h"

static struct command c;

#define RUN(...) run((const char *const[]){ program_path("process-pager"), "run", __VA_ARGS__, NULL })
#define SAID(text) CHECK(strstr(c.err, text))
#define SAID_NOTHING() CHECK(c.err[0] == 0)

/* The keeper and the daemon end a moment after the command, and are our orphans then. */
static void run(const char *const words[])
{
    command_orphans_ms = 20000;
    command_run(&c, 0, words);
    CHECK(!c.has_left_processes);
    size_t lines = 0;
    for (const char *at = c.err; (at = strchr(at, '\n')); at++)
        lines++;
    if (lines > 1)
        test_fail(__FILE__, __LINE__, "%zu lines where one should say it: %s", lines, c.err);
}

static void codes(void)
{
    test_case("exit codes");
    RUN("--private", "--", "/bin/true");
    CHECK_EQ(c.code, 0);
    SAID_NOTHING();
    RUN("--private", "--", "/bin/sh", "-c", "exit 7");
    CHECK_EQ(c.code, 7);
    SAID_NOTHING();
    RUN("--private", "sh", "-c", "kill -TERM $$"); /* without the two dashes, found in PATH */
    CHECK_EQ(c.code, 128 + SIGTERM);
    SAID_NOTHING();
    RUN("--private", "--", "no-such-program-at-all");
    CHECK_EQ(c.code, 127);
    SAID("no-such-program-at-all: No such file or directory");
    RUN("--private", "--", "/etc/passwd");
    CHECK_EQ(c.code, 126);
    SAID("/etc/passwd: Permission denied");
}

static void passes_through(void)
{
    test_case("words, output and descriptors");
    RUN("--private", "--", "/bin/echo", "--private", "--", "-x", "");
    CHECK(!strcmp(c.out, "--private -- -x \n"));
    char open_without[sizeof c.out];
    run((const char *const[]){ "/bin/ls", "/proc/self/fd", NULL });
    (void)strcpy(open_without, c.out);
    RUN("--private", "--", "/bin/ls", "/proc/self/fd");
    CHECK(!strcmp(c.out, open_without) && strstr(c.out, "2\n"));
    RUN("--private", "--", "/bin/sh", "-c", "read -r x < /proc/$$/task/$$/children; echo \"[$x]\"");
    CHECK(!strcmp(c.out, "[]\n")); /* no child that it did not make */
}

static void bad_words(void)
{
    test_case("what can't be meant");
    run((const char *const[]){ program_path("process-pager"), "run", NULL });
    CHECK_EQ(c.code, 125);
    SAID("say what to run");
    RUN("--bogus", "--", "/bin/true");
    CHECK_EQ(c.code, 125);
    SAID("--bogus is not an option here");
    RUN("--min-range", "tiny", "--", "/bin/true");
    CHECK_EQ(c.code, 125);
    SAID("'tiny' is not a size");
    RUN("--private", "--cold-age", "banana", "--", "/bin/true");
    CHECK_EQ(c.code, 125);
    SAID("'banana' is not a time: write it like 500ms, 5s or 2m");
    RUN("--socket", test_path("nobody"), "--", "/bin/true");
    CHECK_EQ(c.code, 125);
    SAID("no daemon answers at ");
    RUN("--private", "--socket", test_path("nobody"), "--", "/bin/true");
    CHECK_EQ(c.code, 125);
    SAID("say one of the two");
    RUN("--help");
    CHECK_EQ(c.code, 0);
    CHECK(strstr(c.out, "usage: process-pager run"));
}

/* It is asked for what it was told, from inside, by a program that might want a sanitizer's runtime to come
 * first; and it has given up its rights as any other does. */
static void tells_its_daemon(void)
{
    static const char *const budgets[][3] = {
        { "--slowdown", "5%", "\"slowdown 5%\"" },
        { "--resident", "100M", "\"resident 100M\"" },
        { "--cold-age", "3s", "\"cold-age 3s\"" },
    };
    static const char ask[] =
        "status=$(env -u LD_PRELOAD \"$0\" status --json); echo \"$status\"; "
        "pid=$(echo \"$status\" | sed -n 's/.*\"pid\":[[:space:]]*\\([0-9]*\\).*/\\1/p' | head -n 1); "
        "grep Seccomp: /proc/$pid/status; readlink /proc/$pid/fd/0 /proc/$pid/fd/1";
    test_case("a daemon of its own has the budget that run was given, and no rights");
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        RUN("--private", budgets[i][0], budgets[i][1], "--", "/bin/sh", "-c", ask,
            program_path("process-pager"));
        CHECK_EQ(c.code, 0);
        CHECK(strstr(c.out, budgets[i][2]));
        CHECK(strstr(c.out, "Seccomp:\t2\n/dev/null\n/dev/null\n")); /* no file of its own is its output */
    }
    RUN("--private", "--slowdown", "5%", "--promotion-rate", "2%", "--", "/bin/sh", "-c", ask,
        program_path("process-pager"));
    CHECK_EQ(c.code, 0);
    CHECK(strstr(c.out, "\"promotion_max_ppm_per_min\":20000"));
    test_case("a budget that can't be meant is told by its daemon");
    RUN("--private", "--resident", "100M", "--promotion-rate", "2%", "--", "/bin/true");
    CHECK_EQ(c.code, 125);
    SAID("cannot start a daemon of its own: process-pagerd: --promotion-rate bounds a --slowdown further");
    RUN("--private", "--slowdown", "200%", "--", "/bin/true");
    CHECK_EQ(c.code, 125);
    SAID("--slowdown");
}

static void with_a_daemon(void)
{
    static struct daemon d;
    daemon_start(&d, (const char *[]){ NULL });
    test_case("a daemon that answers is used");
    RUN("--socket", d.socket_path, "--", "/bin/sh", "-c", "echo $PROCESS_PAGER_SOCKET");
    CHECK_EQ(c.code, 0);
    CHECK(!strncmp(c.out, d.socket_path, strlen(d.socket_path)));
    static const char *const own[] = { "--slowdown", "--promotion-rate", "--resident", "--cold-age", "--heat" };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        RUN("--socket", d.socket_path, own[i], "1", "--", "/bin/true");
        CHECK_EQ(c.code, 125);
        SAID(own[i]);
        SAID("is for a daemon of its own, and one answers at ");
    }
    RUN("--socket", d.socket_path, "--stats-on-exit", "--", "/bin/true");
    CHECK_EQ(c.code, 125);
    SAID("--stats-on-exit is for a daemon of its own");
    (void)helper_kill(d.pid, SIGTERM);
}

/* One that has taken the connection and ends before it has answered, as a restart under a service manager is:
 * `run` looks whether it is there, then the program comes, twice. */
static void with_a_daemon_that_goes(void)
{
    static struct daemon d;
    test_case("a daemon that ends while it is being joined is waited for");
    struct sockaddr_un place = { .sun_family = AF_UNIX };
    (void)snprintf(place.sun_path, sizeof place.sun_path, "%s", test_path("daemon.sock"));
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(bind(listener, (struct sockaddr *)&place, sizeof place) == 0 && listen(listener, 1) == 0);
    char *const words[] = { (char *)program_path("process-pager"), "run", "--strict", "--socket",
                            place.sun_path, "--start-after", "0ms", "--min-range", "64K", "--",
                            getenv("PP_VICTIM"), "idle", NULL };
    pid_t pid = helper_exec(words);
    for (int i = 0; i < 3; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        CHECK(fd >= 0);
        close(fd);
    }
    close(listener);
    CHECK_EQ(unlink(place.sun_path), 0);
    daemon_start(&d, (const char *[]){ "--cold-age", "100ms", NULL });
    CHECK_EQ(helper_wait(pid), 0);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
}

static void has_just_started(void)
{
    static struct daemon d;
    test_case("where the budget is time, nothing leaves of what has just started");
    daemon_start(&d, (const char *[]){ NULL });
    char *const words[] = { (char *)program_path("process-pager"), "run", "--socket", d.socket_path,
                            "--start-after", "0ms", "--min-range", "64K", "--", getenv("PP_VICTIM"), "idle",
                            NULL };
    pid_t pid = helper_exec(words);
    WAIT_UNTIL(strstr(daemon_status(&d), "\"starting\""));
    CHECK_EQ(helper_kill(pid, SIGTERM), SIGTERM);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
}

static void what_cannot_be_paged(void)
{
    test_case("static and set-user-id programs");
    const char *path = getenv("PP_STATIC");
    if (!path)
        test_skip("no static program to test with: set PP_STATIC");
    RUN("--private", "--", path);
    CHECK_EQ(c.code, 42);
    SAID("is statically linked: it runs as it is, only its children are paged");
    RUN("--private", "--strict", "--", path);
    CHECK_EQ(c.code, 125);
    SAID("is statically linked: it can't be paged");
    test_case("a static program that can't be run says only that");
    const char *alone = test_path("process-pager"); /* neither its daemon nor its library is beside it */
    program_copy(program_path("process-pager"), alone);
    run((const char *const[]){ alone, "run", "--private", "--", path, NULL });
    CHECK(c.code == 42 || (c.code == 125 && !strstr(c.err, "runs as it is")));
    test_case("static and set-user-id programs");
    if (geteuid() != 0)
        return;
    const char *other = test_path("setuid");
    RUN("--private", "--", "/bin/cp", "/bin/true", other);
    CHECK(chown(other, NOBODY, NOBODY) == 0 && chmod(other, 04755) == 0);
    RUN("--private", "--", other);
    CHECK_EQ(c.code, 0);
    SAID("is set-user-id, set-group-id or has file capabilities");
    RUN("--private", "--strict", "--", other);
    CHECK_EQ(c.code, 125);
    SAID("it can't be paged");
}

static void says_what_came_of_it(void)
{
    test_case("--stats-on-exit");
    RUN("--private", "--cold-age", "50ms", "--start-after", "0ms", "--min-range", "64K", "--stats-on-exit",
        "--", getenv("PP_VICTIM"), "idle");
    CHECK_EQ(c.code, 0);
    SAID("process-pager: run_victim[");
    SAID("faults brought pages back");
    RUN("--private", "--cold-age", "50ms", "--start-after", "0ms", "--min-range", "64K", "--stats-on-exit",
        "--", getenv("PP_VICTIM"), "left_out");
    CHECK_EQ(c.code, 0);
    SAID("4.0 MiB locked");
    SAID("MiB stacks");
}

/* Its store is 4 GiB of address space and of a file. */
static void limits_are_not_its_daemons(void)
{
    test_case("the command's limits");
    struct rlimit old, tight;
    CHECK_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
    tight = old;
    tight.rlim_cur = 1 << 20;
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
    RUN("--private", "--cold-age", "50ms", "--start-after", "0ms", "--min-range", "64K", "--stats-on-exit",
        "--", getenv("PP_VICTIM"), "idle");
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
    CHECK_EQ(c.code, 0);
    SAID("faults brought pages back");
}

static void leaves_excluded_programs_alone(void)
{
    test_case("--exclude-program");
    RUN("--private", "--cold-age", "50ms", "--start-after", "0ms", "--min-range", "64K", "--exclude-program",
        "sh,run_victim", "--stats-on-exit", "--", "/bin/sh", "-c", "sleep 0.5");
    CHECK_EQ(c.code, 0);
    SAID_NOTHING();
}

int main(void)
{
    test_begin("run is transparent, and says in a line what it can't do", 110);
    codes();
    passes_through();
    bad_words();
    what_cannot_be_paged();
    says_what_came_of_it();
    limits_are_not_its_daemons();
    leaves_excluded_programs_alone();
    tells_its_daemon();
    with_a_daemon();
    with_a_daemon_that_goes();
    has_just_started();
    return test_end();
}
