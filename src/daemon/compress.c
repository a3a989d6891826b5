/* compress.c - see compress.h. Per page: a copy into the encoder and LZ4 (4-5 us), a put (0.2 us), two
 * ring entries (10 ns each), a share of a doorbell. Sessions take turns of COMPRESS_PER_TURN pages. */
#include "daemon/compress.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/locator.h"
#include "codec/codec.h"
#include "daemon/limits.h"

#define EVENTS_NR 64
#define BELL_EVERY 8u       /* answers between two rings: the agent frees staging meanwhile */
#define IDLE_LOOK_MS 500    /* places given up come without a bell; memory goes back then, too */

static struct {
    pthread_t thread;
    int epoll_fd, call_fd, wake_fd;
    struct codec_encoder *encoder;
    _Atomic bool must_end;
    struct session *active; /* compress: those with work */

    pthread_mutex_t lock; /* rank 20: the two queues; held for a few instructions */
    struct session *to_detach, *detached;
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

static void take_given_up(struct session *s)
{
    struct given_up_entry e;
    int r;
    while ((r = ring_take(&s->given_up, &e)) == 1)
        if (!locator_has_blob(e.place) ||
            store_drop(s->store, locator_offset(e.place), locator_size(e.place)))
            atomic_fetch_add_explicit(&s->nr_bad_drops, 1, memory_order_relaxed);
    if (r < 0)
        fail(s, "given_up ring: impossible position");
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
        if (store_put(s->store, encoded.bytes, encoded.size, &offset))
            answer.result = STORED_FULL;
        else
            answer.place = locator_make(encoded.kind, offset, encoded.size);
        break;
    }
    return answer;
}

static void ring_client(struct session *s)
{
    doorbell_ring(&s->memory->porter_bell, s->porter_bell);
    doorbell_ring(&s->memory->agent_bell, s->agent_bell);
}

/* One turn. Number of pages done. */
static unsigned do_turn(struct session *s)
{
    take_given_up(s);
    unsigned done = 0;
    struct raw_entry e;
    int r = 0;
    while (done < COMPRESS_PER_TURN && (r = ring_take(&s->raw, &e)) == 1) {
        if (e.raw_slot >= RAW_SLOTS_MAX) {
            fail(s, "raw ring: no such slot");
            break;
        }
        struct stored_entry answer = store_page(s, &e);
        struct raw_free_entry slot = { .raw_slot = e.raw_slot };
        if (ring_put(&s->raw_free, &slot) || ring_put(&s->stored, &answer)) {
            fail(s, "an answer does not fit: more pages sent than there are slots");
            break;
        }
        if (++done % BELL_EVERY == 0)
            ring_client(s);
    }
    if (r < 0)
        fail(s, "raw ring: impossible position");
    if (done)
        ring_client(s);
    return done;
}

static void publish_usage(struct session *s)
{
    struct store_usage u;
    store_usage(s->store, &u);
    atomic_store_explicit(&s->held_bytes, u.held_bytes, memory_order_relaxed);
    atomic_store_explicit(&s->payload_bytes, u.payload_bytes, memory_order_relaxed);
    atomic_store_explicit(&s->nr_blobs, u.nr_blobs, memory_order_relaxed);
    atomic_store_explicit(&s->bookkeeping_bytes, u.bookkeeping_bytes, memory_order_relaxed);
    if (u.held_bytes > atomic_load_explicit(&s->held_bytes_peak, memory_order_relaxed))
        atomic_store_explicit(&s->held_bytes_peak, u.held_bytes, memory_order_relaxed);
}

static void turn(struct session *s)
{
    uint64_t begin_ns = thread_cpu_ns();
    unsigned done = do_turn(s);
    if (done)
        s->last_put_ms = monotonic_ms();
    else if (monotonic_ms() - s->last_put_ms >= IDLE_LOOK_MS)
        (void)store_trim(s->store, TRIM_BLOCKS);
    publish_usage(s);
    atomic_fetch_add_explicit(&s->compress_cpu_ns, thread_cpu_ns() - begin_ns, memory_order_relaxed);
}

static bool has_more(struct session *s)
{
    return !has_failed(s) && (!ring_is_empty(&s->raw));
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

/* Every active session has a turn; those without more work announce that they sleep, and look once
 * more. */
static void take_turns(void)
{
    struct session **at = &cp.active;
    while (*at) {
        struct session *s = *at;
        if (!has_failed(s))
            turn(s);
        if (!has_more(s)) {
            doorbell_will_sleep(&s->memory->daemon_bell);
            if (!has_more(s)) {
                *at = s->next_active;
                s->is_active = false;
                continue;
            }
            doorbell_awake_unrung(&s->memory->daemon_bell);
        }
        at = &s->next_active;
    }
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

static void give_back_detached(void)
{
    pthread_mutex_lock(&cp.lock);
    struct session *list = cp.to_detach;
    cp.to_detach = NULL;
    pthread_mutex_unlock(&cp.lock);
    while (list) {
        struct session *s = list;
        list = s->next;
        deactivate(s);
        (void)epoll_ctl(cp.epoll_fd, EPOLL_CTL_DEL, s->daemon_bell, NULL);
        publish_usage(s);
        pthread_mutex_lock(&cp.lock);
        s->next = cp.detached;
        cp.detached = s;
        pthread_mutex_unlock(&cp.lock);
        (void)eventfd_write(cp.wake_fd, 1);
    }
}

static void *compress_main(void *unused)
{
    (void)unused;
    (void)prctl(PR_SET_NAME, "pp-compress");
    struct epoll_event events[EVENTS_NR];
    while (!atomic_load(&cp.must_end)) {
        int n = epoll_wait(cp.epoll_fd, events, EVENTS_NR, cp.active ? 0 : -1);
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
            give_back_detached();
        }
        take_turns();
    }
    return NULL;
}

int compress_start(int wake_fd)
{
    cp.wake_fd = wake_fd;
    int r = codec_encoder_new(&cp.encoder);
    if (r)
        return r;
    cp.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    cp.call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event call = { .events = EPOLLIN, .data.ptr = NULL };
    if (cp.epoll_fd < 0 || cp.call_fd < 0 ||
        epoll_ctl(cp.epoll_fd, EPOLL_CTL_ADD, cp.call_fd, &call))
        return -errno;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    r = -pthread_create(&cp.thread, &attributes, compress_main, NULL);
    pthread_attr_destroy(&attributes);
    return r;
}

static void call(void)
{
    (void)eventfd_write(cp.call_fd, 1);
}

void compress_stop(void)
{
    atomic_store(&cp.must_end, true);
    call();
    pthread_join(cp.thread, NULL);
    close(cp.epoll_fd);
    close(cp.call_fd);
    cp.encoder = codec_encoder_free(cp.encoder);
}

int compress_attach(struct session *s)
{
    doorbell_will_sleep(&s->memory->daemon_bell);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = s };
    return epoll_ctl(cp.epoll_fd, EPOLL_CTL_ADD, s->daemon_bell, &event) ? -errno : 0;
}

void compress_detach(struct session *s)
{
    pthread_mutex_lock(&cp.lock);
    s->next = cp.to_detach;
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
