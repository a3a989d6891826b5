/* porter.c - the thread that carries: copies staged pages into the ring to the daemon, and frees the
 * memory of slots that are no longer needed. Orders are done strictly in order, so that no copy of a
 * slot can come after its freeing: reading a hole would leave a zero page there.
 *
 * Per page: a 4 KiB copy and a checksum (about 0.6 us); frees go in runs of neighbours, 0.2 us a page.
 * It never touches managed memory and never allocates. And it closes what takes its time. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/point.h"
#include "client/client.h"
#include "codec/codec.h"
#include "client/bars.h"

#define BATCH 32              /* orders between two looks at everything else */
/* Copies between two rings of the daemon's bell, unless there is nothing left to do: waking an idle CPU
 * costs more than what it is woken for. */
#define BELL_EVERY 112
#define HELP_BATCH 8u         /* pages decoded for the agent between two looks at orders */
#define IDLE_TRIM_NS NS_PER_S /* raw pages go back to the system after this much idleness */

struct free_run {
    uint32_t first, nr;
};

static struct porter_session *session_of(struct porter *p, uint32_t number)
{
    return &p->sessions[number & 1];
}

static bool is_abandoned(struct porter *p, uint32_t number)
{
    return (int32_t)(number - atomic_load_explicit(&p->abandoned, memory_order_acquire)) <= 0;
}

/* Takes back what the daemon has read, a bounded number. One that names a slot or a position that can't be has
 * broken the protocol; one that names a slot that was not lent can only spoil its own copy. */
static void take_raw_free(struct porter *p, struct porter_session *s, uint32_t number)
{
    struct raw_free_entry e;
    int r = 0;
    for (unsigned i = 0; i < RAW_SLOTS_MAX && p->nr_raw_lent && (r = ring_take(&s->raw_free, &e)) == 1; i++) {
        if (e.raw_slot >= RAW_SLOTS_MAX) {
            r = -EPROTO;
            break;
        }
        p->raw_free_stack[p->nr_raw_free++] = e.raw_slot;
        p->nr_raw_lent--;
    }
    if (r < 0)
        atomic_store_explicit(&p->broken, number, memory_order_release);
}

static bool may_lend(struct porter *p)
{
    return p->nr_raw_free &&
           p->nr_raw_lent < atomic_load_explicit(&p->raw_limit, memory_order_relaxed);
}

static void begin_session(struct porter *p)
{
    p->nr_raw_free = 0;
    p->nr_raw_lent = 0;
    for (uint32_t i = RAW_SLOTS_MAX; i-- > 0;) /* the lowest is lent first, so few are populated */
        p->raw_free_stack[p->nr_raw_free++] = i;
}

static void flush_frees(struct porter *p, struct free_run *run)
{
    if (!run->nr)
        return;
    if (!point_fails(POINT_PORTER_FREE))
        (void)madvise(p->staging_memory + pages_to_bytes(run->first), pages_to_bytes(run->nr),
                      MADV_DONTNEED);
    for (uint32_t i = 0; i < run->nr; i++) {
        uint32_t slot = run->first + i;
        if (ring_put(&p->freed, &slot))
            invariant_broken("more slots freed than there are");
    }
    p->nr_unrung_frees += run->nr;
    run->nr = 0;
}

static void order_free(struct porter *p, struct free_run *run, uint32_t slot)
{
    if (run->nr && slot != run->first + run->nr)
        flush_frees(p, run);
    if (!run->nr)
        run->first = slot;
    run->nr++;
}

static void order_copy(struct porter *p, struct porter_session *s, const struct porter_order *o)
{
    const unsigned char *staged = p->staging_memory + pages_to_bytes(o->slot);
    uint32_t raw_slot = p->raw_free_stack[--p->nr_raw_free];
    memcpy(session_raw_page(s->memory, raw_slot), staged, PAGE_BYTES);
    point_kills(POINT_COPIED);
    /* Of the staged page, not of the copy, which the daemon's side could change. */
    uint64_t note = (uint64_t)o->generation << 32 | page_checksum(staged);
    atomic_store_explicit(&p->notes[o->slot].word, note, memory_order_release);
    struct raw_entry entry = { .raw_slot = raw_slot,
                               .staging_slot = o->slot,
                               .generation = o->generation };
    if (ring_put(&s->raw, &entry)) {
        p->raw_free_stack[p->nr_raw_free++] = raw_slot;
        atomic_store_explicit(&p->broken, o->session, memory_order_release);
        return;
    }
    p->nr_raw_lent++;
    point_kills(POINT_SENT);
}

/* The agent has no use for fewer freed slots than a run, and while it waits for them more than that are
 * under way. */
static void ring_bells(struct porter *p, uint32_t session, bool is_busy)
{
    if (p->nr_unrung_frees >= MOVE_RUN_MAX) {
        p->nr_unrung_frees = 0;
        doorbell_ring(&p->pp->agent->porter_bell, p->pp->agent->porter_bell_fd);
    }
    if (!p->nr_unrung_copies || (is_busy && p->nr_unrung_copies < BELL_EVERY))
        return;
    p->nr_unrung_copies = 0;
    if (!is_abandoned(p, session)) {
        struct porter_session *s = session_of(p, session);
        doorbell_ring(&s->memory->daemon_bell, s->daemon_bell);
    }
}

/* Does up to BATCH orders; *order holds one that waits for a raw slot. Number done. */
static unsigned do_orders(struct porter *p, struct porter_order *waiting, bool *has_waiting,
                          uint32_t *session)
{
    struct free_run run = { 0 };
    unsigned done = 0;
    while (done < BATCH) {
        if (!*has_waiting && ring_take(&p->orders, waiting) != 1)
            break;
        *has_waiting = true;
        if (waiting->op == PORTER_COPY && !is_abandoned(p, waiting->session)) {
            struct porter_session *s = session_of(p, waiting->session);
            if (*session != waiting->session) {
                *session = waiting->session;
                begin_session(p);
            }
            if (!may_lend(p))
                take_raw_free(p, s, waiting->session);
            if (!may_lend(p))
                break;
            order_copy(p, s, waiting);
            p->nr_unrung_copies++;
        } else if (waiting->op == PORTER_FREE) {
            order_free(p, &run, waiting->slot);
        }
        *has_waiting = false;
        done++;
    }
    flush_frees(p, &run);
    ring_bells(p, *session, done == BATCH);
    return done;
}

/* A few pages for the agent, before orders have their turn again. */
static bool help(struct porter *p)
{
    unsigned nr = 0;
    while (nr < HELP_BATCH && ahead_help(p->ahead))
        nr++;
    return nr > 0;
}

void porter_close(struct porter *p, int fd)
{
    int none = 0;
    if (atomic_compare_exchange_strong(&p->closing, &none, fd + 1))
        doorbell_ring(&p->bell, p->bell_fd);
    else
        close(fd);
}

static void close_one(struct porter *p)
{
    int closing = atomic_load_explicit(&p->closing, memory_order_acquire);
    if (!closing)
        return;
    close(closing - 1);
    atomic_store_explicit(&p->closing, 0, memory_order_release);
}

/* When nothing is under way the raw pages are ours alone: give their memory back. Only the porter may
 * do this; the daemon would race with our next copy. */
static void trim_raw(struct porter *p, uint32_t session)
{
    if (!session || is_abandoned(p, session))
        return;
    struct porter_session *s = session_of(p, session);
    take_raw_free(p, s, session);
    if (p->nr_raw_lent == 0 && s->memory)
        (void)madvise(session_raw_page(s->memory, 0), RAW_SLOTS_MAX * PAGE_BYTES, MADV_REMOVE);
}

/* The agent sleeps in a read of its userfaultfd. The discard returns when the agent has read of it. */
static void ring_agent(struct porter *p)
{
    if (atomic_exchange_explicit(&p->listens_for_agent, false, memory_order_relaxed))
        (void)madvise(p->pp->bell_page, PAGE_BYTES, MADV_DONTNEED);
}

static void sleep_until_rung(struct porter *p, bool has_waiting, uint32_t session, int timeout_ms)
{
    /* The daemon only has to wake us while an order waits for a raw slot. */
    bool has_session = has_waiting && session && !is_abandoned(p, session);
    struct porter_session *s = has_session ? session_of(p, session) : NULL;
    struct pollfd fds[3] = { { .fd = p->bell_fd, .events = POLLIN },
                             { .fd = s ? s->porter_bell : -1, .events = POLLIN },
                             { .fd = -1, .events = POLLIN } };
    doorbell_will_sleep(&p->bell);
    if (s)
        doorbell_will_sleep(&s->memory->porter_bell);
    bool has_work = (!has_waiting && !ring_is_empty(&p->orders)) ||
                    (has_waiting && s && !ring_is_empty(&s->raw_free)) || atomic_load(&p->must_end) ||
                    atomic_load(&p->abandoned) != atomic_load(&p->abandoned_ack) ||
                    atomic_load(&p->closing) || ahead_has_work(p->ahead);
    if (atomic_load_explicit(&p->listens_for_agent, memory_order_relaxed))
        fds[2].fd = p->agent_others_fd;
    if (!has_work)
        (void)poll(fds, 3, timeout_ms);
    if (fds[2].revents)
        ring_agent(p);
    doorbell_awake(&p->bell, p->bell_fd);
    if (s)
        doorbell_awake(&s->memory->porter_bell, s->porter_bell);
}

void *porter_main(void *argument)
{
    struct porter *p = argument;
    struct porter_order waiting;
    bool has_waiting = false, is_trimmed = true;
    uint32_t session = 0;
    uint64_t last_work_ns = now_ns();
    struct bars_check bars = { 0 };
    (void)prctl(PR_SET_NAME, "pp-porter");
    p->tid = (pid_t)syscall(SYS_gettid);

    while (!atomic_load_explicit(&p->must_end, memory_order_acquire)) {
        unsigned done = do_orders(p, &waiting, &has_waiting, &session);
        bool has_helped = help(p);
        close_one(p);
        uint32_t over = atomic_load_explicit(&p->abandoned, memory_order_acquire);
        if (over != atomic_load_explicit(&p->abandoned_ack, memory_order_relaxed))
            atomic_store_explicit(&p->abandoned_ack, over, memory_order_release);
        bool is_checking = bars_check_step(&bars, &p->bars_wanted, &p->bars_checked);
        stats_set(p->stats, STAT_porter_cpu_ns, thread_cpu_ns());
        if (done) {
            last_work_ns = now_ns();
            is_trimmed = false;
        }
        if (done || has_helped)
            continue;
        if (!is_trimmed && now_ns() - last_work_ns > IDLE_TRIM_NS) {
            trim_raw(p, session);
            is_trimmed = true;
        }
        sleep_until_rung(p, has_waiting, session,
                         is_checking ? (int)(bars.pause_ns / NS_PER_MS) : is_trimmed ? -1 : 300);
    }
    close_one(p);
    return NULL;
}
