/* compress.c - see compress.h. Per page: a copy into the encoder and LZ4 (4-5 us), a put (0.2 us), two
 * ring entries (10 ns each), 1/224 of a doorbell. Sessions take turns of COMPRESS_PER_TURN pages. */
#include "daemon/compress.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/locator.h"
#include "base/point.h"
#include "codec/codec.h"
#include "daemon/limits.h"
#include "daemon/tier.h"
#include "policy/background.h"
#include "sys/class.h"
#include "sys/load.h"

#define EVENTS_NR 64
/* Answers between two rings, unless there is nothing left to do: half of the fewest that a client has
 * under way at a time. Waking an idle CPU costs both sides more than a page does: with a ring every 8 answers
 * eviction ran at 0.45 of zram's speed and 12.6 us of CPU a page. */
#define BELL_EVERY 224u
#define IDLE_LOOK_MS 500 /* places given up come without a bell; memory goes back then, too */
#define BUSY_LOOK_MS 50  /* after one that found more than a few */
#define FEW_GIVEN_UP 256u
#define QUIET_MS 100     /* since the last put: what is dead will not be used again at once */
/* A session that always has something to put is trimmed when so much of what it holds is dead. */
#define DEAD_SHARE 16u
#define DEAD_BYTES_MIN ((uint64_t)1 << 20)
/* Squeezing: so much at a time, then a pause (policy/background.h). A raw page waits for one group, 65 us. */
#define SQUEEZE_TURN_NS NS_PER_MS

static struct {
    pthread_t thread;
    int epoll_fd, call_fd, wake_fd;
    struct codec_encoder *encoder;
    struct squeezer *squeezer;
    struct store_budget budget;
    int load_fd;                  /* set at birth */
    int waits_fd;                 /* compress; negative: not counted here */
    struct class_waits waits;     /* compress */
    struct background background; /* compress */
    uint64_t next_squeeze_ns;     /* compress */
    bool has_asks;                /* compress: of what is stored, and not yet answered */
    _Atomic bool must_end;
    uint64_t user_cap_bytes; /* set at birth */
    struct session *active; /* compress: those with work */
    uint32_t round;         /* compress: of turns */
    struct session *all;    /* compress */
    uint64_t next_idle_ms;  /* compress */
    /* Whose bell we are ringing just now, and how many rings that makes: see compress_unblock() */
    _Atomic(struct session *) ringing;
    _Atomic uint64_t nr_rings;

    pthread_mutex_t lock; /* rank 20: the queues; held for a few instructions */
    struct session *to_attach, *to_ring, *to_detach, *detached;
} cp = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void fail(struct session *s, const char *why)
{
    atomic_store(&s->failure, why);
    (void)eventfd_write(cp.wake_fd, 1);
}

static bool has_failed(struct session *s)
{
    return atomic_load_explicit(&s->failure, memory_order_relaxed) != NULL;
}

static int drop(struct store_writer *store, locator place)
{
    if (!locator_has_blob(place))
        return -EINVAL;
    if (locator_kind_of(place) == LOCATOR_ZSTD)
        return store_drop_member(store, locator_offset(place), locator_size(place), locator_index(place));
    return store_drop(store, locator_offset(place), locator_size(place));
}

/* Number of places taken. */
static unsigned take_given_up(struct session *s)
{
    struct given_up_entry e;
    unsigned nr = 0;
    int r = 0;
    while (nr < RING_GIVEN_UP_NR && (r = ring_take(&s->given_up, &e)) == 1) {
        point_kills(POINT_GIVEN_UP_TAKEN);
        if (drop(s->store, e.place))
            atomic_fetch_add_explicit(&s->nr_bad_drops, 1, memory_order_relaxed);
        point_kills(POINT_DROPPED);
        nr++;
    }
    if (r < 0)
        fail(s, "given_up ring: impossible position");
    return nr;
}

static struct stored_entry store_page(struct session *s, const struct raw_entry *e)
{
    struct stored_entry answer = { .staging_slot = e->staging_slot, .generation = e->generation };
    struct codec_encoded encoded;
    enum codec_result r = codec_encode(cp.encoder, session_raw_page(s->memory, e->raw_slot), &encoded);
    uint64_t offset;
    switch (r) {
    case CODEC_FILL32:
        answer.place = locator_make_fill32(encoded.fill);
        break;
    case CODEC_NOT_WORTH_IT:
        answer.result = STORED_INCOMPRESSIBLE;
        break;
    case CODEC_BLOB:
        point_kills(POINT_ENCODED);
        if (!user_may_put(s->user, cp.user_cap_bytes) ||
            store_put(s->store, encoded.bytes, encoded.size, &offset))
            answer.result = STORED_FULL;
        else
            answer.place = locator_make(encoded.kind, offset, encoded.size);
        break;
    }
    return answer;
}

static void look_soon(void)
{
    uint64_t soon_ms = monotonic_ms() + BUSY_LOOK_MS;
    cp.next_idle_ms = soon_ms < cp.next_idle_ms ? soon_ms : cp.next_idle_ms;
}

static void ring_bell(struct session *s, struct doorbell *bell, int eventfd)
{
    atomic_fetch_add_explicit(&cp.nr_rings, 1, memory_order_relaxed);
    atomic_store_explicit(&cp.ringing, s, memory_order_relaxed);
    doorbell_ring(bell, eventfd);
    atomic_store_explicit(&cp.ringing, NULL, memory_order_relaxed);
}

static void ring_agent(struct session *s)
{
    ring_bell(s, &s->memory->agent_bell, s->agent_bell);
}

static void ring_client(struct session *s)
{
    s->nr_unrung = 0;
    ring_bell(s, &s->memory->porter_bell, s->porter_bell);
    point_kills(POINT_HALF_RUNG);
    ring_agent(s);
}

/* One turn. Number of pages done. */
static unsigned do_turn(struct session *s)
{
    if (take_given_up(s) > FEW_GIVEN_UP)
        look_soon();
    unsigned done = 0;
    struct raw_entry e;
    int r = 0;
    while (done < COMPRESS_PER_TURN && (r = ring_take(&s->raw, &e)) == 1) {
        if (e.raw_slot >= RAW_SLOTS_MAX) {
            fail(s, "raw ring: no such slot");
            break;
        }
        point_kills(POINT_RAW_TAKEN);
        struct stored_entry answer = store_page(s, &e);
        struct raw_free_entry slot = { .raw_slot = e.raw_slot };
        bool has_room = ring_put(&s->raw_free, &slot) == 0;
        point_kills(POINT_RAW_FREED);
        if (!has_room || ring_put(&s->stored, &answer)) {
            fail(s, "an answer does not fit: more pages sent than there are slots");
            break;
        }
        point_kills(POINT_ANSWERED);
        done++;
        if (++s->nr_unrung >= BELL_EVERY)
            ring_client(s);
    }
    if (r < 0)
        fail(s, "raw ring: impossible position");
    if (s->nr_unrung && ring_is_empty(&s->raw))
        ring_client(s);
    return done;
}

static void publish_usage(struct session *s)
{
    struct store_usage u;
    store_usage(s->store, &u);
    user_hold(s->user, (int64_t)(u.held_bytes - atomic_load_explicit(&s->held_bytes,
                                                                     memory_order_relaxed)));
    atomic_store_explicit(&s->held_bytes, u.held_bytes, memory_order_relaxed);
    atomic_store_explicit(&s->payload_bytes, u.payload_bytes, memory_order_relaxed);
    atomic_store_explicit(&s->nr_blobs, u.nr_blobs, memory_order_relaxed);
    atomic_store_explicit(&s->bookkeeping_bytes, u.bookkeeping_bytes, memory_order_relaxed);
    atomic_store_explicit(&s->slot_bytes, u.slot_bytes, memory_order_relaxed);
    atomic_store_explicit(&s->nr_groups, u.nr_groups, memory_order_relaxed);
    atomic_store_explicit(&s->nr_group_pages, u.nr_group_pages, memory_order_relaxed);
    atomic_store_explicit(&s->group_payload_bytes, u.group_payload_bytes, memory_order_relaxed);
    atomic_store_explicit(&s->group_slot_bytes, u.group_slot_bytes, memory_order_relaxed);
    if (u.held_bytes > atomic_load_explicit(&s->held_bytes_peak, memory_order_relaxed))
        atomic_store_explicit(&s->held_bytes_peak, u.held_bytes, memory_order_relaxed);
}

/* Blocks without a blob go back to the system: all of them when nothing was put for a while; else only
 * when they are many, because a place that is soon used again costs a fault. */
static void trim(struct session *s)
{
    struct store_usage u;
    store_usage(s->store, &u);
    uint64_t dead = u.held_bytes > u.payload_bytes ? u.held_bytes - u.payload_bytes : 0;
    bool is_quiet = monotonic_ms() - s->last_put_ms >= QUIET_MS;
    if (is_quiet || dead > u.held_bytes / DEAD_SHARE + DEAD_BYTES_MIN)
        s->is_trimming = store_trim(s->store, TRIM_BLOCKS) == TRIM_BLOCKS;
    else
        s->is_trimming = false;
}

static void turn(struct session *s)
{
    uint64_t begin_ns = thread_cpu_ns();
    if (do_turn(s)) {
        s->last_put_ms = monotonic_ms();
        s->is_trimming = false;
    } else if (s->is_trimming) {
        trim(s);
    }
    publish_usage(s);
    atomic_fetch_add_explicit(&s->compress_cpu_ns, thread_cpu_ns() - begin_ns, memory_order_relaxed);
}

static bool has_more(struct session *s)
{
    return !has_failed(s) && (s->is_trimming || !ring_is_empty(&s->raw));
}

static void activate(struct session *s)
{
    if (s->is_active)
        return;
    doorbell_awake(&s->memory->daemon_bell, s->daemon_bell);
    s->is_active = true;
    s->next_active = cp.active;
    cp.active = s;
}

/* Announces that we sleep, and looks once more. */
static bool is_done(struct session *s)
{
    if (has_more(s))
        return false;
    doorbell_will_sleep(&s->memory->daemon_bell);
    if (!has_more(s))
        return true;
    doorbell_awake_unrung(&s->memory->daemon_bell);
    return false;
}

/* Every active session has a turn, but no user more than a few; whose turn does not come stands in front the
 * next time. */
static void take_turns(void)
{
    struct session *waits = NULL, **waits_end = &waits, *had_turn = NULL, **had_end = &had_turn, *next;
    cp.round++;
    for (struct session *s = cp.active; s; s = next) {
        next = s->next_active;
        if (!user_may_compress(s->user, cp.round)) {
            *waits_end = s;
            waits_end = &s->next_active;
            continue;
        }
        if (!has_failed(s))
            turn(s);
        s->is_active = !is_done(s);
        if (s->is_active) {
            *had_end = s;
            had_end = &s->next_active;
        }
    }
    *had_end = NULL;
    *waits_end = had_turn;
    cp.active = waits;
}

static void deactivate(struct session *s)
{
    for (struct session **at = &cp.active; *at; at = &(*at)->next_active)
        if (*at == s) {
            *at = s->next_active;
            break;
        }
    s->is_active = false;
}

/* Twice a second, also when nobody rings; more often while somebody's memory comes back. */
static void idle_round(void)
{
    uint64_t now_ms = monotonic_ms();
    if (now_ms < cp.next_idle_ms)
        return;
    unsigned nr_taken = 0;
    for (struct session *s = cp.all; s; s = s->next_attached) {
        uint64_t begin_ns = thread_cpu_ns();
        if (has_failed(s))
            continue;
        nr_taken += take_given_up(s);
        trim(s);
        if (now_ms - s->last_put_ms >= IDLE_LOOK_MS)
            tier_compact(s, now_ms);
        publish_usage(s);
        if (s->is_trimming)
            activate(s);
        atomic_fetch_add_explicit(&s->compress_cpu_ns, thread_cpu_ns() - begin_ns,
                                  memory_order_relaxed);
    }
    cp.next_idle_ms = now_ms + (nr_taken > FEW_GIVEN_UP ? BUSY_LOOK_MS : IDLE_LOOK_MS);
}

/* ---- what is stored, denser: when no raw page waits */

static bool raw_page_waits(void)
{
    for (struct session *s = cp.all; s; s = s->next_attached)
        if (!ring_is_empty(&s->raw))
            return true;
    return false;
}

static bool any_asks(void)
{
    for (struct session *s = cp.all; s; s = s->next_attached)
        if (tier_has_asks(s))
            return true;
    return false;
}

/* One of each session after the other, until nothing is left, a page waits or the turn is over. */
static void squeeze_until(uint64_t end_cpu_ns)
{
    for (bool any = true; any;) {
        any = false;
        for (struct session *s = cp.all; s; s = s->next_attached) {
            if (!tier_has_asks(s))
                continue;
            any |= tier_do_one(s, cp.squeezer);
            if (has_failed(s))
                (void)eventfd_write(cp.wake_fd, 1);
            if (raw_page_waits() || thread_cpu_ns() >= end_cpu_ns)
                return;
        }
    }
}

static void read_waits(void)
{
    struct class_waits now = { .ns = 0 };
    if (cp.waits_fd >= 0)
        class_read_waits(cp.waits_fd, &now);
    if (now.ns > cp.waits.ns) /* else it could not be read */
        cp.waits = now;
}

/* At the end of a turn, before we wake others. Who had the CPU at its beginning has kept us waiting. */
static void see_turn(void)
{
    struct class_waits before = cp.waits;
    read_waits();
    background_note(&cp.background, load_nr_running(cp.load_fd), load_nr_cpus(), cp.waits.ns - before.ns);
}

/* Sessions have announced their sleep by now: what is asked for later rings their bells. */
static void squeeze_round(void)
{
    bool had_asks = cp.has_asks;
    cp.has_asks = !cp.active && any_asks();
    if (cp.has_asks && !had_asks)
        read_waits(); /* from here on */
    if (!cp.has_asks || now_ns() < cp.next_squeeze_ns)
        return;
    uint64_t begin_ns = thread_cpu_ns();
    squeeze_until(begin_ns + SQUEEZE_TURN_NS);
    uint64_t used_ns = thread_cpu_ns() - begin_ns;
    see_turn();
    for (struct session *s = cp.all; s; s = s->next_attached)
        if (s->nr_squeezed_unrung) {
            s->nr_squeezed_unrung = 0;
            ring_agent(s);
        }
    cp.next_squeeze_ns = now_ns() + background_pause_ns(&cp.background, used_ns);
    cp.has_asks = any_asks();
}

static int wait_ms(void)
{
    if (cp.active)
        return 0;
    if (cp.has_asks) {
        uint64_t now = now_ns();
        return now >= cp.next_squeeze_ns ? 0 : (int)((cp.next_squeeze_ns - now) / NS_PER_MS) + 1;
    }
    if (!cp.all)
        return -1;
    uint64_t now_ms = monotonic_ms();
    return cp.next_idle_ms > now_ms ? (int)(cp.next_idle_ms - now_ms) : 0;
}

static void take_in(struct session *s)
{
    store_set_budget(s->store, &cp.budget);
    s->next_attached = cp.all;
    cp.all = s;
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = s };
    if (point_fails(POINT_COMPRESS_LISTEN) || epoll_ctl(cp.epoll_fd, EPOLL_CTL_ADD, s->daemon_bell, &event))
        fail(s, "no memory to listen to its bell");
    activate(s); /* it may have begun before we listened */
}

static void let_go(struct session *s)
{
    deactivate(s);
    for (struct session **at = &cp.all; *at; at = &(*at)->next_attached)
        if (*at == s) {
            *at = s->next_attached;
            break;
        }
    (void)epoll_ctl(cp.epoll_fd, EPOLL_CTL_DEL, s->daemon_bell, NULL);
    publish_usage(s);
    point_kills(POINT_LETTING_GO);
    pthread_mutex_lock(&cp.lock);
    s->next = cp.detached;
    cp.detached = s;
    pthread_mutex_unlock(&cp.lock);
    (void)eventfd_write(cp.wake_fd, 1);
}

/* The links of what is in the list stay as they are until is_to_ring is taken back, one by one. */
static void ring_agents(struct session *list)
{
    for (struct session *s = list, *next; s; s = next) {
        pthread_mutex_lock(&cp.lock);
        next = s->next_ring;
        s->is_to_ring = false;
        pthread_mutex_unlock(&cp.lock);
        ring_agent(s);
    }
}

/* What control wants. In this order: it asks for nothing more of a session that it has detached. */
static void take_calls(void)
{
    pthread_mutex_lock(&cp.lock);
    struct session *attach = cp.to_attach, *ring = cp.to_ring, *detach = cp.to_detach;
    cp.to_attach = cp.to_ring = cp.to_detach = NULL;
    pthread_mutex_unlock(&cp.lock);
    for (struct session *s = attach; s; s = s->next_attach)
        take_in(s);
    ring_agents(ring);
    for (struct session *s = detach, *next; s; s = next) {
        next = s->next_detach;
        let_go(s);
    }
}

static void *compress_main(void *unused)
{
    (void)unused;
    (void)prctl(PR_SET_NAME, "pp-compress");
    cp.waits_fd = class_open_waits(); /* of this thread */
    struct epoll_event events[EVENTS_NR];
    while (!atomic_load(&cp.must_end)) {
        int n = epoll_wait(cp.epoll_fd, events, EVENTS_NR, wait_ms());
        bool is_called = false;
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                activate(events[i].data.ptr);
            else
                is_called = true;
        }
        if (is_called) {
            eventfd_t count;
            (void)eventfd_read(cp.call_fd, &count);
            take_calls();
        }
        take_turns();
        squeeze_round();
        idle_round();
    }
    take_calls(); /* what was asked for together with the end */
    if (cp.waits_fd >= 0)
        close(cp.waits_fd);
    return NULL;
}

int compress_start(int wake_fd, uint64_t total_cap_bytes, uint64_t user_cap_bytes)
{
    cp.wake_fd = wake_fd;
    cp.budget.cap_bytes = total_cap_bytes;
    cp.user_cap_bytes = user_cap_bytes;
    int r = codec_encoder_new(&cp.encoder);
    if (r == 0)
        r = squeezer_new(&cp.squeezer);
    if (r)
        return r;
    cp.epoll_fd = point_fails(POINT_COMPRESS_EPOLL) ? -1 : epoll_create1(EPOLL_CLOEXEC);
    cp.call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event call = { .events = EPOLLIN, .data.ptr = NULL };
    if (cp.epoll_fd < 0 || cp.call_fd < 0 ||
        epoll_ctl(cp.epoll_fd, EPOLL_CTL_ADD, cp.call_fd, &call))
        return -errno;
    cp.load_fd = load_open(LOAD_PATH);
    background_begin(&cp.background);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    r = point_fails(POINT_COMPRESS_THREAD) ? -errno
                                           : -pthread_create(&cp.thread, &attributes, compress_main, NULL);
    pthread_attr_destroy(&attributes);
    return r;
}

static void call(void)
{
    (void)eventfd_write(cp.call_fd, 1);
}

static void empty_bell(int eventfd)
{
    uint64_t count;
    struct iovec into = { &count, sizeof count };
    (void)!preadv2(eventfd, &into, 1, -1, RWF_NOWAIT);
}

bool compress_is_ringing(uint64_t *ret_ring)
{
    *ret_ring = atomic_load_explicit(&cp.nr_rings, memory_order_relaxed);
    return atomic_load_explicit(&cp.ringing, memory_order_relaxed);
}

void compress_unblock(void)
{
    struct session *s = atomic_load(&cp.ringing);
    if (!s)
        return;
    atomic_store(&s->failure, "it keeps its doorbells from being rung");
    empty_bell(s->agent_bell);
    empty_bell(s->porter_bell);
}

void compress_stop(void)
{
    atomic_store(&cp.must_end, true);
    call();
    struct timespec until;
    do {
        compress_unblock(); /* whoever has it stopped just now is ended with all others anyway */
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
    } while (pthread_timedjoin_np(cp.thread, NULL, &until) == ETIMEDOUT);
    close(cp.epoll_fd);
    close(cp.call_fd);
    if (cp.load_fd >= 0)
        close(cp.load_fd);
    cp.encoder = codec_encoder_free(cp.encoder);
    cp.squeezer = squeezer_free(cp.squeezer);
}

uint64_t compress_held_bytes(void)
{
    return atomic_load_explicit(&cp.budget.held_bytes, memory_order_relaxed);
}

void compress_attach(struct session *s)
{
    pthread_mutex_lock(&cp.lock);
    s->next_attach = cp.to_attach;
    cp.to_attach = s;
    pthread_mutex_unlock(&cp.lock);
    call();
}

void compress_ring_agent(struct session *s)
{
    pthread_mutex_lock(&cp.lock);
    if (!s->is_to_ring) {
        s->is_to_ring = true;
        s->next_ring = cp.to_ring;
        cp.to_ring = s;
    }
    pthread_mutex_unlock(&cp.lock);
    call();
}

void compress_detach(struct session *s)
{
    pthread_mutex_lock(&cp.lock);
    s->next_detach = cp.to_detach;
    cp.to_detach = s;
    pthread_mutex_unlock(&cp.lock);
    call();
}

struct session *compress_detached(void)
{
    pthread_mutex_lock(&cp.lock);
    struct session *list = cp.detached;
    cp.detached = NULL;
    pthread_mutex_unlock(&cp.lock);
    return list;
}
