/* life.c - see life.h. */
#include "preload/life.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "client/client.h"
#include "client/fork.h"
#include "preload/find.h"
#include "preload/settings.h"
#include "preload/threads.h"
#include "process_pager.h"
#include "sys/tasks.h"

#define PAUSE_MAX_NS (10 * NS_PER_S) /* a process that stays small is looked at so often */
#define PAUSES_MAX 4u /* a process that changes its rights all the time is left alone */
/* A program that has just started has not begun to use what it has just written (docs/policy.md, "A process's
 * first half minute"). */
#define GRACE_NS (30 * NS_PER_S)
#define STACK_BYTES ((size_t)1 << 20) /* address space: the agent touches 20-30 KiB of it */

static struct settings settings;
static uint64_t born_ns; /* the process; written where it has one thread */

/* Set anew in the child of a fork, whatever its parent's other threads were doing. */
static struct {
    pthread_mutex_t lock; /* rank 3: before all of the client's. Covers what follows, but must_end */
    bool has_thread, is_retired;
    _Atomic bool has_filter; /* inherited by children */
    pthread_t thread;
    _Atomic pid_t tid; /* its own, written before it makes any call that is interposed */
    unsigned nr_pauses; /* of an agent: each brings everything back */
    struct pp_pager *pager;   /* NULL: none yet; inherited by children */
    _Atomic uint32_t must_end; /* futex */
} life = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- the thread: waits, then is the agent */

/* Pages of memory that no file stands behind, or 0: /proc says nothing here. */
static uint64_t anonymous_pages(void)
{
    char text[128];
    int fd = open("/proc/thread-self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    char *at = text;
    (void)strtoull(at, &at, 10); /* size */
    uint64_t resident = strtoull(at, &at, 10), shared = strtoull(at, &at, 10);
    return resident > shared ? resident - shared : 0;
}

/* From now on this thread has a descriptor table of its own, and nothing of the application's in it: not
 * even for a moment is a number taken that the application counts on. */
static bool own_descriptors(void)
{
    return syscall(SYS_close_range, 0u, ~0u, CLOSE_RANGE_UNSHARE) == 0;
}

static int open_pager(void)
{
    pthread_mutex_lock(&life.lock);
    int r = atomic_load(&life.must_end) ? -ECANCELED : 0;
    if (r == 0 && !life.pager) {
        struct pp_config config = PP_CONFIG_INIT;
        config.socket_path = settings.socket_path;
        r = pp_open(&config, &life.pager);
    }
    pthread_mutex_unlock(&life.lock);
    return r;
}

/* The library that a program links itself. Asking for its symbols would allocate where it has none. */
static int is_pager_library(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    (void)context;
    if (mutant_is(MUTANT_LOADER_LOCK_AT_FORK))
        usleep(1000);
    return strstr(info->dlpi_name, "/libprocess-pager.so") != NULL;
}

/* 0: it was, and has been stopped; else it could not be. A fork waits for command_lock: the loader's lock,
 * which libc does not set anew in the child, is taken under it only. */
static int be_agent(void)
{
    int r = open_pager();
    if (r)
        return r;
    struct pp_pager *pp = life.pager;
    pager_lock_commands(pp);
    pp->grace_until_ns = born_ns + GRACE_NS;
    if (atomic_load(&life.must_end))
        r = -ECANCELED;
    else if (dl_iterate_phdr(is_pager_library, NULL))
        r = -EALREADY; /* the program has a pager of its own, and two on one page are never right */
    else
        r = agent_boot_here(pp);
    if (r == 0) {
        /* What was discarded before may be clean still, and the kernel may drop it: see make_dirty(). */
        pp->agent->pg.table.has_forgotten_bars = true;
        find_begin(pp, settings.min_range_bytes);
        atomic_store(&pp->is_started, 1);
    }
    pthread_mutex_unlock(&pp->command_lock);
    if (r == 0)
        agent_run_here(pp);
    return r;
}

/* A daemon that is not there, or went as we came, may come; one that has no room may have some later, and one
 * that says "try again" means it. All else stays as it is. */
static bool may_work_later(int error)
{
    static const int passing[] = { ENOENT,    ECONNREFUSED, ECONNRESET, ECONNABORTED, EAGAIN,
                                   ETIMEDOUT, ENOMEM,       EBUSY,      EUSERS };
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
        if (error == -passing[i])
            return true;
    return false;
}

static bool are_orphans(void)
{
    static struct threads threads; /* the thread's own */
    return threads_list(&threads) == 0 && threads_are_orphans(&threads, 1);
}

/* The kernel gives a process the status of its last thread. Where that is this one, it is to be the first
 * thread's: one that a filter of system calls has ended, or one in strict mode, which can't end the process
 * otherwise. After pthread_exit() it is 0, and libc does the rest. */
static void end_as_first_thread(void)
{
    int status = threads_first_status();
    if (status <= 0 || !are_orphans())
        return;
    if (WIFSIGNALED(status)) {
        sigset_t all;
        sigfillset(&all);
        (void)signal(WTERMSIG(status), SIG_DFL);
        (void)pthread_sigmask(SIG_UNBLOCK, &all, NULL);
        (void)raise(WTERMSIG(status));
    }
    _exit(WEXITSTATUS(status));
}

static void wait_or_be_agent(void)
{
    uint64_t pause_ns = settings.start_after_ms * NS_PER_MS;
    uint64_t enough = page_of(settings.min_range_bytes * RANGES_TO_START);
    bool has_own = false;
    life.tid = (pid_t)syscall(SYS_gettid);
    for (;;) {
        if (pause_ns && !atomic_load(&life.must_end))
            futex_wait_for(&life.must_end, 0, pause_ns);
        if (atomic_load(&life.must_end))
            return;
        has_own = has_own || own_descriptors();
        if (!has_own || are_orphans())
            return;
        if (mutant_is(MUTANT_LOADER_LOCK_AT_FORK))
            (void)dl_iterate_phdr(is_pager_library, NULL);
        if (anonymous_pages() >= enough && !may_work_later(be_agent()))
            return;
        pause_ns = pause_ns < NS_PER_S / 2 ? NS_PER_S / 2 : 2 * pause_ns;
        if (pause_ns > PAUSE_MAX_NS)
            pause_ns = PAUSE_MAX_NS;
    }
}

static void *live(void *unused)
{
    wait_or_be_agent();
    end_as_first_thread();
    return unused;
}

/* No signal of the application's is ours; libc keeps its own two open, so that setuid() reaches us. */
static void begin_thread(void)
{
    pthread_attr_t attributes;
    if (atomic_load(&life.has_filter) || pthread_attr_init(&attributes))
        return;
    sigset_t all, old;
    sigfillset(&all);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    life.has_thread = pthread_create(&life.thread, &attributes, live, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
}

/* The child's ranges are found anew, and its numbers are not its parent's. */
static void begin_anew(struct pp_pager *pp)
{
    pp->ranges.nr = 0;
    memset(&pp->agent_stats, 0, sizeof pp->agent_stats);
    memset(&pp->porter_stats, 0, sizeof pp->porter_stats);
    atomic_store(&pp->nr_range_add, 0);
    atomic_store(&pp->nr_range_del, 0);
}

static void on_child(void)
{
    struct pp_pager *pager = life.pager;
    bool is_retired = life.is_retired, has_filter = atomic_load(&life.has_filter);
    memset(&life, 0, sizeof life);
    pthread_mutex_init(&life.lock, NULL);
    life.pager = pager;
    life.is_retired = is_retired;
    atomic_store(&life.has_filter, has_filter);
    born_ns = now_ns();
    if (pager)
        begin_anew(pager);
    if (!is_retired)
        begin_thread();
}

/* ---- retiring */

/* True: it was the agent already. */
static bool stop_thread(void)
{
    atomic_store(&life.must_end, 1);
    futex_wake_all(&life.must_end);
    struct pp_pager *pp = life.pager;
    pthread_mutex_unlock(&life.lock); /* it may want it; it sees must_end then */
    bool was_agent = pp && pp_stop(pp) != -EALREADY; /* which joins it */
    if (!was_agent)
        pthread_join(life.thread, NULL);
    task_wait_gone(life.tid);
    pthread_mutex_lock(&life.lock);
    return was_agent;
}

enum end_how { END_FOR_GOOD, END_FOR_NOW, END_IF_WAITING };

/* True: there was a thread. */
static bool end_thread(enum end_how how)
{
    if ((pid_t)syscall(SYS_gettid) == life.tid)
        return false; /* the agent makes such calls itself */
    int error = errno;
    pthread_mutex_lock(&life.lock);
    bool has_thread = life.has_thread;
    if (how == END_IF_WAITING && life.pager && atomic_load(&life.pager->is_started))
        has_thread = false;
    life.has_thread &= !has_thread;
    life.is_retired |= how == END_FOR_GOOD;
    if (has_thread && stop_thread() && ++life.nr_pauses == PAUSES_MAX)
        life.is_retired = true;
    pthread_mutex_unlock(&life.lock);
    errno = error;
    return has_thread;
}

void life_retire(void)
{
    (void)end_thread(END_FOR_GOOD);
}

bool life_pause(void)
{
    return end_thread(END_FOR_NOW);
}

bool life_pause_waiting(void)
{
    return end_thread(END_IF_WAITING);
}

void life_resume(void)
{
    int error = errno;
    pthread_mutex_lock(&life.lock);
    if (!life.has_thread && !life.is_retired) {
        atomic_store(&life.must_end, 0);
        begin_thread();
    }
    pthread_mutex_unlock(&life.lock);
    errno = error;
}

void life_note_filter(void)
{
    atomic_store(&life.has_filter, true);
}

/* ---- birth */

__attribute__((constructor)) static void begin(void)
{
    const char *text = secure_getenv(SETTINGS_VARIABLE);
    const char *name = program_invocation_short_name;
    if (!text || !strncmp(name, "process-pager", 13) || !settings_read(text, name, &settings))
        return;
    fork_list_tell(on_child);
    born_ns = now_ns();
    begin_thread();
}
