/* In the sandbox nothing is left that the daemon does not need, and everything that it does. Method: a
 * child for each try, which enters the sandbox and makes one call; the kernel's own account of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/sandbox.h"
#include "store/writer.h"
#include "sys/damon.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1 /* there the list is longer */
#else
#define IS_SANITIZED 0
#endif

#define FAILED 99

static char csv_path[64];
static pid_t parent; /* getppid() is not on the list */

static void enter(enum sandbox_mode mode)
{
    const struct sandbox what = { .mode = mode, .csv_path = *csv_path ? csv_path : NULL };
    char error[200];
    if (sandbox_enter(&what, error, sizeof error)) {
        fprintf(stderr, "%s\n", error);
        _exit(FAILED);
    }
}

/* What became of a child that calls this in the sandbox: its wait status. */
static int status_of(enum sandbox_mode mode, int (*try)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        enter(mode);
        _exit(try());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* errno, or 0. */
static int try_socket(void) { return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0; }
static int try_inet(void) { return socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno : 0; }
static int try_ptrace(void) { return ptrace(PTRACE_ATTACH, parent, 0, 0) < 0 ? errno : 0; }
static int try_setuid(void) { return setuid(1) < 0 ? errno : 0; }
static int try_unshare(void) { return unshare(CLONE_NEWUSER) < 0 ? errno : 0; }
static int try_mount(void) { return (int)syscall(SYS_mount, "", "/", "", 0, NULL) < 0 ? errno : 0; }
static int try_bpf(void) { return syscall(SYS_bpf, 0, NULL, 0) < 0 ? errno : 0; }
static int try_keyctl(void) { return syscall(SYS_keyctl, 0, 0) < 0 ? errno : 0; }
static int try_io_uring(void) { return syscall(SYS_io_uring_setup, 1, NULL) < 0 ? errno : 0; }
static int try_chmod(void) { return chmod("/", 0755) < 0 ? errno : 0; }
static int try_rename(void) { return rename("/nothing/a", "/nothing/b") < 0 ? errno : 0; }
static int try_mkdir(void) { return mkdir("/nothing/a", 0755) < 0 ? errno : 0; }
static int try_dumpable(void) { return prctl(PR_SET_DUMPABLE, 1) < 0 ? errno : 0; }
static int try_term(void) { return kill(parent, SIGUSR2) < 0 ? errno : 0; }
static int try_tiocsti(void) { return ioctl(0, TIOCSTI, "x") < 0 ? errno : 0; }
static int try_there(void) { return kill(parent, 0) < 0 ? errno : 0; }

static int try_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid < 0 ? errno : 0;
}

static int try_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? errno : 0;
}

static int try_make_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect(page, 4096, PROT_READ | PROT_EXEC) ? errno : 0;
}

static int try_read_memory(void)
{
    return syscall(SYS_process_vm_readv, parent, NULL, 0, NULL, 0, 0) < 0 ? errno : 0;
}

static int try_exec(void)
{
    return execl("/bin/true", "true", NULL) < 0 ? errno : 0;
}

static int try_acct(void)
{
    return syscall(SYS_acct, NULL) < 0 ? errno : 0;
}

static void what_it_never_does_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int (*try)(void);
        bool is_sanitizers; /* allowed in such builds */
    } tries[] = {
        { "socket", try_socket, false }, { "internet", try_inet, false },
        { "ptrace", try_ptrace, true }, { "setuid", try_setuid, false },
        { "unshare", try_unshare, false }, { "mount", try_mount, false }, { "bpf", try_bpf, false },
        { "keyctl", try_keyctl, false }, { "io_uring", try_io_uring, false },
        { "chmod", try_chmod, false }, { "rename", try_rename, false }, { "mkdir", try_mkdir, false },
        { "PR_SET_DUMPABLE", try_dumpable, true }, { "a signal", try_term, true },
        { "TIOCSTI", try_tiocsti, true }, { "fork", try_fork, true }, { "code", try_code, true },
        { "making code", try_make_code, true }, { "another's memory", try_read_memory, false },
        { "acct", try_acct, false },
    };
    (void)signal(SIGUSR2, SIG_IGN); /* should it come through */
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        if (IS_SANITIZED && tries[i].is_sanitizers)
            continue;
        int status = status_of(SANDBOX_ON, tries[i].try);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != EPERM)
            fail_msg("%s: not refused: %#x", tries[i].name, (unsigned)status);
        status = status_of(SANDBOX_STRICT, tries[i].try);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("%s: strict does not end it: %#x", tries[i].name, (unsigned)status);
    }
    int status = status_of(SANDBOX_ON, try_exec);
    if (!IS_SANITIZED)
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

/* ---- files */

static int open_error(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    return fd < 0 ? errno : (close(fd), 0);
}

static int try_files(void)
{
    if (open_error("/etc/passwd", O_RDONLY) != EACCES || open_error("/etc/passwd", O_RDWR) != EACCES)
        return 1;
    if (open_error("/", O_RDONLY | O_DIRECTORY) != EACCES)
        return 2;
    if (open_error("/tmp/test_sandbox.no", O_WRONLY | O_CREAT) != EACCES)
        return 3;
    if (open_error("/proc/self/stat", O_RDONLY) || open_error("/sys/kernel/mm", O_RDONLY))
        return 4;
    if (open_error("/proc/sys/vm/swappiness", O_WRONLY) != EACCES)
        return 5;
    if (open_error("/dev/null", O_WRONLY) != EACCES)
        return 6;
    int is_there = open_error("/dev/userfaultfd", O_RDWR);
    if (is_there && is_there != ENOENT && geteuid() == 0)
        return 7;
    char line[] = "/proc/self/fd/00", path[64];
    int fd = memfd_create("test", MFD_CLOEXEC); /* as the store does */
    (void)snprintf(line, sizeof line, "/proc/self/fd/%d", fd);
    if (open_error(line, O_RDONLY) || ftruncate(fd, 4096))
        return 8;
    (void)snprintf(path, sizeof path, "%s", csv_path);
    if (unlink(path) != -1 || open_error(path, O_WRONLY | O_APPEND | O_CREAT))
        return 9;
    return 0;
}

static void few_files_can_be_opened(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_sandbox.XXXXXX";
    if (IS_SANITIZED || syscall(444 /* landlock_create_ruleset */, NULL, 0, 1) < 1)
        return; /* a reader of docs/threat-model.md knows */
    assert_non_null(mkdtemp(folder));
    (void)snprintf(csv_path, sizeof csv_path, "%s/csv", folder);
    int status = status_of(SANDBOX_ON, try_files), made = unlink(csv_path);
    *csv_path = 0;
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(status, 0);
    assert_int_equal(made, 0);
}

static void without_it_they_are_not(void **state)
{
    (void)state;
    assert_int_equal(status_of(SANDBOX_OFF, try_fork), 0);
    assert_int_equal(status_of(SANDBOX_OFF, try_code), 0);
    assert_int_equal(status_of(SANDBOX_OFF, try_socket), 0);
    assert_int_equal(status_of(SANDBOX_OFF, try_exec), 0);
}

/* ---- what the kernel says about a process in it */

static bool has_line(const char *path, const char *wanted)
{
    char line[256];
    bool is_there = false;
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        is_there |= strncmp(line, wanted, strlen(wanted)) == 0;
    if (f)
        fclose(f);
    if (!is_there)
        fprintf(stderr, "%s does not say \"%s\"\n", path, wanted);
    return is_there;
}

static int see_status(void)
{
    struct rlimit core;
    bool is_right = has_line("/proc/self/status", "NoNewPrivs:\t1\n") &&
                    has_line("/proc/self/status", "Seccomp:\t2\n") &&
                    has_line("/proc/self/status", "CapInh:\t0000000000000000\n") &&
                    has_line("/proc/self/status", "CapPrm:\t0000000000000000\n") &&
                    has_line("/proc/self/status", "CapEff:\t0000000000000000\n") &&
                    has_line("/proc/self/status", "CapAmb:\t0000000000000000\n");
    if (geteuid() == 0)
        is_right = is_right && has_line("/proc/self/status", "CapBnd:\t0000000000000000\n");
    if (geteuid() == 0 && !IS_SANITIZED) { /* not dumpable: asked as /proc does */
        struct stat st;
        is_right = is_right && stat("/proc/self/status", &st) == 0 && st.st_uid == 0;
    }
    is_right = is_right && getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0;
    return is_right ? 0 : 1;
}

static void nothing_is_left_by_the_kernels_account(void **state)
{
    (void)state;
    assert_int_equal(status_of(SANDBOX_STRICT, see_status), 0);
}

static int see_override(void)
{
    return has_line("/proc/self/status", "CapEff:\t0000000000000002\n") &&
           has_line("/proc/self/status", "CapPrm:\t0000000000000002\n") ? 0 : 1;
}

/* --csv in a folder of an ordinary user's: root writes there by that right only. */
static void a_file_in_anothers_folder_keeps_one_right(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_sandbox.XXXXXX";
    if (geteuid() != 0)
        skip();
    assert_non_null(mkdtemp(folder));
    (void)snprintf(csv_path, sizeof csv_path, "%s/csv", folder);
    assert_int_equal(status_of(SANDBOX_ON, see_status), 0); /* our own */
    int is_given = chown(folder, 65534, 65534);
    int status = is_given == 0 ? status_of(SANDBOX_ON, see_override) : 0;
    *csv_path = 0;
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(is_given, 0);
    assert_int_equal(status, 0);
}

/* ---- what the daemon does */

static void *thread(void *argument)
{
    (void)prctl(PR_SET_NAME, "pp-test");
    return argument;
}

static int work(void)
{
    struct store_writer *st;
    pthread_t t;
    void *got = NULL;
    uint64_t offset;
    static unsigned char bytes[3000];
    if (kill(parent, 0) || try_there())
        return 1;
    if (pthread_create(&t, NULL, thread, bytes) || pthread_join(t, &got) || got != bytes)
        return 2;
    if (store_writer_new(64 << 20, 64 << 20, &st))
        return 3;
    int fd = store_writer_open_readonly(st);
    for (int i = 0; i < 500; i++)
        if (store_put(st, bytes, sizeof bytes, &offset))
            return 4;
    if (store_drop(st, offset, sizeof bytes))
        return 5;
    (void)store_trim(st, 100);
    close(fd);
    store_writer_free(st);
    damon_clean(DAMON_ROOT);
    char *large = malloc(64 << 20), *larger = realloc(large, 128 << 20);
    if (!larger)
        return 6;
    larger[(128 << 20) - 1] = 1;
    free(larger);
    FILE *f = fopen("/proc/self/stat", "re");
    if (!f || fclose(f))
        return 7;
    return 0;
}

static void what_it_does_it_still_can(void **state)
{
    (void)state;
    assert_int_equal(status_of(SANDBOX_STRICT, work), 0);
}

static int end_by_abort(void)
{
    abort();
}

static void a_broken_invariant_still_ends_it_by_its_own_signal(void **state)
{
    (void)state;
    int status = status_of(SANDBOX_STRICT, end_by_abort);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_false(WCOREDUMP(status));
}

int main(void)
{
    parent = getpid();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_never_does_is_refused),
        cmocka_unit_test(few_files_can_be_opened),
        cmocka_unit_test(without_it_they_are_not),
        cmocka_unit_test(nothing_is_left_by_the_kernels_account),
        cmocka_unit_test(a_file_in_anothers_folder_keeps_one_right),
        cmocka_unit_test(what_it_does_it_still_can),
        cmocka_unit_test(a_broken_invariant_still_ends_it_by_its_own_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
