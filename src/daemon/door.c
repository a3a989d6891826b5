/* door.c - see door.h. */
#include "daemon/door.h"

#include <cap-ng.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/point.h"
#include "daemon/door_process.h"
#include "daemon/impatience.h"
#include "daemon/limits.h"
#include "sys/passing.h"

#define START_MS_MAX 5000 /* for the keeper's first word, and for its second */
#define GONE_MS_MAX 200   /* for a process to end */
#define ASK_PAUSE_MS 100  /* should doors end as soon as they begin */

struct door {
    int channel; /* -1: there is none */
    pid_t pid;
    bool is_busy, is_held;
    struct visitor visitor; /* while it is busy */
    uint64_t since_ms;
};

struct closing {
    int socket;
    struct visitor visitor;
};

static struct {
    int keeper; /* our end; -1: there is none */
    pid_t keeper_pid;
    int epoll;
    bool is_asked; /* the keeper, for a door */
    uint64_t next_ask_ms;
    struct door doors[DOORS_MAX]; /* all held but one at most */
    struct closing closing[CLOSING_MAX];
    unsigned nr_closing;
    bool was_closing; /* what was last asked of a door */
} house = { .keeper = -1, .epoll = -1 };

static bool is_same_user(const struct visitor *a, const struct visitor *b)
{
    /* Our own user may be all of a machine's services: there it is the process that is meant. */
    return a->uid == b->uid && (a->uid != geteuid() || a->pid == b->pid);
}

static struct door *front(void)
{
    for (struct door *d = house.doors; d < house.doors + DOORS_MAX; d++)
        if (d->channel >= 0 && !d->is_held)
            return d;
    return NULL;
}

/* That belongs to this visitor's user; there is one at most, as nothing else of his is asked of another. */
static struct door *held_door(const struct visitor *v)
{
    for (struct door *d = house.doors; d < house.doors + DOORS_MAX; d++)
        if (d->channel >= 0 && d->is_held && is_same_user(&d->visitor, v))
            return d;
    return NULL;
}

static struct door *free_place(void)
{
    for (struct door *d = house.doors; d < house.doors + DOORS_MAX; d++)
        if (d->channel < 0)
            return d;
    return NULL;
}

static struct door *idle_door(void)
{
    struct door *d = front();
    return d && !d->is_busy ? d : NULL;
}

bool door_is_busy(void)
{
    return house.nr_closing || (front() && front()->is_busy);
}

static bool listen_to(int fd)
{
    struct epoll_event e = { .events = EPOLLIN };
    return !point_fails(POINT_DOOR_LISTEN) && epoll_ctl(house.epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}

/* ---- doors come and go */

static void ask_keeper(void)
{
    if (house.keeper < 0 || house.is_asked || front() || monotonic_ms() < house.next_ask_ms)
        return;
    house.next_ask_ms = monotonic_ms() + ASK_PAUSE_MS;
    house.is_asked = free_place() && passing_send(house.keeper, "", 1, -1, MSG_DONTWAIT) == 0;
}

static void lose_keeper(void)
{
    close(house.keeper);
    house.keeper = -1;
    log_warning("event=doorkeeper_gone; from now on the daemon receives descriptors itself, and clients are "
                "told of forks only if they may ask themselves; continuing");
}

static void add_door(int channel, pid_t pid)
{
    struct door *d = free_place();
    if (d && listen_to(channel))
        *d = (struct door){ .channel = channel, .pid = pid };
    else
        close(channel); /* no memory to listen to it: it ends, and the next is asked for */
}

/* 0, or what passing_receive() says. */
static int hear_keeper(struct door_word *ret)
{
    int channel, r = passing_receive(house.keeper, ret, sizeof *ret, &channel, MSG_DONTWAIT);
    if (r && r != -EMFILE)
        return r;
    house.is_asked = false; /* EMFILE: that door ends, and another is asked for */
    if (channel >= 0)
        add_door(channel, ret->pid);
    return 0;
}

static void end_door(struct door *d)
{
    close(d->channel); /* and it sees the end of it */
    *d = (struct door){ .channel = -1 };
}

static bool send_request(struct door *d, bool wants_message, int socket)
{
    const struct door_request request = { .wants_message = wants_message };
    return passing_send(d->channel, &request, sizeof request, socket, MSG_DONTWAIT) == 0;
}

/* ---- its beginning */

static bool is_wanted(void)
{
    return geteuid() == 0 ||
           (capng_get_caps_process() == 0 && capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_PTRACE));
}

static bool start_keeper(void)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
        return false;
    (void)signal(SIGCHLD, SIG_IGN); /* nobody has to wait for it: it has no answer but its messages */
    pid_t daemon = getpid(), pid = point_fails(POINT_DOOR_KEEPER) ? -1 : fork();
    if (pid == 0)
        door_keep(ends[1], daemon);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return false;
    }
    house.keeper = ends[0];
    house.keeper_pid = pid;
    return listen_to(house.keeper);
}

static bool await_word(struct door_word *ret)
{
    struct pollfd readable = { .fd = house.keeper, .events = POLLIN };
    return poll(&readable, 1, START_MS_MAX) == 1 && hear_keeper(ret) == 0;
}

/* A first request, with nothing to close: where the kernel refuses it its filter, a door ends as it begins. */
static bool is_of_use(struct door *d)
{
    struct pollfd readable = { .fd = d->channel, .events = POLLIN };
    struct door_answer answer;
    int none;
    return send_request(d, false, -1) && send_request(d, false, -1) && poll(&readable, 1, START_MS_MAX) == 1 &&
           passing_receive(d->channel, &answer, sizeof answer, &none, MSG_DONTWAIT) == 0;
}

bool door_begin(bool *ret_tells_forks)
{
    struct door_word word, first;
    *ret_tells_forks = false;
    for (struct door *d = house.doors; d < house.doors + DOORS_MAX; d++)
        d->channel = -1;
    if (!is_wanted())
        return false;
    house.epoll = epoll_create1(EPOLL_CLOEXEC);
    bool is_done = house.epoll >= 0 && start_keeper() && await_word(&word);
    if (is_done) {
        ask_keeper();
        is_done = await_word(&first) && front() && is_of_use(front());
    }
    if (!is_done) {
        door_end();
        return false;
    }
    *ret_tells_forks = word.tells_forks;
    return true;
}

/* ---- asking */

int door_fd(void)
{
    return house.epoll;
}

bool door_is_there(void)
{
    return house.keeper >= 0 || front();
}

bool door_is_held_by(const struct visitor *v)
{
    return held_door(v);
}

static void is_with(struct door *d, const struct visitor *v)
{
    d->is_busy = true;
    d->visitor = *v;
    d->since_ms = monotonic_ms();
}

bool door_ask(const struct visitor *v, int socket)
{
    struct door *d = idle_door();
    if (!d || point_fails(POINT_DOOR_ASK) || !send_request(d, true, socket))
        return false;
    is_with(d, v);
    house.was_closing = false;
    return true;
}

/* The door closes it last, also if it is the faster of the two: it waits for the second request. */
static bool hand_over(struct door *d, int socket)
{
    struct pollfd writable = { .fd = d->channel, .events = POLLOUT }; /* there is room for both, then */
    if (poll(&writable, 1, 0) != 1 || !send_request(d, false, socket))
        return false;
    (void)close(socket);
    if (!send_request(d, false, -1))
        end_door(d); /* and closes it as it ends */
    return true;
}

/* The oldest that does not wait behind its own user. */
static void ask_to_close(void)
{
    struct door *d = idle_door();
    for (unsigned i = 0; d && i < house.nr_closing; i++) {
        const struct closing *c = &house.closing[i];
        if (door_is_held_by(&c->visitor) || !hand_over(d, c->socket))
            continue;
        if (d->channel >= 0)
            is_with(d, &c->visitor);
        house.was_closing = true;
        house.nr_closing--;
        for (unsigned k = i; k < house.nr_closing; k++)
            house.closing[k] = house.closing[k + 1];
        return;
    }
}

/* Left to doors, whatever these are at: they close it as they end, or before, and nobody hears of it. */
static bool leave_to_doors(int socket)
{
    for (struct door *d = house.doors; d < house.doors + DOORS_MAX; d++)
        if (d->channel >= 0 && hand_over(d, socket))
            return true;
    return false;
}

static void close_all(void)
{
    while (house.nr_closing) {
        int socket = house.closing[--house.nr_closing].socket;
        if (!leave_to_doors(socket))
            impatience_close(socket);
    }
}

void door_close(const struct visitor *v, int socket)
{
    (void)shutdown(socket, SHUT_RDWR); /* the client is not to wait for it */
    struct door *own = held_door(v);
    if (own && hand_over(own, socket)) /* it needs none of our places */
        return;
    if (!door_is_there() || house.nr_closing == CLOSING_MAX) {
        impatience_close(socket);
        return;
    }
    house.closing[house.nr_closing++] = (struct closing){
        .socket = socket, .visitor = { .session = 0, .uid = v->uid, .pid = v->pid }
    };
    ask_to_close();
}

/* ---- hearing */

static bool hear_door(struct door *d, struct door_event *ret)
{
    struct door_answer answer;
    int fd = -1, r = point_fails(POINT_DOOR_HEAR)
                         ? -errno
                         : passing_receive(d->channel, &answer, sizeof answer, &fd, MSG_DONTWAIT);
    if (r == -EAGAIN && !(d->is_busy && !d->is_held && monotonic_ms() >= d->since_ms + DOOR_MS))
        return false;
    *ret = (struct door_event){ .session = d->is_busy ? d->visitor.session : 0 };
    if (r == 0 || r == -EMFILE) {
        ret->kind = DOOR_ANSWER;
        ret->error = r ? r : answer.error;
        if (ret->error == 0) /* it reads strangers' bytes, and may not be itself any more */
            ret->error = msg_decode(&answer.msg, msg_bytes(answer.msg.header.type), &ret->msg);
        ret->fds = (struct msg_fds){ .fd = { fd }, .nr = fd >= 0 };
        d->is_busy = false;
        if (d->is_held)
            end_door(d); /* there is another meanwhile, or is going to be */
    } else if (r == -EAGAIN) {
        ret->kind = DOOR_IS_HELD;
        d->is_held = true;
        log_warning("event=door_held pid=%d uid=%u; what it has sent cannot be closed now: it, and its user's "
                    "other programs, wait; continuing with another door for all others",
                    (int)d->visitor.pid, d->visitor.uid);
    } else {
        ret->kind = DOOR_HAS_ENDED;
        log_warning("event=door_gone pid=%d; continuing with another", (int)d->pid);
        end_door(d);
    }
    return true;
}

bool door_next(struct door_event *ret)
{
    struct door_word word;
    bool has_event = false;
    for (struct door *d = house.doors; d < house.doors + DOORS_MAX && !has_event; d++)
        has_event = d->channel >= 0 && hear_door(d, ret);
    int r = house.keeper >= 0 ? hear_keeper(&word) : -EAGAIN;
    if (r && r != -EAGAIN && r != -EINTR)
        lose_keeper();
    ask_keeper();
    if (!door_is_there())
        close_all();
    else if (!house.was_closing)
        ask_to_close();
    return has_event;
}

void door_close_more(void)
{
    ask_to_close();
}

/* ---- its end */

static void await_end(pid_t pid)
{
    for (int ms = 0; ms < GONE_MS_MAX && kill(pid, 0) == 0; ms++)
        usleep(1000);
}

void door_end(void)
{
    close_all();
    for (struct door *d = house.doors; d < house.doors + DOORS_MAX; d++) {
        if (d->channel < 0)
            continue;
        pid_t pid = d->is_held ? 0 : d->pid;
        end_door(d);
        if (pid)
            await_end(pid); /* while there is who reaps it */
    }
    if (house.keeper >= 0) {
        close(house.keeper);
        await_end(house.keeper_pid);
    }
    if (house.epoll >= 0)
        close(house.epoll);
    house.keeper = house.epoll = -1;
}
