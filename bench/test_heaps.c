/* test_heaps.c - the pages of a process are read as they are and only those that a pager could
 * take; what the store holds for known pages is what can be worked out by hand; records repeat.
 * Method: a child with memory of all kinds at known places; pages made here; no zram. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <cjson/cJSON.h>

#include "codec/codec.h"
#include "common/rng.h"
#include "heap_held.h"
#include "heap_pages.h"
#include "heap_records.h"
#include "page/table.h"
#include "store/slab.h"

#define REGION_PAGES 1300u /* more than one piece of pagemap */
#define REGION_BYTES pages_to_bytes(REGION_PAGES)

/* ---- reading */

/* Mapped before the fork, so that we know where the child has them; touched by the child only. */
struct regions {
    unsigned char *heap, *zero_page, *shared, *readonly, *executable, *file;
};

static unsigned char *map(int prot, int flags, int fd)
{
    void *p = mmap(NULL, REGION_BYTES, prot, flags | MAP_NORESERVE, fd, 0);
    assert_true(p != MAP_FAILED);
    (void)madvise(p, REGION_BYTES, MADV_NOHUGEPAGE); /* a page is there once it was touched */
    return p;
}

static struct regions map_regions(void)
{
    int rw = PROT_READ | PROT_WRITE, anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    int fd = memfd_create("test_heaps", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, (off_t)REGION_BYTES), 0);
    struct regions r = { .heap = map(rw, anonymous, -1),
                         .zero_page = map(rw, anonymous, -1),
                         .shared = map(rw, MAP_SHARED | MAP_ANONYMOUS, -1),
                         .readonly = map(rw, anonymous, -1),
                         .executable = map(rw | PROT_EXEC, anonymous, -1),
                         .file = map(rw, MAP_PRIVATE, fd) };
    close(fd);
    return r;
}

static void unmap_regions(const struct regions *r)
{
    unsigned char *all[] = {
        r->heap, r->zero_page, r->shared, r->readonly, r->executable, r->file
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        munmap(all[i], REGION_BYTES);
}

static bool is_touched(size_t page)
{
    return page % 3 != 1 || page > 1200;
}

static uint64_t word_of(size_t page)
{
    return rng_mix(page);
}

static _Noreturn void be_child(const struct regions *r, int ready_fd)
{
    volatile unsigned char sink = 0;
    for (size_t i = 0; i < REGION_PAGES; i++) {
        size_t at = pages_to_bytes(i);
        uint64_t word = word_of(i);
        if (is_touched(i)) {
            memcpy(r->heap + at + 8, &word, sizeof word);
            memcpy(r->heap + at + PAGE_BYTES - 8, &word, sizeof word);
        }
        sink = (unsigned char)(sink + r->zero_page[at]);
        r->shared[at] = r->readonly[at] = r->executable[at] = r->file[at] = 1;
    }
    (void)mprotect(r->readonly, REGION_BYTES, PROT_READ);
    if (write(ready_fd, "r", 1) == 1)
        for (;;)
            pause();
    _exit(1);
}

static bool is_in(const unsigned char *region, page_number page)
{
    return page - page_of((uintptr_t)region) < REGION_PAGES;
}

static void only_the_own_pages_of_a_process_are_read(void **state)
{
    (void)state;
    struct regions r = map_regions();
    int ready[2], status;
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        be_child(&r, ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    struct heap_pages h;
    int result = heap_pages_read(pid, &h);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(result, 0);

    size_t nr_heap = 0, nr_expected = 0;
    for (size_t i = 0; i < REGION_PAGES; i++)
        nr_expected += is_touched(i);
    for (size_t i = 0; i < h.nr; i++) {
        page_number page = h.numbers[i];
        assert_true(i == 0 || page > h.numbers[i - 1]);
        assert_false(is_in(r.zero_page, page) || is_in(r.shared, page) || is_in(r.readonly, page) ||
                     is_in(r.executable, page) || is_in(r.file, page));
        if (!is_in(r.heap, page))
            continue; /* the child's own stack, and what libc wrote */
        size_t index = (size_t)(page - page_of((uintptr_t)r.heap));
        uint64_t expected[PAGE_BYTES / 8] = { 0 };
        assert_true(is_touched(index));
        expected[1] = expected[PAGE_BYTES / 8 - 1] = word_of(index);
        assert_memory_equal(heap_page(&h, i), expected, PAGE_BYTES);
        nr_heap++;
    }
    assert_int_equal(nr_heap, nr_expected);
    heap_pages_free(&h);
    unmap_regions(&r);
    close(ready[0]);
    close(ready[1]);
}

static void a_process_that_has_ended_has_no_pages(void **state)
{
    (void)state;
    struct heap_pages h;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(heap_pages_read(pid, &h), -ESRCH);
}

/* ---- counting */

enum made { MADE_ZERO, MADE_FILL32, MADE_FILL64, MADE_TEXT, MADE_RANDOM, MADE_NR };

static void make_page(enum made kind, uint64_t seed, unsigned char *page)
{
    struct rng rng = rng_new(seed, kind);
    for (size_t at = 0; at < PAGE_BYTES; at += 8) {
        uint64_t next = rng_next(&rng);
        uint64_t words[MADE_NR] = { 0, UINT64_C(0xabcdef01abcdef01), 0x0102030405060708,
                                    next % 7 + 0x6161616161616161, next };
        memcpy(page + at, &words[kind], 8);
    }
}

static void what_the_store_holds_is_counted(void **state)
{
    (void)state;
    static const unsigned nr_of[MADE_NR] = { 3, 2, 2, 300, 100 };
    struct heap_pages h;
    assert_int_equal(heap_pages_new(407, &h), 0);
    struct codec_encoder *encoder;
    assert_int_equal(codec_encoder_new(&encoder), 0);
    uint64_t payload = 0, slots = 0;
    size_t nr = 0;
    for (enum made kind = 0; kind < MADE_NR; kind++)
        for (unsigned i = 0; i < nr_of[kind]; i++, nr++) {
            struct codec_encoded e;
            make_page(kind, nr, heap_page(&h, nr));
            h.numbers[nr] = 77 * LEAF_PAGES + nr;
            if (codec_encode(encoder, heap_page(&h, nr), &e) == CODEC_BLOB) {
                payload += e.size;
                slots += slot_units_for(e.size + 1) * STORE_UNIT_BYTES;
            }
        }
    codec_encoder_free(encoder);
    assert_int_equal(nr, h.nr);

    char reason[128] = "";
    struct heap_held held;
    assert_int_equal(heap_store_hold(&h, &held, reason, sizeof reason), 0);
    assert_string_equal(reason, "");
    assert_int_equal(held.nr_same, 3 + 2 + 2);
    assert_int_equal(held.nr_blobs, 300);
    assert_int_equal(held.nr_refused, 100);
    assert_int_equal(held.nr_wrong, 0);
    assert_int_equal(held.nr_untabled, 0);
    assert_int_equal(held.refused_bytes, 100 * PAGE_BYTES);
    assert_int_equal(held.payload_bytes, payload);
    /* Every slot is paid; beside them parts of blocks, and bookkeeping: here less than 64 KiB. */
    uint64_t least = slots + 100 * PAGE_BYTES;
    assert_in_range(held.held_bytes, least, least + 65536);
    /* Seven leaves of 12 bytes for each of 64 pages, and half a byte for the way to them. */
    assert_in_range(held.table_bytes, 7 * LEAF_PAGES * 12, 7 * LEAF_PAGES * 13);

    /* Squeezed: the same pages, less room; what has no blob or was refused is as before. */
    struct heap_held squeezed;
    assert_int_equal(heap_squeezed_hold(&h, &squeezed, reason, sizeof reason), 0);
    assert_int_equal(squeezed.nr_wrong, 0);
    assert_int_equal(squeezed.nr_same, held.nr_same);
    assert_int_equal(squeezed.refused_bytes, held.refused_bytes);
    assert_true(squeezed.payload_bytes < payload * 7 / 8);
    assert_true(squeezed.held_bytes < held.held_bytes);
    /* The filled ones with a blob, and groups, which end where a leaf does: 57, 64, 64, 64 and 51 pages. */
    assert_int_equal(squeezed.nr_blobs, 2 + 15 + 3 * 16 + 13);
    heap_pages_free(&h);
}

static void addresses_without_room_in_the_table_are_said(void **state)
{
    (void)state;
    struct heap_pages h;
    assert_int_equal(heap_pages_new(300, &h), 0);
    for (size_t i = 0; i < h.nr; i++) {
        make_page(MADE_TEXT, i, heap_page(&h, i));
        h.numbers[i] = page_of((uint64_t)16 << 30) * i; /* each in another 16 GiB */
    }
    char reason[128] = "";
    struct heap_held held;
    assert_int_equal(heap_store_hold(&h, &held, reason, sizeof reason), 0);
    assert_int_equal(held.nr_blobs, 300);
    if (held.nr_untabled)
        assert_non_null(strstr(reason, "no room"));
    else
        assert_string_equal(reason, "");
    heap_pages_free(&h);
}

static void pages_go_to_a_file_and_back(void **state)
{
    (void)state;
    char path[] = "/tmp/test_heaps.XXXXXX", numbers[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    snprintf(numbers, sizeof numbers, "%s.numbers", path);
    struct heap_pages h, back;
    assert_int_equal(heap_pages_new(5, &h), 0);
    for (size_t i = 0; i < h.nr; i++) {
        make_page(MADE_RANDOM, i, heap_page(&h, i));
        h.numbers[i] = i * i + 1000;
    }
    assert_int_equal(heap_pages_save(&h, path), 0);
    assert_int_equal(heap_pages_load(path, &back), 0);
    assert_int_equal(back.nr, 5);
    assert_memory_equal(back.bytes, h.bytes, 5 * PAGE_BYTES);
    assert_memory_equal(back.numbers, h.numbers, 5 * sizeof *h.numbers);
    heap_pages_free(&back);

    assert_int_equal(unlink(numbers), 0);
    assert_int_equal(heap_pages_load(path, &back), 0);
    for (size_t i = 0; i < back.nr; i++)
        assert_int_equal(back.numbers[i], i);
    heap_pages_free(&back);
    assert_int_equal(truncate(path, 5 * PAGE_BYTES - 1), 0);
    assert_int_equal(heap_pages_load(path, &back), -EINVAL);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(heap_pages_load(path, &back), -ENOENT);
    heap_pages_free(&h);
}

/* ---- records */

static void records_repeat_and_are_json(void **state)
{
    (void)state;
    char json[HEAP_RECORD_MAX], again[HEAP_RECORD_MAX], id[HEAP_RECORD_ID_BYTES];
    size_t total = 0, longest = 0;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        size_t size = heap_record_write(5, i, 0, json);
        assert_int_equal(heap_record_write(5, i, 0, again), size);
        assert_memory_equal(json, again, size);
        total += size;
        for (size_t at = 0; at < size; at++)
            sum = sum * 31 + (unsigned char)json[at];
        longest = size > longest ? size : longest;
        if (i % 20)
            continue;
        cJSON *record = cJSON_ParseWithLength(json, size);
        assert_non_null(record);
        heap_record_id(5, i, id);
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(record, "id")), id);
        cJSON_Delete(record);
        size = heap_record_write(5, i, 1, again);
        assert_true(memmem(again, size, id, strlen(id)) == again + strlen("{\"id\":\""));
        assert_true(memcmp(json, again, 200) != 0);
        heap_record_write(6, i, 0, again);
        assert_null(memmem(again, 60, id, strlen(id)));
    }
    assert_true(sum == 0x543e04518066911f); /* another compiler must not make other heaps */
    print_message("mean %zu bytes, longest %zu\n", total / 20000, longest);
    assert_in_range(total / 20000, 400, 700);
    assert_true(longest < HEAP_RECORD_MAX / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_own_pages_of_a_process_are_read),
        cmocka_unit_test(a_process_that_has_ended_has_no_pages),
        cmocka_unit_test(what_the_store_holds_is_counted),
        cmocka_unit_test(addresses_without_room_in_the_table_are_said),
        cmocka_unit_test(pages_go_to_a_file_and_back),
        cmocka_unit_test(records_repeat_and_are_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
