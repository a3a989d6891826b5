/* kinds_soak.c - a bit of everything, for hours: clients of several sorts, whose daemon is killed at random
 * moments, whatever they are at, ended in order, stopped; and looked at for what it has not given back.
 *
 * Storm and calm take turns. In a storm the daemon is killed up to 400 ms after it has started; at every tenth
 * restart it is left alone until all clients have joined and the last map of an old store has gone, and
 * both times are noted. In a calm it lives, clients are killed, and its descriptors, threads and own memory
 * must be at the end what they were at the beginning; and without any client what they were at its start. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stress/field.h"

#define CLIENTS 6u
#define STORM_MS 20000u
#define CALM_MS 10000u
#define LIFE_MS 400u           /* of a daemon in a storm, at most */
#define OBSERVED_EVERY 10u
#define JOIN_MS 5000u          /* a client that has not joined by then is a failure */
#define RELEASE_MS 30000u      /* so is an old store that is still held */
#define LONG_RUN_S 600         /* has one stop of a minute */
#ifdef __SANITIZE_ADDRESS__
#define SLOWNESS 4u
#else
#define SLOWNESS 1u
#endif

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

static unsigned entries_in(pid_t pid, const char *what)
{
    char path[48];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
    unsigned nr = 0;
    DIR *d = opendir(path);
    while (d && readdir(d))
        nr++;
    if (d)
        closedir(d);
    return nr;
}

/* Its own: what stores hold is shared memory, and not in it. */
static unsigned anonymous_kib(pid_t pid)
{
    char path[48], line[128];
    unsigned kib = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file) && sscanf(line, "RssAnon: %u", &kib) != 1)
        ;
    if (file)
        fclose(file);
    return kib;
}

static struct sight look(const struct run *r)
{
    return (struct sight){ .nr_descriptors = entries_in(r->daemon, "fd"),
                           .nr_threads = entries_in(r->daemon, "task"),
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
    uint64_t restarted_ms, joined_ms;
    uint64_t joins[CLIENTS];
    bool has_stopped_long;
    struct sight empty, calm;
    unsigned nr_restarts, nr_observed, nr_ended, nr_stops, nr_clients_killed, nr_calms;
    uint64_t join_ms_max, release_ms_max, memory_kib_max;
} soak;

static bool has_old_store(pid_t pid)
{
    char path[48], line[512];
    unsigned nr = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        nr += strstr(line, "process-pager-store") != NULL;
    if (file)
        fclose(file);
    return nr > 1;
}

static bool has_all_joined(struct run *r)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        if (!atomic_load(&r->clients[i].is_running) || atomic_load(&r->clients[i].joins) <= soak.joins[i])
            return false;
    return true;
}

static bool is_any_old_store_held(struct run *r)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        if (r->clients[i].pid && has_old_store(r->clients[i].pid))
            return true;
    return false;
}

/* Joined, and nothing of the old ones is left. */
static bool is_settled(struct run *r)
{
    uint64_t now = test_now_ms();
    if (!soak.joined_ms) {
        if (has_all_joined(r))
            soak.joined_ms = now;
        else if (now > soak.restarted_ms + JOIN_MS * SLOWNESS)
            stress_complain(r, "not all clients have joined the next daemon after %u ms", JOIN_MS * SLOWNESS);
        return false;
    }
    if (now < soak.next_ms)
        return false;
    soak.next_ms = now + 50;
    if (!is_any_old_store_held(r))
        return true;
    if (now > soak.restarted_ms + RELEASE_MS * SLOWNESS)
        stress_complain(r, "an old store is still held after %u ms", RELEASE_MS * SLOWNESS);
    return false;
}

static void restart(struct run *r)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        soak.joins[i] = atomic_load(&r->clients[i].joins);
    if (random_below(&r->random, 10) == 0) {
        run_end_daemon(r);
        soak.nr_ended++;
    } else {
        run_kill_daemon(r);
        r->nr_kills++;
    }
    run_start_daemon(r);
    soak.nr_restarts++;
    soak.restarted_ms = test_now_ms();
    soak.joined_ms = 0;
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
    if (!is_settled(r))
        return;
    uint64_t join_ms = soak.joined_ms - soak.restarted_ms, release_ms = test_now_ms() - soak.restarted_ms;
    soak.nr_observed++;
    soak.join_ms_max = join_ms > soak.join_ms_max ? join_ms : soak.join_ms_max;
    soak.release_ms_max = release_ms > soak.release_ms_max ? release_ms : soak.release_ms_max;
    soak.phase = STORM;
    soak.next_ms = 0;
}

/* The first client lives on. */
static void calm(struct run *r, uint64_t now)
{
    if (now >= soak.phase_ends_ms) {
        if (!has_all_joined(r)) /* those of now: is_running */
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
    soak.joins[i] = 0;
    soak.nr_clients_killed++;
}

static void settle(struct run *r)
{
    if (!is_settled(r))
        return;
    soak.calm = look(r);
    enter(CALM, CALM_MS);
}

static void conduct(struct run *r)
{
    uint64_t now = test_now_ms();
    switch (soak.phase) {
    case SETTLING:
        if (!soak.restarted_ms)
            soak.restarted_ms = now;
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
    (void)snprintf(ret->note, sizeof ret->note,
                   "%u daemons killed, %u ended, %u stopped, %u clients killed, %lu forks; "
                   "%u restarts watched: joined after %lu ms, old stores gone after %lu; "
                   "%u calms, %lu KiB; read %.0f ms at most",
                   r->nr_kills, soak.nr_ended, soak.nr_stops, soak.nr_clients_killed,
                   (unsigned long)atomic_load(&r->shared[7]), soak.nr_observed, (unsigned long)soak.join_ms_max,
                   (unsigned long)soak.release_ms_max, soak.nr_calms, (unsigned long)soak.memory_kib_max,
                   (double)atomic_load(&r->slowest_read_ns) / 1e6);
    if (!atomic_load(&r->failed_ms) && r->nr_kills < run_kills_wanted(r))
        stress_complain(r, "only %u daemons killed in %.0f s", r->nr_kills, ret->seconds);
}

static const struct field_shape shape_soak = {
    .nr_pages = 2048, .block_pages = 16, .nr_ranges = 2, .nr_shared = 32, .has_spare_slots = true,
};

/* No share of `make stress`: it is `make soak`. 0.6 a second are 2,000 in an hour. */
const struct kind kind_soak = {
    .name = "soak", .share = 0, .nr_clients = CLIENTS, .nr_threads = 2,
    .shape = &shape_soak, .operations_for = operations_for, .kills_per_s = 0.6,
    .begin = begin, .conduct = conduct, .empty = look_at_empty, .conclude = conclude,
};
