/* handshake.c - see handshake.h.
 *
 * Who stands outside: clients, through the daemon, which looks whether what they sent is a userfaultfd; and the
 * daemon itself, should it be taken over. A request is 24 bytes and one descriptor, on which one ioctl is made.
 * Other signals than SIGKILL and SIGSTOP do not reach the helper, and nobody without CAP_SYS_PTRACE looks into
 * it. Stopped it keeps the daemon for HANDSHAKE_MS_MAX, once. */
#include "daemon/handshake.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/close_range.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/point.h"
#include "sys/orphan.h"
#include "sys/uapi.h"
#include "sys/uffd.h"

#define START_MS_MAX 5000 /* for its first answer */
#define GONE_MS_MAX 200   /* for the helper to end */

struct handshake {
    uint64_t features; /* asked for; in the answer: offered */
    uint64_t number;   /* of the request */
    int32_t error;
    uint32_t reserved;
};

static struct {
    int socket; /* the daemon's end; -1: there is no helper */
    pid_t pid;
    uint64_t nr_asked, nr_answered;
} helper = { .socket = -1 };

/* A message, with a descriptor that the other side gets or -1. */
static bool send_one(int socket, const struct handshake *h, int fd)
{
    struct iovec bytes = { .iov_base = (void *)(uintptr_t)h, .iov_len = sizeof *h };
    _Alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(sizeof fd)] = { 0 };
    struct msghdr m = { .msg_iov = &bytes, .msg_iovlen = 1 };
    if (fd >= 0) {
        m.msg_control = control;
        m.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof fd),
                               .cmsg_level = SOL_SOCKET,
                               .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    return sendmsg(socket, &m, MSG_NOSIGNAL) == (ssize_t)sizeof *h;
}

/* 0, or negative errno; -ECONNRESET: the other side has gone. */
static int receive_one(int socket, int flags, struct handshake *ret, int *ret_fd)
{
    struct iovec bytes = { .iov_base = ret, .iov_len = sizeof *ret };
    _Alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(sizeof *ret_fd)];
    struct msghdr m = { .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control,
                        .msg_controllen = CMSG_LEN(sizeof *ret_fd) }; /* no room for a second */
    *ret_fd = -1;
    ssize_t n = recvmsg(socket, &m, flags | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(c), sizeof *ret_fd);
    return n == (ssize_t)sizeof *ret ? 0 : -ECONNRESET;
}

/* ---- the helper */

static bool keep_one_right(void)
{
    capng_clear(CAPNG_SELECT_ALL);
    (void)capng_update(CAPNG_ADD, CAPNG_PERMITTED | CAPNG_EFFECTIVE, CAP_SYS_PTRACE);
    return capng_apply(CAPNG_SELECT_CAPS) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_DUMPABLE, 0) == 0;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static bool keep_five_calls(void) /* their runtimes want more */
{
    return true;
}
#else
/* What it does below, and no more: it is ended otherwise. */
static bool keep_five_calls(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return false;
    const struct scmp_arg_cmp is_api = { .arg = 1, .op = SCMP_CMP_MASKED_EQ, .datum_a = UINT32_MAX,
                                         .datum_b = UFFDIO_API };
    bool is_done = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(recvmsg), 0) == 0 &&
                   seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 0) == 0 &&
                   seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(close), 0) == 0 &&
                   seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(exit_group), 0) == 0 &&
                   seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, &is_api) == 0 &&
                   seccomp_load(filter) == 0;
    seccomp_release(filter);
    return is_done;
}
#endif

_Noreturn static void help(int socket, pid_t daemon)
{
    sigset_t all;
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL); /* the daemon is told to end, and we end with it */
    (void)prctl(PR_SET_NAME, "pp-handshake");
    /* It may be stopped when the daemon is killed, and would not see the end of the socket. */
    if (dup2(socket, 0) != 0 || syscall(SYS_close_range, 1u, ~0u, 0u) || !keep_one_right() ||
        !orphan_is_ended_by(SIGKILL, daemon) || !keep_five_calls())
        _exit(1);
    struct handshake h;
    int fd, r;
    while ((r = receive_one(0, 0, &h, &fd)) == 0 || r == -EINTR) {
        if (r)
            continue; /* stopped, and let go on */
        uint64_t offered = 0;
        point_kills(POINT_FORK_HELPER_GOT);
        h.error = fd >= 0 ? uffd_handshake(fd, h.features, &offered) : -EBADF;
        point_kills(POINT_FORK_HELPER_DID);
        h.features = offered;
        if (fd >= 0)
            close(fd);
        if (!send_one(0, &h, -1))
            break;
    }
    _exit(0);
}

/* ---- the daemon */

static bool may_trace(void)
{
    return capng_get_caps_process() == 0 && capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_PTRACE);
}

static bool start_helper(void)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
        return false;
    (void)signal(SIGCHLD, SIG_IGN); /* nobody has to wait for it: it has no answer but its messages */
    pid_t daemon = getpid(), pid = fork();
    if (pid == 0)
        help(ends[1], daemon);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return false;
    }
    helper.socket = ends[0];
    helper.pid = pid;
    return true;
}

static void lose_helper(void)
{
    close(helper.socket);
    helper.socket = -1;
    log_warning("event=handshake_gone; clients that begin from now on are told of forks only if they may ask "
                "themselves; continuing: before a fork all of their memory comes back");
}

/* The answer to the last request; what comes to earlier ones is dropped. -EAGAIN: not in that time. */
static int await_answer(int ms, struct handshake *ret)
{
    int fd, r = -EAGAIN;
    while (helper.nr_answered < helper.nr_asked) {
        struct pollfd readable = { .fd = helper.socket, .events = POLLIN };
        if (poll(&readable, 1, ms) <= 0)
            return -EAGAIN; /* EINTR, too: the daemon itself has been stopped */
        r = receive_one(helper.socket, MSG_DONTWAIT, ret, &fd);
        if (r)
            return r;
        helper.nr_answered = ret->number;
    }
    return r;
}

static int ask(int uffd, uint64_t features, int ms, uint64_t *ret_offered)
{
    struct handshake h;
    if (helper.socket < 0)
        return -EPERM;
    int r = await_answer(0, &h); /* one that came too late? */
    if (r == -EAGAIN && helper.nr_answered < helper.nr_asked)
        return -EPERM; /* it stands still: not to be waited for a second time */
    h = (struct handshake){ .features = features, .number = ++helper.nr_asked };
    if (!send_one(helper.socket, &h, uffd)) {
        r = -ECONNRESET;
    } else {
        point_kills(POINT_FORK_HELPER_ASKED);
        r = await_answer(ms, &h);
        point_kills(POINT_FORK_HELPER_ANSWERED);
    }
    if (r == -EAGAIN) {
        log_warning("event=handshake_slow ms=%d; clients are not told of forks before it answers; continuing",
                    ms);
        return -EAGAIN;
    }
    if (r) {
        lose_helper();
        return -EPERM;
    }
    *ret_offered = h.features;
    return h.error;
}

/* The capability may be one over a container only, and the unit file may have forbidden something. */
static bool is_of_use(void)
{
    uint64_t offered;
    int fd = uffd_open(-1);
    bool is = fd >= 0 && ask(fd, UFFD_FEATURE_EVENT_FORK, START_MS_MAX, &offered) == 0;
    if (fd >= 0)
        close(fd);
    return is;
}

bool handshake_begin(void)
{
    if (!may_trace() || !start_helper())
        return false;
    if (is_of_use())
        return true;
    handshake_end();
    return false;
}

int handshake_do(int uffd, uint64_t features, uint64_t *ret_offered)
{
    return ask(uffd, features, HANDSHAKE_MS_MAX, ret_offered);
}

void handshake_end(void)
{
    if (helper.socket < 0)
        return;
    close(helper.socket);
    helper.socket = -1;
    for (int ms = 0; ms < GONE_MS_MAX && kill(helper.pid, 0) == 0; ms++)
        usleep(1000);
}
