/* door_process.c - see door_process.h.
 *
 * Who stands outside of a door: clients, with whatever bytes and descriptors they have sent; and the daemon,
 * should it be taken over. A door may have the right to look into other processes, for one ioctl on a
 * userfaultfd, so it does little and knows nine system calls. The keeper reads a byte, whose value it does not
 * look at, and nothing else. Only SIGKILL, SIGSTOP and a door's own clock (impatience.h) reach them, and
 * nobody without CAP_SYS_PTRACE can look into them. */
#include "daemon/door_process.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/close_range.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/point.h"
#include "daemon/impatience.h"
#include "daemon/receive.h"
#include "sys/orphan.h"
#include "sys/passing.h"
#include "sys/uapi.h"
#include "sys/uffd.h"

#ifdef PP_WITH_MUTANTS /* points say on standard error that they have been passed */
#define CLOSED_FROM 3u
#define POINT_CALLS , SCMP_SYS(write)
#else
#define CLOSED_FROM 1u
#define POINT_CALLS
#endif

/* Its socket becomes descriptor 0, and the only one. */
static bool be_alone(const char *name, int socket, pid_t parent)
{
    (void)prctl(PR_SET_NAME, name);
    /* It may be stopped when its parent is killed, and would not see the end of the socket. */
    return dup2(socket, 0) == 0 && syscall(SYS_close_range, CLOSED_FROM, ~0u, 0u) == 0 &&
           orphan_is_ended_by(SIGKILL, parent);
}

/* ---- a door */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static bool keep_nine_calls(void) /* their runtimes want more */
{
    return true;
}
#else
/* What it does below, and no more: it is ended otherwise. */
static bool keep_nine_calls(void)
{
    static const int calls[] = { SCMP_SYS(recvmsg),  SCMP_SYS(sendmsg),       SCMP_SYS(close),
                                 SCMP_SYS(readlink), SCMP_SYS(fstatfs),       SCMP_SYS(timer_settime),
                                 SCMP_SYS(rt_sigreturn), SCMP_SYS(exit_group) POINT_CALLS };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return false;
    const struct scmp_arg_cmp is_api = { .arg = 1, .op = SCMP_CMP_MASKED_EQ, .datum_a = UINT32_MAX,
                                         .datum_b = UFFDIO_API };
    bool is_done = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, &is_api) == 0;
    for (size_t i = 0; is_done && i < sizeof calls / sizeof *calls; i++)
        is_done = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0) == 0;
    is_done = is_done && seccomp_load(filter) == 0;
    seccomp_release(filter);
    return is_done;
}
#endif

/* The daemon's own has been closed: ours is the last. */
static bool is_last(void)
{
    struct door_request go;
    int none, r;
    do
        r = passing_receive(0, &go, sizeof go, &none, 0);
    while (r == -EINTR);
    return r == 0;
}

/* The daemon is told when nothing of the client's is left here: until then it has this door for busy. */
static bool serve(const struct door_request *request, int client)
{
    struct door_answer answer = { .error = 0 };
    struct msg_fds pagemap = { .nr = 0 };
    if (request->wants_message)
        answer.error = receive(client, &answer.msg, &pagemap);
    else if (!is_last())
        return false;
    impatience_close(client);
    int r = passing_send(0, &answer, sizeof answer, pagemap.nr ? pagemap.fd[0] : -1, 0);
    msg_fds_close(&pagemap);
    return r == 0;
}

_Noreturn static void be_door(int socket, pid_t keeper)
{
    if (!be_alone("pp-door", socket, keeper) || impatience_new() || !keep_nine_calls())
        _exit(1);
    struct door_request request;
    int client, r;
    while ((r = passing_receive(0, &request, sizeof request, &client, 0)) == 0 || r == -EINTR)
        if (r == 0 && !serve(&request, client))
            break;
    _exit(0);
}

/* ---- the keeper */

static bool keep_one_right(void)
{
    if (capng_get_caps_process())
        return false;
    bool may_trace = capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_PTRACE);
    capng_clear(CAPNG_SELECT_ALL);
    if (may_trace)
        (void)capng_update(CAPNG_ADD, CAPNG_PERMITTED | CAPNG_EFFECTIVE, CAP_SYS_PTRACE);
    return capng_apply(CAPNG_SELECT_CAPS) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_DUMPABLE, 0) == 0;
}

/* The capability may be one over a container only, and the unit file may have forbidden something: only trying
 * tells. */
static bool may_tell_forks(void)
{
    uint64_t offered;
    int fd = uffd_open(-1);
    bool may = fd >= 0 && uffd_handshake(fd, UFFD_FEATURE_EVENT_FORK, &offered) == 0;
    if (fd >= 0)
        close(fd);
    return may;
}

static bool make_door(void)
{
    struct door_word word = { .pid = 0 };
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
        return passing_send(0, &word, sizeof word, -1, 0) == 0;
    pid_t keeper = getpid(), pid = point_fails(POINT_DOOR) ? -1 : fork();
    if (pid == 0)
        be_door(ends[1], keeper);
    word.pid = pid > 0 ? pid : 0;
    int r = passing_send(0, &word, sizeof word, pid > 0 ? ends[0] : -1, 0);
    close(ends[0]);
    close(ends[1]);
    return r == 0;
}

_Noreturn void door_keep(int socket, pid_t daemon)
{
    sigset_t all;
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL); /* the daemon is told to end, and we end with it */
    if (!be_alone("pp-doorkeeper", socket, daemon) || !keep_one_right())
        _exit(1);
    const struct door_word word = { .tells_forks = may_tell_forks() };
    char ask;
    ssize_t n = passing_send(0, &word, sizeof word, -1, 0) ? 0 : 1;
    while (n > 0) {
        n = recv(0, &ask, sizeof ask, 0);
        if (n > 0)
            n = make_door();
        else if (n < 0 && errno == EINTR)
            n = 1; /* stopped, and let go on */
    }
    _exit(0);
}
