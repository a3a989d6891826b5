/* doctor - `process-pager doctor` tells what is there from what is missing, for this user, and its exit code
 * says whether `run` will work. Method: the same machine as root, as nobody, with and without a daemon,
 * with its socket closed, and in a sandbox that forbids userfaultfd(2); what must differ is looked for. */
#include "command.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

struct shared {
    char program[128], socket_path[108], output[128];
};

static struct shared *shared;
static struct daemon d;
static struct command c;

/* How many lines begin with this mark. */
static unsigned nr_marked(const char *text, const char *mark)
{
    unsigned nr = 0;
    for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL)
        nr += !strncmp(line, mark, strlen(mark));
    return nr;
}

static bool has_line(const char *mark, const char *what, const char *found)
{
    char wanted[64];
    (void)snprintf(wanted, sizeof wanted, "%-4s %-22s ", mark, what);
    const char *at = strstr(c.out, wanted);
    return at && (!found || (strstr(at, found) && strstr(at, found) < strchr(at, '\n')));
}

static void expect(const char *mark, const char *what, const char *found)
{
    if (!has_line(mark, what, found))
        test_fail(__FILE__, __LINE__, "no line '%s %s … %s' in:\n%s", mark, what, found ? found : "", c.out);
}

/* Each thing that is missing has a reason and a remedy; the last line and the code agree with the rest. */
static void is_consistent(void)
{
    unsigned nr_missing = nr_marked(c.out, "NO ");
    CHECK(!*c.err);
    CHECK_EQ(nr_marked(c.out, "       why   "), nr_missing + nr_marked(c.out, "no "));
    CHECK_EQ(nr_marked(c.out, "       mend  "), nr_missing + nr_marked(c.out, "no "));
    CHECK((c.code == 0) == (nr_missing == 0));
    CHECK(c.code == 0 || c.code == EX_UNAVAILABLE || c.code == EX_NOPERM);
    CHECK(strstr(c.out, nr_missing ? "will not work" : "run will work\n"));
}

static void ask(uid_t uid, const char *socket_path)
{
    command_run(&c, uid, (const char *const[]){ shared->program, "doctor", "--socket", socket_path, NULL });
    is_consistent();
}

static void kernel_is_there(const char *found)
{
    static const char *const what[] = { "moving pages", "seeing writes", "poisoning pages", "events" };
    for (unsigned i = 0; i < 4; i++)
        expect(*found == '?' ? "?" : "yes", what[i], *found == '?' ? NULL : found);
}

/* First a file that is cut off, which the loader does not take; then the library. */
static void put_preload_beside(void)
{
    test_case("a preload library that cannot be loaded");
    const char *to = test_path("libprocess-pager-preload.so");
    program_copy("/dev/null", to);
    ask(0, d.socket_path);
    expect("NO", "the preload library", "file too short");
    CHECK_EQ(c.code, EX_UNAVAILABLE);
    program_copy(program_path("libprocess-pager-preload.so"), to);
    ask(0, d.socket_path);
    expect("yes", "the preload library", "libprocess-pager-preload.so");
}

static void as_we_are(void)
{
    test_case("as we are, without a daemon");
    ask(0, test_path("nobody.sock"));
    kernel_is_there("tried");
    expect("yes", "a userfaultfd", NULL);
    CHECK(has_line("NO", "a daemon", "no process-pagerd") || has_line("yes", "a daemon", "run starts"));
    test_case("as we are, with a daemon");
    ask(0, d.socket_path);
    expect("yes", "a daemon", "answers");
    put_preload_beside();
    test_case("as we are, with all that is needed");
    ask(0, d.socket_path);
    CHECK_EQ(c.code, 0);
}

static void as_nobody(void)
{
    bool is_closed = is_userfaultfd_closed_to_users();
    test_case("as nobody, the socket closed");
    CHECK_EQ(chmod(d.socket_path, 0600), 0);
    ask(NOBODY, d.socket_path);
    kernel_is_there("tried"); /* for that nobody needs a right */
    CHECK(strstr(c.out, "no right to its socket"));
    if (is_closed) {
        CHECK_EQ(c.code, EX_NOPERM); /* nothing but rights is missing */
        expect("NO", "a userfaultfd", NULL);
        CHECK(strstr(c.out, "sysctl -w vm.unprivileged_userfaultfd=1"));
    }
    test_case("as nobody, the socket open");
    CHECK_EQ(chmod(d.socket_path, 0666), 0);
    ask(NOBODY, d.socket_path);
    expect("yes", "a userfaultfd", is_closed ? "handed over by the daemon" : NULL);
    expect("yes", "a daemon", "answers");
    CHECK_EQ(c.code, 0);
}

/* ---- a sandbox */

static bool forbid_userfaultfd(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { .len = sizeof code / sizeof *code, .filter = code };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

static int in_sandbox(void *unused)
{
    (void)unused;
    int fd = open(shared->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, 1) < 0 || !become_user(NOBODY) || !forbid_userfaultfd())
        return 126;
    execl(shared->program, shared->program, "doctor", "--socket", shared->socket_path, (char *)NULL);
    return 127;
}

static void ask_in_sandbox(const char *socket_path)
{
    memset(&c, 0, sizeof c);
    strcpy(shared->socket_path, socket_path);
    strcpy(shared->output, test_path("output"));
    int status = helper_wait(helper_start(in_sandbox, NULL));
    CHECK(WIFEXITED(status));
    c.code = WEXITSTATUS(status);
    int fd = open(shared->output, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, c.out, sizeof c.out - 1) > 0);
    close(fd);
    is_consistent();
}

static void a_sandbox(void)
{
    test_case("nobody in a sandbox, without a daemon");
    ask_in_sandbox(test_path("nobody.sock"));
    kernel_is_there("?");
    expect("NO", "a userfaultfd", NULL);
    CHECK(c.code != 0);
    test_case("nobody in a sandbox, with a root daemon");
    ask_in_sandbox(d.socket_path);
    kernel_is_there("the daemon needs it");
    expect("yes", "a userfaultfd", "handed over by the daemon");
    CHECK_EQ(c.code, 0);
}

int main(void)
{
    shared = test_shared(sizeof *shared);
    test_begin("doctor tells what is missing, for whom, and says so by its exit code", 50);
    daemon_start(&d, (const char *const[]){ NULL });
    strcpy(shared->program, test_path("program"));
    program_copy(program_path("process-pager"), shared->program);
    as_we_are();
    if (geteuid() == 0) {
        directory_open_to_all();
        as_nobody();
        a_sandbox();
    } else {
        fprintf(stderr, "not shown without root: what others are told\n");
    }
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    return test_end();
}
