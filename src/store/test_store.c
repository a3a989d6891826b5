/* The store keeps what was put until exactly that is dropped, counts what the machine pays, and gives
 * memory back. Method: random puts, drops and trims beside a model that knows every blob; bytes are
 * read through the client's read-only map, and the kernel's own count of blocks (st_blocks) is the
 * judge of held_bytes. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/locator.h"
#include "base/pagesize.h"
#include "store/test_made.h"
#include "store/writer.h"

#define MIB ((uint64_t)1 << 20)

struct blob {
    uint64_t offset;
    uint32_t size, tag;
};

struct model {
    struct store_writer *st;
    int fd;
    const unsigned char *map;
    uint64_t file_bytes, payload_bytes;
    struct blob *blobs;
    size_t nr, max;
    uint32_t next_tag;
};

static void model_new(struct model *m, uint64_t cap_bytes, uint64_t file_bytes, size_t max)
{
    *m = (struct model){.file_bytes = file_bytes, .max = max, .next_tag = 1};
    m->map = make_store(cap_bytes, file_bytes, &m->st, &m->fd);
    m->blobs = malloc(max * sizeof(*m->blobs));
    assert_non_null(m->blobs);
}

static void model_free(struct model *m)
{
    free_store(m->st, m->fd, m->map, m->file_bytes);
    m->st = NULL;
    free(m->blobs);
}

static void fill_blob(unsigned char *bytes, uint32_t size, uint32_t tag)
{
    for (uint32_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((tag + i * 7) * 2654435761u >> 24);
}

static int put_one(struct model *m, uint32_t size)
{
    unsigned char bytes[3072];
    struct blob b = {.size = size, .tag = m->next_tag++, .offset = UINT64_MAX};
    fill_blob(bytes, size, b.tag);
    int r = store_put(m->st, bytes, size, &b.offset);
    if (r < 0) {
        assert_int_equal(r, -ENOSPC);
        assert_int_equal(b.offset, UINT64_MAX);
        return r;
    }
    assert_int_equal(b.offset % STORE_UNIT_BYTES, 0);
    assert_true(b.offset + size <= m->file_bytes);
    assert_true(m->nr < m->max);
    m->blobs[m->nr++] = b;
    m->payload_bytes += size;
    return 0;
}

static void drop_nr(struct model *m, size_t i)
{
    struct blob b = m->blobs[i];
    assert_int_equal(store_drop(m->st, b.offset, b.size), 0);
    m->payload_bytes -= b.size;
    m->blobs[i] = m->blobs[--m->nr];
}

static void check_numbers(const struct model *m)
{
    struct store_usage u;
    struct stat s;
    assert_true(store_is_valid(m->st));
    store_usage(m->st, &u);
    assert_int_equal(u.nr_blobs, m->nr);
    assert_int_equal(u.payload_bytes, m->payload_bytes);
    assert_int_equal(fstat(m->fd, &s), 0);
    assert_int_equal((uint64_t)s.st_blocks * 512, u.held_bytes);
}

static void check_bytes(const struct model *m)
{
    unsigned char expected[3072];
    for (size_t i = 0; i < m->nr; i++) {
        const struct blob *b = &m->blobs[i];
        fill_blob(expected, b->size, b->tag);
        if (memcmp(m->map + b->offset, expected, b->size))
            fail_msg("blob %u of %u bytes at %#lx is not what was put", b->tag, b->size,
                     (unsigned long)b->offset);
    }
}

static uint32_t random_size(void)
{
    switch (random_below(4)) {
    case 0:  return 1 + (uint32_t)random_below(3072);
    case 1:  return 1450 + (uint32_t)random_below(150);
    case 2:  return 8;
    default: return 1 + (uint32_t)random_below(64) * 48;
    }
}

static void a_random_walk_agrees_with_the_model(void **state)
{
    (void)state;
    struct model m;
    model_new(&m, 2 * MIB, 16 * MIB, 100000);
    uint64_t nr_full = 0;
    for (int step = 0; step < 120000; step++) {
        /* Tides: for a while more puts than drops, then the other way round. */
        bool is_rising = step / 10000 % 2 == 0;
        if (random_below(100) < (is_rising ? 75 : 25))
            nr_full += put_one(&m, random_size()) < 0;
        else if (m.nr)
            drop_nr(&m, random_below(m.nr));
        if (random_below(2000) == 0)
            (void)store_trim(m.st, random_below(300));
        if (step % 1000 == 0)
            check_numbers(&m);
        if (step % 5000 == 0)
            check_bytes(&m);
    }
    check_bytes(&m);
    check_numbers(&m);
    assert_true(nr_full > 100); /* the cap was met on the way */
    while (m.nr)
        drop_nr(&m, random_below(m.nr));
    check_numbers(&m);
    while (store_trim(m.st, 37))
        ;
    check_numbers(&m);
    struct store_usage u;
    store_usage(m.st, &u);
    assert_int_equal(u.held_bytes, 0);
    model_free(&m);
}

static void at_the_cap_everything_stays_intact(void **state)
{
    (void)state;
    struct model m;
    model_new(&m, 2 * MIB + 4096, 64 * MIB, 10000);
    while (put_one(&m, 1400 + (uint32_t)random_below(400)) == 0)
        ;
    struct store_usage u;
    store_usage(m.st, &u);
    assert_true(u.held_bytes <= 2 * MIB + 4096);
    assert_true(u.payload_bytes > u.held_bytes * 95 / 100); /* and it was used */
    size_t nr = m.nr;
    for (int i = 0; i < 1000; i++) /* other sizes may find a gap; what is there stays */
        (void)put_one(&m, random_size());
    check_bytes(&m);
    check_numbers(&m);
    assert_true(m.nr < nr + 1000);

    /* A freed place is found again by its size, and when all of it is free by any size: the blocks
     * are given back for it. */
    uint32_t sizes[400];
    for (int i = 0; i < 400; i++) {
        size_t victim = random_below(m.nr);
        sizes[i] = m.blobs[victim].size;
        drop_nr(&m, victim);
    }
    for (int i = 0; i < 400; i++)
        assert_int_equal(put_one(&m, sizes[i]), 0);
    check_bytes(&m);
    while (m.nr)
        drop_nr(&m, m.nr - 1);
    for (int i = 0; i < 600; i++)
        assert_int_equal(put_one(&m, 2900), 0);
    check_bytes(&m);
    check_numbers(&m);
    store_usage(m.st, &u);
    assert_true(u.held_bytes <= 2 * MIB + 4096);
    model_free(&m);
}

static void at_the_cap_dead_blocks_of_other_sizes_are_used(void **state)
{
    (void)state;
    struct model m;
    model_new(&m, 2 * MIB, 64 * MIB, 10000);
    while (put_one(&m, 1500) == 0)
        ;
    for (size_t i = m.nr; i-- > 0;) /* two in each slab stay: none is empty */
        if (m.blobs[i].tag % 20)
            drop_nr(&m, i);
    for (int i = 0; i < 400; i++) /* more than is given back in one go */
        assert_int_equal(put_one(&m, 2900), 0);
    check_bytes(&m);
    check_numbers(&m);
    model_free(&m);
}

static void a_file_that_is_full_is_enospc_too(void **state)
{
    (void)state;
    struct model m;
    model_new(&m, 64 * MIB, 4 * 65536, 1000);
    while (put_one(&m, 3072) == 0)
        ;
    assert_int_equal(m.nr, 4 * 21);
    check_bytes(&m);
    drop_nr(&m, 50);
    assert_int_equal(put_one(&m, 3000), 0);
    check_numbers(&m);
    model_free(&m);
}

static void trimming_gives_single_blocks_back(void **state)
{
    (void)state;
    struct model m;
    model_new(&m, 64 * MIB, 64 * MIB, 40000);
    for (int i = 0; i < 20000; i++)
        assert_int_equal(put_one(&m, 1500), 0);
    struct store_usage full, after;
    store_usage(m.st, &full);
    assert_int_equal(store_trim(m.st, SIZE_MAX), 0); /* all is live */

    /* One blob in sixteen stays: most blocks hold nothing, though no slab is empty. */
    for (size_t i = m.nr; i-- > 0;)
        if (m.blobs[i].tag % 16)
            drop_nr(&m, i);
    store_usage(m.st, &after);
    assert_int_equal(after.held_bytes, full.held_bytes); /* a drop only marks */
    assert_int_equal(store_trim(m.st, 100), 100);
    check_numbers(&m);
    size_t given = 100;
    for (size_t now; (now = store_trim(m.st, 100)) > 0; given += now)
        assert_true(now <= 100);
    store_usage(m.st, &after);
    assert_int_equal(full.held_bytes - after.held_bytes, given * PAGE_BYTES);
    assert_true(after.held_bytes < full.held_bytes * 2 / 5);
    check_bytes(&m);
    check_numbers(&m);
    print_message("20,000 of 1500 B: held %lu KiB; one in 16 kept: %lu KiB held for %lu KiB\n",
                  (unsigned long)(full.held_bytes >> 10), (unsigned long)(after.held_bytes >> 10),
                  (unsigned long)(after.payload_bytes >> 10));

    /* What is put now goes where memory already is, before any new slab. */
    uint64_t end_before = 0;
    for (size_t i = 0; i < m.nr; i++)
        end_before = end_before > m.blobs[i].offset ? end_before : m.blobs[i].offset;
    for (int i = 0; i < 18000; i++)
        assert_int_equal(put_one(&m, 1500), 0);
    for (size_t i = 0; i < m.nr; i++)
        assert_true(m.blobs[i].offset <= end_before + 65536);
    store_usage(m.st, &after);
    assert_true(after.held_bytes <= full.held_bytes);
    check_bytes(&m);
    model_free(&m);
}

/* Whole slabs go together, but not more of them than fit into what was asked for. Found by fuzz_store. */
static void a_trim_gives_no_more_than_it_was_asked_for(void **state)
{
    (void)state;
    struct model m;
    model_new(&m, 8 * MIB, 8 * MIB, 8000);
    for (int i = 0; i < 2000; i++)
        assert_int_equal(put_one(&m, 1500), 0);
    while (m.nr)
        drop_nr(&m, m.nr - 1);
    struct store_usage before, after;
    store_usage(m.st, &before);
    for (size_t wanted = 1; before.held_bytes; wanted = wanted % 40 + 1, before = after) {
        size_t given = store_trim(m.st, wanted), left = before.held_bytes / PAGE_BYTES;
        store_usage(m.st, &after);
        assert_int_equal(given, wanted < left ? wanted : left);
        assert_int_equal(before.held_bytes - after.held_bytes, given * PAGE_BYTES);
    }
    check_numbers(&m);
    model_free(&m);
}

static void drops_that_lie_change_nothing(void **state)
{
    (void)state;
    struct model m;
    model_new(&m, 16 * MIB, 32 * MIB, 5000);
    for (int i = 0; i < 3000; i++)
        (void)put_one(&m, random_size());
    struct blob gone = m.blobs[7];
    drop_nr(&m, 7);
    assert_int_equal(store_drop(m.st, gone.offset, gone.size), -EINVAL); /* twice */
    check_numbers(&m);

    for (size_t i = 0; i < m.nr; i++) {
        struct blob b = m.blobs[i];
        for (uint32_t size = 0; size <= 4096; size += 1 + (size > b.size + 40 ? 97 : 0))
            if (size != b.size)
                assert_int_equal(store_drop(m.st, b.offset, size), -EINVAL);
        for (uint64_t shift = 1; shift < 200; shift += 3) /* into the middle of it */
            if (shift < b.size)
                assert_int_equal(store_drop(m.st, b.offset + shift, b.size), -EINVAL);
        if (i == 300)
            break;
    }
    static const uint64_t far[] = {32 * MIB - 16, 32 * MIB, 33 * MIB, (uint64_t)1 << 40,
                                   UINT64_MAX - 15, UINT64_MAX, (uint64_t)UINT32_MAX << 16};
    for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
        assert_int_equal(store_drop(m.st, far[i], 16), -EINVAL);
        assert_int_equal(store_drop(m.st, far[i], 0), -EINVAL);
        assert_int_equal(store_drop(m.st, far[i], SIZE_MAX), -EINVAL);
    }
    /* At random: whatever is accepted must have been there, byte for byte of its size. */
    for (int i = 0; i < 100000; i++) {
        uint64_t offset = random_below(8 * MIB / 16) * 16;
        size_t size = 1 + random_below(3072);
        if (store_drop(m.st, offset, size) != 0)
            continue;
        size_t at = 0;
        while (at < m.nr && (m.blobs[at].offset != offset || m.blobs[at].size != size))
            at++;
        assert_true(at < m.nr);
        m.payload_bytes -= size;
        m.blobs[at] = m.blobs[--m.nr];
    }
    check_numbers(&m);
    check_bytes(&m);
    model_free(&m);
}

/* 512 MiB of managed memory, all of it out, heap-like. */
static void bookkeeping_and_rounding_are_small(void **state)
{
    (void)state;
    enum { NR_PAGES = 131072 };
    struct model m;
    model_new(&m, 1024 * MIB, 1024 * MIB, NR_PAGES);
    for (int i = 0; i < NR_PAGES; i++)
        assert_int_equal(put_one(&m, 1450 + (uint32_t)random_below(151)), 0);
    check_numbers(&m);
    struct store_usage u;
    store_usage(m.st, &u);
    print_message("bookkeeping %.2f B a page; held %.2f %% more than payload\n",
                  (double)u.bookkeeping_bytes / NR_PAGES,
                  ((double)u.held_bytes / (double)u.payload_bytes - 1) * 100);
    assert_true(u.bookkeeping_bytes <= 2 * NR_PAGES);
    assert_true(u.held_bytes - u.payload_bytes < u.payload_bytes * 3 / 100);

    /* Fragmentation as a number: half goes at random, and comes again. */
    for (int i = 0; i < NR_PAGES / 2; i++)
        drop_nr(&m, random_below(m.nr));
    (void)store_trim(m.st, SIZE_MAX);
    struct store_usage half, again;
    store_usage(m.st, &half);
    for (int i = 0; i < NR_PAGES / 2; i++)
        assert_int_equal(put_one(&m, 1450 + (uint32_t)random_below(151)), 0);
    store_usage(m.st, &again);
    print_message("half dropped at random: %.0f %% of the blocks still held; put again: %.1f %%\n",
                  (double)half.held_bytes * 100 / (double)u.held_bytes,
                  (double)again.held_bytes * 100 / (double)u.held_bytes);
    assert_true(again.held_bytes <= u.held_bytes + u.held_bytes / 100);
    assert_true(again.bookkeeping_bytes <= 2 * NR_PAGES);
    check_numbers(&m);
    model_free(&m);
}

static void small_blobs_pay_for_their_bitmaps_only(void **state)
{
    (void)state;
    struct model m;
    model_new(&m, 64 * MIB, 64 * MIB, 100000);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(put_one(&m, 8), 0);
    check_numbers(&m);
    struct store_usage u;
    store_usage(m.st, &u);
    assert_int_equal(u.held_bytes, page_round_up(100000 * 16));
    assert_true(u.bookkeeping_bytes < 40000);
    while (m.nr)
        drop_nr(&m, m.nr - 1);
    assert_int_equal(store_trim(m.st, SIZE_MAX), u.held_bytes / PAGE_BYTES);
    check_numbers(&m);
    model_free(&m);
}

/* What a stranger with the client's descriptor can do; the exit code says what it could. */
static int try_as_stranger(int fd)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (getuid() == 0 && (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
        return 1;
    if (open(path, O_RDWR | O_CLOEXEC) >= 0 || open(path, O_WRONLY | O_CLOEXEC) >= 0)
        return 2;
    if (mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
        return 3;
    void *map = mmap(NULL, 65536, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return 4;
    if (mprotect(map, 65536, PROT_READ | PROT_WRITE) == 0)
        return 5;
    if (ftruncate(fd, 0) == 0 || madvise(map, 65536, MADV_REMOVE) == 0)
        return 6;
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0)
        return 7;
    if (getuid() == 65534 && fchmod(fd, 0600) == 0)
        return 8;
    return 0;
}

static void a_client_can_only_read(void **state)
{
    (void)state;
    struct model m;
    model_new(&m, MIB, 4 * MIB, 100);
    assert_int_equal(put_one(&m, 1000), 0);
    struct stat s;
    assert_int_equal(fstat(m.fd, &s), 0);
    assert_int_equal(s.st_mode & 07777, 0);
    assert_int_equal((uint64_t)s.st_size, 4 * MIB);
    int seals = fcntl(m.fd, F_GET_SEALS);
    assert_int_equal(seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
                     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    assert_true(fcntl(m.fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(fcntl(m.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(try_as_stranger(m.fd));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    check_bytes(&m);
    model_free(&m);
}

static void impossible_sizes_are_refused_and_nothing_leaks(void **state)
{
    (void)state;
    struct store_writer *st = NULL;
    assert_int_equal(store_writer_new(65535, MIB, &st), -EINVAL);
    assert_int_equal(store_writer_new(MIB, 65535, &st), -EINVAL);
    assert_int_equal(store_writer_new(MIB, LOCATOR_STORE_BYTES_MAX + 65536, &st), -EINVAL);
    assert_null(st);
    assert_null(store_writer_free(NULL));
    int before = dup(0);
    close(before);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(store_writer_new(65536, 65536, &st), 0);
        st = store_writer_free(st);
    }
    int after = dup(0);
    close(after);
    assert_int_equal(before, after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_random_walk_agrees_with_the_model),
        cmocka_unit_test(at_the_cap_everything_stays_intact),
        cmocka_unit_test(at_the_cap_dead_blocks_of_other_sizes_are_used),
        cmocka_unit_test(a_file_that_is_full_is_enospc_too),
        cmocka_unit_test(trimming_gives_single_blocks_back),
        cmocka_unit_test(a_trim_gives_no_more_than_it_was_asked_for),
        cmocka_unit_test(drops_that_lie_change_nothing),
        cmocka_unit_test(bookkeeping_and_rounding_are_small),
        cmocka_unit_test(small_blobs_pay_for_their_bitmaps_only),
        cmocka_unit_test(a_client_can_only_read),
        cmocka_unit_test(impossible_sizes_are_refused_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
