/* under.c - see under.h. */
#include "under.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/options.h"
#include "common/pace.h"
#include "files.h"

#define LOOK_NS (2 * UINT64_C(1000000000)) /* a look at 1 GiB is some 20 ms of smaps */
#define READY_NS (10 * UINT64_C(1000000000))
#define END_NS (30 * UINT64_C(1000000000)) /* everything may have to come back first */
#define PAGE_OUT_BYTES (UINT64_C(128) << 20) /* between two samples */
#define WORDS_MAX 40u

const char *const under_names[UNDER_NR + 1] = { "plain", "pager", "zram", NULL };

void under_path(const struct under *u, const char *name, char ret_path[PATH_MAX])
{
    (void)snprintf(ret_path, PATH_MAX, "%s/%s", u->folder, name);
}

int under_fail(struct under *u, int code, const char *what, const char *detail)
{
    if (!*u->problem)
        (void)snprintf(u->problem, sizeof u->problem, "%.80s: %.110s", what, detail);
    return code;
}

/* ---- begin */

static int await_socket(struct under *u, const char *log_path)
{
    struct stat st;
    char line[160];
    for (uint64_t until_ns = pace_now_ns() + READY_NS; stat(u->socket_path, &st);) {
        int code = 0;
        uint64_t now_ns = pace_now_ns();
        if (child_wait_until(&u->daemon, now_ns + 10000000, &code) == CHILD_RUNS && now_ns < until_ns)
            continue;
        file_last_line(log_path, line, sizeof line);
        return under_fail(u, EXIT_NO_DAEMON, "process-pagerd", line);
    }
    return 0;
}

static int start_daemon(struct under *u)
{
    char path[PATH_MAX + 32], log_path[PATH_MAX], csv_path[PATH_MAX];
    struct arm_args args = { .count = 0 };
    (void)snprintf(path, sizeof path, "%s/process-pagerd", u->places->build);
    (void)snprintf(u->socket_path, sizeof u->socket_path, "%s/pager.sock", u->folder);
    under_path(u, "daemon.log", log_path);
    under_path(u, "sessions", csv_path);
    arm_args_add(&args, path);
    arm_args_add(&args, "--socket");
    arm_args_add(&args, u->socket_path);
    arm_args_add(&args, "--csv");
    arm_args_add(&args, csv_path);
    for (size_t i = 0; i < u->places->daemon_args.count; i++)
        arm_args_add(&args, u->places->daemon_args.words[i]);
    struct child_spec spec = { .argv = args.words, .stdout_path = log_path, .stderr_path = log_path,
                               .end_signal = SIGTERM };
    int r = child_start(&spec, &u->daemon);
    arm_args_free(&args);
    return r ? under_fail(u, EXIT_SYSTEM, path, strerror(-r)) : await_socket(u, log_path);
}

int under_begin(struct under *u)
{
    char reason[160] = "";
    u->zram.id = -1;
    u->pageout.pidfd = -1;
    (void)snprintf(u->folder, sizeof u->folder, "/tmp/process-pager-under.XXXXXX");
    if (!mkdtemp(u->folder)) {
        u->folder[0] = 0;
        return under_fail(u, EXIT_SYSTEM, "/tmp", strerror(errno));
    }
    switch (u->arm) {
    case UNDER_PAGER: return start_daemon(u);
    case UNDER_ZRAM:
        if (zram_begin(&u->zram, u->zram_bytes, reason, sizeof reason))
            return under_fail(u, EXIT_SYSTEM, "zram", reason);
        break;
    case UNDER_PLAIN:
    case UNDER_NR: break;
    }
    return 0;
}

int under_start(struct under *u, const char *const *words)
{
    char path[PATH_MAX + 32], out_path[PATH_MAX], error_path[PATH_MAX];
    struct arm_args args = { .count = 0 };
    (void)snprintf(path, sizeof path, "%s/process-pager", u->places->build);
    under_path(u, "program.out", out_path);
    under_path(u, "program.err", error_path);
    if (u->arm == UNDER_PAGER) {
        const char *const run[] = { path, "run", "--strict", "--socket", u->socket_path };
        for (size_t i = 0; i < sizeof run / sizeof *run; i++)
            arm_args_add(&args, run[i]);
        for (size_t i = 0; i < u->places->run_args.count; i++)
            arm_args_add(&args, u->places->run_args.words[i]);
        arm_args_add(&args, "--");
    }
    for (; *words; words++)
        arm_args_add(&args, *words);
    struct child_spec spec = { .argv = args.words, .stdout_path = out_path, .stderr_path = error_path,
                               .folder = u->folder, .end_signal = SIGTERM };
    int r = child_start(&spec, &u->program);
    arm_args_free(&args);
    u->program_pid = u->program.pid;
    return r ? under_fail(u, EXIT_SYSTEM, "program", strerror(-r)) : 0;
}

/* ---- meanwhile */

uint64_t under_paid_kib(const struct under *u)
{
    return u->memory.count ? memory_paid_kib(&u->memory.samples[u->memory.count - 1]) : 0;
}

static void page_out(struct under *u)
{
    if (u->wanted_kib && under_paid_kib(u) <= u->wanted_kib)
        return;
    if (u->pageout.pidfd < 0 && pageout_begin(&u->pageout, u->program.pid, u->seed))
        return;
    /* What is paid falls by the half of what leaves or more: so it is not gone below by much. */
    uint64_t over = u->wanted_kib ? (under_paid_kib(u) - u->wanted_kib) * 1024 : PAGE_OUT_BYTES;
    (void)pageout_next(&u->pageout, over < PAGE_OUT_BYTES ? over : PAGE_OUT_BYTES);
}

bool under_look(struct under *u, bool may_page_out)
{
    struct memory_sample sample;
    if (memory_sample(u->program.pid, u->daemon.pid, &sample))
        return false;
    sample.is_zram = u->arm == UNDER_ZRAM;
    sample.zram_used_kib = sample.is_zram ? zram_used_kib(&u->zram) : 0;
    memory_series_add(&u->memory, &sample);
    if (sample.is_zram && may_page_out)
        page_out(u);
    return true;
}

bool under_look_until(struct under *u, uint64_t time_ns, bool may_page_out)
{
    for (;;) {
        uint64_t next_ns = pace_now_ns() + LOOK_NS;
        bool is_last = next_ns >= time_ns;
        if (child_wait_until(&u->program, is_last ? time_ns : next_ns, &u->program_code) != CHILD_RUNS ||
            !under_look(u, may_page_out))
            return false;
        if (is_last)
            return true;
    }
}

static uint64_t cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec t;
    if (pid <= 0 || clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
        return 0;
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint64_t under_cpu_ns(const struct under *u)
{
    return cpu_ns(u->program.pid) + cpu_ns(u->daemon.pid);
}

/* ---- end */

/* Of one level: programs that are run here make no folders. */
static void remove_folder(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        (void)unlinkat(dirfd(dir), entry->d_name, 0); /* "." and ".." refuse, which is right */
    if (dir)
        closedir(dir);
    if (rmdir(path))
        fprintf(stderr, "%s: %s; left behind\n", path, strerror(errno));
}

static void read_session(struct under *u, pid_t pid)
{
    char path[PATH_MAX], text[24];
    under_path(u, "sessions", path);
    (void)snprintf(text, sizeof text, "%d", (int)pid);
    u->has_session = csv_row_read(path, "pid", text, NULL, &u->session) == 0;
}

int under_end(struct under *u, int code)
{
    pageout_end(&u->pageout);
    if (u->program.pid) {
        u->program_code = child_end(&u->program, END_NS);
        if (u->program_code != 0 && code == 0) {
            char path[PATH_MAX], line[160];
            under_path(u, "program.err", path);
            file_last_line(path, line, sizeof line);
            code = under_fail(u, EXIT_SYSTEM, "the program did not end well", line);
        }
    }
    if (child_end(&u->daemon, END_NS) && code == 0)
        code = under_fail(u, EXIT_SYSTEM, "process-pagerd", "did not end well");
    read_session(u, u->program_pid);
    zram_end(&u->zram);
    memory_series_free(&u->memory);
    if (u->folder[0])
        remove_folder(u->folder);
    return code;
}
