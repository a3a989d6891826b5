/* run_cases [CASE...] - programs that never heard of a pager live on under `process-pager run` as they
 * would without: they catch signals, change protections, map over what is out, close every descriptor,
 * change root, user and namespaces, filter system calls, fork, go to the background, end by their last
 * thread. Method: run_victim.c, one process a case and several at a time, each with a daemon of its own
 * that takes out whatever has been idle for a tenth of a second. Afterwards nothing of it may be left: no
 * process, no folder. With PP_MUTANT the victim gets a library with that fault. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"

#define CASE_SECONDS_MAX 50
#define MUTANT_SECONDS_MAX 5 /* what hangs with one is known to */
#define LEFT_SECONDS_MAX 40
#define AT_A_TIME 4

static const char *const cases[] = {
    "idle", "heap", "signals", "protect", "map_fixed", "close_all", "other_root", "privileges", "capabilities",
    "new_user", "new_mounts", "filtered", "filtered_forks", "forks", "forks_early", "first_thread_leaves",
    "first_thread_is_ended", "many_threads", "locked", "not_dumpable", "locks_all", "own_userfaultfd", "execs",
    "goes_to_the_background",
};
#define CASES_NR (sizeof cases / sizeof *cases)

struct run {
    const char *name;
    pid_t pid; /* 0: not running */
    uint64_t begun_ms;
    char folder[96], told[128];
};

static const char *variable(const char *name)
{
    const char *text = getenv(name);
    if (!text)
        test_skip("no programs to test with: set PP_VICTIM, PP_PRELOAD_MUTANTS and PP_DAEMON");
    return text;
}

_Noreturn static void become_run(const struct run *r)
{
    const char *mutant = getenv("PP_MUTANT");
    char preload[600];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)snprintf(preload, sizeof preload, "LD_PRELOAD=%s", variable("PP_PRELOAD_MUTANTS"));
    (void)setenv("TMPDIR", r->folder, 1); /* where the daemon's place is made */
    (void)unsetenv("XDG_RUNTIME_DIR");
    (void)unsetenv("PROCESS_PAGER_SOCKET");
    const char *words[24] = { program_path("process-pager"), "run", "--private", "--strict", "--cold-age",
                              "100ms", "--start-after", "0ms", "--min-range", "64K", "--" };
    unsigned nr = 11;
    if (mutant) {
        words[nr++] = "/usr/bin/env";
        words[nr++] = preload;
    }
    words[nr++] = variable("PP_VICTIM");
    words[nr++] = r->name;
    words[nr++] = r->told;
    execv(words[0], (char *const *)words);
    _exit(127);
}

static void begin(struct run *r, const char *name)
{
    r->name = name;
    r->begun_ms = test_now_ms();
    (void)snprintf(r->folder, sizeof r->folder, "%s", test_path(name));
    (void)snprintf(r->told, sizeof r->told, "%s.told", test_path(name));
    CHECK_EQ(mkdir(r->folder, 0711), 0);
    r->pid = fork();
    CHECK(r->pid >= 0);
    if (r->pid == 0)
        become_run(r);
}

/* The keeper removes its folder last: before that it has ended the daemon. */
static bool is_folder_empty(const struct run *r)
{
    return rmdir(r->folder) == 0;
}

/* What its daemon has seen, and what the program in the background has said by then. */
static void tell_what_is_left(const struct run *r)
{
    char command[600];
    (void)snprintf(command, sizeof command, "ls -lR %s; cat %s/process-pager-*/log %s", r->folder, r->folder,
                   r->told);
    (void)!system(command);
}

/* Longer than what runs in the background waits before it says what is wrong. */
static void await_empty_folder(const struct run *r)
{
    uint64_t until_ms = test_now_ms() + test_limit_ms(LEFT_SECONDS_MAX * 1000);
    while (!is_folder_empty(r)) {
        if (test_now_ms() > until_ms) {
            tell_what_is_left(r);
            test_fail(__FILE__, __LINE__, "its daemon is still there after %d s", LEFT_SECONDS_MAX);
        }
        test_nap_us(300);
    }
}

static void end(struct run *r, int status)
{
    test_case(r->name);
    await_empty_folder(r); /* first: what fails next should leave nothing either */
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        printf("%s: not as this user\n", r->name);
    } else {
        CHECK(WIFEXITED(status));
        CHECK_EQ(WEXITSTATUS(status), 0);
    }
    if (!strcmp(r->name, "goes_to_the_background")) {
        char text[256] = "";
        int fd = open(r->told, O_RDONLY | O_CLOEXEC);
        CHECK(fd >= 0 && read(fd, text, sizeof text - 1) >= 0);
        close(fd);
        CHECK_EQ(unlink(r->told), 0);
        if (strcmp(text, "right"))
            test_fail(__FILE__, __LINE__, "in the background: %s", *text ? text : "it has ended early");
    }
    r->pid = 0;
}

static void reap(struct run *runs)
{
    int status;
    unsigned seconds_max = getenv("PP_MUTANT") ? MUTANT_SECONDS_MAX : CASE_SECONDS_MAX;
    for (int i = 0; i < AT_A_TIME; i++) {
        if (runs[i].pid && waitpid(runs[i].pid, &status, WNOHANG) == runs[i].pid)
            end(&runs[i], status);
        if (runs[i].pid && test_now_ms() - runs[i].begun_ms > seconds_max * 1000) {
            (void)kill(runs[i].pid, SIGKILL);
            (void)waitpid(runs[i].pid, &status, 0);
            WAIT_UNTIL(is_folder_empty(&runs[i]));
            test_fail(__FILE__, __LINE__, "%s is not done after %u s", runs[i].name, seconds_max);
        }
    }
}

int main(int argc, char **argv)
{
    static struct run runs[AT_A_TIME];
    test_begin("unmodified programs live on under run", 170);
    (void)variable("PP_VICTIM"), (void)variable("PP_PRELOAD_MUTANTS"), (void)program_path("process-pager");
    const char *const *wanted = argc > 1 ? (const char *const *)argv + 1 : cases;
    size_t nr = argc > 1 ? (size_t)argc - 1 : CASES_NR;
    for (size_t i = 0; i < nr;) {
        for (int j = 0; j < AT_A_TIME && i < nr; j++)
            if (!runs[j].pid)
                begin(&runs[j], wanted[i++]);
        reap(runs);
        test_nap_us(5000);
    }
    while (runs[0].pid || runs[1].pid || runs[2].pid || runs[3].pid) {
        reap(runs);
        test_nap_us(5000);
    }
    return test_end();
}
