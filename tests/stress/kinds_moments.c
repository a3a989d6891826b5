/* kinds_moments.c - the daemon is killed 2,000 times in ten minutes, with everything from nothing to all of
 * the clients' pages out: `make kills`. What a touching thread has waited at most, and, at every tenth kill,
 * when all clients had joined the next daemon and the last map of an old store had gone, is noted.
 *
 * How much is out is steered by how many blocks the threads use, drawn anew after each kill; the kill comes
 * when so much is out, or after 0.8 s, and up to 20 ms late; or at once, whether the daemon before it had been
 * joined or not. */
#include <stdio.h>
#include <string.h>

#include "integ/spread.h"
#include "stress/field.h"
#include "stress/restart.h"

#define CLIENTS 3u
#define WATCHED_EVERY 10u
#define AT_ONCE_EVERY 8u /* ... at a random moment of its first 150 ms */
#define AT_ONCE_MS 150u
#define WAIT_MS 800u
#define LATE_MS 20u
#define LOOK_PAUSE_MS 5u
#define TENTHS 10u
#define CAN_LEAVE (15.0 / 16) /* of the pages: the others do not shrink */

enum phase { WATCHING, FILLING, WAITING };

static struct {
    enum phase phase;
    struct restart restart;
    double wanted_out; /* of the next kill */
    bool is_at_once;
    uint64_t next_ms;
    unsigned nr_by_tenth[TENTHS], nr_untold;
    struct spread joins_ms, releases_ms, stalls_ms;
} moments;

static const struct weighted touches[] = {
    { op_read, "read", 550 },
    { op_write, "write", 300 },
    { op_shared, "shared page", 50 },
    { op_rest, "rest", 40 },
    { 0 },
};
static const struct weighted also_discards[] = {
    { op_read, "read", 550 },
    { op_write, "write", 300 },
    { op_discard, "MADV_DONTNEED beside readers", 20 },
    { op_discard_and_write, "MADV_DONTNEED, then write", 20 },
    { op_rest, "rest", 40 },
    { 0 },
};
static const struct weighted also_moves[] = {
    { op_read, "read", 550 },
    { op_write, "write", 300 },
    { op_move, "mremap", 20 },
    { op_rest, "rest", 40 },
    { 0 },
};

/* One that discards beside readers is not for who checks beside readers, too, as mprotect does here. */
static const struct weighted *operations_for(unsigned client)
{
    static const struct weighted *const sorts[CLIENTS] = { touches, also_discards, also_moves };
    return sorts[client];
}

/* ---- the conductor */

static void draw(struct run *r)
{
    moments.wanted_out = random_below(&r->random, 1001) / 1000.0;
    moments.is_at_once = random_below(&r->random, AT_ONCE_EVERY) == 0;
    uint32_t hot = (uint32_t)(1000 * (1 - moments.wanted_out)); /* what is not used leaves */
    atomic_store(&r->hot_permille, hot ? hot : 1);
    moments.phase = FILLING;
    moments.next_ms = 0;
}

/* Of what can leave of all clients, asked of the kernel. Negative: it can't be told. */
static double share_out(struct run *r)
{
    double sum = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        double of_this = field_share_out(&r->clients[i]);
        if (of_this < 0)
            return -1;
        sum += of_this;
    }
    return sum / CLIENTS / CAN_LEAVE;
}

static void note_share(struct run *r, double share)
{
    if (share < 0) {
        moments.nr_untold++;
        return;
    }
    unsigned tenth = (unsigned)(share * TENTHS);
    moments.nr_by_tenth[tenth < TENTHS ? tenth : TENTHS - 1]++;
    if (r->nr_kills == 0 || share < r->share_out_min)
        r->share_out_min = share;
}

static void kill_now(struct run *r)
{
    note_share(r, share_out(r));
    if (r->nr_kills)
        spread_add(&moments.stalls_ms, run_take_stall_ns(r) / 1e6);
    restart_daemon(r, &moments.restart, false);
    if (!r->nr_kills)
        (void)run_take_stall_ns(r);
    r->nr_kills++;
    if (r->nr_kills % WATCHED_EVERY == 0)
        moments.phase = WATCHING;
    else
        draw(r);
}

static void watch(struct run *r, uint64_t now)
{
    if (!restart_is_over(r, &moments.restart))
        return;
    spread_add(&moments.joins_ms, (double)(moments.restart.joined_ms - moments.restart.since_ms));
    spread_add(&moments.releases_ms, (double)(now - moments.restart.since_ms));
    draw(r);
}

static void fill(struct run *r, uint64_t now)
{
    uint64_t since_ms = moments.restart.since_ms;
    if (now < moments.next_ms)
        return;
    moments.next_ms = now + LOOK_PAUSE_MS;
    bool is_time = now > since_ms + WAIT_MS || moments.is_at_once ||
                   (now > since_ms + LOOK_PAUSE_MS && share_out(r) >= moments.wanted_out);
    if (!is_time)
        return;
    moments.phase = WAITING;
    moments.next_ms = now + random_below(&r->random, moments.is_at_once ? AT_ONCE_MS : LATE_MS);
}

static void conduct(struct run *r)
{
    uint64_t now = test_now_ms();
    switch (moments.phase) {
    case WATCHING:
        if (!moments.restart.since_ms)
            moments.restart.since_ms = now;
        return watch(r, now);
    case FILLING:
        return fill(r, now);
    case WAITING:
        if (now >= moments.next_ms)
            kill_now(r);
        return;
    }
}

static void begin(struct run *r)
{
    (void)r;
    memset(&moments, 0, sizeof moments);
}

static void calm(struct run *r)
{
    atomic_store(&r->hot_permille, 0);
}

static void conclude(struct run *r, struct result *ret)
{
    char stall[64], join[64], release[64], tenths[96] = "";
    int n = 0;
    for (unsigned i = 0; i < TENTHS; i++)
        n += snprintf(tenths + n, sizeof tenths - (size_t)n, " %u", moments.nr_by_tenth[i]);
    (void)snprintf(ret->note, sizeof ret->note,
                   "%u daemons killed, by tenths of the pages that were out:%s (%u not told); the slowest read "
                   "between two kills, ms: %s; ms from a kill until all had joined: %s, until the old stores "
                   "had gone: %s",
                   r->nr_kills, tenths, moments.nr_untold, spread_text(&moments.stalls_ms, stall, sizeof stall),
                   spread_text(&moments.joins_ms, join, sizeof join),
                   spread_text(&moments.releases_ms, release, sizeof release));
    if (!atomic_load(&r->failed_ms) && r->nr_kills < run_kills_wanted(r))
        stress_complain(r, "only %u daemons killed in %.0f s", r->nr_kills, ret->seconds);
}

static const struct field_shape shape_moments = {
    .nr_pages = 1024, .block_pages = 16, .nr_ranges = 2, .nr_shared = 16, .has_spare_slots = true,
};

/* No share of `make stress`: it is `make kills`. 3.4 a second are 2,000 in ten minutes. */
const struct kind kind_moments = {
    .name = "moments", .share = 0, .nr_clients = CLIENTS, .nr_threads = 2, .measures_waits = true,
    .shape = &shape_moments, .operations_for = operations_for, .kills_per_s = 3.4,
    .begin = begin, .conduct = conduct, .calm = calm, .conclude = conclude,
};
