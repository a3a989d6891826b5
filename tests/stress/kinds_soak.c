/* kinds_soak.c - a bit of everything, for hours: clients of several sorts, whose daemon is killed at random
 * moments, whatever they are at, ended in order, stopped; and looked at for what it has not given back.
 *
 * Storm and calm take turns. In a storm the daemon is killed up to 400 ms after it has started; at every tenth
 * restart it is left alone until all clients have joined and the last map of an old store has gone, and
 * both times are noted. The last client is in a memory cgroup whose limit comes near now and then. In a calm
 * the daemon lives, clients are killed, and its descriptors, threads and own memory must be at the end what
 * they were at the beginning; and without any client what they were at its start. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "integ/process.h"
#include "integ/spread.h"
#include "stress/field.h"
#include "stress/restart.h"

#define CLIENTS 6u
#define STORM_MS 20000u
#define CALM_MS 10000u
#define LIFE_MS 400u           /* of a daemon in a storm, at most */
#define OBSERVED_EVERY 10u
#define LONG_RUN_S 600         /* has one stop of a minute */
#define PRESSED_MS 300u        /* at most */
#define PRESS_PAUSE_MS 900u
#define PRESS_ROOM_BYTES ((uint64_t)256 << 10)

/* ---- clients */

/* The child's pages are its parent's of this moment; nobody writes those of the block. One a second at most,
 * because everything comes back for it. */
static bool op_fork(struct worker *w)
{
    struct field *f = w->client->field;
    static _Atomic uint64_t next_ms;
    uint64_t now = test_now_ms(), next = atomic_load(&next_ms);
    if (now < next || !atomic_compare_exchange_strong(&next_ms, &next, now + 1000))
        return false;
    struct block *b = field_lock_any(w, true);
    if (!b)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        for (uint32_t i = 0; i < f->shape->block_pages; i++)
            if (!field_is_right(f, b, i))
                _exit(1);
        _exit(0);
    }
    int status = 0;
    if (pid > 0 && waitpid(pid, &status, 0) == pid && status)
        stress_wrong(f->run, "a child: block %u", b->first);
    if (pid < 0)
        stress_complain(f->run, "fork: %m");
    field_unlock(b);
    atomic_fetch_add(&f->run->shared[7], 1);
    return true;
}

static const struct weighted just_touches[] = {
    { op_read, "read", 550 },
    { op_write, "write", 300 },
    { op_shared, "shared page", 150 },
    { op_rest, "rest", 20 },
    { 0 },
};
static const struct weighted also_discards[] = {
    { op_read, "read", 550 },
    { op_write, "write", 300 },
    { op_discard, "MADV_DONTNEED beside readers", 60 },
    { op_discard_and_write, "MADV_DONTNEED, then write", 60 },
    { op_rest, "rest", 20 },
    { 0 },
};
static const struct weighted also_remaps[] = {
    { op_read, "read", 600 },
    { op_write, "write", 300 },
    { op_unmap, "mmap over", 15 },
    { op_move, "mremap", 30 },
    { op_shrink_and_grow, "mremap to less and more", 10 },
    { op_rest, "rest", 20 },
    { 0 },
};
static const struct weighted also_protects[] = {
    { op_read, "read", 600 },
    { op_write, "write", 300 },
    { op_protect, "mprotect", 20 },
    { op_rest, "rest", 20 },
    { 0 },
};
static const struct weighted also_forks[] = {
    { op_read, "read", 550 },
    { op_write, "write", 300 },
    { op_fork, "fork", 20 },
    { op_rest, "rest", 20 },
    { 0 },
};

static const struct weighted *operations_for(unsigned client)
{
    static const struct weighted *const sorts[] = { just_touches, also_discards, also_remaps, also_protects,
                                                    also_forks };
    return sorts[client % (sizeof sorts / sizeof *sorts)];
}

/* ---- looks at the daemon */

struct sight {
    unsigned nr_descriptors, nr_threads, memory_kib;
};

/* Its own: what stores hold is shared memory, and not in it. */
static unsigned anonymous_kib(pid_t pid)
{
    return (unsigned)process_status_number(pid, "RssAnon", 10);
}

static struct sight look(const struct run *r)
{
    return (struct sight){ .nr_descriptors = process_entries(r->daemon, "fd"),
                           .nr_threads = process_entries(r->daemon, "task"),
                           .memory_kib = anonymous_kib(r->daemon) };
}

/* Heaps do not give everything back, least of all those of a sanitizer: r->growth_kib. */
static bool is_back(const struct run *r, const struct sight *now, const struct sight *before)
{
    return now->nr_descriptors <= before->nr_descriptors && now->nr_threads <= before->nr_threads &&
           now->memory_kib <= before->memory_kib + r->growth_kib;
}

/* What belongs to a client that has just gone takes its moment. */
static void must_be_back(struct run *r, const struct sight *before, const char *when)
{
    struct sight now = { 0 };
    for (int tries = 0; tries < 500; tries++, test_nap_us(20000)) {
        now = look(r);
        if (is_back(r, &now, before))
            return;
    }
    stress_complain(r, "%s the daemon had %u descriptors, %u threads, %u KiB, and has %u, %u, %u", when,
                    before->nr_descriptors, before->nr_threads, before->memory_kib, now.nr_descriptors,
                    now.nr_threads, now.memory_kib);
}

/* ---- the conductor */

enum phase { SETTLING /* before a calm */, CALM, STORM, OBSERVING /* in a storm */, STOPPED };

static struct {
    enum phase phase, after_stop;
    uint64_t phase_ends_ms, next_ms; /* when the next of whatever it is is due */
    struct restart restart;
    bool has_stopped_long;
    struct sight empty, calm;
    unsigned nr_restarts, nr_ended, nr_stops, nr_clients_killed, nr_calms, nr_presses;
    uint64_t memory_kib_max;
    uint64_t press_ms; /* when the limit of the group is to change again */
    bool is_pressed;
    struct spread joins_ms, releases_ms, stalls_ms;
} soak;

static void restart(struct run *r)
{
    bool is_in_order = random_below(&r->random, 10) == 0;
    spread_add(&soak.stalls_ms, run_take_stall_ns(r) / 1e6);
    restart_daemon(r, &soak.restart, is_in_order);
    soak.nr_ended += is_in_order;
    r->nr_kills += !is_in_order;
    soak.nr_restarts++;
}

static void enter(enum phase phase, uint64_t ms)
{
    soak.phase = phase;
    soak.phase_ends_ms = test_now_ms() + ms;
    soak.next_ms = 0;
}

static void stop(struct run *r, uint64_t ms)
{
    soak.after_stop = soak.phase;
    (void)kill(r->daemon, SIGSTOP);
    soak.nr_stops++;
    soak.next_ms = test_now_ms() + ms;
    soak.phase = STOPPED;
}

static void storm(struct run *r, uint64_t now)
{
    if (!soak.next_ms) {
        soak.next_ms = now + random_below(&r->random, LIFE_MS);
        return;
    }
    if (now < soak.next_ms)
        return;
    if (now >= soak.phase_ends_ms)
        return enter(SETTLING, 0);
    soak.next_ms = 0;
    if (random_below(&r->random, 16) == 0)
        return stop(r, 1 + random_below(&r->random, 1000));
    restart(r);
    if (soak.nr_restarts % OBSERVED_EVERY == 0)
        soak.phase = OBSERVING;
}

static void observe(struct run *r)
{
    if (!restart_is_over(r, &soak.restart))
        return;
    spread_add(&soak.joins_ms, (double)(soak.restart.joined_ms - soak.restart.since_ms));
    spread_add(&soak.releases_ms, (double)(test_now_ms() - soak.restart.since_ms));
    soak.phase = STORM;
    soak.next_ms = 0;
}

/* The first client lives on. */
static void calm(struct run *r, uint64_t now)
{
    if (now >= soak.phase_ends_ms) {
        if (!restart_is_joined(r, &soak.restart)) /* those of now: is_running */
            return;
        must_be_back(r, &soak.calm, "in a calm");
        soak.nr_calms++;
        return enter(STORM, STORM_MS);
    }
    if (now < soak.next_ms || now + 3000 > soak.phase_ends_ms)
        return;
    uint64_t kib = anonymous_kib(r->daemon);
    soak.memory_kib_max = kib > soak.memory_kib_max ? kib : soak.memory_kib_max;
    soak.next_ms = now + 200 + random_below(&r->random, 800);
    if (!soak.has_stopped_long && r->seconds >= LONG_RUN_S) {
        soak.has_stopped_long = true;
        soak.phase_ends_ms += 60000;
        return stop(r, 60000);
    }
    unsigned i = 1 + random_below(&r->random, CLIENTS - 1);
    if (!atomic_load(&r->clients[i].is_running))
        return;
    run_kill_client(r, i);
    run_start_client(r, i);
    soak.restart.joins[i] = 0;
    soak.nr_clients_killed++;
}

static void settle(struct run *r)
{
    if (!restart_is_over(r, &soak.restart))
        return;
    test_nap_us(1000000); /* the daemon has looked at each since, and has all descriptors that it needs for that */
    soak.calm = look(r);
    enter(CALM, CALM_MS);
}

/* The last client's group has room for a few pages only, now and then and for a moment: touches wait for
 * memory, and what leaves gives some (version 1), or all of it is slowed down (version 2). */
static void press(struct run *r, uint64_t now)
{
    if (!*r->group.path || now < soak.press_ms)
        return;
    uint32_t ms = random_below(&r->random, soak.is_pressed ? PRESS_PAUSE_MS : PRESSED_MS);
    if (!group_press(&r->group, soak.is_pressed ? UINT64_MAX : group_usage(&r->group) + PRESS_ROOM_BYTES)) {
        if (errno == EBUSY && !soak.is_pressed)
            return; /* it has taken more since we asked: again in a moment */
        stress_complain(r, "the limit of the memory cgroup cannot be set: %m");
    }
    soak.nr_presses += !soak.is_pressed;
    soak.is_pressed = !soak.is_pressed;
    soak.press_ms = now + 1 + ms;
}

static void conduct(struct run *r)
{
    uint64_t now = test_now_ms();
    press(r, now);
    switch (soak.phase) {
    case SETTLING:
        if (!soak.restart.since_ms)
            soak.restart.since_ms = now;
        return settle(r);
    case CALM:
        return calm(r, now);
    case STORM:
        return storm(r, now);
    case OBSERVING:
        return observe(r);
    case STOPPED:
        if (now < soak.next_ms)
            return;
        (void)kill(r->daemon, SIGCONT);
        soak.phase = soak.after_stop;
        soak.next_ms = 0;
        return;
    }
}

static void begin(struct run *r)
{
    memset(&soak, 0, sizeof soak);
    struct sight before;
    do { /* its socket is there before it is ready */
        before = look(r);
        test_nap_us(200000);
        soak.empty = look(r);
    } while (memcmp(&before, &soak.empty, sizeof before));
}

/* No client is left. */
static void look_at_empty(struct run *r)
{
    (void)kill(r->daemon, SIGCONT);
    must_be_back(r, &soak.empty, "without a client");
}

static void conclude(struct run *r, struct result *ret)
{
    char stall[64], join[64], release[64];
    (void)snprintf(ret->note, sizeof ret->note,
                   "%u daemons killed, %u ended, %u stopped, %u clients killed, %lu forks; "
                   "ms from a kill until all had joined: %s, until the old stores had gone: %s; "
                   "the slowest read between two kills, ms: %s; %u calms, %lu KiB; "
                   "pressed %u times, %lu asked in vain for memory",
                   r->nr_kills, soak.nr_ended, soak.nr_stops, soak.nr_clients_killed,
                   (unsigned long)atomic_load(&r->shared[7]), spread_text(&soak.joins_ms, join, sizeof join),
                   spread_text(&soak.releases_ms, release, sizeof release),
                   spread_text(&soak.stalls_ms, stall, sizeof stall), soak.nr_calms,
                   (unsigned long)soak.memory_kib_max, soak.nr_presses, (unsigned long)r->sums.starved);
    if (!atomic_load(&r->failed_ms) && r->nr_kills < run_kills_wanted(r))
        stress_complain(r, "only %u daemons killed in %.0f s", r->nr_kills, ret->seconds);
}

static const struct field_shape shape_soak = {
    .nr_pages = 2048, .block_pages = 16, .nr_ranges = 2, .nr_shared = 32, .has_spare_slots = true,
};

/* No share of `make stress`: it is `make soak`. 0.6 a second are 2,000 in an hour. */
const struct kind kind_soak = {
    .name = "soak", .share = 0, .nr_clients = CLIENTS, .nr_threads = 2,
    .shape = &shape_soak, .operations_for = operations_for, .kills_per_s = 0.6, .has_group = true,
    .measures_waits = true,
    .begin = begin, .conduct = conduct, .empty = look_at_empty, .conclude = conclude,
};
