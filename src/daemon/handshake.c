/* handshake.c - see handshake.h. */
#include "daemon/handshake.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/close_range.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "sys/uapi.h"
#include "sys/uffd.h"

struct handshake {
    uint64_t features; /* asked for; in the answer: offered */
    int32_t error;
    uint32_t reserved;
};

static int helper = -1; /* the daemon's end */

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

static bool receive_one(int socket, struct handshake *ret, int *ret_fd)
{
    struct iovec bytes = { .iov_base = ret, .iov_len = sizeof *ret };
    _Alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(sizeof *ret_fd)];
    struct msghdr m = { .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control,
                        .msg_controllen = sizeof control };
    *ret_fd = -1;
    ssize_t n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(c), sizeof *ret_fd);
    return n == (ssize_t)sizeof *ret;
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

_Noreturn static void help(int socket)
{
    (void)prctl(PR_SET_NAME, "pp-handshake");
    (void)signal(SIGINT, SIG_IGN); /* the daemon is told to end, and we end with it */
    (void)signal(SIGTERM, SIG_IGN);
    if (dup2(socket, 0) != 0 || syscall(SYS_close_range, 1u, ~0u, 0u) || !keep_one_right() ||
        !keep_five_calls())
        _exit(1);
    struct handshake h;
    int fd;
    while (receive_one(0, &h, &fd)) {
        uint64_t offered = 0;
        h.error = fd >= 0 ? uffd_handshake(fd, h.features, &offered) : -EBADF;
        h.features = offered;
        if (fd >= 0)
            close(fd);
        if (!send_one(0, &h, -1))
            break;
    }
    _exit(0);
}

/* ---- the daemon */

bool handshake_begin(void)
{
    if (capng_get_caps_process() || !capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_PTRACE))
        return false;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
        return false;
    const struct timeval patience = { .tv_sec = 1 };
    (void)setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    pid_t pid = fork();
    if (pid == 0)
        help(ends[1]);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return false;
    }
    helper = ends[0];
    return true;
}

int handshake_do(int uffd, uint64_t features, uint64_t *ret_offered)
{
    struct handshake h = { .features = features };
    int fd;
    if (helper < 0)
        return -EPERM;
    if (!send_one(helper, &h, uffd) || !receive_one(helper, &h, &fd)) {
        close(helper); /* a late answer would be taken for another one's */
        helper = -1;
        return -EPERM;
    }
    *ret_offered = h.features;
    return h.error;
}
