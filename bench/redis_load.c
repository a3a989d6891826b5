/* redis_load.c - values into a Redis server, then requests, most of them to few keys, each answer checked.
 *
 * A value is a JSON list of records (heap_records.h), 4 to 16 KiB, and follows from (seed, key, version).
 * What a key must hold is known here by a checksum, never by a copy. Connections have one request each under
 * way, and a key belongs to one connection: so the server's order of a key's requests is ours.
 *
 * Prints "name value" lines; before the values of each window a line "window N". At the end every key is read
 * once more. Exit 1: some value was not what it has to be. */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/latency.h"
#include "common/options.h"
#include "common/pace.h"
#include "common/rng.h"
#include "heap_records.h"

#define VALUE_MIN 4096u
#define VALUE_MAX 16384u
#define RECORD_LONGEST 1536u /* heap_records.h; a value ends where the next record might not fit */
#define CONNECTIONS_MAX 256u
#define BATCH 64u /* of the filling, and of the reading at the end */
#define CONNECT_PATIENCE_NS (20 * UINT64_C(1000000000))
#define LOOK_MS 10 /* at the clock, where no answer comes */
#define TURNS 2u
#define LEAD_IN_NS (UINT64_C(500) * 1000000) /* of a turn, not counted */

static struct {
    const char *socket_path;
    uint64_t port, bytes, connections, seed, warm_up_ns, window_ns, nr_windows, turn;
    double hot_keys, hot_requests, writes;
} settings = {
    .bytes = UINT64_C(1) << 30,
    .connections = 10,
    .seed = 1,
    .warm_up_ns = 60 * UINT64_C(1000000000),
    .window_ns = 10 * UINT64_C(1000000000),
    .nr_windows = 3,
    .hot_keys = 0.1,
    .hot_requests = 0.999,
    .writes = 0.05,
};

static const struct option_row rows[] = {
    { "socket", OPTION_STRING, &settings.socket_path, 0, 0, NULL, "the server's UNIX socket" },
    { "port", OPTION_UINT, &settings.port, 1, 65535, NULL, "or its port of this machine" },
    { "bytes", OPTION_SIZE, &settings.bytes, 1 << 20, 1e12, NULL, "of values" },
    { "connections", OPTION_UINT, &settings.connections, 1, CONNECTIONS_MAX, NULL, "one request each" },
    { "seed", OPTION_UINT, &settings.seed, 0, 1e15, NULL, "of the values and the requests" },
    { "warm-up", OPTION_TIME, &settings.warm_up_ns, 0, 1e13, NULL, "of the same requests, not counted" },
    { "window", OPTION_TIME, &settings.window_ns, 1e8, 1e13, NULL, "requests are counted for so long" },
    { "windows", OPTION_UINT, &settings.nr_windows, 1, 1000, NULL, "one after the other" },
    { "turn", OPTION_UINT, &settings.turn, 1, TURNS, NULL, "every second slot of the clock, a window each" },
    { "hot-keys", OPTION_DOUBLE, &settings.hot_keys, 0.001, 1, NULL, "of all keys, the first ones" },
    { "hot-requests", OPTION_DOUBLE, &settings.hot_requests, 0, 1, NULL, "of all requests go to those" },
    { "writes", OPTION_DOUBLE, &settings.writes, 0, 1, NULL, "of all requests are SET, the others GET" },
};

/* ---- what the server must hold */

struct key {
    uint64_t checksum;
    uint32_t version;
};

static struct key *keys;
static uint32_t nr_keys, nr_hot;
static uint64_t nr_wrong;

/* The list's text; its length. */
static size_t value_write(uint32_t key, uint32_t version, char ret_text[VALUE_MAX + 1])
{
    const uint64_t least = VALUE_MIN + RECORD_LONGEST;
    uint64_t wanted = least + rng_mix(settings.seed ^ ((uint64_t)key << 32)) % (VALUE_MAX - least + 1);
    uint64_t stream = rng_mix(((uint64_t)key << 32) | version);
    size_t length = 0;
    for (unsigned i = 0; length + RECORD_LONGEST + 2 <= wanted; i++) {
        char record[HEAP_RECORD_MAX];
        size_t n = heap_record_write(settings.seed, stream + i, 0, record);
        ret_text[length++] = i ? ',' : '[';
        memcpy(ret_text + length, record, n);
        length += n;
    }
    ret_text[length++] = ']';
    return length;
}

static const char *name_of(uint32_t key)
{
    static char name[24];
    (void)snprintf(name, sizeof name, "value:%08u", key);
    return name;
}

static void check(uint32_t key, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_STRING && XXH3_64bits(reply->str, reply->len) == keys[key].checksum)
        return;
    if (nr_wrong++ < 5)
        fprintf(stderr, "redis-load: %s: version %u wanted, got %s of %zu bytes\n", name_of(key),
                keys[key].version, reply->type == REDIS_REPLY_STRING ? "another value" : "no value",
                (size_t)reply->len);
}

/* ---- the server */

_Noreturn static void give_up(const redisContext *c, const char *what)
{
    fprintf(stderr, "redis-load: %s: %s\n", what, c && c->err ? c->errstr : strerror(errno));
    exit(EXIT_SYSTEM);
}

static redisContext *connect_to_server(void)
{
    for (uint64_t until_ns = pace_now_ns() + CONNECT_PATIENCE_NS;;) {
        redisContext *c = settings.port ? redisConnect("127.0.0.1", (int)settings.port)
                                        : redisConnectUnix(settings.socket_path);
        redisReply *pong = c && !c->err ? redisCommand(c, "PING") : NULL;
        bool is_up = pong && pong->type == REDIS_REPLY_STATUS; /* not "LOADING ..." */
        if (pong)
            freeReplyObject(pong);
        if (is_up)
            return c;
        if (pace_now_ns() > until_ns)
            give_up(c, settings.port ? "the server's port" : settings.socket_path);
        redisFree(c);
        pace_sleep_until_ns(pace_now_ns() + 20000000);
    }
}

/* A new version of the key's value is asked to be kept, and known from now on. */
static size_t append_set(redisContext *c, uint32_t key)
{
    static char text[VALUE_MAX + 1];
    size_t length = value_write(key, keys[key].version, text);
    keys[key].checksum = XXH3_64bits(text, length);
    if (redisAppendCommand(c, "SET %s %b", name_of(key), text, length) != REDIS_OK)
        give_up(c, "SET");
    return length;
}

static redisReply *next_reply(redisContext *c)
{
    void *reply;
    if (redisGetReply(c, &reply) != REDIS_OK)
        give_up(c, "the server");
    return reply;
}

static void expect_ok(const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_STATUS)
        return;
    fprintf(stderr, "redis-load: SET: %s\n", reply->str ? reply->str : "no status");
    exit(EXIT_SYSTEM);
}

static void fill(redisContext *c)
{
    size_t nr_max = settings.bytes / VALUE_MIN + 1;
    keys = calloc(nr_max, sizeof *keys);
    if (!keys)
        give_up(NULL, "keys");
    for (uint64_t bytes = 0; bytes < settings.bytes;) {
        unsigned nr = 0;
        for (; nr < BATCH && bytes < settings.bytes; nr++)
            bytes += append_set(c, nr_keys++);
        for (; nr; nr--) {
            redisReply *reply = next_reply(c);
            expect_ok(reply);
            freeReplyObject(reply);
        }
    }
    nr_hot = (uint32_t)(settings.hot_keys * nr_keys);
    nr_hot = nr_hot ? nr_hot : 1;
}

static void read_all(redisContext *c)
{
    for (uint32_t key = 0; key < nr_keys;) {
        uint32_t end = key + BATCH < nr_keys ? key + BATCH : nr_keys;
        for (uint32_t i = key; i < end; i++)
            if (redisAppendCommand(c, "GET %s", name_of(i)) != REDIS_OK)
                give_up(c, "GET");
        for (; key < end; key++) {
            redisReply *reply = next_reply(c);
            check(key, reply);
            freeReplyObject(reply);
        }
    }
}

/* ---- the requests */

struct connection {
    redisContext *context;
    uint32_t key;
    bool is_set;
    uint64_t sent_ns;
};

static struct connection connections[CONNECTIONS_MAX];
static struct pollfd polls[CONNECTIONS_MAX];

/* One of [first, end) that is this connection's, whose number is the remainder. */
static uint32_t own_key(struct rng *rng, unsigned number, uint32_t first, uint32_t end)
{
    uint32_t nr = (uint32_t)settings.connections;
    uint32_t key = first + (uint32_t)rng_below(rng, end - first);
    key = key - key % nr + number;
    return key < first ? key + nr : key >= end ? key - nr : key;
}

static void ask(struct rng *rng, unsigned number)
{
    struct connection *c = &connections[number];
    bool is_hot = nr_hot == nr_keys || rng_unit(rng) < settings.hot_requests;
    c->key = is_hot ? own_key(rng, number, 0, nr_hot) : own_key(rng, number, nr_hot, nr_keys);
    c->is_set = rng_unit(rng) < settings.writes;
    if (c->is_set) {
        keys[c->key].version++;
        (void)append_set(c->context, c->key);
    } else if (redisAppendCommand(c->context, "GET %s", name_of(c->key)) != REDIS_OK) {
        give_up(c->context, "GET");
    }
    c->sent_ns = pace_now_ns();
    for (int is_done = 0; !is_done;)
        if (redisBufferWrite(c->context, &is_done) != REDIS_OK)
            give_up(c->context, "the server");
}

/* True: an answer was complete, was checked, and has been counted. */
static bool take_answer(struct connection *c, struct latency *latency)
{
    void *answer = NULL;
    if (redisBufferRead(c->context) != REDIS_OK ||
        redisGetReplyFromReader(c->context, &answer) != REDIS_OK)
        give_up(c->context, "the server");
    redisReply *reply = answer;
    if (!reply)
        return false;
    uint64_t ns = pace_now_ns() - c->sent_ns;
    latency->buckets[latency_bucket(ns)]++;
    latency->sum_ns += ns;
    latency->max_ns = ns > latency->max_ns ? ns : latency->max_ns;
    if (c->is_set)
        expect_ok(reply);
    else
        check(c->key, reply);
    freeReplyObject(reply);
    return true;
}

static void ask_all(struct rng *rng)
{
    for (unsigned i = 0; i < settings.connections; i++)
        ask(rng, i);
}

static void load_until(struct rng *rng, uint64_t end_ns, struct latency *latency)
{
    while (pace_now_ns() < end_ns) {
        if (poll(polls, settings.connections, LOOK_MS) < 0 && errno != EINTR)
            give_up(NULL, "poll");
        for (unsigned i = 0; i < settings.connections; i++)
            if (polls[i].revents && take_answer(&connections[i], latency))
                ask(rng, i);
    }
}

/* What was asked and not answered yet; nobody asks. */
static void take_rest(void)
{
    struct latency rest = { 0 };
    for (unsigned i = 0; i < settings.connections; i++)
        while (!take_answer(&connections[i], &rest))
            ;
}

/* Two loads with this option and windows of the same length take turns by the clock, each at a server of its
 * own: what the machine does in the long run meets both. */
static uint64_t begin_turn(struct rng *rng)
{
    struct latency lead_in = { 0 };
    uint64_t slot_ns = settings.window_ns + LEAD_IN_NS, slot = pace_now_ns() / slot_ns + 1;
    slot += (slot + settings.turn) % TURNS;
    pace_sleep_until_ns(slot * slot_ns);
    ask_all(rng);
    load_until(rng, slot * slot_ns + LEAD_IN_NS, &lead_in);
    return slot * slot_ns + LEAD_IN_NS;
}

static void say_window(unsigned number, uint64_t begin_ns, uint64_t end_ns, const struct latency *l)
{
    uint64_t nr = latency_count(l, 0);
    printf("window %u\nbegin_ns %llu\nend_ns %llu\n", number, (unsigned long long)begin_ns,
           (unsigned long long)end_ns);
    printf("requests %llu\nrequests_per_s %.1f\n", (unsigned long long)nr,
           (double)nr * 1e9 / (double)(end_ns - begin_ns));
    printf("mean_ns %.0f\n", nr ? (double)l->sum_ns / (double)nr : 0.0);
    static const struct { const char *name; unsigned per_mille; } percentiles[] = {
        { "p50_ns", 500 }, { "p99_ns", 990 }, { "p999_ns", 999 } };
    for (unsigned i = 0; i < sizeof percentiles / sizeof *percentiles; i++)
        printf("%s %llu\n", percentiles[i].name,
               (unsigned long long)latency_percentile_ns(l, 0, percentiles[i].per_mille));
    printf("max_ns %llu\n", (unsigned long long)l->max_ns);
    fflush(stdout);
}

static void load(void)
{
    struct rng rng = rng_new(settings.seed, 1);
    struct latency warm_up = { 0 };
    for (unsigned i = 0; i < settings.connections; i++) {
        connections[i].context = connect_to_server();
        polls[i] = (struct pollfd){ .fd = connections[i].context->fd, .events = POLLIN };
    }
    ask_all(&rng);
    load_until(&rng, pace_now_ns() + settings.warm_up_ns, &warm_up);
    if (settings.turn)
        take_rest();
    for (unsigned window = 0; window < settings.nr_windows; window++) {
        struct latency counted = { 0 };
        uint64_t begin_ns = settings.turn ? begin_turn(&rng) : pace_now_ns();
        load_until(&rng, begin_ns + settings.window_ns, &counted);
        uint64_t end_ns = pace_now_ns();
        if (settings.turn)
            take_rest();
        say_window(window, begin_ns, end_ns, &counted);
    }
    if (!settings.turn)
        take_rest();
    for (unsigned i = 0; i < settings.connections; i++)
        redisFree(connections[i].context);
}

int main(int argc, char **argv)
{
    const struct option_table table = {
        .program = "redis-load",
        .about = "JSON values of 4 to 16 KiB into a Redis server, then requests; every answer is checked.",
        .rows = { rows },
        .nr_rows = { sizeof rows / sizeof *rows },
    };
    switch (options_parse(&table, argc, argv)) {
    case OPTIONS_DONE: return 0;
    case OPTIONS_BAD:  return EXIT_USAGE;
    case OPTIONS_RUN:  break;
    }
    if (!settings.socket_path == !settings.port) {
        fprintf(stderr, "redis-load: say where the server is: --socket PATH, or --port NUMBER\n");
        return EXIT_USAGE;
    }
    redisContext *c = connect_to_server();
    uint64_t begin_ns = pace_now_ns();
    fill(c);
    printf("keys %u\nfill_ms %llu\n", nr_keys, (unsigned long long)(pace_now_ns() - begin_ns) / 1000000);
    fflush(stdout);
    if (nr_hot < settings.connections || nr_keys - nr_hot < settings.connections) {
        fprintf(stderr, "redis-load: too few keys for so many connections: more --bytes\n");
        return EXIT_USAGE;
    }
    load();
    begin_ns = pace_now_ns();
    read_all(c);
    printf("read_all_ms %llu\nwrong %llu\n", (unsigned long long)(pace_now_ns() - begin_ns) / 1000000,
           (unsigned long long)nr_wrong);
    redisFree(c);
    free(keys);
    return nr_wrong ? EXIT_WRONG : 0;
}
