/* run.c - the conductor of one kind: starts daemon and clients, watches that every thread goes on,
 * adds up. It is told how a process ended, and what was not meant counts. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "integ/process.h"
#include "stress/stress.h"

#define TURN_US 2000
#define TELL_MAX 8u
#define KILLS_PATIENCE 8 /* times its share a kind waits for its kills, where others want the CPUs */
#ifdef __SANITIZE_ADDRESS__
#define HANG_MS 30000u
#else
#define HANG_MS 10000u /* no thread waits so long for anything here, on a busy machine either */
#endif
#define DAEMON_END_MS 10000u

/* ---- said by anybody */

static void say(struct run *r, const char *format, va_list arguments)
{
    uint64_t never = 0, now = test_now_ms();
    (void)atomic_compare_exchange_strong(&r->failed_ms, &never, now);
    if (atomic_fetch_add(&r->nr_told, 1) >= TELL_MAX)
        return;
    char line[256];
    int n = snprintf(line, sizeof line, "%s, %.1f s: ", r->kind->name,
                     (double)(now - r->begun_ms) / 1000);
    (void)vsnprintf(line + n, sizeof line - (size_t)n, format, arguments);
    fprintf(stderr, "%s\n", line);
}

void stress_wrong(struct run *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(r, format, arguments);
    va_end(arguments);
    atomic_fetch_add(&r->wrong, 1);
}

void stress_complain(struct run *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(r, format, arguments);
    va_end(arguments);
    atomic_fetch_add(&r->complaints, 1);
}

void stress_broken(const char *what)
{
    fprintf(stderr, "stress: %s: %s\n", what, strerror(errno));
    _exit(3);
}

/* ---- processes */

static void die_with_conductor(pid_t conductor)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != conductor)
        _exit(1);
}

void run_start_client(struct run *r, unsigned index)
{
    struct client_slot *s = &r->clients[index];
    memset(s, 0, sizeof *s);
    pid_t conductor = getpid();
    fflush(NULL);
    pid_t pid = fork(); /* not into the slot at once: the child would write there, too */
    if (pid < 0)
        stress_broken("fork");
    if (pid) {
        s->pid = pid;
        return;
    }
    die_with_conductor(conductor);
    _exit(client_main(r, index));
}

/* A client's figures are kept when it goes. */
static void account(struct run *r, struct client_slot *s)
{
    for (unsigned t = 0; t < THREADS_MAX; t++)
        r->result.ops += atomic_load(&s->threads[t].ops);
    r->result.evictions += atomic_load(&s->evictions);
    r->result.restores += atomic_load(&s->restores);
    r->sums.full += atomic_load(&s->full);
    r->sums.rejected += atomic_load(&s->rejected);
    r->sums.busy += atomic_load(&s->busy);
    r->sums.unreported += atomic_load(&s->unreported);
    r->sums.retries += atomic_load(&s->retries);
    r->sums.barred += atomic_load(&s->barred);
    r->sums.joins += atomic_load(&s->joins);
    r->sums.starved += atomic_load(&s->starved);
    s->pid = 0;
}

static void say_end(struct run *r, const char *who, int status)
{
    if (WIFSIGNALED(status))
        stress_complain(r, "%s was killed by signal %d (%s)", who, WTERMSIG(status),
                        strsignal(WTERMSIG(status)));
    else
        stress_complain(r, "%s ended with code %d", who, WEXITSTATUS(status));
}

static void client_ended(struct run *r, struct client_slot *s, int status)
{
    char who[32];
    (void)snprintf(who, sizeof who, "client %u", (unsigned)(s - r->clients));
    if (!s->is_killed && (status || !atomic_load(&r->is_over)))
        say_end(r, who, status);
    account(r, s);
}

void run_kill_client(struct run *r, unsigned index)
{
    struct client_slot *s = &r->clients[index];
    int status;
    s->is_killed = true;
    (void)kill(s->pid, SIGKILL);
    (void)waitpid(s->pid, &status, 0);
    client_ended(r, s, status);
}

static const char *daemon_program(void)
{
    const char *program = getenv("PP_DAEMON");
    static char beside[4096];
    if (program)
        return program;
    ssize_t n = readlink("/proc/self/exe", beside, sizeof beside - 64); /* BUILD/tests/stress/stress */
    for (int up = 0; n > 0 && up < 3; up++)
        *strrchr(beside, '/') = 0;
    return strcat(beside, "/process-pagerd");
}

void run_start_daemon(struct run *r)
{
    const char *program = daemon_program();
    /* Short ages: what stays out for a moment is squeezed, too. */
    const char *argv[26] = { program, "--socket", r->socket_path, "--reclaim-rate", "100G", "--squeeze-age", "20ms",
                             "--cold-age",
                             r->kind->cold_age ? r->kind->cold_age : "1ms" };
    unsigned nr = 9;
    for (const char *const *o = r->kind->daemon_options; o && *o && nr < 25; o++)
        argv[nr++] = *o;
    pid_t conductor = getpid();
    pid_t pid = fork();
    if (pid < 0)
        stress_broken("fork");
    if (pid) {
        r->daemon = pid;
        r->daemon_since_ms = test_now_ms();
        return;
    }
    die_with_conductor(conductor);
    (void)unsetenv("PP_MUTANT"); /* the daemon is whole; only the clients have mutants */
    (void)dup2(2, 1);
    execv(program, (char *const *)argv);
    stress_broken(program);
}

static void wait_for_socket(struct run *r)
{
    for (int i = 0; access(r->socket_path, F_OK); i++) {
        if (i == 5000)
            stress_broken("the daemon's socket");
        test_nap_us(2000);
    }
}

void run_kill_daemon(struct run *r)
{
    (void)kill(r->daemon, SIGKILL);
    (void)waitpid(r->daemon, NULL, 0);
    r->daemon = 0;
}

/* Before that it is simply ended by the signal, as any program is. */
static bool takes_the_end(pid_t daemon)
{
    return process_status_number(daemon, "SigBlk", 16) >> (SIGTERM - 1) & 1;
}

void run_end_daemon(struct run *r)
{
    int status = 0;
    if (!r->daemon)
        return;
    (void)kill(r->daemon, SIGCONT);
    for (uint64_t until = test_now_ms() + DAEMON_END_MS; !takes_the_end(r->daemon) && test_now_ms() < until;)
        test_nap_us(1000);
    (void)kill(r->daemon, SIGTERM);
    for (uint64_t until = test_now_ms() + DAEMON_END_MS; test_now_ms() < until; test_nap_us(2000))
        if (waitpid(r->daemon, &status, WNOHANG) == r->daemon) {
            r->daemon = 0;
            if (status)
                say_end(r, "the daemon", status);
            return;
        }
    stress_complain(r, "the daemon does not end");
    run_kill_daemon(r);
}

static void reap(struct run *r)
{
    int status;
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client_slot *s = &r->clients[i];
        if (s->pid && waitpid(s->pid, &status, WNOHANG) == s->pid)
            client_ended(r, s, status);
    }
    if (r->daemon && waitpid(r->daemon, &status, WNOHANG) == r->daemon) {
        say_end(r, "the daemon", status);
        r->daemon = 0;
    }
}

static unsigned nr_alive(const struct run *r)
{
    unsigned nr = 0;
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        nr += r->clients[i].pid != 0;
    return nr;
}

/* ---- the watchdog */

static void show_file(pid_t pid, const char *thread, const char *name)
{
    char path[80], text[600] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/task/%s/%s", (int)pid, thread, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    for (char *c = text; *c; c++)
        *c = *c == '\n' ? ' ' : *c;
    fprintf(stderr, "    %s %s: %s\n", thread, name, text);
}

static void show_threads(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') {
            show_file(pid, e->d_name, "comm");
            show_file(pid, e->d_name, "syscall");
            show_file(pid, e->d_name, "stack");
        }
    if (d)
        closedir(d);
}

/* A whole client at a time: the first thread that stands still takes the others with it. */
static void watch(struct run *r, unsigned index, uint64_t now)
{
    struct client_slot *s = &r->clients[index];
    for (unsigned t = 0; t < THREADS_MAX; t++) {
        uint64_t beat = atomic_load(&s->threads[t].beat_ms);
        if (!beat || now < beat + HANG_MS)
            continue;
        stress_complain(r, "client %u, thread %d: no progress for %.1f s in '%s'", index,
                        (int)atomic_load(&s->threads[t].thread), (double)(now - beat) / 1000,
                        atomic_load(&s->threads[t].doing));
        if (!r->result.hangs++)
            show_threads(s->pid);
        run_kill_client(r, index);
        return;
    }
}

static void turn(struct run *r)
{
    reap(r);
    uint64_t now = test_now_ms();
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (r->clients[i].pid)
            watch(r, i, now);
    test_nap_us(TURN_US);
}

/* ---- one kind */

static bool is_all_running(const struct run *r)
{
    for (unsigned i = 0; i < r->kind->nr_clients; i++)
        if (!atomic_load(&r->clients[i].is_running))
            return false;
    return true;
}

double run_take_stall_ns(struct run *r)
{
    return (double)atomic_exchange(&r->slowest_read_ns, 0);
}

double run_kills_wanted(const struct run *r)
{
    double wanted = r->kind->kills_per_s * r->seconds;
#ifdef __SANITIZE_ADDRESS__
    wanted /= 10; /* everything takes its time */
#endif
    return wanted;
}

static bool is_time_up(struct run *r, uint64_t begun_ms)
{
    if (r->result.hangs || atomic_load(&r->complaints))
        return true; /* processes are missing: what follows would show little */
    if (r->is_until_failure && atomic_load(&r->failed_ms))
        return true;
    double gone_ms = begun_ms ? (double)(test_now_ms() - begun_ms) : 0;
    bool is_behind = r->nr_kills < run_kills_wanted(r) && gone_ms < KILLS_PATIENCE * r->seconds * 1000;
    return begun_ms && gone_ms >= r->seconds * 1000 && !is_behind;
}

/* Kinds say what they have come to, and complain if it is too little. */
static void conclude(struct run *r)
{
    struct result *t = &r->result;
    if (r->kind->conclude)
        r->kind->conclude(r, t);
    t->wrong = atomic_load(&r->wrong);
    t->complaints = atomic_load(&r->complaints) - t->hangs;
    uint64_t failed_ms = atomic_load(&r->failed_ms);
    if (failed_ms) /* perhaps while the last were still beginning */
        t->first_failure_s = failed_ms > r->begun_ms ? (double)(failed_ms - r->begun_ms) / 1000 : 0.001;
}

static void remove_directory(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        (void)unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    (void)rmdir(path);
}

void run_kind(struct run *r)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(r->directory, sizeof r->directory, "%s/pp-stress-XXXXXX",
                   base && strlen(base) < 30 ? base : "/tmp");
    if (!mkdtemp(r->directory))
        stress_broken(r->directory);
    (void)snprintf(r->socket_path, sizeof r->socket_path, "%s/daemon.sock", r->directory);
    r->begun_ms = test_now_ms();
    r->random = (r->seed + 1) * 0x9e3779b97f4a7c15;
    run_start_daemon(r);
    wait_for_socket(r);
    if (r->kind->begin)
        r->kind->begin(r);
    for (unsigned i = 0; i < r->kind->nr_clients; i++)
        run_start_client(r, i);
    uint64_t begun_ms = 0; /* the time counts from when all are at work */
    while (!is_time_up(r, begun_ms)) {
        turn(r);
        if (!begun_ms && is_all_running(r)) {
            begun_ms = r->begun_ms = test_now_ms();
            atomic_store(&r->may_begin, true);
        }
        if (begun_ms && r->kind->conduct && r->daemon)
            r->kind->conduct(r);
    }
    if (*r->group.path)
        (void)group_press(&r->group, UINT64_MAX);
    if (r->kind->calm && r->daemon)
        r->kind->calm(r);
    r->result.seconds = (double)(test_now_ms() - r->begun_ms) / 1000;
    atomic_store(&r->may_begin, true);
    atomic_store(&r->is_over, true);
    while (nr_alive(r))
        turn(r);
    if (r->kind->empty && r->daemon)
        r->kind->empty(r);
    run_end_daemon(r);
    conclude(r);
    remove_directory(r->directory);
}
