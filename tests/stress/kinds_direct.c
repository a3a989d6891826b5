/* kinds_direct.c - touching threads that restore their own pages (PP_DIRECT), beside everything that may go
 * on then: discards, moves, protections; two threads that anybody interrupts, in their handlers too; signals
 * whose handlers touch; pins for system calls; forks; the pager stopped and started. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stress/field.h"

#define TURN_MS 250u
#define ALARM_US 3000

enum { STOPS = 4, FORKS, PINS, ALARMS }; /* the first are of the operations that change mappings */

static struct client *client; /* for the handler */
static int file_fd;

static void count(struct client *c, int what)
{
    atomic_fetch_add(&c->run->shared[what], 1);
}

/* In whatever thread it comes, while it holds whatever lock: it looks at what nobody may have locked. */
static void touch_in_handler(int number)
{
    (void)number;
    int error = errno;
    static _Atomic uint64_t random = 1;
    uint64_t state = atomic_fetch_add(&random, 0x9e3779b97f4a7c15);
    struct field *f = client->field;
    volatile unsigned char *page = f->shared + pages_to_bytes(random_below(&state, f->shape->nr_shared));
    (void)page[state % PAGE_BYTES];
    count(client, ALARMS);
    errno = error;
}

static void prepare(struct client *c)
{
    client = c;
    file_fd = memfd_create("stress", MFD_CLOEXEC);
    struct sigaction action = { .sa_handler = touch_in_handler, .sa_flags = SA_RESTART };
    struct itimerval often = { { 0, ALARM_US }, { 0, ALARM_US } };
    if (file_fd < 0 || sigaction(SIGALRM, &action, NULL) || setitimer(ITIMER_REAL, &often, NULL))
        stress_broken("memfd_create, sigaction or setitimer");
}

static void worker_begin(struct worker *w)
{
    if (w->index < 2)
        (void)sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){ 0 });
}

/* A system call may meet a pinned page. */
static bool op_pin(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = field_lock_any(w, true);
    if (!b)
        return false;
    size_t bytes = pages_to_bytes(f->shape->block_pages);
    int r = pp_pin(w->client->pager, b->home, bytes);
    if (r == 0) {
        if (pwrite(file_fd, b->home, bytes, (off_t)(w->index * bytes)) != (ssize_t)bytes)
            stress_complain(f->run, "write of pinned pages: %m");
        r = pp_unpin(w->client->pager, b->home, bytes);
        count(w->client, PINS);
    }
    if (r)
        stress_complain(f->run, "pp_pin: %s", pp_error(w->client->pager));
    field_unlock(b);
    return true;
}

static void restart(struct client *c)
{
    progress_beat(&c->slot->threads[0], "pp_stop");
    int e = pp_stop(c->pager);
    if (e)
        stress_complain(c->run, "pp_stop: %s (%s)", strerror(-e), pp_error(c->pager));
    for (int tries = 0; tries < 100; tries++) {
        progress_beat(&c->slot->threads[0], "pp_start");
        e = pp_start(c->pager);
        if (e != -ETIMEDOUT && e != -EAGAIN)
            break;
    }
    if (e)
        stress_complain(c->run, "pp_start: %s (%s)", strerror(-e), pp_error(c->pager));
    count(c, STOPS);
}

/* The child has every byte of a block that nobody writes meanwhile. */
static void fork_and_look(struct client *c, uint64_t *random)
{
    struct field *f = c->field;
    struct block *b = &f->blocks[random_below(random, f->nr_blocks)];
    if (pthread_rwlock_trywrlock(&b->lock))
        return;
    progress_beat(&c->slot->threads[0], "fork");
    pid_t child = fork();
    if (child < 0)
        stress_broken("fork");
    if (child == 0) {
        bool is_right = true;
        for (uint32_t i = 0; i < f->shape->block_pages; i++)
            is_right &= field_check(f, b, i, "in a child");
        _exit(is_right ? 0 : 1);
    }
    int status;
    while (waitpid(child, &status, WNOHANG) == 0) {
        progress_beat(&c->slot->threads[0], "a child");
        test_nap_us(200);
    }
    if (status)
        stress_complain(c->run, "a child ended with status %x", (unsigned)status);
    field_unlock(b);
    count(c, FORKS);
}

static void main_turn(struct client *c)
{
    static uint64_t random, next_ms;
    if (test_now_ms() < next_ms)
        return;
    if (!random)
        random = (c->run->seed + 99) * 0x9e3779b97f4a7c15;
    next_ms = test_now_ms() + TURN_MS + random_below(&random, 200);
    if (random_below(&random, 2))
        restart(c);
    else
        fork_and_look(c, &random);
}

static void end_alarms(struct client *c)
{
    (void)c;
    (void)setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
}

static void conclude(struct run *r, struct result *ret)
{
    (void)snprintf(ret->note, sizeof ret->note, "%lu stops, %lu forks, %lu pins, %lu handlers",
                   (unsigned long)r->shared[STOPS], (unsigned long)r->shared[FORKS],
                   (unsigned long)r->shared[PINS], (unsigned long)r->shared[ALARMS]);
}

static const struct field_shape shape_direct = {
    .nr_pages = 8192, .block_pages = 32, .nr_ranges = 4, .nr_shared = 256, .has_spare_slots = true,
    .is_direct = true,
};

static const struct weighted operations[] = {
    { op_read, "read", 500 },
    { op_write, "write", 250 },
    { op_write_word, "write a word", 20 },
    { op_shared, "shared page", 150 },
    { op_age, "MADV_COLD", 2 },
    { op_discard, "MADV_DONTNEED beside readers", 10 },
    { op_discard_and_write, "MADV_DONTNEED, then write", 10 },
    { op_unmap, "mmap over", 4 },
    { op_move, "mremap", 8 },
    { op_shrink_and_grow, "mremap to less and more", 4 },
    { op_lock_shared, "mlock of a shared page", 1 },
    { op_pin, "pp_pin", 2 },
    { op_rest, "rest", 2 },
    { 0 },
};

const struct kind kind_direct = {
    .name = "direct", .share = 3, .nr_clients = 1, .nr_threads = 8,
    .shape = &shape_direct, .operations = operations, .prepare = prepare, .worker_begin = worker_begin,
    .main_turn = main_turn, .check = end_alarms, .conclude = conclude,
};
