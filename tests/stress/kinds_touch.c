/* kinds_touch.c - threads that write and read while pages leave as fast as they can: plainly, with a
 * device writing into them (O_DIRECT), and in transparent huge pages. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stress/field.h"

#define MIB_PAGES 256u

/* ---- threads */

static const struct field_shape shape_256 = {
    .nr_pages = 256 * MIB_PAGES, .block_pages = 16, .nr_ranges = 4, .nr_shared = 512,
};

static const struct weighted touches[] = {
    { op_read, "read", 50 },
    { op_write, "write", 25 },
    { op_write_word, "write a word", 5 },
    { op_shared, "shared page", 18 },
    { op_age, "MADV_COLD", 2 },
    { 0 },
};

const struct kind kind_threads = {
    .name = "threads", .share = 3, .nr_clients = 1, .nr_threads = 8,
    .shape = &shape_256, .operations = touches,
};

/* ---- direct_io */

#define FILE_RUN 16u

static int file_fd;     /* of the client: FILE_PAGES pages whose contents are versions */
static int scratch_fd;  /* 16 pages for each thread */

static int open_direct(void)
{
    char path[] = "stress-direct-XXXXXX"; /* where we were started: /tmp may be a tmpfs */
    int plain = mkstemp(path);
    if (plain < 0)
        return -1;
    close(plain);
    int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
    (void)unlink(path); /* nothing is left behind, however it ends */
    return fd;
}

static void direct_prepare(struct client *c)
{
    _Alignas(4096) static unsigned char whole[FILE_PAGES * PAGE_BYTES];
    file_fd = open_direct();
    scratch_fd = open_direct();
    if (file_fd < 0 || scratch_fd < 0)
        stress_broken("O_DIRECT is not possible in this directory");
    for (uint32_t k = 0; k < FILE_PAGES; k++)
        field_content(whole + pages_to_bytes(k), c->field->salt, 0, version_of_file(0, k));
    if (pwrite(file_fd, whole, sizeof whole, 0) != sizeof whole)
        stress_broken("pwrite");
}

/* A run of pages out of the file, into memory that may be anywhere just now. */
static bool op_direct_read(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = field_lock_any(w, true);
    if (!b)
        return false;
    uint32_t nr = 1 + random_below(&w->random, FILE_RUN);
    uint32_t i = random_below(&w->random, f->shape->block_pages - nr + 1);
    uint32_t k = random_below(&w->random, FILE_PAGES - nr + 1);
    size_t bytes = pages_to_bytes(nr);
    if (pread(file_fd, block_page(b, i), bytes, (off_t)pages_to_bytes(k)) != (ssize_t)bytes)
        stress_complain(f->run, "an O_DIRECT read failed: %m");
    for (uint32_t p = 0; p < nr; p++) {
        uint32_t *version = field_version(f, b, i + p);
        *version = version_of_file(*version, k + p);
        field_check(f, b, i + p, "after an O_DIRECT read");
    }
    field_unlock(b);
    return true;
}

/* Out of one block and back into another: what the device read must have been the newest bytes. */
static bool op_direct_write(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = field_lock_any(w, true);
    if (!b)
        return false;
    size_t bytes = pages_to_bytes(f->shape->block_pages);
    off_t at = (off_t)(w->index * bytes);
    if (pwrite(scratch_fd, b->home, bytes, at) != (ssize_t)bytes)
        stress_complain(f->run, "an O_DIRECT write failed: %m");
    memset(b->home, 0x5a, bytes);
    if (pread(scratch_fd, b->home, bytes, at) != (ssize_t)bytes)
        stress_complain(f->run, "an O_DIRECT read failed: %m");
    for (uint32_t i = 0; i < f->shape->block_pages; i++)
        field_check(f, b, i, "after an O_DIRECT write and read");
    field_unlock(b);
    return true;
}

static const struct weighted direct_operations[] = {
    { op_read, "read", 30 },
    { op_write, "write", 20 },
    { op_shared, "shared page", 10 },
    { op_direct_read, "O_DIRECT read", 30 },
    { op_direct_write, "O_DIRECT write", 10 },
    { 0 },
};

static void direct_conclude(struct run *r, struct result *ret)
{
    (void)snprintf(ret->note, sizeof ret->note, "%lu pages refused as pinned",
                   (unsigned long)r->sums.busy);
}

const struct kind kind_direct_io = {
    .name = "direct_io", .share = 2, .nr_clients = 1, .nr_threads = 8,
    .shape = &shape_256, .operations = direct_operations,
    .prepare = direct_prepare, .conclude = direct_conclude,
};

/* ---- thp */

static const struct field_shape shape_huge = {
    .nr_pages = 256 * MIB_PAGES, .block_pages = 512, .nr_ranges = 2, .is_huge = true,
};

/* A fresh huge page in place of what is there, part of it written. */
static bool op_fresh_huge(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = field_lock_any(w, true);
    if (!b)
        return false;
    size_t bytes = pages_to_bytes(f->shape->block_pages);
    if (mmap(b->home, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
        b->home)
        stress_broken("mmap over a block");
    (void)madvise(b->home, bytes, MADV_HUGEPAGE);
    for (uint32_t i = 0; i < f->shape->block_pages; i++)
        field_expect(f, b, i, 0);
    for (uint32_t i = 0; i < f->shape->block_pages; i += 1 + random_below(&w->random, 8))
        field_write(f, b, i);
    field_check(f, b, random_below(&w->random, f->shape->block_pages), "in a fresh huge page");
    field_unlock(b);
    return true;
}

static bool op_collapse(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = field_lock_any(w, false);
    if (!b)
        return false;
    if (madvise(b->home, pages_to_bytes(f->shape->block_pages), 25 /* MADV_COLLAPSE */) == 0)
        atomic_fetch_add(&f->run->shared[1], 1);
    field_unlock(b);
    return true;
}

static uint64_t huge_bytes(void)
{
    char line[128];
    unsigned long kib = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    while (file && fgets(line, sizeof line, file) && !sscanf(line, "AnonHugePages: %lu", &kib))
        ;
    if (file)
        fclose(file);
    return kib << 10;
}

static void huge_turn(struct client *c)
{
    static unsigned nr;
    if (nr++ % 64)
        return;
    uint64_t now = huge_bytes() >> 20;
    if (now > atomic_load(&c->run->shared[0]))
        atomic_store(&c->run->shared[0], now);
}

static void huge_conclude(struct run *r, struct result *ret)
{
    if (!atomic_load(&r->shared[0]) && !atomic_load(&r->failed_ms))
        stress_complain(r, "there was never a huge page");
    (void)snprintf(ret->note, sizeof ret->note, "up to %lu MiB of huge pages, %lu collapsed",
                   (unsigned long)r->shared[0], (unsigned long)r->shared[1]);
}

static const struct weighted huge_operations[] = {
    { op_read, "read", 500 },
    { op_write, "write", 250 },
    { op_age, "MADV_COLD", 5 },
    { op_fresh_huge, "fresh huge page", 2 },
    { op_collapse, "MADV_COLLAPSE", 1 },
    { 0 },
};

const struct kind kind_thp = {
    .name = "thp", .share = 2, .nr_clients = 1, .nr_threads = 8,
    .shape = &shape_huge, .operations = huge_operations,
    .is_thp_always = true, .main_turn = huge_turn, .conclude = huge_conclude,
};
