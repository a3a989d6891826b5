/* kinds_processes.c - several clients; clients and the daemon killed at random moments with much of their
 * pages out; a store that is full. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "integ/process.h"
#include "stress/field.h"

static const struct weighted touches[] = {
    { op_read, "read", 55 },
    { op_write, "write", 30 },
    { op_shared, "shared page", 15 },
    { 0 },
};

/* Without the rest 128 threads would leave nothing to the daemon: pages would come back from staging. And
 * of 4 MiB that are touched all the time 30 % are seldom out. */
static const struct weighted touches_of_many[] = {
    { op_read, "read", 550 },
    { op_write, "write", 300 },
    { op_shared, "shared page", 150 },
    { op_rest, "rest", 20 },
    { 0 },
};

/* ---- 2 and 64 clients */

static const struct field_shape shape_64 = {
    .nr_pages = 16384, .block_pages = 16, .nr_ranges = 2, .nr_shared = 128,
};
static const struct field_shape shape_4 = {
    .nr_pages = 1024, .block_pages = 16, .nr_ranges = 1, .nr_shared = 16,
};

const struct kind kind_two_clients = {
    .name = "clients_2", .share = 2, .nr_clients = 2, .nr_threads = 4,
    .shape = &shape_64, .operations = touches,
};

static void many_conclude(struct run *r, struct result *ret)
{
    if (r->nr_slow_starts)
        (void)snprintf(ret->note, sizeof ret->note, "%u starts took more than 5 s and were repeated",
                       r->nr_slow_starts);
}

const struct kind kind_many_clients = {
    .name = "clients_64", .share = 2, .nr_clients = 64, .nr_threads = 2,
    .shape = &shape_4, .operations = touches_of_many, .conclude = many_conclude,
};

/* ---- clients killed */

#define MUCH 0.3
#define DIRECT_KILLS_PER_S 0.5
#define KILLS_PER_S 1.5 /* 200 in this kind's share of half an hour */

/* By the client's own figures: cheap, and some milliseconds old. */
static bool is_much_out(const struct client_slot *s)
{
    return atomic_load(&s->is_running) &&
           (double)atomic_load(&s->pages_out) >= MUCH * (double)atomic_load(&s->pages_all);
}

/* Asked of the kernel, less than a millisecond before. */
static void note_kill(struct run *r, double share_out)
{
    r->nr_kills++;
    r->share_out_sum += share_out;
    if (r->nr_kills == 1 || share_out < r->share_out_min)
        r->share_out_min = share_out;
}

static void tell_kills(struct run *r, struct result *ret, const char *whom)
{
    (void)snprintf(ret->note, sizeof ret->note, "%u %s killed, with %.0f %% out or more, %.0f %% on average",
                   r->nr_kills, whom, 100 * r->share_out_min,
                   r->nr_kills ? 100 * r->share_out_sum / r->nr_kills : 0);
    /* One that has failed has ended early. */
    if (!atomic_load(&r->failed_ms) && r->nr_kills < run_kills_wanted(r))
        stress_complain(r, "only %u %s killed in %.0f s", r->nr_kills, whom, ret->seconds);
}

/* The first client lives on; the others are killed up to 30 ms after much of them was out. */
static void kill_clients(struct run *r)
{
    uint64_t now = test_now_ms();
    if (atomic_load(&r->clients[0].joins) > 1)
        stress_complain(r, "the client that lives on has lost its daemon");
    for (unsigned i = 1; i < r->kind->nr_clients; i++) {
        struct client_slot *s = &r->clients[i];
        if (!s->kill_ms && is_much_out(s))
            s->kill_ms = now + random_below(&r->random, 30);
        if (!s->kill_ms || now < s->kill_ms || !s->pid)
            continue;
        double share_out = field_share_out(s);
        if (share_out < MUCH)
            continue; /* less than a moment ago: looked at again at the next turn */
        note_kill(r, share_out);
        if (!r->counts[0]) /* all have been looked at by now */
            r->counts[0] = process_entries(r->daemon, "fd");
        run_kill_client(r, i);
        run_start_client(r, i);
    }
}

/* What the daemon held for the dead it has let go of: each had five descriptors and more. */
static void look_at_daemon(struct run *r)
{
    unsigned nr = 0;
    for (int tries = 0; tries < 1000; tries++, test_nap_us(5000)) {
        nr = process_entries(r->daemon, "fd");
        if (!r->counts[0] || nr <= r->counts[0])
            return;
    }
    stress_complain(r, "the daemon had %u descriptors at first, and has %u", (unsigned)r->counts[0], nr);
}

static void killed_clients_conclude(struct run *r, struct result *ret)
{
    tell_kills(r, ret, "clients");
}

const struct kind kind_kill_client = {
    .name = "kill_client", .share = 2, .nr_clients = 4, .nr_threads = 2,
    .shape = &shape_4, .operations = touches_of_many,
    .kills_per_s = KILLS_PER_S, .conduct = kill_clients, .calm = look_at_daemon,
    .conclude = killed_clients_conclude,
};

/* ---- the daemon killed */

/* When all have joined it and much is out; the next one is there at once. */
static void kill_daemon(struct run *r)
{
    uint64_t now = test_now_ms();
    bool is_time = true;
    for (unsigned i = 0; i < r->kind->nr_clients; i++) {
        struct client_slot *s = &r->clients[i];
        if (!s->pid || !atomic_load(&s->is_running))
            return;
        bool has_joined = atomic_load(&s->joins) > r->nr_kills;
        if (!has_joined && now > r->daemon_since_ms + 15000) {
            stress_complain(r, "client %u has not joined the next daemon after 15 s", i);
            return;
        }
        is_time &= has_joined && is_much_out(s);
    }
    if (!is_time || (r->counts[0] && now < r->counts[0])) {
        if (is_time)
            return;
        r->counts[0] = 0;
        return;
    }
    if (!r->counts[0]) {
        r->counts[0] = now + 1 + (uint64_t)(random() % 200);
        return;
    }
    double share_out = 1;
    for (unsigned i = 0; i < r->kind->nr_clients; i++) {
        double of_this = field_share_out(&r->clients[i]);
        if (of_this < share_out)
            share_out = of_this;
    }
    if (share_out < MUCH)
        return; /* less than a moment ago: looked at again at the next turn */
    r->counts[0] = 0;
    note_kill(r, share_out);
    run_kill_daemon(r);
    run_start_daemon(r);
}

static void killed_daemons_conclude(struct run *r, struct result *ret)
{
    tell_kills(r, ret, "daemons");
}

static const struct field_shape shape_16 = {
    .nr_pages = 4096, .block_pages = 16, .nr_ranges = 2, .nr_shared = 64,
};

const struct kind kind_kill_daemon = {
    .name = "kill_daemon", .share = 2, .nr_clients = 2, .nr_threads = 4,
    .shape = &shape_16, .operations = touches,
    .kills_per_s = KILLS_PER_S, .conduct = kill_daemon, .conclude = killed_daemons_conclude,
};

/* The same with direct ranges: their pager is one more, with a session of its own. Pages come back faster there
 * than they leave, so that more rest is needed for much to be out. */
static const struct weighted touches_of_few[] = {
    { op_read, "read", 550 },
    { op_write, "write", 300 },
    { op_shared, "shared page", 150 },
    { op_rest, "rest", 150 },
    { 0 },
};

static const struct field_shape shape_16_direct = {
    .nr_pages = 4096, .block_pages = 16, .nr_ranges = 2, .nr_shared = 64, .is_direct = true,
};

const struct kind kind_direct_daemon = {
    .name = "direct_daemon", .share = 1, .nr_clients = 2, .nr_threads = 4,
    .shape = &shape_16_direct, .operations = touches_of_few,
    .kills_per_s = DIRECT_KILLS_PER_S, .conduct = kill_daemon, .conclude = killed_daemons_conclude,
};

/* ---- store full */

static void cap_conclude(struct run *r, struct result *ret)
{
    (void)snprintf(ret->note, sizeof ret->note, "%lu pages given back by a full store",
                   (unsigned long)r->sums.full);
    if (!r->sums.full && !atomic_load(&r->failed_ms))
        stress_complain(r, "the store was never full");
}

static const char *const cap_options[] = { "--store-cap", "2M", NULL };

const struct kind kind_cap = {
    .name = "cap", .share = 1, .nr_clients = 2, .nr_threads = 4,
    .shape = &shape_64, .operations = touches, .daemon_options = cap_options,
    .conclude = cap_conclude,
};
