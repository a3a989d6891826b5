/* sandbox.c - see sandbox.h.
 *
 * Capabilities: none are needed by a root daemon that is set up. It opens /dev/userfaultfd and DAMON's files
 * as their owner, reads pagemaps through descriptors that clients have opened, asks with kill(pid, 0) where
 * EPERM is an answer, too. Only files in other users' folders, --csv or the socket, take CAP_DAC_OVERRIDE; whether
 * they do is asked, not guessed.
 *
 * System calls: what the daemon's threads and libc below them do, no more. Refused is the default,
 * because a libc that tries a call this list does not know mostly has another way; running a program ends
 * us: nothing of ours does that. To find what is missing after a change: --sandbox strict, and the
 * kernel's log has the number.
 *
 * Files: as root without rights it could still open whatever a file's mode gives its owner, and so change
 * the system. Where the kernel has Landlock it opens what it reads of /proc and /sys, its device,
 * DAMON's files, and makes or removes its own. */
#include "daemon/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "sys/damon.h"
#include "sys/landlock.h"
#include "sys/uapi.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

/* ---- capabilities */

static void keep(bool has_override, capng_type_t types)
{
    capng_clear(CAPNG_SELECT_ALL);
    if (has_override)
        (void)capng_update(CAPNG_ADD, types, CAP_DAC_OVERRIDE);
}

/* The folder of "folder/file". */
static const char *folder_of(const char *path, char *buffer, size_t capacity)
{
    (void)snprintf(buffer, capacity, "%s", path);
    char *slash = strrchr(buffer, '/');
    if (!slash)
        return ".";
    slash[slash == buffer] = 0;
    return buffer;
}

/* Asked while nothing is effective: may entries of its folder be made and removed, the file be
 * written? */
static bool is_ours_to_write(const char *path)
{
    char folder[PATH_MAX];
    if (!path || !*path)
        return true;
    if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) && errno != ENOENT)
        return false;
    return faccessat(AT_FDCWD, folder_of(path, folder, sizeof folder), W_OK | X_OK, AT_EACCESS) == 0;
}

static int drop_capabilities(const struct sandbox *what, bool *ret_has_override)
{
    if (capng_get_caps_process())
        return -EINVAL;
    bool has_override = capng_have_capability(CAPNG_EFFECTIVE, CAP_DAC_OVERRIDE);
    bool may_bound = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
    keep(has_override, CAPNG_PERMITTED);
    if (may_bound)
        (void)capng_update(CAPNG_ADD, CAPNG_PERMITTED | CAPNG_EFFECTIVE, CAP_SETPCAP);
    if (capng_apply(CAPNG_SELECT_CAPS))
        return -EPERM;
    bool needs_override = has_override &&
                          !(is_ours_to_write(what->csv_path) && is_ours_to_write(what->socket_path));
    if (may_bound) { /* what is no longer in the bounding set comes back in no way */
        keep(false, 0);
        (void)capng_apply(CAPNG_SELECT_BOUNDS);
    }
    keep(needs_override, CAPNG_PERMITTED | CAPNG_EFFECTIVE);
    *ret_has_override = needs_override;
    return capng_apply(CAPNG_SELECT_CAPS) ? -EPERM : 0;
}

/* ---- files */

/* 0, -EOPNOTSUPP, or what went wrong. */
static int confine_to_files(const struct sandbox *what)
{
    char csv_folder[PATH_MAX], socket_folder[PATH_MAX];
    struct landlock_path paths[8] = {
        { "/proc", LANDLOCK_READ }, /* also of our own descriptors, by name */
        { "/sys", LANDLOCK_READ },
        { DAMON_ROOT, LANDLOCK_READ | LANDLOCK_WRITE },
        { "/dev/userfaultfd", LANDLOCK_READ | LANDLOCK_WRITE },
    };
    size_t nr = 4;
    if (what->csv_path) /* it may have been taken away in between, and is made again */
        paths[nr++] = (struct landlock_path){
            folder_of(what->csv_path, csv_folder, sizeof csv_folder),
            LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_MAKE
        };
    if (what->socket_path && *what->socket_path)
        paths[nr++] = (struct landlock_path){
            folder_of(what->socket_path, socket_folder, sizeof socket_folder), LANDLOCK_REMOVE
        };
    return landlock_confine(paths, nr);
}

/* ---- system calls */

static const int always[] = {
    /* clang-format off */
    /* files and descriptors */
    SCMP_SYS(read), SCMP_SYS(pread64), SCMP_SYS(preadv2), SCMP_SYS(write), SCMP_SYS(writev),
    SCMP_SYS(close), SCMP_SYS(openat), SCMP_SYS(lseek), SCMP_SYS(fcntl), SCMP_SYS(readlink),
    SCMP_SYS(fstat), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(newfstatat), SCMP_SYS(fstatfs),
    SCMP_SYS(unlink),
    /* stores and sessions */
    SCMP_SYS(memfd_create), SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(fchmod),
    SCMP_SYS(munmap), SCMP_SYS(madvise), SCMP_SYS(mremap), SCMP_SYS(brk), SCMP_SYS(mincore),
    /* clients; no socket is made, bound or connected any more */
    SCMP_SYS(accept4), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(getsockopt), SCMP_SYS(shutdown),
    /* waiting */
    SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
    SCMP_SYS(eventfd2), SCMP_SYS(signalfd4), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime),
    SCMP_SYS(timer_create), SCMP_SYS(timer_settime), SCMP_SYS(timer_delete),
    SCMP_SYS(futex), SCMP_SYS(poll), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
    SCMP_SYS(restart_syscall), SCMP_SYS(sched_yield),
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    /* threads and their end */
    SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(gettid), SCMP_SYS(getpid),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigreturn), SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    /* what libc asks for by itself: sizes, processors, chance */
    SCMP_SYS(getrandom), SCMP_SYS(sysinfo), SCMP_SYS(sched_getaffinity), SCMP_SYS(uname),
    SCMP_SYS(getrusage),
    SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid),
    /* clang-format on */
};

/* What AddressSanitizer and its search for leaks need; in such builds only. */
static const int sanitizers[] = {
    SCMP_SYS(mmap),      SCMP_SYS(mprotect),  SCMP_SYS(ioctl),       SCMP_SYS(prctl),
    SCMP_SYS(clone),     SCMP_SYS(fork),      SCMP_SYS(wait4),       SCMP_SYS(ptrace),
    SCMP_SYS(tgkill),    SCMP_SYS(kill),      SCMP_SYS(sigaltstack), SCMP_SYS(getdents),
    SCMP_SYS(getdents64),
    SCMP_SYS(prlimit64), SCMP_SYS(getrlimit), SCMP_SYS(setrlimit),   SCMP_SYS(personality),
    SCMP_SYS(getppid),   SCMP_SYS(open),      SCMP_SYS(access),      SCMP_SYS(dup2),
    SCMP_SYS(pipe),      SCMP_SYS(pipe2),     SCMP_SYS(execve),      SCMP_SYS(readlinkat),
    SCMP_SYS(sched_setaffinity),
};

static int allow_all(scmp_filter_ctx filter, const int *calls, size_t nr)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < nr; i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    return r;
}

#define WHOLE UINT32_MAX /* what the kernel takes of an int */

/* Allowed with this value of one argument only, where the mask is. */
static int allow_some(scmp_filter_ctx filter)
{
    const struct {
        int call;
        unsigned argument;
        uint64_t mask, value;
    } some[] = {
        /* clang-format off */
        { SCMP_SYS(mmap),      2, PROT_EXEC,    0 },
        { SCMP_SYS(mprotect),  2, PROT_EXEC,    0 },
        { SCMP_SYS(ioctl),     1, WHOLE,        UFFDIO_API },
        { SCMP_SYS(ioctl),     1, WHOLE,        PAGEMAP_SCAN },
        { SCMP_SYS(ioctl),     1, WHOLE,        TCGETS },       /* stdio's */
        { SCMP_SYS(prctl),     0, WHOLE,        PR_SET_NAME },
        { SCMP_SYS(clone),     0, CLONE_THREAD, CLONE_THREAD }, /* threads, no processes */
        { SCMP_SYS(tgkill),    0, WHOLE,        (uint64_t)getpid() }, /* abort() */
        { SCMP_SYS(kill),      1, WHOLE,        0 },            /* "are you there?" */
        { SCMP_SYS(prlimit64), 0, WHOLE,        0 },            /* our own limit of descriptors */
        /* clang-format on */
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof some / sizeof *some; i++) {
        const struct scmp_arg_cmp is = { .arg = some[i].argument, .op = SCMP_CMP_MASKED_EQ,
                                         .datum_a = some[i].mask, .datum_b = some[i].value };
        r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, some[i].call, 1, &is);
    }
    return r;
}

/* Running a program: nothing of ours does. */
static int end_who_runs_programs(scmp_filter_ctx filter)
{
    int r = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(execve), 0);
    return r ? r : seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(execveat), 0);
}

static int load_filter(bool is_strict)
{
    scmp_filter_ctx filter = seccomp_init(is_strict ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM));
    if (!filter)
        return -ENOMEM;
    /* What is refused stands in the kernel's log; older libraries cannot ask for that. */
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
    int r = allow_all(filter, always, sizeof always / sizeof *always);
    /* Its flags lie in memory, where a filter cannot look: libc then takes clone(). */
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (r == 0)
        r = IS_SANITIZED ? allow_all(filter, sanitizers, sizeof sanitizers / sizeof *sanitizers)
                         : allow_some(filter);
    if (r == 0 && !is_strict && !IS_SANITIZED) /* where it is not the default anyway */
        r = end_who_runs_programs(filter);
    if (r == 0)
        r = seccomp_load(filter);
    seccomp_release(filter);
    return r;
}

/* ---- */

/* An ordinary user's daemon holds that user's pages and nobody else's, so that user's other programs may
 * go on looking at how much memory it takes. The search for leaks needs to look, too. */
static int hide(void)
{
    const struct rlimit none = { 0, 0 };
    if (setrlimit(RLIMIT_CORE, &none))
        return -errno;
    if (geteuid() == 0 && !IS_SANITIZED && prctl(PR_SET_DUMPABLE, 0))
        return -errno;
    return 0;
}

int sandbox_enter(const struct sandbox *what, char *ret_error, size_t capacity)
{
    if (what->mode == SANDBOX_OFF)
        return 0;
    bool has_override = false, has_fence = false;
    const char *step = "giving up capabilities";
    int r = drop_capabilities(what, &has_override);
    if (r == 0) {
        step = "no core files";
        r = hide();
    }
    if (r == 0) {
        step = "no new privileges";
        r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
    }
    if (r == 0 && !IS_SANITIZED) {
        step = "shutting off files";
        r = confine_to_files(what);
        has_fence = r == 0;
        r = r == -EOPNOTSUPP ? 0 : r; /* the rest is worth having without it */
    }
    if (r == 0) {
        step = "the filter of system calls";
        r = load_filter(what->mode == SANDBOX_STRICT);
    }
    if (r) {
        (void)snprintf(ret_error, capacity, "--sandbox: %s failed (%s): boot a kernel with seccomp, or use "
                       "--sandbox off", step, strerror(-r));
        return EX_OSERR;
    }
    log_info("event=sandbox mode=%s capabilities=%s files=%s",
             what->mode == SANDBOX_STRICT ? "strict" : "on", has_override ? "dac_override" : "none",
             has_fence ? "fenced" : "as the modes say");
    return 0;
}
