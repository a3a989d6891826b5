/* sleep.c - how the agent sleeps, and wakes the porter. There are two ways:
 *
 *   light   one poll over two descriptors: the userfaultfd, and an epoll that stands for all others (the
 *           clock, the porter's and the daemon's bells, the socket).
 *   deep    the read of the userfaultfd itself blocks. Per fault that is one system call less, and no wait
 *           queue but the one that the fault wakes: 1.2 us of the 13.5 that a paced touch took (medians).
 *           The porter listens to the others meanwhile, and rings by discarding a page of ours, as calls of
 *           the application do. An event makes restores wait until its raiser has run again, so this is
 *           for times when faults come and nothing else does: after NR_FAULTS_DEEP of them in a row. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/point.h"
#include "client/client.h"
#include "client/sleep.h"

#define NR_FAULTS_DEEP 8u
#define ORDERS_PER_RING 128u /* while there is more to do; waking an idle CPU costs what two copies do */

/* ---- who is listened to */

int agent_listen(struct agent *a, int fd, enum agent_other which)
{
    struct epoll_event e = { .events = EPOLLIN, .data.u32 = which };
    return point_fails(POINT_OWN_LISTEN) || epoll_ctl(a->others_fd, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

void agent_unlisten(struct agent *a, int fd)
{
    (void)epoll_ctl(a->others_fd, EPOLL_CTL_DEL, fd, NULL); /* ENOENT: it was not listened to */
}

static void hear(struct agent *a)
{
    bool heard[OTHERS_NR] = { false };
    struct epoll_event events[OTHERS_NR];
    int n = epoll_wait(a->others_fd, events, OTHERS_NR, 0);
    for (int i = 0; i < n; i++)
        heard[events[i].data.u32] = true;
    if (heard[OTHER_PORTER_BELL])
        doorbell_awake(&a->porter_bell, a->porter_bell_fd);
    if (heard[OTHER_AGENT_BELL])
        doorbell_awake(&a->session.memory->agent_bell, a->session.agent_bell);
    a->is_socket_ready |= heard[OTHER_SOCKET];
    uint64_t expirations;
    if (heard[OTHER_TIMER] && read(a->timer_fd, &expirations, sizeof expirations) < 0)
        invariant_broken("the agent's timer can't be read");
}

/* ---- sleeping */

static void announce(struct agent *a)
{
    doorbell_will_sleep(&a->porter_bell);
    if (a->is_joined)
        doorbell_will_sleep(&a->session.memory->agent_bell);
}

static void take_back(struct agent *a)
{
    doorbell_awake_unrung(&a->porter_bell);
    if (a->is_joined)
        doorbell_awake_unrung(&a->session.memory->agent_bell);
}

static bool has_work_in_rings(struct agent *a, struct pp_pager *pp)
{
    struct session *s = &a->session;
    if (!ring_is_empty(&a->pg.from_porter) ||
        (!a->is_command_waiting &&
         atomic_load_explicit(&pp->command.state, memory_order_acquire) == COMMAND_POSTED))
        return true;
    return a->is_joined &&
           (!ring_is_empty(&s->stored) || !ring_is_empty(&s->squeezed) ||
            (agent_may_evict(a) && (a->candidate.nr_pages || !ring_is_empty(&s->candidates))));
}

static void set_blocking(struct agent *a, bool is_blocking)
{
    if (fcntl(a->pg.uffd, F_SETFL, is_blocking ? 0 : O_NONBLOCK))
        invariant_broken("the userfaultfd's flags can't be set");
    a->pg.is_read_blocking = is_blocking;
}

/* The announcements stay: whoever has something for us rings the bells, and the porter hears them. */
static void sleep_deeply(struct agent *a, struct porter *porter)
{
    set_blocking(a, true);
    atomic_store_explicit(&porter->listens_for_agent, true, memory_order_relaxed);
    doorbell_ring(&porter->bell, porter->bell_fd); /* fences; it looks once more before it sleeps */
}

void sleep_lightly(struct agent *a)
{
    a->nr_faults_in_a_row = 0;
    if (!a->pg.is_read_blocking)
        return;
    atomic_store_explicit(&a->porter->listens_for_agent, false, memory_order_relaxed);
    set_blocking(a, false);
    take_back(a);
    hear(a);
}

/* Blocks until the kernel, the porter, the daemon or the clock wants us; deeply: the next read does. A
 * thread that was just answered may be waiting for this very CPU, so this is short. The clock is a timerfd
 * that runs by itself: a timeout of poll's own is programmed and cancelled at every fault, which costs
 * 8 us in a guest (p50 of a touch 26 us with it, 17 without). */
void sleep_until_needed(struct agent *a, struct pp_pager *pp)
{
    if (!a->pg.is_read_blocking)
        announce(a);
    if (has_work_in_rings(a, pp)) {
        if (a->pg.is_read_blocking)
            sleep_lightly(a);
        else
            take_back(a);
        return;
    }
    if (a->pg.is_read_blocking)
        return;
    if (a->nr_faults_in_a_row >= NR_FAULTS_DEEP && !a->pg.direct) { /* no fault of a touching thread's comes */
        sleep_deeply(a, pp->porter);
        return;
    }
    struct pollfd fds[] = { { .fd = a->pg.uffd, .events = POLLIN },
                            { .fd = a->others_fd, .events = POLLIN } };
    (void)poll(fds, sizeof fds / sizeof *fds, -1);
    take_back(a);
    if (fds[1].revents) {
        a->nr_faults_in_a_row = 0;
        hear(a);
    }
}

/* ---- waking the porter */

/* When there is enough to do for it, and before we sleep unless it can wait: slots are freed a run at a time
 * while answers are still to come. Two threads that wake each other for every few pages made 20,000
 * switches each for 131,072 pages, and half of what an eviction cost the client. */
void sleep_ring_porter(struct agent *a, struct pp_pager *pp, bool is_busy)
{
    uint32_t position = a->pg.to_porter.position, nr = position - a->orders_rung;
    bool has_copies = a->pg.staging.generation != a->copies_rung;
    bool must_now = !is_busy && nr && (has_copies || !a->pg.nr_staged);
    if (nr < (is_busy ? ORDERS_PER_RING : MOVE_RUN_MAX) && !must_now)
        return;
    a->orders_rung = position;
    a->copies_rung = a->pg.staging.generation;
    doorbell_ring(&pp->porter->bell, pp->porter->bell_fd);
}

