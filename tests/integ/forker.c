/* forker.c - see forker.h. */
#include "forker.h"

#include "process.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct forker *forker;

static struct {
    const struct pages *pages; /* NULL: a fork that is none of ours */
    void (*first)(void);
} child;

/* ---- in the child */

/* Not checked here: a child whose parent is killed just now may read zeros, and ends (docs/fork.md). */
static void early_in_child(void)
{
    if (!child.pages)
        return;
    atomic_store(&forker->child, getpid());
    if (child.first)
        child.first();
    for (uint32_t i = 0; i < FORKER_EARLY_NR; i++)
        (void)*(volatile unsigned char *)pages_at(child.pages, i);
}

_Noreturn static void check_and_end(const struct pages *p, int (*code)(void))
{
    struct pages own = *p;
    atomic_store(&forker->has_gone_on, true);
    pages_check_all(&own);
    pages_write_all(&own);
    pages_check_all(&own);
    CHECK_EQ(process_entries(getpid(), "fd"), forker->nr_descriptors);
    CHECK_EQ(forker_nr_maps("memfd:process-pager-"), 0);
    CHECK_EQ(forker_nr_maps("memfd:rogue-"), 0);
    atomic_store(&forker->has_passed, true);
    _exit(code ? code() : 0);
}

/* ---- in the parent */

void forker_new(void)
{
    forker = test_shared(sizeof *forker);
    CHECK_EQ(pthread_atfork(NULL, NULL, early_in_child), 0);
}

static int open_log(int more)
{
    if (!forker->log_path[0])
        (void)snprintf(forker->log_path, sizeof forker->log_path, "%s", test_path("child.log"));
    return open(forker->log_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | more, 0600);
}

pid_t forker_fork(const struct pages *p, void (*first)(void), int (*code)(void))
{
    int own_error = fcntl(2, F_DUPFD_CLOEXEC, 3), log = open_log(O_TRUNC);
    CHECK(own_error >= 0 && log >= 0 && dup2(log, 2) == 2);
    forker->nr_descriptors = process_entries(getpid(), "fd");
    atomic_store(&forker->parent, getpid());
    atomic_store(&forker->child, 0);
    atomic_store(&forker->has_gone_on, false);
    atomic_store(&forker->has_passed, false);
    child.pages = p;
    child.first = first;
    pid_t pid = fork();
    child.pages = NULL;
    if (!pid)
        check_and_end(p, code);
    (void)dup2(own_error, 2);
    close(own_error);
    close(log);
    return pid;
}

int forker_wait(pid_t pid)
{
    int status = 0;
    CHECK(pid > 0);
    WAIT_LONG_UNTIL(waitpid(pid, &status, WNOHANG) == pid);
    return status;
}

/* A zombie is over: some init may not reap. */
bool forker_child_is_over(void)
{
    pid_t pid = atomic_load(&forker->child);
    return pid == 0 || kill(pid, 0) != 0 || process_status_number(pid, "VmSize", 10) == 0;
}

static const char *read_log(void)
{
    static char text[4096];
    int fd = open_log(0);
    ssize_t n = fd < 0 ? 0 : pread(fd, text, sizeof text - 1, 0);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    return text;
}

bool forker_has_said(const char *text)
{
    return strstr(read_log(), text) != NULL;
}

void forker_show_log(void)
{
    fprintf(stderr, "---- what the child said\n%s----\n", read_log());
}

/* ---- what this process holds */

unsigned forker_nr_maps(const char *name)
{
    char line[512];
    unsigned nr = 0;
    FILE *f = fopen("/proc/self/maps", "re");
    CHECK(f);
    while (fgets(line, sizeof line, f))
        nr += strstr(line, name) != NULL;
    fclose(f);
    return nr;
}

static bool is_of_a_fork(const char *path)
{
    static const char *const kinds[] = { "socket:", "/memfd:", "anon_inode:[userfaultfd]" };
    char link[64] = "";
    (void)!readlink(path, link, sizeof link - 1);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strncmp(link, kinds[i], strlen(kinds[i])))
            return true;
    return false;
}

unsigned forker_nr_descriptors(void)
{
    pid_t tid = process_thread(getpid(), "pp-agent");
    unsigned nr = 0;
    CHECK(tid > 0);
    for (int fd = 0; fd < 128; fd++) {
        char path[64];
        (void)snprintf(path, sizeof path, "/proc/self/task/%d/fd/%d", tid, fd);
        nr += is_of_a_fork(path);
    }
    return nr;
}
