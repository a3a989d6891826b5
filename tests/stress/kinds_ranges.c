/* kinds_ranges.c - ranges registered and unregistered by the thousand; and calls of the library that
 * find no memory, no descriptor, no address space. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "stress/field.h"

/* ---- churn: each thread has a thousand small ranges that come and go, besides what all have */

#define RANGES_OWN 1000u
#define RANGE_PAGES_MAX 8u

struct own_range {
    unsigned char *memory; /* NULL: none now */
    uint32_t nr, version;
};

static void range_begin(struct worker *w, struct own_range *o)
{
    struct field *f = w->client->field;
    static _Atomic uint32_t version;
    o->nr = 1 + random_below(&w->random, RANGE_PAGES_MAX);
    o->version = (atomic_fetch_add(&version, 1) & VERSION_COUNT) + 1;
    o->memory = mmap(NULL, pages_to_bytes(o->nr), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                     -1, 0);
    if (o->memory == MAP_FAILED)
        stress_broken("mmap");
    bool is_first = w->random >> 40 & 1; /* registered before the first touch */
    if (is_first && pp_register(w->client->pager, o->memory, pages_to_bytes(o->nr)))
        stress_complain(f->run, "pp_register: %s", pp_error(w->client->pager));
    for (uint32_t i = 0; i < o->nr; i++)
        field_content(o->memory + pages_to_bytes(i), f->salt, i, o->version);
    if (!is_first && pp_register(w->client->pager, o->memory, pages_to_bytes(o->nr)))
        stress_complain(f->run, "pp_register: %s", pp_error(w->client->pager));
}

static void range_check(struct worker *w, const struct own_range *o, const char *when)
{
    _Alignas(8) unsigned char expected[PAGE_BYTES];
    for (uint32_t i = 0; i < o->nr; i++) {
        field_content(expected, w->client->field->salt, i, o->version);
        if (memcmp(expected, o->memory + pages_to_bytes(i), PAGE_BYTES))
            stress_wrong(w->client->run, "%s: page %u of a range of its own is not version %u", when, i,
                         o->version);
    }
}

static void range_end(struct worker *w, struct own_range *o)
{
    bool is_gone_first = random_below(&w->random, 4) == 0;
    size_t bytes = pages_to_bytes(o->nr);
    /* Replaced rather than unmapped: the hole might become another thread's range. */
    if (is_gone_first && mmap(o->memory, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                              0) != o->memory)
        stress_broken("mmap over a range");
    if (pp_unregister(w->client->pager, o->memory, bytes))
        stress_complain(w->client->run, "pp_unregister: %s", pp_error(w->client->pager));
    if (!is_gone_first)
        range_check(w, o, "unregistered");
    munmap(o->memory, bytes);
    o->memory = NULL;
    atomic_fetch_add(&w->client->run->shared[0], 1);
}

static void churn_begin(struct worker *w)
{
    w->own = calloc(RANGES_OWN, sizeof(struct own_range));
    if (!w->own)
        stress_broken("calloc");
}

static void churn_end(struct worker *w)
{
    struct own_range *all = w->own;
    for (uint32_t i = 0; i < RANGES_OWN; i++)
        if (all[i].memory) {
            progress_beat(w->progress, "the last unregistering");
            range_check(w, &all[i], "at its end");
            range_end(w, &all[i]);
        }
    free(w->own);
}

/* Most have been out by the time that it is their turn. */
static bool op_turn_over(struct worker *w)
{
    struct own_range *o = (struct own_range *)w->own + random_below(&w->random, RANGES_OWN);
    if (o->memory) {
        if (w->random >> 41 & 1)
            range_check(w, o, "still registered");
        range_end(w, o);
    }
    range_begin(w, o);
    return true;
}

/* Never old enough, mostly. */
static bool op_short_life(struct worker *w)
{
    struct own_range o;
    range_begin(w, &o);
    if (random_below(&w->random, 8) == 0)
        test_nap_us(random_below(&w->random, 4000));
    range_check(w, &o, "in a short life");
    range_end(w, &o);
    return true;
}

static bool op_look_at_own(struct worker *w)
{
    struct own_range *o = (struct own_range *)w->own + random_below(&w->random, RANGES_OWN);
    if (!o->memory)
        return false;
    range_check(w, o, "registered");
    return true;
}

static void churn_conclude(struct run *r, struct result *ret)
{
    (void)snprintf(ret->note, sizeof ret->note, "%lu ranges came and went", (unsigned long)r->shared[0]);
}

static const struct field_shape shape_churn = {
    .nr_pages = 8192, .block_pages = 16, .nr_ranges = 4, .nr_shared = 128,
};

static const struct weighted churn_operations[] = {
    { op_read, "read", 10 },
    { op_write, "write", 10 },
    { op_shared, "shared page", 5 },
    { op_turn_over, "turn over", 40 },
    { op_short_life, "short life", 20 },
    { op_look_at_own, "look", 15 },
    { 0 },
};

const struct kind kind_churn = {
    .name = "churn", .share = 2, .nr_clients = 1, .nr_threads = 8,
    .shape = &shape_churn, .operations = churn_operations,
    .worker_begin = churn_begin, .worker_end = churn_end, .conclude = churn_conclude,
};

/* ---- faults */

enum { TRIED, STARTED, REFUSED, OPENED, MAP_FAILED_OVER };

#ifndef __SANITIZE_ADDRESS__ /* ASan must not run out of address space itself */
#define CAN_LIMIT_ADDRESS_SPACE 1
static size_t address_space_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file || fscanf(file, "%lu", &pages) != 1)
        stress_broken("/proc/self/statm");
    fclose(file);
    return pages_to_bytes(pages);
}
#endif

struct limit {
    int what;
    struct rlimit before;
};

/* From nothing at all to plenty, every size as likely. */
static struct limit limit_begin(uint64_t *random)
{
    struct limit l = { .what = RLIMIT_NOFILE };
    uint64_t value = random_below(random, 40);
#ifdef CAN_LIMIT_ADDRESS_SPACE
    if (*random >> 40 & 1) {
        l.what = RLIMIT_AS;
        value = address_space_bytes() + ((uint64_t)1 << random_below(random, 37));
    }
#endif
    (void)getrlimit((__rlimit_resource_t)l.what, &l.before);
    if (setrlimit((__rlimit_resource_t)l.what, &(struct rlimit){ value, l.before.rlim_max }))
        stress_broken("setrlimit");
    return l;
}

static void limit_end(const struct limit *l)
{
    if (setrlimit((__rlimit_resource_t)l->what, &l->before))
        stress_broken("setrlimit");
}

static bool is_for_want(int error)
{
    return error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -EAGAIN ||
           error == -ENOSPC;
}

static void count(struct client *c, int what)
{
    atomic_fetch_add(&c->run->shared[what], 1);
}

/* Stopped and started again with too little, while its threads go on. What fails must fail clearly, and
 * with enough it must go. */
static void restart(struct client *c, uint64_t *random)
{
    progress_beat(&c->slot->threads[0], "pp_stop with too little");
    struct limit l = limit_begin(random);
    int e = pp_stop(c->pager);
    if (e)
        stress_complain(c->run, "pp_stop with too little: %s", strerror(-e));
    progress_beat(&c->slot->threads[0], "pp_start with too little");
    e = pp_start(c->pager);
    limit_end(&l);
    count(c, e ? REFUSED : STARTED);
    if (!e)
        return;
    if (!is_for_want(e))
        stress_complain(c->run, "pp_start with too little %s: %s (%s)",
                        l.what == RLIMIT_NOFILE ? "descriptors" : "address space", strerror(-e),
                        pp_error(c->pager));
    if (!*pp_error(c->pager))
        stress_complain(c->run, "pp_start failed without a word");
    /* The daemon may be short of memory itself, see faults_conduct(); not for long. */
    for (int tries = 0; e && tries < 100; tries++) {
        progress_beat(&c->slot->threads[0], "pp_start with enough");
        test_nap_us(20000);
        e = pp_start(c->pager);
    }
    if (e)
        stress_complain(c->run, "pp_start with enough: %s (%s)", strerror(-e), pp_error(c->pager));
}

/* A second pager, from open to close, with its own page. */
static void second_pager(struct client *c, uint64_t *random)
{
    progress_beat(&c->slot->threads[0], "a second pager with too little");
    unsigned char *m = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED)
        stress_broken("mmap");
    memset(m, 0x3c, PAGE_BYTES);
    struct pp_config config = PP_CONFIG_INIT;
    config.socket_path = c->run->socket_path;
    struct pp_pager *second = NULL;
    struct limit l = limit_begin(random);
    int e = pp_open(&config, &second);
    if (e == 0) {
        (void)pp_register(second, m, PAGE_BYTES);
        int f = pp_start(second);
        if (f && !is_for_want(f))
            stress_complain(c->run, "pp_start of a second pager: %s (%s)", strerror(-f), pp_error(second));
        count(c, f ? REFUSED : OPENED);
        if (f == 0)
            test_nap_us(random_below(random, 20000));
        if (pp_close(second))
            stress_complain(c->run, "pp_close gave something back");
    } else if (!is_for_want(e)) {
        stress_complain(c->run, "pp_open: %s", strerror(-e));
    }
    limit_end(&l);
    for (size_t i = 0; i < PAGE_BYTES; i++)
        if (m[i] != 0x3c) {
            stress_wrong(c->run, "the page of a second pager reads %02x", m[i]);
            break;
        }
    munmap(m, PAGE_BYTES);
}

static void starve(struct client *c, uint64_t *random)
{
    struct limit l = limit_begin(random);
    progress_beat(&c->slot->threads[0], "a while with too little");
    test_nap_us(random_below(random, 20000));
    limit_end(&l);
}

/* A MAP_FIXED that fails announces that the old mapping has gone, and it has not. Behind the pages is a
 * hole, so that they are the only ones in its way. */
#define EDGE_PAGES 16u
#define EDGE_HOLE ((size_t)64 << 20)

static void edge_prepare(struct client *c)
{
    struct pages *edge = calloc(1, sizeof *edge);
    unsigned char *hole = mmap(NULL, EDGE_HOLE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                               -1, 0);
    if (!edge || hole == MAP_FAILED)
        stress_broken("mmap");
    pages_map(edge, EDGE_PAGES);
    munmap(edge->memory, pages_to_bytes(EDGE_PAGES));
    munmap(hole + PAGE_BYTES, EDGE_HOLE - PAGE_BYTES); /* what is left keeps it a mapping of its own */
    hole += PAGE_BYTES;
    edge->memory = hole;
    if (mmap(hole, pages_to_bytes(EDGE_PAGES), PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != hole)
        stress_broken("mmap");
    pages_write_all(edge);
    c->own = edge;
    if (pp_register(c->pager, edge->memory, pages_to_bytes(EDGE_PAGES)))
        stress_complain(c->run, "pp_register: %s", pp_error(c->pager));
}

static void fail_over_edge(struct client *c)
{
    struct pages *edge = c->own;
#ifdef CAN_LIMIT_ADDRESS_SPACE
    progress_beat(&c->slot->threads[0], "MAP_FIXED that fails");
    struct rlimit before;
    (void)getrlimit(RLIMIT_AS, &before);
    (void)setrlimit(RLIMIT_AS, &(struct rlimit){ address_space_bytes() + PAGE_BYTES, before.rlim_max });
    void *m = mmap(edge->memory, EDGE_HOLE / 2, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    (void)setrlimit(RLIMIT_AS, &before);
    if (m != MAP_FAILED)
        stress_broken("a MAP_FIXED beyond the limit has not failed");
    count(c, MAP_FAILED_OVER);
#endif
    for (uint32_t i = 0; i < EDGE_PAGES; i++) {
        if (!pages_is_right(edge, i))
            stress_wrong(c->run, "page %u after a MAP_FIXED that failed is not version %u", i,
                         edge->versions[i]);
        pages_write(edge, i);
    }
}

static void faults_turn(struct client *c)
{
    static uint64_t random;
    if (!random)
        random = (c->run->seed + 77) * 0x9e3779b97f4a7c15;
    count(c, TRIED);
    switch (random_below(&random, 8)) {
    case 0:
        restart(c, &random);
        return;
    case 1:
    case 2:
        second_pager(c, &random);
        return;
    case 3:
    case 4:
        fail_over_edge(c);
        return;
    case 5:
        starve(c, &random);
        return;
    default:
        test_nap_us(random_below(&random, 30000)); /* time to leave */
        return;
    }
}

/* The daemon, too: it may refuse, it may even end, but nobody may lose a byte. */
static void faults_conduct(struct run *r)
{
#ifdef CAN_LIMIT_ADDRESS_SPACE
    uint64_t now = test_now_ms();
    if (now < r->counts[0])
        return;
    bool is_tight = r->counts[1]++ & 1;
    r->counts[0] = now + (is_tight ? 100 : 400);
    struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
    if (is_tight)
        limit.rlim_cur = (rlim_t)16 << 20;
    (void)prlimit(r->daemon, RLIMIT_AS, &limit, NULL);
#else
    (void)r;
#endif
}

static void faults_calm(struct run *r)
{
    (void)prlimit(r->daemon, RLIMIT_AS, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY }, NULL);
}

static void faults_conclude(struct run *r, struct result *ret)
{
    (void)snprintf(ret->note, sizeof ret->note,
                   "%lu starts with too little went, %lu were refused; %lu MAP_FIXED failed",
                   (unsigned long)(r->shared[STARTED] + r->shared[OPENED]),
                   (unsigned long)r->shared[REFUSED], (unsigned long)r->shared[MAP_FAILED_OVER]);
}

static const struct field_shape shape_faults = {
    .nr_pages = 4096, .block_pages = 16, .nr_ranges = 2, .nr_shared = 64,
};

static const struct weighted faults_operations[] = {
    { op_read, "read", 50 },
    { op_write, "write", 30 },
    { op_shared, "shared page", 20 },
    { 0 },
};

const struct kind kind_faults = {
    .name = "faults", .share = 1, .nr_clients = 1, .nr_threads = 4,
    .shape = &shape_faults, .operations = faults_operations, .prepare = edge_prepare,
    .main_turn = faults_turn, .conduct = faults_conduct, .calm = faults_calm,
    .conclude = faults_conclude,
};
