/* run_victim CASE - a program that has never heard of a pager. Each case fills memory, waits until most of
 * it has left (as /proc/self/pagemap says; that touches nothing), does what programs do, and checks
 * every byte. Exit 0, or 1 with a line on stderr, or 77. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define NR 2048u /* pages: 8 MiB */
#define OUT_SECONDS_MAX 20

#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "run_victim.c:%d: %s (%s)\n", __LINE__, #condition, strerror(errno));  \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static unsigned char *memory;
static int pagemap_fd;

/* Of what is in memory now. In shared memory: this program's data leave, too, and old bytes would agree with an
 * old version. */
static uint64_t *version;

static uint64_t word_of(size_t page, size_t i)
{
    /* Eight words the same: it shrinks, and not to nothing. */
    uint64_t x = (*version << 40) + (page << 20) + i / 8 + 1;
    x ^= x << 13, x ^= x >> 7;
    return x ^ x << 17;
}

static void fill(unsigned char *at, size_t nr)
{
    for (size_t p = 0; p < nr; p++)
        for (size_t i = 0; i < PAGE / 8; i++)
            ((uint64_t *)(at + p * PAGE))[i] = word_of(p, i);
}

static bool is_right(const unsigned char *at, size_t page)
{
    for (size_t i = 0; i < PAGE / 8; i++)
        if (((const uint64_t *)(at + page * PAGE))[i] != word_of(page, i))
            return false;
    return true;
}

static bool is_zero(const unsigned char *at)
{
    for (size_t i = 0; i < PAGE; i++)
        if (at[i])
            return false;
    return true;
}

static void check(size_t first, size_t end)
{
    for (size_t p = first; p < end; p++)
        NEED(is_right(memory, p));
}

static size_t nr_present(const unsigned char *at, size_t nr)
{
    static uint64_t entries[NR]; /* not on the heap, which leaves, too */
    size_t nr_here = 0;
    NEED(pread(pagemap_fd, entries, nr * 8, (off_t)((uintptr_t)at / PAGE * 8)) == (ssize_t)(nr * 8));
    for (size_t i = 0; i < nr; i++)
        nr_here += entries[i] >> 63;
    return nr_here;
}

static void nap_ms(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    while (nanosleep(&t, &t) && errno == EINTR)
        ;
}

static void await_out_of(const unsigned char *at, size_t nr)
{
    for (int i = 0; i < OUT_SECONDS_MAX * 50 && nr_present(at, nr) > nr / 10; i++)
        nap_ms(20);
    if (nr_present(at, nr) > nr / 10) {
        fprintf(stderr, "%zu of %zu pages are still there\n", nr_present(at, nr), nr);
        _exit(1);
    }
}

static void await_out(void)
{
    await_out_of(memory, NR);
}

static unsigned nr_threads(void)
{
    char line[256];
    unsigned nr = 0;
    FILE *f = fopen("/proc/self/status", "re");
    NEED(f);
    while (fgets(line, sizeof line, f) && sscanf(line, "Threads: %u", &nr) != 1)
        ;
    fclose(f);
    return nr;
}

/* ---- the cases */

static void idle(void)
{
    for (; *version < 3; ++*version, fill(memory, NR)) {
        check(0, NR);
        await_out();
        check(0, NR);
    }
}

/* brk heap and a thread's arena, in small blocks; what is freed and taken anew is whatever it is. */
static unsigned char *blocks[40000];
static void *allocate(void *from)
{
    for (size_t i = (size_t)(uintptr_t)from; i < (size_t)(uintptr_t)from + 20000; i++) {
        blocks[i] = malloc(400);
        NEED(blocks[i]);
        memset(blocks[i], (int)(i % 251), 400);
    }
    return NULL;
}

static void heap(void)
{
    pthread_t t;
    (void)allocate(NULL);
    NEED(pthread_create(&t, NULL, allocate, (void *)20000) == 0 && pthread_join(t, NULL) == 0);
    for (int round = 0; round < 3; round++) {
        const unsigned char *at = (unsigned char *)((uintptr_t)blocks[100] / PAGE * PAGE);
        await_out_of(at, 1024);
        for (size_t i = 0; i < 40000; i++)
            for (size_t j = 0; j < 400; j++)
                NEED(blocks[i][j] == i % 251);
        for (size_t i = (size_t)round; i < 40000; i += 3) {
            free(blocks[i]);
            blocks[i] = malloc(400);
            NEED(blocks[i]);
            memset(blocks[i], (int)(i % 251), 400);
        }
    }
    unsigned char *large = malloc(NR * PAGE);
    NEED(large);
    fill(large, NR);
    await_out_of(large + PAGE, NR - 2);
    large = realloc(large, 3 * NR * PAGE); /* mremap */
    NEED(large);
    for (size_t p = 0; p < NR; p++)
        NEED(is_right(large, p));
    free(large);
}

static sigjmp_buf after_signal;
static volatile sig_atomic_t nr_signals;
static void on_signal(int signal)
{
    (void)signal;
    nr_signals++;
    siglongjmp(after_signal, 1);
}

static void signals(void)
{
    static unsigned char stack[65536];
    stack_t alternate = { .ss_sp = stack, .ss_size = sizeof stack };
    struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
    NEED(sigaltstack(&alternate, NULL) == 0);
    NEED(sigaction(SIGSEGV, &act, NULL) == 0 && sigaction(SIGBUS, &act, NULL) == 0);
    unsigned char *nowhere = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (volatile int i = 0; i < 3; i++) {
        await_out();
        if (sigsetjmp(after_signal, 1) == 0)
            *(volatile unsigned char *)nowhere = 1;
        NEED(nr_signals == i + 1);
        check(0, NR);
    }
}

static void protect(void)
{
    struct sigaction act = { .sa_handler = on_signal };
    NEED(sigaction(SIGSEGV, &act, NULL) == 0);
    await_out();
    NEED(mprotect(memory, NR / 2 * PAGE, PROT_READ) == 0);
    NEED(mprotect(memory + NR / 2 * PAGE, NR / 4 * PAGE, PROT_NONE) == 0);
    check(0, NR / 4);
    if (sigsetjmp(after_signal, 1) == 0)
        memory[3 * PAGE] = 1;
    NEED(nr_signals == 1);
    if (sigsetjmp(after_signal, 1) == 0)
        (void)*(volatile unsigned char *)(memory + NR / 2 * PAGE);
    NEED(nr_signals == 2);
    NEED(mprotect(memory, NR * PAGE, PROT_READ | PROT_WRITE) == 0);
    check(0, NR);
    fill(memory, NR);
    await_out();
    NEED(mprotect(memory, NR * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    check(0, NR);
}

static void map_fixed(void)
{
    await_out();
    unsigned char *at = memory + 100 * PAGE;
    NEED(mmap(at, 50 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
    at = memory + 200 * PAGE;
    NEED(mmap(at, 50 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
    NEED(madvise(memory + 300 * PAGE, 50 * PAGE, MADV_DONTNEED) == 0);
    NEED(munmap(memory + 400 * PAGE, 50 * PAGE) == 0);
    for (size_t p = 100; p < 350; p++)
        if (p / 50 % 2 == 0)
            NEED(is_zero(memory + p * PAGE));
    check(0, 100);
    check(150, 200);
    check(250, 300);
    check(350, 400);
    check(450, NR);
}

static void close_all(void)
{
    NEED(syscall(436 /* close_range */, 3u, ~0u, 0u) == 0);
    pagemap_fd = open("/proc/self/pagemap", O_RDONLY);
    NEED(pagemap_fd == 3); /* nobody has taken a number of ours */
    await_out();
    for (int i = 0; i < 2000; i++) {
        int fd = open("/dev/null", O_RDONLY);
        NEED(fd == 4 && close(fd) == 0);
    }
    check(0, NR);
}

static void other_root(void)
{
    if (geteuid() != 0)
        _exit(77);
    char folder[] = "/tmp/pp-root-XXXXXX";
    await_out();
    NEED(mkdtemp(folder) && chroot(folder) == 0 && chdir("/") == 0);
    check(0, NR);
    await_out();
    check(0, NR);
    NEED(rmdir("/") || true);
}

/* Every thread of this process is nobody, and may nothing. */
static void check_rights(void)
{
    DIR *tasks = opendir("/proc/self/task");
    NEED(tasks);
    for (struct dirent *e; (e = readdir(tasks));) {
        char path[64], line[256];
        unsigned real, effective, saved, files, nr = 0;
        unsigned long long rights;
        (void)snprintf(path, sizeof path, "/proc/self/task/%.20s/status", e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
        errno = 0;
        while (f && fgets(line, sizeof line, f)) {
            if (sscanf(line, "Uid: %u %u %u %u", &real, &effective, &saved, &files) == 4) {
                NEED(real == 65534 && effective == 65534 && saved == 65534 && files == 65534);
                nr++;
            }
            if (sscanf(line, "CapPrm: %llx", &rights) == 1)
                NEED(rights == 0);
        }
        NEED(!f || nr == 1 || errno == ESRCH); /* ended since the folder was read, or since it was opened */
        if (f)
            fclose(f);
    }
    closedir(tasks);
}

static void privileges(void)
{
    if (geteuid() != 0)
        _exit(77);
    await_out();
    NEED(nr_threads() == 3);
    NEED(setgid(65534) == 0 && setuid(65534) == 0);
    check_rights();
    check(0, NR);
    await_out();
    NEED(nr_threads() == 3);
    check_rights();
    check(0, NR);
}

/* As setpriv(1) and what stands on libcap-ng do it: capabilities of this thread, and then setuid, which libc
 * would make our threads do with others. */
static void capabilities(void)
{
    if (geteuid() != 0)
        _exit(77);
    await_out();
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2] = { { 0 } };
    data[0].effective = data[0].permitted = 1 << CAP_SETUID | 1 << CAP_SETGID;
    NEED(prctl(PR_SET_KEEPCAPS, 1) == 0);
    NEED(syscall(SYS_capset, &header, data) == 0);
    NEED(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
    memset(data, 0, sizeof data);
    NEED(syscall(SYS_capset, &header, data) == 0);
    check_rights();
    check(0, NR);
    nap_ms(500);
    check_rights();
    check(0, NR);
}

static void not_dumpable(void)
{
    await_out();
    NEED(prctl(PR_SET_DUMPABLE, 0) == 0);
    check(0, NR);
    await_out();
    check(0, NR);
}

static void new_user(void)
{
    await_out();
    NEED(nr_threads() == 3);
    errno = 0;
    if (unshare(CLONE_NEWUSER))
        NEED(errno == EPERM || errno == ENOSPC); /* not allowed here, but not for us: that is EINVAL */
    check(0, NR);
    NEED(nr_threads() == 1 && nr_present(memory, NR) == NR);
}

static void new_mounts(void)
{
    if (geteuid() != 0)
        _exit(77);
    await_out();
    int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    NEED(fd >= 0 && setns(fd, CLONE_NEWNS) == 0);
    NEED(nr_threads() == 1);
    check(0, NR);
}

/* A program that wants to answer faults itself. */
static void own_userfaultfd(void)
{
    await_out();
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        _exit(77);
    struct uffdio_api api = { .api = UFFD_API };
    struct uffdio_register all = { .range = { (uintptr_t)memory, NR * PAGE },
                                   .mode = UFFDIO_REGISTER_MODE_MISSING };
    NEED(ioctl(fd, UFFDIO_API, &api) == 0 && ioctl(fd, UFFDIO_REGISTER, &all) == 0);
    NEED(nr_threads() == 1);
    check(0, NR);
}

static void locks_all(void)
{
    await_out();
    if (mlockall(MCL_CURRENT | MCL_FUTURE)) /* not allowed, or too much: our memory is not in it */
        NEED(errno == EPERM || errno == ENOMEM);
    NEED(nr_threads() == 1);
    check(0, NR);
}

#define FILTER_STEPS 4

/* What becomes of a call; all others are allowed. */
static struct sock_fprog filter_of(unsigned call, unsigned action, struct sock_filter ret_steps[FILTER_STEPS])
{
    const struct sock_filter steps[FILTER_STEPS] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    memcpy(ret_steps, steps, sizeof steps);
    return (struct sock_fprog){ FILTER_STEPS, ret_steps };
}

static void filtered(void)
{
    /* No ioctl, by anybody: what our agent lives on. */
    struct sock_filter steps[FILTER_STEPS];
    struct sock_fprog program = filter_of(SYS_ioctl, SECCOMP_RET_KILL_PROCESS, steps);
    await_out();
    NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    NEED(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0);
    NEED(nr_threads() == 1);
    check(0, NR);
    nap_ms(300);
    check(0, NR);
}

static void await_child(pid_t pid)
{
    int status;
    NEED(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void forks(void)
{
    for (int i = 0; i < 3; i++) {
        await_out();
        pid_t pid = fork();
        NEED(pid >= 0);
        if (pid == 0) {
            pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC); /* the other is the parent's */
            check(0, NR);
            fill(memory, NR); /* its own now */
            await_out();      /* and it has an agent of its own */
            pid_t second = fork();
            if (second == 0) {
                check(0, NR);
                _exit(0);
            }
            await_child(second);
            check(0, NR);
            _exit(0);
        }
        check(0, NR);
        await_child(pid);
        fill(memory, NR);
    }
}

/* A filter of one thread's, and its children's, that ends who makes a socket or looks into a file: the agent
 * goes on without it, and neither it nor the next one must be the end of who forks. */
static void filtered_forks(void)
{
    const struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof steps / sizeof *steps, (struct sock_filter *)(uintptr_t)steps };
    NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    NEED(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    await_out();
    pid_t pid = fork();
    if (pid == 0) {
        check(0, NR);
        nap_ms(300);
        check(0, NR);
        _exit(0);
    }
    check(0, NR);
    await_child(pid);
    fill(memory, NR);
    await_out(); /* of the agent that was there before the filter */
    check(0, NR);
}

static int nothing(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)info, (void)size, (void)context;
    return 0;
}

/* A process with one thread may do anything after a fork: what our thread was about then must not be in the
 * way. In each child it begins anew, and the next fork comes a little later each time. */
static void forks_early(void)
{
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        NEED(pid >= 0);
        if (pid == 0) {
            struct timespec begin, now;
            NEED(clock_gettime(CLOCK_MONOTONIC, &begin) == 0);
            do
                NEED(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
            while ((now.tv_sec - begin.tv_sec) * 1000000000 + now.tv_nsec - begin.tv_nsec < i * 25000);
            pid = fork();
            NEED(pid >= 0);
            if (pid == 0) {
                alarm(getenv("PP_MUTANT") ? 1 : 30);
                (void)dl_iterate_phdr(nothing, NULL);
                _exit(0);
            }
            await_child(pid);
            _exit(0);
        }
        await_child(pid);
    }
}

/* As daemons do it: twice forked, no terminal, no descriptors. What became of it is told by a file. */
static void goes_to_the_background(const char *path)
{
    pid_t pid = fork();
    if (pid > 0) {
        await_child(pid);
        _exit(0);
    }
    NEED(setsid() > 0);
    if (fork() > 0)
        _exit(0);
    for (int fd = 0; fd < 1024; fd++)
        (void)close(fd);
    pagemap_fd = open("/proc/self/pagemap", O_RDONLY);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    NEED(dup(fd) == 2); /* there what is wrong is told, too */
    NEED(pagemap_fd == 0 && fd == 1);
    fill(memory, NR); /* shared with those who have gone it would stay */
    await_out();
    check(0, NR);
    NEED(write(fd, "right", 5) == 5);
    _exit(0);
}

static void execs(const char *self)
{
    await_out();
    execl(self, self, "idle", NULL);
    NEED(false);
}

static void *last_words(void *unused)
{
    (void)unused;
    await_out();
    check(0, NR);
    return NULL;
}

/* The process ends with its last thread, which is not one of ours. */
static void first_thread_leaves(void)
{
    pthread_t t;
    NEED(pthread_create(&t, NULL, last_words, NULL) == 0);
    pthread_exit(NULL);
}

static int status_of(pid_t pid)
{
    int status;
    NEED(pid >= 0 && waitpid(pid, &status, 0) == pid);
    return status;
}

/* By itself alone, while a thread of ours waits, and while it is the agent: what it left with is what the
 * process ends with. */
static void first_thread_is_ended(void)
{
    struct sock_filter steps[FILTER_STEPS];
    struct sock_fprog program = filter_of(SYS_getppid, SECCOMP_RET_KILL_THREAD, steps);
    pid_t pid = fork();
    if (pid == 0)
        (void)syscall(SYS_exit, 7);
    int status = status_of(pid);
    NEED(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    pid = fork();
    if (pid == 0) {
        pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC); /* the other is the parent's */
        fill(memory, NR); /* its own now: shared it would stay */
        await_out();
        NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
        NEED(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
        (void)syscall(SYS_getppid);
    }
    status = status_of(pid);
    NEED(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static void *deep(void *seed)
{
    volatile unsigned char mine[1 << 20];
    for (size_t i = 0; i < sizeof mine; i += 512)
        mine[i] = (unsigned char)((uintptr_t)seed + i / 512);
    for (int round = 0; round < 4; round++) {
        nap_ms(400);
        for (size_t i = 0; i < sizeof mine; i += 512)
            NEED(mine[i] == (unsigned char)((uintptr_t)seed + i / 512));
    }
    return NULL;
}

static void many_threads(void)
{
    pthread_t t[20];
    for (int round = 0; round < 2; round++) {
        for (uintptr_t i = 0; i < 20; i++)
            NEED(pthread_create(&t[i], NULL, deep, (void *)i) == 0);
        for (int i = 0; i < 20; i++)
            NEED(pthread_join(t[i], NULL) == 0);
    }
    await_out();
    check(0, NR);
}

static void locked(void)
{
    NEED(mlock(memory, NR / 2 * PAGE) == 0);
    await_out_of(memory + NR / 2 * PAGE, NR / 2);
    NEED(nr_present(memory, NR / 2) == NR / 2);
    check(0, NR);
    NEED(munlock(memory, NR / 2 * PAGE) == 0);
    await_out();
    check(0, NR);
}

static void *sleeps(void *unused)
{
    nap_ms(60000);
    return unused;
}

/* Ends while 4 MiB are locked, from their first moment on, and four threads have their stacks. */
static void left_out(void)
{
    pthread_t t;
    for (int i = 0; i < 4; i++)
        NEED(pthread_create(&t, NULL, sleeps, NULL) == 0);
    NEED(mmap(NULL, NR / 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0) !=
         MAP_FAILED);
    await_out();
    nap_ms(2500); /* the agent has looked since */
    _exit(0);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*function)(void);
    } cases[] = {
        { "idle", idle }, { "heap", heap }, { "signals", signals }, { "protect", protect },
        { "map_fixed", map_fixed }, { "close_all", close_all }, { "other_root", other_root },
        { "privileges", privileges }, { "capabilities", capabilities },
        { "not_dumpable", not_dumpable }, { "new_user", new_user },
        { "new_mounts", new_mounts }, { "filtered", filtered }, { "filtered_forks", filtered_forks },
        { "locks_all", locks_all },
        { "own_userfaultfd", own_userfaultfd }, { "forks", forks }, { "forks_early", forks_early },
        { "first_thread_leaves", first_thread_leaves }, { "first_thread_is_ended", first_thread_is_ended },
        { "many_threads", many_threads }, { "locked", locked }, { "left_out", left_out },
    };
    const char *name = argc > 1 ? argv[1] : "";
    pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    memory = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    version = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(pagemap_fd >= 0 && memory != MAP_FAILED && version != MAP_FAILED);
    (void)madvise(memory, NR * PAGE, MADV_NOHUGEPAGE);
    fill(memory, NR);
    if (!strcmp(name, "execs"))
        execs(argv[0]);
    if (!strcmp(name, "goes_to_the_background") && argc > 2)
        goes_to_the_background(argv[2]);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!strcmp(cases[i].name, name)) {
            cases[i].function();
            return 0;
        }
    fprintf(stderr, "usage: run_victim CASE\n");
    return 1;
}
