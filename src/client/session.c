/* session.c - joining a daemon, losing it, joining the next. The daemon's death costs nothing but new
 * evictions: what is staged goes back into the target, what is stored stays readable through the map
 * that we keep until its last page is back. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutant.h"
#include "base/point.h"
#include "client/client.h"
#include "client/sleep.h"
#include "sys/apart.h"

#define JOIN_PAUSE_FIRST_NS (100 * NS_PER_MS)
#define JOIN_PAUSE_MAX_NS (2 * NS_PER_S)

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void session_clear(struct session *s)
{
    *s = (struct session){ .socket = -1,
                           .store_fd = -1,
                           .device_fd = -1,
                           .daemon_bell = -1,
                           .agent_bell = -1,
                           .porter_bell = -1 };
}

static void say(char *ret_error, size_t capacity, const char *text)
{
    (void)snprintf(ret_error, capacity, "%s", text);
}

static void say_why(char *ret_error, size_t capacity, const char *text, int error)
{
    (void)snprintf(ret_error, capacity, "%s (%s)", text, error_text(error));
}

static uint32_t grace_ms(const struct pp_pager *pp)
{
    uint64_t now = now_ns();
    return pp->grace_until_ns > now ? (uint32_t)((pp->grace_until_ns - now) / NS_PER_MS) : 0;
}

/* Connects to the first place that answers and says hello. The socket, or negative errno: that of the
 * place that came nearest (no right beats nobody there). */
int session_connect(struct pp_pager *pp, int pagemap_fd, char *ret_error, size_t capacity)
{
    char place[108], tried[108] = "";
    int error = -ENOENT, fd = -1;
    for (unsigned i = 0; fd < 0; i++) {
        const char *path = socket_path_candidate(i, pp->has_socket_path ? pp->socket_path : NULL,
                                                 place, sizeof place);
        if (!path)
            break;
        fd = socket_connect(path);
        if (fd < 0 && (error == -ENOENT || fd == -EACCES)) {
            error = fd;
            (void)snprintf(tried, sizeof tried, "%s", path);
        }
    }
    if (fd < 0) {
        (void)snprintf(ret_error, capacity, "no daemon at %s (%s): start process-pagerd, or name its "
                       "socket in $PROCESS_PAGER_SOCKET", tried[0] ? tried : "any known place",
                       error_text(error));
        return error;
    }
    struct msg_hello hello = { .version = WIRE_VERSION,
                               .features = HELLO_TAKES_ORDERS,
                               .nr_cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN),
                               .grace_ms = grace_ms(pp) };
    int comm = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
    if (comm >= 0) {
        ssize_t n = read(comm, hello.name, sizeof hello.name - 1);
        hello.name[n > 0 ? n - 1 : 0] = 0;
        close(comm);
    }
    struct msg_fds fds = { .fd = { pagemap_fd }, .nr = 1 };
    int r = msg_send(fd, MSG_HELLO, &hello, &fds);
    if (r && r != -ECONNRESET) { /* hung up: perhaps it has said why */
        say_why(ret_error, capacity, "cannot send to the daemon", r);
        close(fd);
        return r;
    }
    return fd;
}

/* The store and the rings must be what they are said to be: regular memory that cannot shrink under
 * our map. */
static bool is_sealed_memory(int fd, uint64_t bytes)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    return fstat(fd, &st) == 0 && (uint64_t)st.st_size >= bytes && seals >= 0 &&
           (seals & F_SEAL_SHRINK);
}

static int free_store(const struct pager *pg)
{
    for (int i = 0; i < PAGE_STORES_NR; i++)
        if (!pg->stores[i].bytes)
            return i;
    return -1;
}

bool session_has_place(const struct agent *a)
{
    return free_store(&a->pg) >= 0;
}

static void *map_private_to_us(int fd, size_t bytes, int protection)
{
    void *m = point_fails(POINT_MAP_SHARED) ? MAP_FAILED
                                            : map_apart(bytes, protection, MAP_SHARED | MAP_NORESERVE, fd);
    if (m == MAP_FAILED)
        return NULL;
    (void)madvise(m, bytes, MADV_DONTFORK);
    (void)madvise(m, bytes, MADV_DONTDUMP); /* gigabytes of holes, and of no use without the daemon */
    return m;
}

static void bind_rings(struct agent *a, struct porter *porter)
{
    struct session *s = &a->session;
    struct session_memory *m = s->memory;
    ring_init(&s->stored, &m->stored, m->stored_entries, STAGING_SLOTS_MAX,
              sizeof(struct stored_entry));
    ring_init(&s->given_up, &m->given_up, m->given_up_entries, RING_GIVEN_UP_NR,
              sizeof(struct given_up_entry));
    ring_init(&s->candidates, &m->candidates, m->candidate_entries, RING_CANDIDATES_NR,
              sizeof(struct candidate_entry));
    ring_init(&s->feedback, &m->feedback, m->feedback_entries, RING_FEEDBACK_NR,
              sizeof(struct feedback_entry));
    ring_init(&s->squeeze, &m->squeeze, m->squeeze_entries, SQUEEZES_NR, sizeof(struct squeeze_entry));
    ring_init(&s->squeezed, &m->squeezed, m->squeezed_entries, SQUEEZES_NR,
              sizeof(struct squeezed_entry));

    uint32_t number = ++a->session_number;
    struct porter_session *ps = &porter->sessions[number & 1];
    *ps = (struct porter_session){ .memory = m,
                                   .daemon_bell = s->daemon_bell,
                                   .porter_bell = s->porter_bell };
    ring_init(&ps->raw, &m->raw, m->raw_entries, RAW_SLOTS_MAX, sizeof(struct raw_entry));
    ring_init(&ps->raw_free, &m->raw_free, m->raw_free_entries, RAW_SLOTS_MAX,
              sizeof(struct raw_free_entry));
    atomic_store_explicit(&porter->session, number, memory_order_release);
    a->pg.session = number;
}

/* Takes what the WELCOME brought. 0, or negative errno. Descriptors that it takes, which are closed with
 * the connection, are no longer in fds. */
static int take_welcome(struct agent *a, struct pp_pager *pp, const struct msg_welcome *w,
                        struct msg_fds *fds, char *ret_error, size_t capacity)
{
    struct session *s = &a->session;
    if (w->version != WIRE_VERSION || w->session_bytes != SESSION_MEMORY_BYTES ||
        fds->nr != 5 + (w->has_device == 1)) {
        say(ret_error, capacity, "the daemon speaks another version: restart it after the upgrade");
        return -EPROTO;
    }
    s->store_fd = fds->fd[0];
    int memory_fd = fds->fd[1];
    s->daemon_bell = fds->fd[2];
    s->agent_bell = fds->fd[3];
    s->porter_bell = fds->fd[4];
    s->device_fd = w->has_device ? fds->fd[5] : -1;
    fds->nr = 0;
    s->cold_age_ns = w->cold_age_ms * NS_PER_MS;
    s->is_dry_run = w->dry_run != 0;
    s->squeeze_age_ns = group_can_decode() ? w->squeeze_age_ms * NS_PER_MS : 0;
    s->is_pageout = w->features & WELCOME_EVICT_BY_PAGEOUT;
    a->prefetch.is_on = w->features & WELCOME_PREFETCH && !s->is_pageout;
    if (!a->prefetch.is_on)
        prefetch_forget(a);
    urgent_set_wanted(a, w->features & WELCOME_URGENT);

    int store = free_store(&a->pg);
    int r = -EPROTO;
    if (store >= 0 && w->store_bytes && is_sealed_memory(memory_fd, w->session_bytes) &&
        is_sealed_memory(s->store_fd, w->store_bytes)) {
        s->memory = map_private_to_us(memory_fd, w->session_bytes, PROT_READ | PROT_WRITE);
        void *map = map_private_to_us(s->store_fd, w->store_bytes, PROT_READ);
        if (s->memory && map) {
            a->pg.stores[store] = (struct store_map){ .bytes = map, .nr_bytes = w->store_bytes };
            a->pg.store_now = store;
            forks_keep_store(&a->forks, (unsigned)store, s->store_fd);
            s->store_fd = -1;
            store_scratch_forget(&a->pg.scratch); /* another map may have been there */
            r = 0;
        } else {
            if (map)
                munmap(map, w->store_bytes);
            r = -ENOMEM;
        }
    }
    close(memory_fd);
    close_fd(&s->store_fd);
    if (r) {
        say_why(ret_error, capacity, "cannot map the daemon's memory", r);
        return r;
    }
    r = agent_listen(a, s->agent_bell, OTHER_AGENT_BELL);
    if (r) {
        say_why(ret_error, capacity, "cannot listen to the daemon", r);
        return r;
    }
    point_kills(POINT_WELCOME_TAKEN);
    bind_rings(a, pp->porter);
    sleep_lightly(a); /* this session's bell is announced before each sleep, but not while that is deep */
    a->is_joined = true;
    a->leaving_round = 0;
    a->next_lap_ns = 0; /* it may have another squeeze age */
    stats_add(&pp->agent_stats, STAT_daemon_joins, 1);
    return 0;
}

/* Also of a connection that was not listened to. */
static void stop_listening(struct agent *a)
{
    agent_unlisten(a, a->session.socket);
    agent_unlisten(a, a->session.agent_bell);
}

static void drop_connection(struct agent *a)
{
    struct session *s = &a->session;
    stop_listening(a);
    if (s->memory)
        munmap(s->memory, SESSION_MEMORY_BYTES);
    close_fd(&s->socket);
    close_fd(&s->store_fd);
    close_fd(&s->device_fd);
    close_fd(&s->daemon_bell);
    close_fd(&s->agent_bell);
    close_fd(&s->porter_bell);
    session_clear(s);
}

/* Waits for the answer to our hello. 0: joined; -EAGAIN: not yet; else the connection is dropped. */
int session_accept(struct agent *a, struct pp_pager *pp, int timeout_ms, char *ret_error,
                   size_t capacity)
{
    struct pollfd fd = { .fd = a->session.socket, .events = POLLIN };
    if (timeout_ms)
        (void)poll(&fd, 1, timeout_ms);
    struct msg m;
    struct msg_fds fds = { .nr = 0 };
    int r = msg_recv(a->session.socket, &m, &fds);
    if (r == -EAGAIN) {
        if (timeout_ms)
            say(ret_error, capacity, "the daemon does not answer: is it stopped?");
        return r;
    }
    if (r == -EMFILE) {
        say(ret_error, capacity, "no descriptor is free for what the daemon sends: raise the limit "
                                 "(ulimit -n)");
    } else if (r == -ECONNRESET) {
        say(ret_error, capacity, "the daemon closed the connection: its log says why");
    } else if (r) {
        say_why(ret_error, capacity, "cannot read what the daemon answers", r);
    } else if (m.header.type == MSG_REFUSE) {
        (void)snprintf(ret_error, capacity, "refused by the daemon: %s", m.payload.refuse.text);
        r = m.payload.refuse.error < 0 ? m.payload.refuse.error : -EPROTO;
    } else if (m.header.type == MSG_WELCOME) {
        r = take_welcome(a, pp, &m.payload.welcome, &fds, ret_error, capacity);
        if (r == 0)
            return 0;
    } else {
        say(ret_error, capacity, "the daemon answered with something else than a welcome");
        r = -EPROTO;
    }
    msg_fds_close(&fds);
    drop_connection(a);
    return r;
}

/* The first joining, which pp_start() waits for. */
int session_begin(struct agent *a, struct pp_pager *pp, char *ret_error, size_t capacity)
{
    session_clear(&a->session);
    a->join_pause_ns = JOIN_PAUSE_FIRST_NS;
    int fd = session_connect(pp, a->pg.pagemap_fd, ret_error, capacity);
    if (fd < 0)
        return fd;
    a->session.socket = fd;
    int r = agent_listen(a, fd, OTHER_SOCKET);
    if (r) {
        say_why(ret_error, capacity, "cannot listen to the daemon", r);
        drop_connection(a);
        return r;
    }
    r = session_accept(a, pp, 5000, ret_error, capacity);
    if (r == -EAGAIN) {
        drop_connection(a);
        return -ETIMEDOUT;
    }
    return r;
}

void session_announce(struct agent *a, enum msg_type type, page_number first, page_number end)
{
    if (!a->is_joined)
        return; /* the next joining announces all */
    struct msg_range range = { .start = page_address(first), .bytes = pages_to_bytes(end - first) };
    if (msg_send(a->session.socket, type, &range, NULL))
        a->session.needs_resync = true;
}

void session_resync(struct agent *a)
{
    struct msg_empty empty = { 0 };
    if (!a->is_joined)
        return;
    a->session.needs_resync = msg_send(a->session.socket, MSG_RANGES_RESET, &empty, NULL) != 0;
    for (uint32_t i = 0; i < a->pg.watched.nr && !a->session.needs_resync; i++) {
        struct interval *w = &a->pg.watched.items[i];
        if (watch_state_of(w) < WATCH_CHURNING)
            session_announce(a, MSG_RANGE_ADD, w->first, w->end);
    }
}

static void forget_stored(struct agent *a) /* MUTANT_FORGET_ON_DAEMON_DEATH */
{
    for (uint32_t i = 0; i < a->pg.table.nr_leaves; i++) {
        struct page_leaf *leaf = &a->pg.table.leaves[i];
        for (unsigned j = 0; j < LEAF_PAGES; j++) {
            struct page *p = &leaf->pages[j];
            if (p->state != PAGE_STORED)
                continue;
            pager_count(&a->pg, leaf, p, -1);
            pager_release(&a->pg, page_on_discard(p, false));
        }
    }
}

void session_lost(struct agent *a, struct pp_pager *pp, const char *why)
{
    if (!a->is_joined)
        return;
    (void)snprintf(a->error, sizeof a->error, "%s", why);
    a->is_joined = false;
    a->is_leaving = true;
    a->pg.store_now = -1;
    a->pg.nr_give_up = 0;
    a->pg.nr_give_back = 0;
    pager_forget_squeezes(&a->pg);
    a->candidate.nr_pages = 0;
    a->is_held = a->order.is_running = false;
    a->next_old_store_ns = 0;
    a->old_store_cursor = 0;
    a->join_pause_ns = JOIN_PAUSE_FIRST_NS;
    a->next_join_ns = now_ns() + a->join_pause_ns;
    stop_listening(a);
    close_fd(&a->session.socket);
    struct porter *porter = pp->porter;
    atomic_store_explicit(&porter->abandoned, a->session_number, memory_order_release);
    doorbell_ring(&porter->bell, porter->bell_fd);
    if (mutant_is(MUTANT_FORGET_ON_DAEMON_DEATH))
        forget_stored(a);
}

static void unmap_drained_stores(struct agent *a)
{
    for (int i = 0; i < PAGE_STORES_NR; i++) {
        struct store_map *map = &a->pg.stores[i];
        if (map->bytes && i != a->pg.store_now && !a->pg.store_pages[i] &&
            !pager_ahead_reads(&a->pg, map->bytes) && !forks_need_store(&a->forks, (unsigned)i)) {
            pager_shut_out_touchers(&a->pg); /* one may still be decoding what it will not install */
            munmap((void *)(uintptr_t)map->bytes, map->nr_bytes);
            *map = (struct store_map){ 0 };
            forks_keep_store(&a->forks, (unsigned)i, -1);
            pager_let_in_touchers(&a->pg);
        }
    }
}

/* After a loss: what is staged goes back, the porter lets go of the shared memory, then it is ours to
 * unmap. Nothing here waits. */
void session_try_leave(struct agent *a, struct pp_pager *pp)
{
    unmap_drained_stores(a);
    if (!a->is_leaving)
        return;
    if (pager_unstage(&a->pg, 64))
        return;
    uint32_t ack = atomic_load_explicit(&pp->porter->abandoned_ack, memory_order_acquire);
    if (ack != a->session_number)
        return;
    drop_connection(a);
    a->is_leaving = false;
}

void session_close(struct agent *a)
{
    drop_connection(a);
    a->is_joined = false;
    a->pg.store_now = -1;
    for (int i = 0; i < PAGE_STORES_NR; i++)
        if (a->pg.stores[i].bytes)
            munmap((void *)(uintptr_t)a->pg.stores[i].bytes, a->pg.stores[i].nr_bytes);
}

static void try_join(struct agent *a, struct pp_pager *pp)
{
    char error[sizeof a->error];
    if (a->session.socket < 0) {
        if (now_ns() < a->next_join_ns || !session_has_place(a))
            return;
        a->join_pause_ns *= 2;
        if (a->join_pause_ns > JOIN_PAUSE_MAX_NS)
            a->join_pause_ns = JOIN_PAUSE_MAX_NS;
        a->next_join_ns = now_ns() + a->join_pause_ns;
        int fd = session_connect(pp, a->pg.pagemap_fd, error, sizeof error);
        if (fd < 0)
            return;
        a->session.socket = fd;
        if (agent_listen(a, fd, OTHER_SOCKET)) {
            drop_connection(a);
            return;
        }
    }
    if (session_accept(a, pp, 0, error, sizeof error) == 0)
        session_resync(a);
}

void session_poll(struct agent *a, struct pp_pager *pp)
{
    if (a->is_leaving)
        return;
    if (!a->is_joined) {
        try_join(a, pp);
        return;
    }
    struct msg m;
    struct msg_fds fds = { .nr = 0 };
    int r = msg_recv(a->session.socket, &m, &fds);
    if (r == -EAGAIN)
        return;
    if (r) {
        session_lost(a, pp, "the daemon has gone");
        return;
    }
    msg_fds_close(&fds);
    if (m.header.type == MSG_ORDER && order_take(a, &m.payload.order)) /* the rest does not matter now */
        session_lost(a, pp, "the daemon broke the protocol");
}
