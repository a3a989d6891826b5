/* kinds_fork.c - processes that fork all the time while their pages leave, are written, discarded and moved:
 * each child, and some of theirs, compares every byte that no other thread was changing at that moment. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stress/field.h"

/* In run.shared. */
enum { FORKS = 1, GRANDCHILDREN, ENDED, COVERED, PAGES, LATE }; /* 0 is the discards' */

/* In the child: who holds a lock is not here. Discards happen under the reader's. */
static bool is_quiet(struct block *b)
{
    return !(atomic_load(&b->discards) & 1) && pthread_rwlock_tryrdlock(&b->lock) == 0;
}

/* Taken away by an mremap that has not returned to its thread, which is not here. */
static bool has_moved(struct field *f, struct block *b)
{
    unsigned char is_resident[BLOCK_PAGES_MAX];
    size_t bytes = pages_to_bytes(f->shape->block_pages);
    if (!atomic_load(&b->is_moving) || mincore(b->home, PAGE_BYTES, is_resident) == 0 ||
        mincore(field_other_place(f, b), bytes, is_resident))
        return false;
    b->home = field_other_place(f, b);
    return true;
}

static void check_quiet(struct field *f, const char *when)
{
    for (uint32_t i = 0; i < f->nr_blocks; i++) {
        struct block *b = &f->blocks[i];
        bool is_taken = !is_quiet(b);
        if (is_taken && !has_moved(f, b))
            continue;
        for (uint32_t p = 0; p < f->shape->block_pages; p++)
            field_check(f, b, p, when);
        if (!is_taken)
            field_unlock(b);
    }
}

/* What it writes is its own. */
static void write_some(struct worker *w)
{
    struct field *f = w->client->field;
    for (int k = 0; k < 32; k++) {
        struct block *b = field_any_block(w);
        if ((atomic_load(&b->discards) & 1) || pthread_rwlock_trywrlock(&b->lock))
            continue;
        field_write(f, b, random_below(&w->random, f->shape->block_pages));
        field_unlock(b);
    }
}

/* How a child ended: 0, or killed because it could not be covered, which is counted. */
static void await(struct run *r, pid_t pid)
{
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        stress_complain(r, "fork failed: %m");
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        atomic_fetch_add(&r->shared[ENDED], 1);
    else if (status)
        stress_complain(r, "a child ended with status %x", (unsigned)status);
}

_Noreturn static void child(struct worker *w)
{
    struct run *r = w->client->run;
    for (unsigned depth = 0;; depth++) {
        uint32_t what = random_below(&w->random, 16);
        if (what == 0) {
            execl("/bin/true", "true", NULL);
            _exit(1);
        }
        check_quiet(w->client->field, depth ? "in a grandchild" : "in a child");
        if (what < 4 && depth < 2) {
            pid_t pid = fork();
            if (!pid)
                continue;
            await(r, pid);
            atomic_fetch_add(&r->shared[GRANDCHILDREN], 1);
        }
        write_some(w);
        check_quiet(w->client->field, "in a child that has written");
        _exit(0);
    }
}

static bool op_fork(struct worker *w)
{
    struct run *r = w->client->run;
    (void)test_random(&w->random); /* else all children would be alike */
    pid_t pid = fork();
    if (!pid)
        child(w);
    await(r, pid);
    atomic_fetch_add(&r->shared[FORKS], 1);
    return true;
}

static void note_covered(struct client *c)
{
    atomic_fetch_add(&c->run->shared[COVERED], pager_stat(c->pager, "forks_covered"));
    atomic_fetch_add(&c->run->shared[PAGES], pager_stat(c->pager, "fork_pages"));
    atomic_fetch_add(&c->run->shared[LATE], pager_stat(c->pager, "fork_late_moves"));
}

static void conclude(struct run *r, struct result *ret)
{
    uint64_t nr_covered = atomic_load(&r->shared[COVERED]);
    (void)snprintf(ret->note, sizeof ret->note,
                   "%lu forks, %lu with pages out (%lu pages), %lu moves told late, %lu grandchildren, "
                   "%lu children that could not be covered",
                   (unsigned long)atomic_load(&r->shared[FORKS]), (unsigned long)nr_covered,
                   (unsigned long)atomic_load(&r->shared[PAGES]),
                   (unsigned long)atomic_load(&r->shared[LATE]),
                   (unsigned long)atomic_load(&r->shared[GRANDCHILDREN]),
                   (unsigned long)atomic_load(&r->shared[ENDED]));
    if (!nr_covered && !atomic_load(&r->failed_ms))
        stress_complain(r, "no fork left pages out");
}

static const struct field_shape shape = {
    .nr_pages = 2048, .block_pages = 16, .nr_ranges = 4, .nr_shared = 64, .has_spare_slots = true,
};

static const struct weighted operations[] = {
    { op_read, "read", 300 },
    { op_write, "write", 400 },
    { op_shared, "shared page", 100 },
    { op_discard, "MADV_DONTNEED", 20 },
    { op_unmap, "mmap over", 5 },
    { op_move, "mremap", 20 },
    { op_rest, "rest", 20 },
    { op_fork, "fork", 6 },
    { 0 },
};

const struct kind kind_fork = {
    .name = "fork", .share = 0, .nr_clients = 2, .nr_threads = 4,
    .shape = &shape, .operations = operations, .check = note_covered, .conclude = conclude,
};
