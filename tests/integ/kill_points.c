/* kill_points - daemon and client die between any two steps of what they do, named in base/point.def, under
 * load. The daemon's death: each byte is right all the time, and the next daemon, which is to die at the next
 * point, is joined. The client's: its session ends, its store goes, and nobody else notices.
 *
 * Method: a row for each point. Two threads read, write and discard pages whose contents are known, and
 * compare all of it; nothing tells them what goes on. That the next daemon gets to its point shows that
 * it was joined. A point without a row is a failure of the test.
 *
 * kill_points SECONDS: the daemon dies for so long, at random passes of these points and of those that can
 * fail; prints how often, how long a thread has waited for a page at most between two deaths, and when the
 * next daemon was joined. */
#include "points.h"
#include "process.h"
#include "spread.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/clock.h"

#define NR 2048u
#define PINS_NR (NR / 4) /* of three pages each; 1024 intervals are all there may be */
#define WORKERS 2u
#define DEATH_MS 20000u

enum need {
    NOTHING,  /* the load is enough */
    GOING,    /* a client that comes and goes, too */
    QUIET,    /* no load: half of the pages are wanted back, and stay */
    STOPPING, /* a client: pp_stop */
};

struct row {
    enum point point;
    enum need need;
    unsigned at_pass;
};

static const struct row daemon_rows[] = {
    { POINT_JOINING, NOTHING, 1 },
    { POINT_WELCOMED, NOTHING, 1 },
    { POINT_OFFERED, NOTHING, 1 },
    { POINT_RAW_TAKEN, NOTHING, 1 },
    { POINT_ENCODED, NOTHING, 100 },
    { POINT_SLOT_TAKEN, NOTHING, 101 },
    { POINT_RAW_FREED, NOTHING, 102 },
    { POINT_ANSWERED, NOTHING, 103 },
    { POINT_HALF_RUNG, NOTHING, 2 },
    { POINT_GIVEN_UP_TAKEN, NOTHING, 1 },
    { POINT_DROPPED, NOTHING, 100 },
    { POINT_ASK_TAKEN, NOTHING, 1 },
    { POINT_GROUP_SLOT_TAKEN, NOTHING, 3 },
    { POINT_GROUP_UNSIGNED, NOTHING, 4 },
    { POINT_SQUEEZED, NOTHING, 2 },
    { POINT_SQUEEZE_ANSWERED, NOTHING, 3 },
    { POINT_LETTING_GO, GOING, 1 },
    { POINT_BURYING, GOING, 1 },
    { POINT_PUNCHED, QUIET, 1 },
    { POINT_LEAVING_HALF_TOLD, QUIET, 1 },
};
#define DAEMON_ROWS_NR (sizeof daemon_rows / sizeof *daemon_rows)

static const struct row client_rows[] = {
    { POINT_WELCOME_TAKEN, NOTHING, 1 },
    { POINT_LANDED, NOTHING, 2 },
    { POINT_HOPPED, NOTHING, 3 },
    { POINT_STAGED, NOTHING, 70 },
    { POINT_COPIED, NOTHING, 71 },
    { POINT_SENT, NOTHING, 72 },
    { POINT_PLACE_TAKEN, NOTHING, 73 },
    { POINT_FAULT_READ, NOTHING, 2 },
    { POINT_INSTALLED, NOTHING, 3 },
    { POINT_GIVEN_UP_TOLD, NOTHING, 4 },
    { POINT_ASKED, NOTHING, 2 },
    { POINT_DENSER_TAKEN, NOTHING, 3 },
    { POINT_DRAINING, STOPPING, 2 },
};
#define CLIENT_ROWS_NR (sizeof client_rows / sizeof *client_rows)

#define SQUEEZE_AGE 5 /* where it stands */
static const char *const options[] = { "--cold-age", "1ms", "--reclaim-rate", "100G", "--squeeze-age", "20ms",
                                       NULL };

/* ---- the load */

struct worker {
    struct pages pages; /* its own */
    pthread_t thread;
};

static struct worker workers[WORKERS];
static _Atomic bool must_rest, must_end;
static _Atomic unsigned nr_resting;
static _Atomic uint64_t nr_rounds, longest_ns;

static void discard_some(struct pages *p, uint32_t first)
{
    uint32_t nr = p->nr - first < 8 ? p->nr - first : 8;
    CHECK_EQ(madvise(pages_at(p, first), pages_to_bytes(nr), MADV_DONTNEED), 0);
    for (uint32_t i = first; i < first + nr; i++) {
        uint32_t version = p->versions[i];
        p->versions[i] = 0;
        pages_check(p, i);
        p->versions[i] = version; /* the next is one that it never had */
        pages_write(p, i);
    }
}

static void check(const struct pages *p, uint32_t i)
{
    uint64_t begin_ns = now_ns();
    pages_check(p, i);
    uint64_t ns = now_ns() - begin_ns, before = atomic_load(&longest_ns);
    while (ns > before && !atomic_compare_exchange_weak(&longest_ns, &before, ns))
        ;
}

/* With a rest, in which pages leave. */
static void work_on(struct pages *p, uint64_t *random)
{
    for (unsigned k = 0; k < 32; k++) {
        uint32_t i = (uint32_t)((test_random(random) >> 20) % p->nr);
        check(p, i);
        if (*random >> 50 & 1)
            pages_write(p, i);
    }
    if ((*random >> 51 & 15) == 0)
        discard_some(p, (uint32_t)((*random >> 20) % p->nr));
    test_nap_us(2000);
}

static void *worker_main(void *argument)
{
    struct worker *w = argument;
    uint64_t random = 77 + (uint64_t)(w - workers);
    while (!atomic_load(&must_end)) {
        if (atomic_load(&must_rest)) {
            pages_check_all(&w->pages); /* what leaves then is in this daemon's store, not in an earlier one's */
            atomic_fetch_add(&nr_resting, 1);
            while (atomic_load(&must_rest))
                test_nap_us(1000);
            atomic_fetch_sub(&nr_resting, 1);
        }
        work_on(&w->pages, &random);
        atomic_fetch_add(&nr_rounds, 1);
    }
    return NULL;
}

static void load_begin(struct pp_pager *pager)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        pages_map(&workers[i].pages, NR);
        pages_write_all(&workers[i].pages);
        CHECK_EQ(pp_register(pager, workers[i].pages.memory, pages_to_bytes(NR)), 0);
    }
    pager_start(pager);
    for (unsigned i = 0; i < WORKERS; i++)
        CHECK_EQ(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]), 0);
}

static void load_end(struct pp_pager *pager)
{
    atomic_store(&must_end, true);
    for (unsigned i = 0; i < WORKERS; i++) {
        CHECK_EQ(pthread_join(workers[i].thread, NULL), 0);
        pages_check_all(&workers[i].pages);
    }
    CHECK_EQ(pager_stat(pager, "restore_fail"), 0);
    CHECK_EQ(pp_stop(pager), 0);
    for (unsigned i = 0; i < WORKERS; i++)
        pages_check_all(&workers[i].pages);
    pp_close(pager);
}

/* ---- what a point needs besides */

static void go_round(struct pages *p)
{
    struct pp_config config = PP_CONFIG_INIT;
    config.socket_path = getenv("PROCESS_PAGER_SOCKET");
    struct pp_pager *second;
    CHECK_EQ(pp_open(&config, &second), 0);
    CHECK_EQ(pp_register(second, p->memory, pages_to_bytes(p->nr)), 0);
    if (pp_start(second) == 0) { /* else it has just died */
        (void)pp_reclaim(second, p->memory, pages_to_bytes(p->nr));
        pages_check_all(p);
    }
    pp_close(second);
    pages_check_all(p);
}

/* Three pages in four of one half, so that slabs are nearly empty, though some never had all four; and all of the
 * other, so that blocks are. */
static void pin_half(struct pp_pager *pager, bool is_pinned)
{
    int (*change)(struct pp_pager *, const void *, size_t) = is_pinned ? pp_pin : pp_unpin;
    for (uint32_t i = 0; i < PINS_NR; i++)
        CHECK_EQ(change(pager, pages_at(&workers[0].pages, 4 * i), pages_to_bytes(3)), 0);
    CHECK_EQ(change(pager, workers[1].pages.memory, pages_to_bytes(NR)), 0);
}

static bool is_most_out(void)
{
    uint32_t nr_there = 0;
    for (unsigned i = 0; i < WORKERS; i++)
        nr_there += pages_nr_present(&workers[i].pages, 0, NR);
    return nr_there < NR / 8;
}

/* What it is to die of may come before. */
static void begin_quiet(struct pp_pager *pager, struct point_daemon *d)
{
    int status;
    atomic_store(&must_rest, true);
    WAIT_LONG_UNTIL(atomic_load(&nr_resting) == WORKERS);
    WAIT_LONG_UNTIL(is_most_out() || point_daemon_has_ended(d, &status));
    pin_half(pager, true);
}

static void end_quiet(struct pp_pager *pager)
{
    pin_half(pager, false);
    atomic_store(&must_rest, false);
}

/* ---- the daemon dies */

static bool wait_for_death(struct point_daemon *d, const struct row *row, struct pages *second)
{
    int status = 0;
    uint64_t until = test_now_ms() + test_limit_ms(DEATH_MS);
    while (!point_daemon_has_ended(d, &status) && test_now_ms() < until) {
        if (row->need == GOING)
            go_round(second);
        else
            test_nap_us(2000);
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return true;
    point_daemon_show_log(d);
    return false;
}

static void dies_at(struct point_daemon *d, struct pp_pager *pager, const struct row *row, struct pages *second)
{
    test_case(point_name(row->point));
    uint64_t joins = pager_stat(pager, "daemon_joins");
    strcpy(d->options[SQUEEZE_AGE], row->need == QUIET ? "1h" : "20ms"); /* a group leaves no holes */
    point_daemon_dies(d, row->point, row->at_pass);
    if (row->need == QUIET) {
        WAIT_LONG_UNTIL(pager_stat(pager, "daemon_joins") > joins);
        begin_quiet(pager, d);
    }
    CHECK(wait_for_death(d, row, second)); /* by itself, and so it was joined and had work */
    if (row->need == QUIET)
        end_quiet(pager);
}

static void each_in_turn(struct point_daemon *d, struct pp_pager *pager)
{
    struct pages second;
    pages_map(&second, 64);
    pages_write_all(&second);
    for (size_t i = 0; i < DAEMON_ROWS_NR; i++) {
        uint64_t rounds = atomic_load(&nr_rounds);
        dies_at(d, pager, &daemon_rows[i], &second);
        WAIT_UNTIL(atomic_load(&nr_rounds) > rounds); /* and nobody hangs */
    }
}

static void last_one_lives(struct point_daemon *d, struct pp_pager *pager)
{
    test_case("the last one lives");
    uint64_t joins = pager_stat(pager, "daemon_joins");
    point_daemon_whole(d);
    WAIT_LONG_UNTIL(pager_stat(pager, "daemon_joins") > joins);
    load_end(pager);
    CHECK_EQ(helper_kill(d->pid, SIGTERM), 0);
}

/* Where it can be asked to fail, too: it dies instead. */
static const enum point calls[] = {
    POINT_SEND, POINT_RECV, POINT_STORE_FILE, POINT_STORE_SEAL, POINT_STORE_TABLE, POINT_SHARED_MAP,
    POINT_SESSION_BELL, POINT_COMPRESS_LISTEN, POINT_HEAT_CHUNKS, POINT_HEAT_PAGES, POINT_SCAN,
    POINT_STORE_POPULATE, POINT_SLAB_BITMAP, POINT_GROUP_ENCODE,
};
#define CALLS_NR (sizeof calls / sizeof *calls)

static void tell(unsigned nr_by_itself, unsigned nr_by_hand, struct spread *stalls_ms, struct spread *joins_ms)
{
    char stall[64], join[64];
    printf("%u deaths at points, %u later; the longest wait for a page between two, ms: %s; from the start of the "
           "next daemon until it was joined, ms: %s\n", nr_by_itself, nr_by_hand,
           spread_text(stalls_ms, stall, sizeof stall), spread_text(joins_ms, join, sizeof join));
}

static void at_random(struct point_daemon *d, struct pp_pager *pager, unsigned seconds)
{
    static struct spread stalls_ms, joins_ms;
    unsigned nr_by_itself = 0, nr_by_hand = 0;
    uint64_t random = 11, end_ms = test_now_ms() + 1000 * seconds;
    while (test_now_ms() < end_ms) {
        uint64_t joins = pager_stat(pager, "daemon_joins");
        uint32_t which = (uint32_t)((test_random(&random) >> 20) % (DAEMON_ROWS_NR + CALLS_NR));
        enum point p = which < DAEMON_ROWS_NR ? daemon_rows[which].point : calls[which - DAEMON_ROWS_NR];
        test_case(point_name(p));
        point_daemon_dies(d, p, 1 + (unsigned)((random >> 30) % (1u << ((random >> 45) % 12))));
        int status = 0;
        bool is_joined = false;
        for (uint64_t since = test_now_ms(); test_now_ms() < since + 1500; test_nap_us(2000)) {
            if (!is_joined && pager_stat(pager, "daemon_joins") > joins) {
                is_joined = true;
                spread_add(&joins_ms, (double)(test_now_ms() - since));
            }
            if (point_daemon_has_ended(d, &status))
                break;
        }
        nr_by_itself += WIFSIGNALED(status);
        nr_by_hand += !status;
        if (!status) {
            WAIT_LONG_UNTIL(pager_stat(pager, "daemon_joins") > joins);
            status = helper_kill(d->pid, SIGKILL);
        }
        CHECK_EQ(status, SIGKILL);
        spread_add(&stalls_ms, (double)atomic_exchange(&longest_ns, 0) / 1e6);
    }
    tell(nr_by_itself, nr_by_hand, &stalls_ms, &joins_ms);
}

static void daemon_dies(struct point_daemon *d, unsigned seconds)
{
    point_daemon_whole(d);
    point_daemon_wait_for_socket(d);
    (void)setenv("PROCESS_PAGER_SOCKET", d->socket_path, 1); /* for those who come and go */
    struct pp_pager *pager = pager_open(d->socket_path);
    load_begin(pager);
    CHECK_EQ(helper_kill(d->pid, SIGKILL), SIGKILL);
    if (seconds)
        at_random(d, pager, seconds);
    else
        each_in_turn(d, pager);
    last_one_lives(d, pager);
}

/* ---- a client dies */

struct victim {
    char socket_path[108];
    enum point point;
    unsigned at_pass;
    bool must_stop;
};

/* Until it is dead. */
static int live(void *argument)
{
    const struct victim *v = argument;
    struct pages p;
    uint64_t random = 5;
    pages_map(&p, NR);
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(v->socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    point_arm_kill(v->point, v->at_pass);
    pager_start(pager);
    for (uint64_t until = test_now_ms() + test_limit_ms(DEATH_MS); test_now_ms() < until;) {
        work_on(&p, &random);
        if (!v->must_stop || pages_nr_present(&p, 0, NR) > NR / 2)
            continue;
        CHECK_EQ(pp_stop(pager), 0);
        pager_start(pager);
    }
    return 1;
}

/* One client lives on beside them, and its daemon. */
static void client_dies(struct victim *v)
{
    struct daemon d;
    struct pages p;
    uint64_t random = 9;
    daemon_start(&d, options);
    (void)snprintf(v->socket_path, sizeof v->socket_path, "%s", d.socket_path);
    pages_map(&p, NR);
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    daemon_await_look(&d);
    unsigned descriptors = process_descriptors_at_rest(d.pid);
    CHECK(descriptors);
    for (size_t i = 0; i < CLIENT_ROWS_NR; i++) {
        test_case(point_name(client_rows[i].point));
        v->point = client_rows[i].point;
        v->at_pass = client_rows[i].at_pass;
        v->must_stop = client_rows[i].need == STOPPING;
        pid_t pid = helper_start(live, v);
        int status = 0;
        for (uint64_t until = test_now_ms() + test_limit_ms(DEATH_MS);
             !helper_has_ended(pid, &status) && test_now_ms() < until;)
            work_on(&p, &random);
        CHECK(WIFSIGNALED(status));
        CHECK_EQ(WTERMSIG(status), SIGKILL);
        WAIT_LONG_UNTIL(process_entries(d.pid, "fd") == descriptors); /* store and rings are descriptors, too */
    }
    CHECK_EQ(pager_stat(pager, "daemon_joins"), 1);
    pages_check_all(&p);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
}

/* ---- all of them */

static bool is_in(const struct row *rows, size_t nr, enum point p)
{
    for (size_t i = 0; i < nr; i++)
        if (rows[i].point == p)
            return true;
    return false;
}

/* Those of a fork are fork_points' business. */
static bool is_ours(enum point p)
{
    return point_is_kill_only(p) && strncmp(point_name(p), "FORK_", 5);
}

static void each_point_has_a_row(void)
{
    test_case("each point has a row");
    for (int p = 0; p < POINT_NR; p++)
        if (is_ours((enum point)p) && !is_in(daemon_rows, DAEMON_ROWS_NR, (enum point)p) &&
            !is_in(client_rows, CLIENT_ROWS_NR, (enum point)p))
            test_fail(__FILE__, __LINE__, "no row for %s", point_name((enum point)p));
}

int main(int argc, char **argv)
{
    unsigned seconds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    struct point_daemon *d = point_daemon_new(options);
    struct victim *v = test_shared(sizeof *v);
    test_begin("daemon and client may die between any two steps", 100 + seconds);
    each_point_has_a_row();
    daemon_dies(d, seconds);
    if (!seconds)
        client_dies(v);
    return test_end();
}
