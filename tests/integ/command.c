/* command.c - see command.h. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

#define PATIENCE_MS 40000u

const char *program_path(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    const char *daemon = getenv("PP_DAEMON");
    const char *slash = daemon ? strrchr(daemon, '/') : NULL;
    if (!slash || snprintf(path, sizeof paths[0], "%.*s/%s", (int)(slash - daemon), daemon, name) >=
                      (int)sizeof paths[0])
        test_skip("no programs to test with: set PP_DAEMON to the path of process-pagerd");
    if (access(path, X_OK))
        test_skip("not all programs are built: ninja builds them");
    return path;
}

void program_copy(const char *from, const char *to)
{
    char buffer[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    CHECK(in >= 0 && out >= 0);
    for (ssize_t n; (n = read(in, buffer, sizeof buffer)) > 0;)
        CHECK_EQ(write(out, buffer, (size_t)n), n);
    close(in);
    close(out);
    CHECK_EQ(chmod(to, 0755), 0);
}

gid_t command_group;

bool become_user(uid_t uid)
{
    if (setgroups(command_group != 0, &command_group) || setgid(uid) || setuid(uid))
        return false;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* lost with the change */
    return true;
}

bool become_client(uid_t uid)
{
    return become_user(uid) && prctl(PR_SET_DUMPABLE, 1) == 0;
}

void directory_open_to_all(void)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s", test_path("x"));
    *strrchr(path, '/') = 0;
    CHECK_EQ(chmod(path, 0711), 0);
}

_Noreturn static void become_program(uid_t uid, const char *const words[], const int out[2],
                                     const int err[2])
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(open("/dev/null", O_RDONLY), 0);
    (void)dup2(out[1], 1);
    (void)dup2(err[1], 2);
    (void)unsetenv("PP_MUTANT");
    (void)unsetenv("PROCESS_PAGER_SOCKET");
    (void)signal(SIGPIPE, SIG_DFL);
    if (uid && !become_user(uid))
        _exit(126);
    execv(words[0], (char *const *)words);
    _exit(127);
}

/* Appends what is there; false at the end of the pipe. */
static bool take(int fd, char *text, size_t capacity)
{
    char rest[512];
    size_t used = strlen(text), room = capacity - 1 - used;
    ssize_t n = read(fd, room ? text + used : rest, room ? room : sizeof rest);
    if (room && n > 0)
        text[used + (size_t)n] = 0;
    return n > 0;
}

static void listen_to(struct command *ret, int out, int err, uint64_t deadline_ms)
{
    struct pollfd fds[2] = { { .fd = out, .events = POLLIN }, { .fd = err, .events = POLLIN } };
    while ((fds[0].fd >= 0 || fds[1].fd >= 0) && test_now_ms() < deadline_ms) {
        (void)poll(fds, 2, 50);
        if (fds[0].revents && !take(out, ret->out, sizeof ret->out))
            fds[0].fd = -1;
        if (fds[1].revents && !take(err, ret->err, sizeof ret->err))
            fds[1].fd = -1;
    }
}

#define CHILDREN_MAX 16u

static unsigned read_children(pid_t ret_pids[CHILDREN_MAX])
{
    char path[64];
    unsigned nr = 0;
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "re");
    CHECK(f);
    while (nr < CHILDREN_MAX && fscanf(f, "%d", &ret_pids[nr]) == 1)
        nr++;
    fclose(f);
    return nr;
}

static bool is_among(pid_t pid, const pid_t *pids, unsigned nr)
{
    while (nr--)
        if (pids[nr] == pid)
            return true;
    return false;
}

unsigned command_orphans_ms;

/* The program's orphans are ours: command_run has made us their reaper. A zombie has ended in time. */
static bool end_orphans(const pid_t *own, unsigned nr_own)
{
    for (uint64_t until = test_now_ms() + command_orphans_ms; test_now_ms() < until;) {
        pid_t now[CHILDREN_MAX];
        unsigned nr_now = read_children(now), nr_orphans = 0;
        for (unsigned i = 0; i < nr_now; i++)
            if (!is_among(now[i], own, nr_own) && waitpid(now[i], NULL, WNOHANG) == 0)
                nr_orphans++;
        if (!nr_orphans)
            break;
        test_nap_us(2000);
    }
    bool has_any = false;
    pid_t pids[CHILDREN_MAX];
    unsigned nr = read_children(pids);
    for (unsigned i = 0; i < nr; i++) {
        siginfo_t info = { .si_pid = 0 };
        if (is_among(pids[i], own, nr_own))
            continue;
        (void)waitid(P_PID, (id_t)pids[i], &info, WEXITED | WNOHANG);
        if (info.si_pid)
            continue;
        has_any = true;
        (void)kill(pids[i], SIGKILL);
        (void)waitpid(pids[i], NULL, 0);
    }
    return has_any;
}

void command_run(struct command *ret, uid_t uid, const char *const words[])
{
    int out[2], err[2], status = 0;
    memset(ret, 0, sizeof *ret);
    pid_t own[CHILDREN_MAX];
    unsigned nr_own = read_children(own);
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    CHECK(pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        become_program(uid, words, out, err);
    close(out[1]);
    close(err[1]);
    uint64_t deadline_ms = test_now_ms() + test_limit_ms(PATIENCE_MS);
    listen_to(ret, out[0], err[0], deadline_ms);
    close(out[0]);
    close(err[0]);
    while (waitpid(pid, &status, WNOHANG) == 0 && ret->code == 0) {
        if (test_now_ms() > deadline_ms) {
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, NULL, 0);
            ret->code = -1;
        }
        test_nap_us(500);
    }
    if (ret->code == 0)
        ret->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    ret->has_left_processes = end_orphans(own, nr_own);
}

bool is_userfaultfd_closed_to_users(void)
{
    char text[8] = "1";
    int fd = open("/proc/sys/vm/unprivileged_userfaultfd", O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd >= 0) {
        (void)!read(fd, text, sizeof text - 1);
        close(fd);
    }
    return text[0] == '0' && (stat("/dev/userfaultfd", &st) || !(st.st_mode & 0006));
}
