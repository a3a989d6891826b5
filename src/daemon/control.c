/* control.c - see control.h. Everything here is bounded: a client that sends much or has much memory
 * is served in turns. */
#include "daemon/control.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/point.h"
#include "daemon/compress.h"
#include "daemon/door.h"
#include "daemon/impatience.h"
#include "daemon/limits.h"
#include "daemon/look.h"
#include "daemon/receive.h"
#include "daemon/report.h"
#include "daemon/session.h"
#include "heat/damon.h"
#include "sys/status.h"

#define EVENTS_NR 64
/* While something cold waits for its turn to leave: for our allowance, or for a client that has not got
 * on since the last time (it may be stopped, too). */
#define HURRY_MS 5u
#define HURRY_BUSY_MS 25u
#define IDLE_TICK_MS 250u /* while nobody asks for more */
#define SLOW_TICK_MS 500u
/* So many slow ticks in one write to an eventfd: more than a machine that was stopped makes. */
#define STUCK_TICKS 3u
/* From a touch to the agent's read of it, and from its answer to the touching thread. Measured with a paced
 * touch: 13.8 us of which 1 to 2 were the agent's; more where it sleeps on another CPU. */
#define WAKING_NS 20000u
/* Whoever asks for a shorter cold age asks for speed: no governor. */
#define GOVERNED_FROM_MS 1000u

struct control {
    const struct config *config;
    const struct features *features;
    struct listener *listener;
    struct damon_watcher *watcher; /* NULL: heat is scan's */
    struct damon_watcher *lost_watcher; /* has ended; kept until the end */
    int epoll_fd, signal_fd, wake_fd, timer_fd;
    int status_fd; /* of ourselves */
    int fds_fd; /* /proc/self/fd: while it is open, its name is known, and found without waiting */
    struct session *sessions;
    struct session *unburied; /* have ended, but for the look that a thread is in */
    unsigned nr_sessions;
    uint32_t next_id;
    uint64_t hurry_ms;  /* when to look at the offers again */
    uint64_t next_slow_ms;
    uint64_t timer_ms;  /* as it is set now; 0: off */
    uint32_t round;     /* of ticks: each session has its turn in it */
    bool is_in_round;   /* not all have had it */
    bool must_end;
    uint64_t next_no_room_ms; /* when the next line of those may be written that anybody can cause */
    bool is_deaf;       /* no descriptors for another client: asked again at the slow tick */
    uint64_t last_ring; /* that the compress thread was in at the slow tick before, ... */
    unsigned nr_stuck;  /* ... and for how many slow ticks */
    uint32_t turn;      /* of the loop: users have their share of each */
    uint64_t nr_door_turns;
    int door_fd;
};

/* ---- the end of a session */

static struct visitor visitor_of(const struct session *s)
{
    return (struct visitor){ .session = s->id, .uid = s->uid, .pid = s->pid };
}

/* The connection goes at once; memory when the compress thread has let go of it. */
static void end_session(struct control *c, struct session *s, const char *reason)
{
    if (s->is_leaving)
        return;
    s->is_leaving = true;
    s->end_reason = reason;
    order_cancel(c->sessions, s);
    (void)epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, s->socket, NULL);
    const struct visitor who = visitor_of(s);
    door_close(&who, s->socket); /* there may be messages in it */
    s->socket = -1;
    for (struct session **at = &c->sessions; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            break;
        }
    c->nr_sessions--;
    if (s->is_joined)
        compress_detach(s);
    else
        session_free(s);
}

/* False: a thread has been left in a look at it, and is still there. */
static bool is_there(struct session *s)
{
    if (s->is_away && !atomic_load_explicit(&s->is_looked_at, memory_order_acquire)) {
        s->is_away = false;
        s->user->nr_away--;
    }
    return !s->is_away;
}

static void free_unburied(struct control *c)
{
    for (struct session **at = &c->unburied, *s; (s = *at);)
        if (is_there(s)) {
            *at = s->next;
            session_free(s);
        } else {
            at = &s->next;
        }
}

static void bury(struct control *c, struct session *s)
{
    if (c->config->csv_path) {
        int r = report_csv(c->config->csv_path, s, c->features->remote_dontneed);
        if (r)
            log_error("event=csv file=%s error=\"%s\"; continuing without this row",
                      c->config->csv_path, strerror(-r));
    }
    log_info("event=session_end session=%u pid=%d name=%s reason=\"%s\" wall_ms=%llu "
             "store_held_bytes=%llu offered=%llu returned=%llu",
             s->id, (int)s->pid, s->name, s->end_reason,
             (unsigned long long)(monotonic_ms() - s->born_ms),
             (unsigned long long)atomic_load(&s->held_bytes), (unsigned long long)s->nr_offered,
             (unsigned long long)s->nr_returned);
    point_kills(POINT_BURYING);
    s->next = c->unburied;
    c->unburied = s;
    free_unburied(c);
}

static void bury_detached(struct control *c)
{
    for (struct session *s = compress_detached(), *next; s; s = next) {
        next = s->next;
        bury(c, s);
    }
}

/* ---- messages */

static void refuse(struct control *c, struct session *s, int error, const char *text)
{
    struct msg_refuse m = { .error = error };
    strncpy(m.text, text, sizeof m.text - 1);
    (void)msg_send(s->socket, MSG_REFUSE, &m, NULL);
    if (s->user->is_exempt || user_may_log(s->user, monotonic_ms()))
        log_warning("event=refused pid=%d uid=%u reason=\"%s\"", (int)s->pid, s->uid, text);
    end_session(c, s, text);
}

static void close_given(struct msg_fds *given)
{
    /* Store, session memory and device were made for the client; the bells are ours, too. */
    close(given->fd[0]);
    close(given->fd[1]);
    if (given->nr == 6)
        close(given->fd[5]);
}

static void on_hello(struct control *c, struct session *s, const struct msg_hello *hello,
                     struct msg_fds *fds)
{
    if (s->is_joined)
        return end_session(c, s, "a second hello");
    if (hello->version != WIRE_VERSION)
        return refuse(c, s, -EPROTO, "another protocol version: upgrade the older of the two");
    if (!session_has_process(s))
        return end_session(c, s, "its process has ended");
    if (c->nr_sessions > SESSIONS_MAX)
        return refuse(c, s, -EUSERS, "too many sessions on this daemon (256)");
    if (fds->nr != 1)
        return refuse(c, s, -EPROTO, "the hello brought no /proc/self/pagemap");
    struct msg_welcome welcome;
    struct msg_fds given = { .nr = 0 };
    int pagemap_fd = fds->fd[0];
    fds->nr = 0; /* the session's from now on */
    int r = session_join(s, c->config, hello, c->watcher, pagemap_fd, &welcome, &given);
    if (r) {
        close(pagemap_fd);
        return refuse(c, s, r, "the daemon has no memory or descriptors for another session");
    }
    if (config_first_age_ms(c->config) < GOVERNED_FROM_MS)
        choose_set_free(&s->choose);
    point_kills(POINT_JOINING);
    r = msg_send(s->socket, MSG_WELCOME, &welcome, &given);
    point_kills(POINT_WELCOMED);
    close_given(&given);
    if (r) {
        s->is_joined = false; /* the compress thread does not have it */
        if (r == -ECONNRESET)
            return end_session(c, s, "the client has gone");
        return refuse(c, s, r, "the welcome could not be sent");
    }
    compress_attach(s);
    log_info("event=session_begin session=%u pid=%d uid=%u name=%s", s->id, (int)s->pid, s->uid,
             s->name);
}

/* It has been made, or not, where it was received. */
static void on_uffd_api(struct control *c, struct session *s, const struct msg_uffd_api *answer)
{
    point_kills(POINT_FORK_HELPER_ANSWERED);
    if (msg_send(s->socket, MSG_UFFD_API_DONE, answer, NULL))
        end_session(c, s, "the client does not read its answers");
}

static void on_status_get(struct control *c, struct session *s)
{
    const struct report about = { .config = c->config, .status_fd = c->status_fd,
                                  .heat = c->watcher ? "damon" : "scan",
                                  .has_device = c->features->has_device,
                                  .viewer = s };
    char *text = report_json(c->sessions, &about);
    size_t bytes = text ? strlen(text) : 0;
    bool may_make = text && !point_fails(POINT_STATUS_FILE);
    int fd = may_make ? memfd_create("process-pager-status", MFD_CLOEXEC) : -1;
    bool is_written = fd >= 0 && write(fd, text, bytes) == (ssize_t)bytes;
    if (is_written) {
        struct msg_status status = { .bytes = bytes };
        struct msg_fds fds = { .fd = { fd }, .nr = 1 };
        (void)msg_send(s->socket, MSG_STATUS, &status, &fds);
    }
    if (fd >= 0)
        close(fd);
    free(text);
    if (!is_written) /* else it would wait */
        refuse(c, s, -ENOMEM, "the daemon has no memory or descriptors for its status");
}

/* What it watches now counts for its user. */
static void count_ranges(struct control *c, struct session *s)
{
    assert(!s->is_away); /* else its messages wait */
    uint64_t nr_pages = s->heat_ops->nr_pages(s->heat);
    if (!user_count(s->user, &s->share, nr_pages, s->heat_ops->bookkeeping_bytes(s->heat)))
        end_session(c, s, "more pages and ranges than a user may have");
}

static void on_range(struct control *c, struct session *s, uint32_t type, const struct msg_range *m)
{
    page_number first = page_of(m->start), end = page_of(m->start + m->bytes);
    if (type == MSG_RANGE_DEL) {
        s->heat_ops->remove(s->heat, first, end);
        return count_ranges(c, s);
    }
    if (s->heat_ops->nr_pages(s->heat) + (end - first) > SESSION_PAGES_MAX)
        return end_session(c, s, "more pages than a session may have");
    int r = s->heat_ops->add(s->heat, first, end);
    if (r == -ENOSPC)
        return end_session(c, s, "more ranges than a session may have");
    if (r)
        log_warning("event=no_memory session=%u; its new range is not scanned; continuing", s->id);
    count_ranges(c, s);
}

static void on_message(struct control *c, struct session *s, const struct msg *m, struct msg_fds *fds)
{
    switch ((enum msg_type)m->header.type) {
    case MSG_HELLO:
        return on_hello(c, s, &m->payload.hello, fds);
    case MSG_STATUS_GET:
        return on_status_get(c, s);
    case MSG_RANGE_ADD:
    case MSG_RANGE_DEL:
        if (s->is_joined)
            return on_range(c, s, m->header.type, &m->payload.range);
        break;
    case MSG_RANGES_RESET:
        if (s->is_joined) {
            s->heat_ops->remove(s->heat, 0, (page_number)1 << 52);
            return count_ranges(c, s);
        }
        break;
    case MSG_UFFD_API:
        if (s->is_joined)
            return on_uffd_api(c, s, &m->payload.uffd_api);
        break;
    case MSG_ORDER:
        if (!s->is_joined)
            return order_ask(c->sessions, c->config, s, &m->payload.order);
        break;
    case MSG_ORDER_DONE:
        if (s->is_joined && order_done(c->sessions, s, &m->payload.order_done))
            return;
        break;
    case MSG_WELCOME:
    case MSG_REFUSE:
    case MSG_UFFD_API_DONE:
    case MSG_STATUS:
    case MSG_TYPE_NR:
        break;
    }
    end_session(c, s, "a message out of order");
}

/* A user who has said too much waits in the socket's queue, and its programs with it. */
static void set_muted(struct control *c, struct session *s, bool is_muted)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = s };
    int operation = is_muted ? EPOLL_CTL_DEL : EPOLL_CTL_ADD; /* no events: hang-ups would still be told */
    if (epoll_ctl(c->epoll_fd, operation, s->socket, &event))
        return; /* no memory: at the next tick */
    s->is_muted = is_muted;
}

static void listen_again(struct control *c, struct session *s)
{
    if (s->at_door)
        return;
    if (!s->is_away && user_may_speak(s->user, now_ns()))
        set_muted(c, s, false);
    else if (MUTED_LOOK_MS < c->hurry_ms)
        c->hurry_ms = MUTED_LOOK_MS;
}

static bool may_speak(struct control *c, struct session *s, uint64_t now)
{
    if (s->is_away || !user_may_speak(s->user, now)) {
        set_muted(c, s, true);
        return false;
    }
    return user_has_turn(s->user, c->turn);
}

static const char *reason_of(int error)
{
    switch (error) {
    case -EPROTO:     return "not a message";
    case -ECONNRESET: return "the client has gone";
    default:          return "cannot receive: no memory or descriptors";
    }
}

/* ---- messages that bring descriptors */

/* A message may take nearly DOOR_MS, if its sender likes: so users have their turns. */
static bool is_before(const struct session *a, const struct session *b)
{
    return a->user->door_turn != b->user->door_turn ? a->user->door_turn < b->user->door_turn
                                                    : a->door_turn < b->door_turn;
}

/* Of the user who was let in longest ago who has waited longest; none that waits behind itself. */
static struct session *next_at_door(struct control *c)
{
    struct session *next = NULL;
    for (struct session *s = c->sessions; s; s = s->next) {
        const struct visitor who = visitor_of(s);
        if (s->at_door == DOOR_WAITS && (!next || is_before(s, next)) && !door_is_held_by(&who))
            next = s;
    }
    return next;
}

static void ask_door(struct control *c)
{
    struct session *s = next_at_door(c);
    if (!s)
        return;
    const struct visitor who = visitor_of(s);
    if (door_ask(&who, s->socket)) {
        s->at_door = DOOR_ASKED;
        s->user->door_turn = ++c->nr_door_turns;
        if (s->is_joined)
            point_kills(POINT_FORK_HELPER_ASKED);
    }
}

/* Nothing else of it is read before this has been. */
static void go_to_door(struct control *c, struct session *s)
{
    s->at_door = DOOR_WAITS;
    s->door_turn = ++c->nr_door_turns;
    set_muted(c, s, true);
    ask_door(c);
}

static void leave_door(struct control *c, struct session *s)
{
    s->at_door = DOOR_NO;
    listen_again(c, s);
}

/* Its message has not come, or not yet. Who waits for a handshake does not have to: it can do without. */
static void on_no_answer(struct control *c, struct session *s, enum door_event_kind kind)
{
    const struct msg_uffd_api no = { .error = -EPERM };
    if (s->is_joined)
        on_uffd_api(c, s, &no);
    else if (kind == DOOR_HAS_ENDED)
        refuse(c, s, -ECONNABORTED, "the daemon has lost what the hello brought: try again");
}

static void on_door_event(struct control *c, struct session *s, struct door_event *e)
{
    struct user *u = s->user; /* pays, as in read_socket() */
    uint64_t begin_ns = now_ns();
    uint32_t id = s->id;
    bool is_waiting = e->kind == DOOR_IS_HELD && !s->is_joined;
    if (e->kind != DOOR_ANSWER)
        on_no_answer(c, s, e->kind);
    else if (e->error == 0)
        on_message(c, s, &e->msg, &e->fds);
    else if (e->error != -EAGAIN) /* that: a door which answers late had taken it */
        end_session(c, s, reason_of(e->error));
    if (!is_waiting && session_find(c->sessions, id))
        leave_door(c, s);
    user_pay(u, now_ns() - begin_ns, c->turn);
}

static void hear_doors(struct control *c)
{
    struct door_event e;
    while (door_next(&e)) {
        struct session *s = session_find(c->sessions, e.session);
        if (s && s->at_door == DOOR_ASKED)
            on_door_event(c, s, &e);
        msg_fds_close(&e.fds);
        ask_door(c);
    }
    ask_door(c);
    door_close_more();
    for (struct session *s = c->sessions; s && !door_is_there(); s = s->next)
        if (s->at_door)
            leave_door(c, s);
}

/* ---- reading */

/* False: there is none, or the session has ended. */
static bool read_message(struct control *c, struct session *s)
{
    if (s->at_door)
        return false;
    int r = door_is_there() ? msg_brings_fds(s->socket) : 0;
    if (r == 1) {
        go_to_door(c, s);
        return false;
    }
    struct msg m;
    struct msg_fds fds;
    if (r == 0) /* else one that has come meanwhile would be received here, with whatever it brings */
        r = receive(s->socket, &m, &fds);
    if (r) {
        if (r != -EAGAIN)
            end_session(c, s, reason_of(r));
        return false;
    }
    uint32_t id = s->id;
    on_message(c, s, &m, &fds);
    msg_fds_close(&fds); /* a pagemap, if one is left */
    return session_find(c->sessions, id);
}

static void read_socket(struct control *c, struct session *s)
{
    struct user *u = s->user; /* outlives a session that ends here, and pays for its last message, too */
    uint64_t begin_ns = now_ns(), until_ns = begin_ns + TURN_NS;
    bool has_more = true;
    for (unsigned i = 0; has_more && i < MESSAGES_PER_TURN && begin_ns < until_ns; i++) {
        if (!may_speak(c, s, begin_ns))
            return;
        user_pay(u, USER_MESSAGE_NS, c->turn);
        has_more = read_message(c, s);
        uint64_t end_ns = now_ns(), ns = end_ns - begin_ns;
        user_pay(u, ns > USER_MESSAGE_NS ? ns - USER_MESSAGE_NS : 0, c->turn);
        begin_ns = end_ns;
    }
}

/* Without a descriptor for the next client the listener would be ready for ever. */
static void set_deaf(struct control *c, bool is_deaf)
{
    struct epoll_event event = { .events = is_deaf ? 0 : EPOLLIN, .data.ptr = &c->listener };
    if (is_deaf && !c->is_deaf)
        log_warning("event=accept error=\"%s\"; continuing with the sessions there are, and trying "
                    "again", strerror(errno));
    (void)epoll_ctl(c->epoll_fd, EPOLL_CTL_MOD, c->listener->fd, &event);
    c->is_deaf = is_deaf;
}

/* Who is let in and at once out again is told that the log says why. */
static void say_no_room(struct control *c, const char *why)
{
    uint64_t now_ms = monotonic_ms();
    if (now_ms < c->next_no_room_ms)
        return;
    c->next_no_room_ms = now_ms + 1000;
    log_warning("event=accept error=\"%s\"; continuing with the sessions there are", why);
}

/* False: nobody waits. */
static bool accept_client(struct control *c)
{
    int fd = point_fails(POINT_ACCEPT) ? -1
                                       : accept4(c->listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            set_deaf(c, true);
        return false;
    }
    bool has_room = c->nr_sessions <= SESSIONS_MAX + 16;
    struct session *s = has_room ? session_new(fd, ++c->next_id) : NULL;
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = s };
    if (!s || point_fails(POINT_ACCEPT_WATCH) || epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &event)) {
        const struct visitor nobody = { .uid = (uid_t)-1 };
        say_no_room(c, has_room ? "no memory for another connection" : "too many connections (272)");
        door_close(&nobody, fd);
        if (s)
            s->socket = -1;
        session_free(s);
        return true;
    }
    s->next = c->sessions;
    c->sessions = s;
    c->nr_sessions++;
    user_pay(s->user, USER_CONNECTION_NS, c->turn);
    if (user_has_too_many(s->user))
        refuse(c, s, -EUSERS, "too many sessions of this user (128)");
    return true;
}

static void accept_clients(struct control *c)
{
    uint64_t until_ns = now_ns() + TURN_NS;
    for (unsigned i = 0; i < MESSAGES_PER_TURN && accept_client(c) && now_ns() < until_ns; i++)
        ;
}

/* ---- heat and policy */

/* Each costs its application a SIGBUS; but a line a second is enough, whoever it is who says so. */
static void say_lost(struct session *s, enum feedback_kind kind, page_number first, uint32_t nr_pages)
{
    uint64_t now_ms = monotonic_ms();
    s->nr_lost += nr_pages;
    if (now_ms < s->next_lost_ms || !(s->user->is_exempt || user_may_log(s->user, now_ms)))
        return;
    s->next_lost_ms = now_ms + 1000;
    log_error("event=page_lost session=%u pid=%d name=%s address=0x%llx pages=%llu cause=\"%s\"; "
              "a touch raises SIGBUS", s->id, (int)s->pid, s->name, (unsigned long long)page_address(first),
              (unsigned long long)s->nr_lost,
              kind == FEEDBACK_LOST ? "the bytes fail their check" : "the kernel refuses the page");
    s->nr_lost = 0;
}

/* A run says of up to 512 pages what became of them; so many are taken in one go, 0.3 ms. */
#define FEEDBACK_PAGES_MAX (4 * RING_FEEDBACK_NR)

static void take_feedback(struct control *c, struct session *s)
{
    struct feedback_entry e;
    int r = 0;
    unsigned nr = 0;
    while (nr < FEEDBACK_PAGES_MAX && (r = ring_take(&s->feedback, &e)) == 1) {
        nr++;
        enum feedback_kind kind = (enum feedback_kind)(e.word & 0xff);
        if (kind >= FEEDBACK_KIND_NR)
            continue;
        uint32_t nr_pages = feedback_nr(e), nr_probes = 0;
        nr += nr_pages;
        if (kind == FEEDBACK_LOST || kind == FEEDBACK_LOST_REFUSED) {
            say_lost(s, kind, feedback_first(e), nr_pages);
            continue;
        }
        for (uint32_t i = 0; i < nr_pages; i++)
            nr_probes += s->heat_ops->feedback(s->heat, feedback_first(e) + i, kind);
        stats_add(&s->stats, STAT_probe_returns, nr_probes);
        if (kind == FEEDBACK_REFAULT) {
            s->nr_returned += nr_pages - nr_probes;
            choose_on_returned(&s->choose, nr_pages - nr_probes);
        }
    }
    if (r < 0)
        end_session(c, s, "feedback ring: impossible position");
}

/* What the client has read of what it was offered. False: the session has ended. */
static bool note_read(struct control *c, struct session *s)
{
    int64_t room = ring_room(&s->candidates);
    if (room < 0) {
        end_session(c, s, "candidates ring: impossible position");
        return false;
    }
    uint32_t read = s->nr_candidates - (RING_CANDIDATES_NR - (uint32_t)room);
    for (; s->nr_candidates_read != read; s->nr_candidates_read++)
        s->pages_ahead -= s->candidate_pages[s->nr_candidates_read % RING_CANDIDATES_NR];
    return true;
}

/* Whoever wants a process's memory out whatever its age does not mind what has been written lately. */
static bool is_unwritten_only(const struct session *s)
{
    return s->heat_ops->knows_writes &&
           !(s->order.stage == ORDER_SWEEPING && s->order.sweep.idle_ms == 0);
}

static bool put_candidate(struct session *s, const struct heat_run *run)
{
    struct candidate_entry e = { .first = run->first,
                                 .nr_pages = run->nr_pages,
                                 .flags = is_unwritten_only(s) ? CANDIDATE_IF_UNWRITTEN : 0 };
    if (ring_put(&s->candidates, &e))
        return false; /* there was room; and what is not offered now is found again */
    s->candidate_pages[s->nr_candidates++ % RING_CANDIDATES_NR] = (uint16_t)run->nr_pages;
    s->pages_ahead += run->nr_pages;
    return true;
}

static void offer_run(struct session *s, const struct heat_run *run)
{
    if (!put_candidate(s, run))
        return;
    log_debug("event=offer session=%u first=0x%llx pages=%u idle_ms=%llu", s->id,
              (unsigned long long)run->first, run->nr_pages, (unsigned long long)run->idle_ms);
    s->nr_offered += run->nr_pages;
    if (s->order.stage == ORDER_SWEEPING)
        choose_on_forced(&s->choose, run->nr_pages);
    else
        choose_on_offered(&s->choose, run->nr_pages);
}

/* What may leave now, by the governor or by somebody's hand. */
static size_t pick(struct control *c, struct session *s, uint64_t now_ms, uint64_t room,
                   struct heat_run *ret_runs, size_t nr_max)
{
    uint64_t allowance = choose_allowance(&s->choose, now_ms), may_be_out = governor_room(s);
    allowance = allowance < may_be_out ? allowance : may_be_out;
    if (s->order.stage == ORDER_SWEEPING)
        return order_sweep(c->sessions, s, room, ret_runs, nr_max);
    if (!allowance)
        return 0;
    return s->heat_ops->pick(s->heat, now_ms, allowance < room ? allowance : room, ret_runs, nr_max);
}

static uint32_t entries_room(const struct session *s)
{
    uint32_t entries_ahead = s->nr_candidates - s->nr_candidates_read;
    return entries_ahead < CANDIDATES_AHEAD ? CANDIDATES_AHEAD - entries_ahead : 0;
}

/* They have a budget of their own, and the governor hears neither of them nor of their return. */
static void offer_probes(struct session *s, uint64_t now_ms, struct heat_run *runs)
{
    uint32_t room = entries_room(s);
    size_t nr = s->heat_ops->pick_probes && room
                    ? s->heat_ops->pick_probes(s->heat, now_ms, runs, room) : 0;
    for (size_t i = 0; i < nr; i++) {
        if (!put_candidate(s, &runs[i]))
            continue;
        log_debug("event=probe session=%u first=0x%llx", s->id, (unsigned long long)runs[i].first);
        stats_add(&s->stats, STAT_probe_pages, runs[i].nr_pages);
    }
}

static void offer_cold(struct control *c, struct session *s, uint64_t now_ms, struct heat_run *runs)
{
    uint32_t room = entries_room(s);
    if (!room || s->pages_ahead >= PAGES_AHEAD)
        return;
    size_t nr = pick(c, s, now_ms, PAGES_AHEAD - s->pages_ahead, runs, room);
    for (size_t i = 0; i < nr; i++)
        offer_run(s, &runs[i]);
}

static void offer(struct control *c, struct session *s, uint64_t now_ms)
{
    struct heat_run runs[CANDIDATES_AHEAD];
    uint32_t read_before = s->nr_candidates_read;
    /* What is offered while the client settles a reclaim would have to be settled, too. */
    if (c->config->is_dry_run || s->is_held || s->order.stage == ORDER_ASKED || !note_read(c, s))
        return;
    if (!session_may_lose(s, now_ms) && s->order.stage != ORDER_SWEEPING)
        return;
    uint32_t put_before = s->nr_candidates;
    bool is_client_busy = put_before != s->nr_candidates_read && read_before == s->nr_candidates_read;
    if (s->order.stage != ORDER_SWEEPING)
        offer_probes(s, now_ms, runs);
    offer_cold(c, s, now_ms, runs);
    if (s->nr_candidates != put_before) {
        point_kills(POINT_OFFERED);
        compress_ring_agent(s);
    }
    uint64_t hurry_ms = is_client_busy ? HURRY_BUSY_MS : HURRY_MS;
    bool may_leave = s->choose.advice <= CHOOSE_RISE && governor_room(s);
    bool is_waiting = s->order.stage == ORDER_SWEEPING || (s->heat_ops->nr_ready(s->heat) && may_leave);
    if (is_waiting && hurry_ms < c->hurry_ms)
        c->hurry_ms = hurry_ms;
}

/* How often this thread has had to wait for something. */
static long nr_waits(void)
{
    struct rusage usage = { .ru_nvcsw = 0 };
    (void)getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
}

/* Who keeps us waiting pays for it, and at most so much: then we don't come. */
static void look_at_heat(struct control *c, struct session *s, uint64_t now_ms)
{
    uint64_t begin_ns = now_ns();
    if (!user_may_be_looked_at(s->user, begin_ns))
        return;
    long nr_waits_before = nr_waits();
    look_at(s, now_ms);
    uint64_t ns = now_ns() - begin_ns;
    if (ns > LOOK_FREE_NS && nr_waits() != nr_waits_before)
        user_pay(s->user, ns, c->turn);
}

/* What it says waits, too: for its ranges are its heat's. */
static void leave_alone(struct control *c, struct session *s)
{
    s->is_away = true;
    s->user->nr_away++;
    user_pay(s->user, LOOK_MS_MAX * NS_PER_MS, c->turn);
    if (s->user->is_exempt || user_may_log(s->user, monotonic_ms()))
        log_info("event=look_stuck session=%u pid=%d uid=%u name=%s; it keeps the lock of its memory, "
                 "or of its folder in /proc: continuing without it until that is free",
                 s->id, (int)s->pid, s->uid, s->name);
}

static void tick_session(struct control *c, struct session *s, uint64_t now_ms)
{
    uint64_t begin_ns = thread_cpu_ns();
    take_feedback(c, s);
    if (s->is_leaving)
        return;
    if (now_ms >= s->next_look_ms && !s->at_door) { /* or its message came back from there while it is away */
        s->next_look_ms = now_ms + s->governor.look_ms;
        look_at_heat(c, s, now_ms);
    }
    governor_tick(s, now_ms); /* with what a first look has opened */
    if (s->governor.look_ms < c->hurry_ms)
        c->hurry_ms = s->governor.look_ms;
    offer(c, s, now_ms);
    order_tick(c->sessions, s, now_ms);
    if (!s->is_leaving)
        s->control_cpu_ns += thread_cpu_ns() - begin_ns;
}

static void end_failed(struct control *c)
{
    eventfd_t count;
    (void)eventfd_read(c->wake_fd, &count);
    for (struct session *s = c->sessions, *next; s; s = next) {
        next = s->next;
        const char *failure = atomic_load(&s->failure);
        if (failure)
            end_session(c, s, failure);
    }
    bury_detached(c);
}

/* DAMON is lost for good: somebody else has it, or it has been switched off under us. */
static void leave_damon(struct control *c)
{
    int failure = c->watcher ? damon_watcher_failure(c->watcher) : 0;
    if (!failure)
        return;
    bool is_needed = false;
    for (struct session *s = c->sessions; s; s = s->next)
        if (s->is_joined && s->heat_ops == &heat_damon_ops)
            is_needed |= s->is_away || session_fall_back(s, c->config);
    if (is_needed)
        return; /* no memory now, or in a look: at the next slow tick */
    /* Those that are being buried let go of it themselves, before it is freed at the end. */
    log_warning("event=damon_lost error=\"%s\"; falling back to scan", strerror(-failure));
    c->lost_watcher = c->watcher;
    c->watcher = NULL;
}

/* What the return of a page costs the client: what its agent measures, and being woken before and after,
 * which nobody sees who is not the touching thread. Of a session of direct ranges what is assumed at first
 * stays: a signal costs a thread more than it can measure of it. */
static void tell_return_cost(struct session *s)
{
    const struct stats_block *st = &s->memory->agent_stats;
    const struct histogram *h = &st->hists[STAT_HIST_fault_missing_ns];
    bool is_direct = stats_get(st, STAT_direct_restores) > stats_get(st, STAT_faults_missing);
    if (s->heat_ops->set_return_ns && histogram_count(h) && !is_direct)
        s->heat_ops->set_return_ns(s->heat, histogram_percentile(h, 500) + WAKING_NS);
}

static void note_rates(struct session *s, uint64_t now_ms)
{
    const struct stats_block *st = &s->memory->agent_stats;
    const uint64_t values[RATE_NR] = { [RATE_FAULTS] = stats_get(st, STAT_faults_missing),
                                       [RATE_EVICTIONS] = stats_get(st, STAT_client_evict_success) };
    rates_note(&s->rates, now_ms, values);
}

/* Its client is told before it has waited for as long as it does (5 s), and thinks that we are stopped. */
static void end_who_waits(struct control *c, struct session *s, uint64_t now_ms)
{
    const struct visitor who = visitor_of(s);
    uint64_t waited_ms = now_ms - s->born_ms;
    if (s->at_door && waited_ms > DOOR_TIMEOUT_MS)
        refuse(c, s, -EBUSY, door_is_held_by(&who)
               ? "the daemon cannot close what this user has sent: end the process in its log's event=door_held"
               : "others have kept the daemon's doors busy: try again");
    else if (waited_ms > HELLO_TIMEOUT_MS)
        end_session(c, s, "no hello");
}

static void slow_tick(struct control *c, uint64_t now_ms)
{
    for (struct session *s = c->sessions, *next; s; s = next) {
        next = s->next;
        if (s->is_joined && !session_has_process(s)) {
            end_session(c, s, "its process has ended");
        } else if (s->is_joined) {
            if (!s->is_away)
                tell_return_cost(s);
            note_rates(s, now_ms);
        } else if (!s->asker.nr_waiting)
            end_who_waits(c, s, now_ms);
    }
    leave_damon(c);
    free_unburied(c);
    if (c->is_deaf)
        set_deaf(c, false);
    uint64_t ring;
    bool is_same = compress_is_ringing(&ring) && ring == c->last_ring;
    c->nr_stuck = is_same ? c->nr_stuck + 1 : 0;
    c->last_ring = ring;
    if (c->nr_stuck >= STUCK_TICKS) {
        compress_unblock();
        end_failed(c);
    }
}

/* A thread that is left in a look leaves its round, too, and the next tick has the rest of it: else who holds
 * up each look at himself for a moment takes their turns from all behind him. */
static void begin_round(struct control *c)
{
    if (c->is_in_round)
        return;
    c->is_in_round = true;
    c->round++;
    c->hurry_ms = IDLE_TICK_MS;
}

static void tick(struct control *c)
{
    uint64_t expirations;
    (void)!read(c->timer_fd, &expirations, sizeof expirations);
    uint64_t now_ms = monotonic_ms();
    begin_round(c);
    if (door_is_there())
        hear_doors(c);
    for (struct session *s = c->sessions, *next; s; s = next) {
        next = s->next;
        if (s->round == c->round)
            continue;
        s->round = c->round;
        bool is_in_reach = is_there(s);
        if (s->is_muted)
            listen_again(c, s);
        if (s->is_joined && is_in_reach)
            tick_session(c, s, now_ms);
        else if (s->is_joined)
            order_tick(c->sessions, s, now_ms);
    }
    c->is_in_round = false;
    if (now_ms >= c->next_slow_ms) {
        c->next_slow_ms = now_ms + SLOW_TICK_MS;
        slow_tick(c, now_ms);
    }
}

/* The clock runs only while somebody is connected or not gone yet (a door that does not answer is found out by the
 * clock), and faster while somebody waits. */
static void set_timer(struct control *c)
{
    uint64_t ms = c->hurry_ms;
    if (!c->sessions && !c->unburied && !c->is_deaf && !door_is_busy())
        ms = 0;
    if (ms == c->timer_ms)
        return;
    struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000 * 1000000) };
    struct itimerspec every = { .it_interval = t, .it_value = t };
    (void)timerfd_settime(c->timer_fd, 0, &every, NULL);
    c->timer_ms = ms;
}

/* ---- the loop */

static void on_event(struct control *c, const struct epoll_event *e)
{
    if (e->data.ptr == &c->listener)
        accept_clients(c);
    else if (e->data.ptr == &c->door_fd)
        hear_doors(c);
    else if (e->data.ptr == &c->signal_fd)
        c->must_end = true;
    else if (e->data.ptr == &c->wake_fd)
        end_failed(c);
    else if (e->data.ptr == &c->timer_fd)
        tick(c);
}

static bool is_own(const struct control *c, const void *pointer)
{
    return pointer == &c->listener || pointer == &c->signal_fd || pointer == &c->wake_fd ||
           pointer == &c->timer_fd || pointer == &c->door_fd;
}

/* Sockets first: ticks and failures may free sessions that an event of this batch points to. */
static void serve(struct control *c)
{
    struct epoll_event events[EVENTS_NR];
    int n = epoll_wait(c->epoll_fd, events, EVENTS_NR, -1);
    c->turn++;
    for (int i = 0; i < n; i++)
        if (!is_own(c, events[i].data.ptr))
            read_socket(c, events[i].data.ptr);
    for (int i = 0; i < n; i++)
        if (is_own(c, events[i].data.ptr))
            on_event(c, &events[i]);
    set_timer(c);
}

static int watch(struct control *c, int fd, void *pointer)
{
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = pointer };
    bool is_watched = fd >= 0 && !point_fails(POINT_CONTROL_WATCH) &&
                      epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &e) == 0;
    return is_watched ? 0 : -errno;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    rlim_t wanted = SESSIONS_MAX * DESCRIPTORS_PER_SESSION + CLOSING_MAX + DOORS_MAX + 64;
    if (limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* else there is room for fewer, and accept says so */
}

static int open_all(struct control *c)
{
    raise_descriptor_limit();
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    c->epoll_fd = point_fails(POINT_CONTROL_EPOLL) ? -1 : epoll_create1(EPOLL_CLOEXEC);
    c->signal_fd = point_fails(POINT_CONTROL_SIGNALS) ? -1
                                                      : signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    c->wake_fd = point_fails(POINT_CONTROL_WAKE) ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->timer_fd = point_fails(POINT_CONTROL_TIMER)
                      ? -1
                      : timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    c->status_fd = process_status_open(getpid());
    c->fds_fd = open("/proc/self/fd", O_PATH | O_CLOEXEC);
    int r = impatience_new();
    if (r == 0)
        r = look_open();
    if (r == 0)
        r = watch(c, c->listener->fd, &c->listener);
    if (r == 0)
        r = watch(c, c->signal_fd, &c->signal_fd);
    if (r == 0)
        r = watch(c, c->wake_fd, &c->wake_fd);
    if (r == 0)
        r = watch(c, c->timer_fd, &c->timer_fd);
    c->door_fd = door_fd();
    if (r == 0 && c->door_fd >= 0)
        r = watch(c, c->door_fd, &c->door_fd);
    return r ? r : compress_start(c->wake_fd, c->config->store_cap_total_bytes,
                                  c->config->user_store_cap_bytes);
}

/* Begins where its predecessor was left behind: what that had in hand is asked for again. */
static void be_control(void *argument, struct session *left_in)
{
    struct control *c = argument;
    (void)impatience_new(); /* it was this process's before: at worst we wait */
    if (left_in) {
        leave_alone(c, left_in);
        c->hurry_ms = HURRY_MS; /* for the rest of the round */
        set_timer(c);
    }
    while (!c->must_end)
        serve(c);
    log_info("event=stop sessions=%u; clients keep what is stored", c->nr_sessions);
    while (c->sessions)
        end_session(c, c->sessions, "the daemon ends");
}

int control_run(const struct config *config, const struct features *features, struct listener *l,
                struct damon_watcher *watcher)
{
    struct control c = {
        .config = config, .features = features, .listener = l, .hurry_ms = IDLE_TICK_MS, .watcher = watcher
    };
    int r = open_all(&c);
    if (r) {
        log_error("event=start error=\"%s\"", strerror(-r));
        damon_watcher_stop(watcher);
        return EX_OSERR;
    }
    r = look_run(be_control, &c);
    (void)impatience_new();
    if (r)
        log_error("event=start error=\"%s\"", strerror(-r));
    compress_stop();
    bury_detached(&c);
    damon_watcher_stop(c.watcher ? c.watcher : c.lost_watcher);
    close(c.timer_fd);
    close(c.wake_fd);
    close(c.signal_fd);
    close(c.epoll_fd);
    (void)close(c.status_fd);
    (void)close(c.fds_fd);
    return r ? EX_OSERR : 0;
}
