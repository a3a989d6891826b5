/* fork.c - see fork.h. */
#include "client/fork.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/point.h"
#include "client/client.h"
#include "client/sigbus.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER; /* rank 5: before every pager's */
static struct pp_pager *list[PAGERS_MAX];
static void (*tell_child)(void);
static unsigned nr_covered; /* of the fork that is under way, as the next */
static sigset_t signals_before;

/* ---- a fork with pages out: docs/fork.md */

static void close_door(struct fork_door *door)
{
    for (int i = 0; i < 2; i++)
        if (door->reserve[i] >= 0)
            close(door->reserve[i]);
    close(door->socket);
}

/* Numbers that the child needs for what it is sent, and can't be refused then. */
static int reserve_numbers(struct fork_door *door)
{
    for (int i = 0; i < 2; i++)
        door->reserve[i] = -1;
    for (int i = 0; i < 2; i++) {
        door->reserve[i] = point_fails(POINT_FORK_RESERVE) ? -1 : fcntl(door->socket, F_DUPFD_CLOEXEC, 0);
        if (door->reserve[i] < 0)
            return -errno;
    }
    return 0;
}

/* The child compares a word in the bell's page, which must be a hole for that: mlockall() fills it. And it asks
 * /proc which of its memory is to be empty. */
static bool can_child_look(const struct pp_pager *pp)
{
    unsigned char is_there = 1;
    return mincore(pp->bell_page, PAGE_BYTES, &is_there) == 0 && !(is_there & 1) &&
           access("/proc/thread-self/smaps", R_OK) == 0;
}

/* Connects to the agent, which is to take the connection next. */
static int knock(struct pp_pager *pp)
{
    struct fork_door *door = &pp->door;
    if (!can_child_look(pp))
        return -EOPNOTSUPP;
    const int type = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;
    door->socket = point_fails(POINT_FORK_SOCKET) ? -1 : socket(AF_UNIX, type, 0);
    if (door->socket < 0)
        return -errno;
    bool is_refused = point_fails(POINT_FORK_CONNECT) ||
                      connect(door->socket, (struct sockaddr *)&door->address, door->address_bytes);
    int r = is_refused ? -errno : 0;
    if (r == 0)
        r = reserve_numbers(door);
    else
        door->reserve[0] = door->reserve[1] = -1;
    if (r)
        close_door(door);
    return r;
}

/* But for those of the thread's own faults: blocked they would end the process, and a touch of a range with a
 * companion is one. */
static void block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGSEGV);
    pthread_sigmask(SIG_SETMASK, &all, &signals_before);
}

static void unblock_signals(void)
{
    if (nr_covered)
        pthread_sigmask(SIG_SETMASK, &signals_before, NULL);
    nr_covered = 0;
}

/* True: the child is going to bring back what is out. */
static bool cover(struct pp_pager *pp)
{
    if (knock(pp))
        return false;
    point_kills(POINT_FORK_KNOCKED);
    if (pager_command_locked(pp, COMMAND_COVER, 0, 0) == 0) {
        point_kills(POINT_FORK_READY);
        return true;
    }
    close_door(&pp->door);
    return false;
}

/* Libc has noted who holds this mutex, which is us: asking the kernel would be one more call that a filter of
 * the program's may not know. */
static uint64_t own_tid(const struct pp_pager *pp)
{
    return (uint64_t)pp->command_lock.__data.__owner;
}

/* Nothing leaves any more. Either nothing is out, or the child is going to bring back its own, or all comes
 * back. */
static void freeze(struct pp_pager *pp)
{
    int error = errno; /* of whoever forks */
    int r = pager_command_locked(pp, COMMAND_FREEZE, own_tid(pp), 0);
    bool is_out = r == 1 || r == -EPERM, is_told = pp->door.address_bytes;
    pp->door.is_covering = r == 1 && is_told && cover(pp);
    if (pp->door.is_covering && !nr_covered++)
        block_signals();
    if (is_out && !pp->door.is_covering) {
        enum fork_drained why = !is_told ? FORK_UNTOLD : r == -EPERM ? FORK_FILTERED : FORK_REFUSED;
        (void)pager_command_locked(pp, COMMAND_EMPTY, why, 0);
    }
    errno = error;
}

/* ---- the handlers */

/* In the order of the ranks; released in reverse by parent and child. */
static void before_fork(void)
{
    companions_lock();
    pthread_mutex_lock(&list_lock);
    for (int i = 0; i < PAGERS_MAX; i++) {
        if (!list[i])
            continue;
        pager_lock_commands(list[i]);
        if (atomic_load(&list[i]->is_started))
            freeze(list[i]);
    }
    for (int i = 0; i < PAGERS_MAX; i++)
        if (list[i])
            pthread_mutex_lock(&list[i]->ranges_lock);
}

static void in_parent(void)
{
    for (int i = PAGERS_MAX; i-- > 0;) {
        if (!list[i])
            continue;
        pthread_mutex_unlock(&list[i]->ranges_lock);
        if (atomic_load(&list[i]->is_started)) {
            int error = errno; /* fork's */
            if (list[i]->door.is_covering) {
                point_kills(POINT_FORK_RETURNED);
                close_door(&list[i]->door); /* the child has it, too, if there is one */
            }
            list[i]->door.is_covering = false;
            (void)pager_command_locked(list[i], COMMAND_THAW, 0, 0);
            errno = error;
        }
        pthread_mutex_unlock(&list[i]->command_lock);
    }
    unblock_signals();
    pthread_mutex_unlock(&list_lock);
    companions_unlock();
}

/* Before anything else: what is out in this process nobody else brings back. */
static void refill_child(void)
{
    for (int i = 0; nr_covered && i < PAGERS_MAX; i++) {
        struct pp_pager *pp = list[i];
        if (!pp || !pp->door.is_covering)
            continue;
        for (int j = 0; j < 2; j++)
            close(pp->door.reserve[j]);
        fork_child_take(pp);
    }
    for (int i = 0; nr_covered && i < PAGERS_MAX; i++)
        if (list[i] && list[i]->door.is_covering) {
            fork_child_refill(list[i]);
            list[i]->door.is_covering = false;
        }
}

static void in_child(void)
{
    sigbus_forget_all_in_child();
    refill_child();
    for (int i = PAGERS_MAX; i-- > 0;) {
        struct pp_pager *pp = list[i];
        if (!pp)
            continue;
        for (uint32_t j = 0; j < pp->ranges.nr; j++)
            pp->ranges.items[j].tag = range_tag(now_ns(), false); /* leaving ones, too: who waited for
                                                                      that is not here */
        atomic_store(&pp->nr_wanting, 0); /* who wanted it is not here */
        pthread_mutex_unlock(&pp->ranges_lock);
        if (atomic_load(&pp->is_started)) {
            agent_forget_in_child(pp);
            pp->direct = NULL;
            atomic_store(&pp->is_started, 0);
        }
        pthread_mutex_unlock(&pp->command_lock);
    }
    unblock_signals();
    pthread_mutex_unlock(&list_lock);
    companions_unlock();
    if (tell_child)
        tell_child();
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void install_handlers(void)
{
    (void)pthread_atfork(before_fork, in_parent, in_child); /* fails for want of memory only */
}

void fork_list_tell(void (*on_child)(void))
{
    tell_child = on_child;
    pthread_once(&once, install_handlers);
}

int fork_list_add(struct pp_pager *pp)
{
    pthread_once(&once, install_handlers);
    pthread_mutex_lock(&list_lock);
    int r = -EMFILE;
    for (uint32_t i = 0; i < PAGERS_MAX && r; i++)
        if (!list[i]) {
            list[i] = pp;
            pp->index = i;
            r = 0;
        }
    pthread_mutex_unlock(&list_lock);
    return r;
}

void fork_list_remove(struct pp_pager *pp)
{
    pthread_mutex_lock(&list_lock);
    list[pp->index] = NULL;
    pthread_mutex_unlock(&list_lock);
}
