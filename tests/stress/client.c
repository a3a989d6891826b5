/* client.c - the life of a client process: pages filled, pager started, threads let loose; when it is
 * over, all bytes checked with the pager, once more without. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "stress/field.h"

#define PUBLISH_US 1000u /* times the number of clients */

void progress_beat(struct progress *p, const char *doing)
{
    if (doing)
        atomic_store_explicit(&p->doing, doing, memory_order_relaxed);
    atomic_store_explicit(&p->beat_ms, test_now_ms(), memory_order_relaxed);
}

static void progress_begin(struct progress *p)
{
    atomic_store(&p->thread, (pid_t)syscall(SYS_gettid));
    progress_beat(p, "begin");
}

void progress_end(struct progress *p)
{
    atomic_store(&p->beat_ms, 0);
}

struct progress *progress_new(struct client *c)
{
    for (unsigned i = c->run->kind->nr_threads + 1; i < THREADS_MAX; i++) {
        pid_t nobody = 0;
        if (atomic_compare_exchange_strong(&c->slot->threads[i].thread, &nobody, 1)) {
            progress_begin(&c->slot->threads[i]);
            return &c->slot->threads[i];
        }
    }
    stress_broken("more threads than THREADS_MAX");
}

/* ---- figures, for the conductor */

static uint64_t stat_of(const struct pp_pager *pager, const char *name)
{
    for (size_t i = 0; i < pp_stats_count(); i++)
        if (!strcmp(pp_stats_name(i), name))
            return pp_stats_value(pager, i);
    stress_broken(name);
}

static void publish(struct client *c)
{
    struct client_slot *s = c->slot;
    const struct pp_pager *p = c->pager;
    atomic_store(&s->evictions, stat_of(p, "client_evict_success"));
    atomic_store(&s->restores, stat_of(p, "restore_success"));
    atomic_store(&s->joins, stat_of(p, "daemon_joins"));
    atomic_store(&s->pages_out, stat_of(p, "pages_staged") + stat_of(p, "pages_stored") +
                                    stat_of(p, "pages_zero"));
    atomic_store(&s->full, stat_of(p, "compress_full"));
    atomic_store(&s->rejected, stat_of(p, "compress_rejected"));
    atomic_store(&s->busy, stat_of(p, "evict_busy"));
    atomic_store(&s->unreported, stat_of(p, "evict_moved_with_error"));
    atomic_store(&s->retries, stat_of(p, "changing_retries"));
    atomic_store(&s->barred, stat_of(p, "pages_barred"));
    atomic_store(&s->starved, stat_of(p, "restore_no_memory"));
    uint64_t lost = stat_of(p, "restore_fail");
    if (lost)
        stress_wrong(c->run, "the pager says that it lost %lu pages", (unsigned long)lost);
}

/* --stats: everything the pager counted, a line a client. */
static void tell_stats(const struct client *c)
{
    char line[4096];
    int n = snprintf(line, sizeof line, "%s client %u:", c->run->kind->name, c->index);
    for (size_t i = 0; i < pp_stats_count() && n < (int)sizeof line; i++)
        if (pp_stats_value(c->pager, i))
            n += snprintf(line + n, sizeof line - (size_t)n, " %s=%lu", pp_stats_name(i),
                          (unsigned long)pp_stats_value(c->pager, i));
    fprintf(stderr, "%s\n", line);
}

/* ---- threads */

/* A read is what a touch of the application's is: four pages that may be out. */
static void note_read(struct run *r, uint64_t ns)
{
    uint64_t before = atomic_load_explicit(&r->slowest_read_ns, memory_order_relaxed);
    while (ns > before && !atomic_compare_exchange_weak(&r->slowest_read_ns, &before, ns))
        ;
}

/* How long this thread has been ready to run and had no CPU, ever. */
static uint64_t cpu_wait_ns(int fd)
{
    char text[64];
    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    const char *second = strchr(text, ' ');
    return second ? strtoull(second, NULL, 10) : 0;
}

static bool do_one(struct worker *w, const struct weighted *o, int schedstat_fd)
{
    if (o->what != op_read)
        return o->what(w);
    uint64_t waited_ns = cpu_wait_ns(schedstat_fd), begin_ns = now_ns();
    bool is_done = o->what(w);
    uint64_t ns = now_ns() - begin_ns;
    waited_ns = cpu_wait_ns(schedstat_fd) - waited_ns;
    struct run *r = w->client->run;
    bool is_starved_on_purpose = *r->group.path && w->client->index == r->kind->nr_clients - 1;
    if (!is_starved_on_purpose)
        note_read(r, ns > waited_ns ? ns - waited_ns : 0);
    return is_done;
}

static unsigned weight_of_all(const struct weighted *operations)
{
    unsigned sum = 0;
    for (; operations->what; operations++)
        sum += operations->weight;
    return sum;
}

static void *worker_main(void *argument)
{
    struct worker *w = argument;
    struct run *r = w->client->run;
    const struct kind *k = r->kind;
    char name[16];
    (void)snprintf(name, sizeof name, "worker %u", w->index);
    (void)prctl(PR_SET_NAME, name);
    progress_begin(w->progress);
    if (k->worker_begin)
        k->worker_begin(w);
    const struct weighted *operations = k->operations_for ? k->operations_for(w->client->index) : k->operations;
    unsigned all = weight_of_all(operations);
    int schedstat_fd = k->measures_waits ? open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC) : -1;
    while (!atomic_load(&r->may_begin)) { /* else the first clients would starve the start of the last */
        progress_beat(w->progress, "wait for the others");
        test_nap_us(5000);
    }
    while (!atomic_load_explicit(&r->is_over, memory_order_relaxed)) {
        const struct weighted *o = operations;
        for (unsigned at = random_below(&w->random, all); at >= o->weight; o++)
            at -= o->weight;
        progress_beat(w->progress, o->name);
        if (do_one(w, o, schedstat_fd))
            atomic_fetch_add_explicit(&w->progress->ops, 1, memory_order_relaxed);
    }
    progress_beat(w->progress, "end");
    if (k->worker_end)
        k->worker_end(w);
    if (schedstat_fd >= 0)
        close(schedstat_fd);
    progress_end(w->progress);
    return NULL;
}

static void work(struct client *c)
{
    static struct worker workers[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    const struct kind *k = c->run->kind;
    for (unsigned i = 0; i < k->nr_threads; i++) {
        workers[i] = (struct worker){
            .client = c,
            .progress = &c->slot->threads[i + 1],
            .index = i,
            .random = (c->run->seed * 1000003 + c->index * 97 + i + 1) * 0x9e3779b97f4a7c15,
        };
        if (pthread_create(&threads[i], NULL, worker_main, &workers[i]))
            stress_broken("pthread_create");
    }
    atomic_store(&c->slot->is_running, true);
    while (!atomic_load_explicit(&c->run->is_over, memory_order_relaxed)) {
        progress_beat(&c->slot->threads[0], "main loop");
        publish(c);
        if (k->main_turn)
            k->main_turn(c);
        test_nap_us(PUBLISH_US * k->nr_clients);
    }
    for (unsigned i = 0; i < k->nr_threads; i++)
        while (pthread_tryjoin_np(threads[i], NULL)) {
            progress_beat(&c->slot->threads[0], "waiting for its threads"); /* they are watched, too */
            test_nap_us(1000);
        }
}

int client_main(struct run *r, unsigned index)
{
    struct client c = { .run = r, .slot = &r->clients[index], .index = index };
    const struct kind *k = r->kind;
    progress_begin(&c.slot->threads[0]);
    if (*r->group.path && index == k->nr_clients - 1 && !group_enter(&r->group))
        stress_complain(r, "a process cannot be put into its memory cgroup: %m");
    c.field = field_new(r, k->shape, (uint32_t)(r->seed * 64 + index));
    atomic_store(&c.slot->field, c.field);
    atomic_store(&c.slot->pages_all, k->shape->nr_pages + k->shape->nr_shared);
    c.pager = pager_open(r->socket_path);
    if (k->prepare)
        k->prepare(&c);
    field_begin(&c);
    field_register(c.field, c.pager);
    int e = -ETIMEDOUT;
    for (int tries = 0; tries < 100 && (e == -ETIMEDOUT || e == -EAGAIN); tries++) {
        progress_beat(&c.slot->threads[0], "pp_start"); /* many begin at once */
        e = pp_start(c.pager);
        if (e == -EAGAIN)
            test_nap_us(50000);
        atomic_fetch_add(&r->nr_slow_starts, e == -ETIMEDOUT);
    }
    if (e) {
        stress_complain(r, "pp_start: %s (%s)", strerror(-e), pp_error(c.pager));
        return 1;
    }
    work(&c);
    publish(&c);
    if (r->wants_stats)
        tell_stats(&c);
    if (k->check)
        k->check(&c);
    field_check_all(&c, "at the end");
    progress_beat(&c.slot->threads[0], "pp_stop");
    e = pp_stop(c.pager);
    if (e)
        stress_complain(r, "pp_stop: %s (%s)", strerror(-e), pp_error(c.pager));
    publish(&c);
    field_check_all(&c, "after the stop");
    progress_beat(&c.slot->threads[0], "pp_close");
    pp_close(c.pager);
    progress_end(&c.slot->threads[0]);
    return 0;
}
