/* fuzz_store - what was put is read back until it is dropped, whatever else is put, dropped, trimmed,
 * refused or asked for by a liar; and what the store says it holds is what the machine pays. Method: a
 * real store of 256 KiB with its client's read-only map, beside a plain list of what is in it. Blobs may not
 * overlap; numbers are those of the list; held bytes are the file's own blocks and never above the cap.
 *
 *   input: one byte an operation, and its arguments */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/codec.h"
#include "fuzz.h"
#include "store/reader.h"
#include "store/slab.h"
#include "store/writer.h"

/* Small, so that it is full, and an input lasts a millisecond. What is done only above 64 MiB, populating
 * ahead, is the unit test's. */
#define CAP_BYTES ((uint64_t)256 << 10)
#define FILE_BYTES (2 * CAP_BYTES)
#define BLOBS_MAX 512u
#define OPERATIONS_MAX 200u

#define GROUP_BYTES_MOST 12288u

struct blob {
    uint64_t offset;
    uint32_t size, seed;
    unsigned members; /* a bit for each page that a group still has; 0: no group */
};

struct world {
    struct store_writer *st;
    struct store_map map;
    int fd;
    struct blob blobs[BLOBS_MAX];
    unsigned nr;
    uint64_t payload_bytes;
};

static uint8_t taken[FILE_BYTES / STORE_UNIT_BYTES];
static struct codec_encoder *encoder;

static void fill(uint8_t *bytes, uint32_t size, uint32_t seed)
{
    for (uint32_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(seed * 131u + i * 7u + (i >> 8));
}

static void world_begin(struct world *w)
{
    if (!encoder)
        CHECK(codec_encoder_new(&encoder) == 0);
    w->nr = 0;
    w->payload_bytes = 0;
    CHECK(store_writer_new(CAP_BYTES, FILE_BYTES, &w->st) == 0);
    w->fd = store_writer_open_readonly(w->st);
    CHECK(w->fd >= 0);
    void *bytes = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, w->fd, 0);
    CHECK(bytes != MAP_FAILED);
    w->map = (struct store_map){ .bytes = bytes, .nr_bytes = FILE_BYTES };
    memset(taken, 0, sizeof taken);
}

static uint64_t blocks_of_the_file(const struct world *w)
{
    struct stat st;
    CHECK(fstat(w->fd, &st) == 0);
    return (uint64_t)st.st_blocks * 512;
}

static void check_numbers(struct world *w)
{
    struct store_usage u;
    store_usage(w->st, &u);
    CHECK(u.nr_blobs == w->nr && u.payload_bytes == w->payload_bytes);
    CHECK(u.held_bytes <= CAP_BYTES && u.held_bytes == blocks_of_the_file(w));
    CHECK(u.payload_bytes <= u.held_bytes);
}

/* The size of a group as a locator has it. */
static size_t units_of(uint32_t size)
{
    return locator_size(locator_make_group(0, size, 0));
}

static void check_blob(const struct world *w, unsigned i)
{
    uint8_t should_be[GROUP_BYTES_MOST];
    const struct blob *b = &w->blobs[i];
    fill(should_be, b->size, b->seed);
    CHECK(memcmp(w->map.bytes + b->offset, should_be, b->size) == 0);
    if (!b->members) {
        CHECK(store_look(w->st, b->offset, b->size));
        return;
    }
    size_t size;
    unsigned members;
    CHECK(store_look_group(w->st, b->offset, units_of(b->size), &size, &members));
    CHECK(size == b->size && members == b->members);
}

static void mark(const struct blob *b, uint8_t value)
{
    for (uint64_t at = b->offset; at < b->offset + b->size; at += STORE_UNIT_BYTES) {
        CHECK(taken[at / STORE_UNIT_BYTES] != value); /* another blob's */
        taken[at / STORE_UNIT_BYTES] = value;
    }
}

/* Is there a slab without a blob? It could be cut to any size. */
static bool has_bare_slab(void)
{
    for (size_t slab = 0; slab < FILE_BYTES / SLAB_BYTES; slab++)
        if (!memchr(taken + slab * SLAB_UNITS, 1, SLAB_UNITS))
            return true;
    return false;
}

/* members 0: a blob by itself; else a group. */
static void put(struct world *w, uint32_t size, uint32_t seed, unsigned members)
{
    uint8_t bytes[GROUP_BYTES_MOST];
    uint64_t offset = UINT64_MAX;
    if (w->nr == BLOBS_MAX)
        return;
    fill(bytes, size, seed);
    int r = members ? store_put_group(w->st, bytes, size, members, &offset)
                    : store_put(w->st, bytes, size, &offset);
    if (r == -ENOSPC) {
        struct store_usage u; /* blocks of a slot, and the 64th that is kept for what replaces something */
        store_usage(w->st, &u);
        CHECK(offset == UINT64_MAX);
        CHECK(u.held_bytes + (size / PAGE_BYTES + 2) * PAGE_BYTES + CAP_BYTES / 64 > CAP_BYTES ||
              !has_bare_slab());
        return;
    }
    CHECK(r == 0 && offset % STORE_UNIT_BYTES == 0 && offset + size <= FILE_BYTES);
    struct blob *b = &w->blobs[w->nr++];
    *b = (struct blob){ .offset = offset, .size = size, .seed = seed, .members = members };
    w->payload_bytes += size;
    mark(b, 1);
    check_blob(w, w->nr - 1);
}

static void drop_members(struct world *w, struct blob *b)
{
    size_t size = units_of(b->size);
    CHECK(store_drop(w->st, b->offset, b->size) == -EINVAL); /* as if it were no group */
    for (unsigned index = 0; index < LOCATOR_GROUP_PAGES; index++) {
        bool is_member = b->members >> index & 1;
        CHECK(store_drop_member(w->st, b->offset, size, index) == (is_member ? 0 : -EINVAL));
        CHECK(store_drop_member(w->st, b->offset, size, index) == -EINVAL); /* twice */
    }
}

static void drop(struct world *w, unsigned i)
{
    struct blob b = w->blobs[i];
    check_blob(w, i);
    if (b.members) {
        drop_members(w, &b);
    } else {
        CHECK(store_drop_member(w->st, b.offset, units_of(b.size), 0) == -EINVAL);
        CHECK(store_drop(w->st, b.offset, b.size) == 0);
        CHECK(store_drop(w->st, b.offset, b.size) == -EINVAL); /* twice */
    }
    mark(&b, 0);
    w->payload_bytes -= b.size;
    w->blobs[i] = w->blobs[--w->nr];
}

/* One page of a group less. */
static void drop_one_member(struct world *w, unsigned i, unsigned index)
{
    struct blob *b = &w->blobs[i];
    if (!(b->members >> index & 1) || b->members == 1u << index)
        return;
    CHECK(store_drop_member(w->st, b->offset, units_of(b->size), index) == 0);
    b->members &= ~(1u << index);
    check_blob(w, i);
}

static bool is_there(const struct world *w, uint64_t offset, size_t size)
{
    for (unsigned i = 0; i < w->nr; i++)
        if (w->blobs[i].offset == offset && w->blobs[i].size == size && !w->blobs[i].members)
            return true;
    return false;
}

/* A place that the client makes up: near one that there is, or anywhere. */
static void lie(struct world *w, struct input *in)
{
    uint8_t how = input_u8(in);
    uint64_t offset = how & 1 ? input_u64(in) : (uint64_t)input_u16(in) * STORE_UNIT_BYTES;
    size_t size = input_u16(in);
    if (w->nr && how & 2) {
        const struct blob *b = &w->blobs[how / 8 % w->nr];
        offset = how & 4 ? b->offset : b->offset + STORE_UNIT_BYTES * (size % 5 - 2);
        size = b->size + size % 7 - 3;
    }
    if (!is_there(w, offset, size))
        CHECK(store_drop(w->st, offset, size) == -EINVAL);
}

/* All the way: a page through the codec, the store and the reader. */
static void page_there_and_back(struct world *w, struct input *in)
{
    static _Alignas(64) uint8_t page[PAGE_BYTES], back[PAGE_BYTES];
    static struct store_scratch scratch;
    uint8_t pattern[32], how = input_u8(in);
    size_t nr = 1 + how % sizeof pattern;
    input_bytes(in, pattern, nr);
    for (size_t i = 0; i < PAGE_BYTES; i++)
        page[i] = (uint8_t)(pattern[i % nr] + (how & 128 ? i / 61 : 0));
    struct codec_encoded e;
    uint64_t offset = 0;
    enum codec_result r = codec_encode(encoder, page, &e);
    if (r == CODEC_NOT_WORTH_IT || (r == CODEC_BLOB && store_put(w->st, e.bytes, e.size, &offset)))
        return;
    locator place = r == CODEC_FILL32 ? locator_make_fill32(e.fill)
                                      : locator_make(e.kind, offset, e.size);
    store_touch(&w->map, place);
    CHECK(store_read(&w->map, place, page_checksum(page), &scratch, back) == 0);
    CHECK(memcmp(page, back, PAGE_BYTES) == 0);
    CHECK(store_read(&w->map, place, ~page_checksum(page), &scratch, back) == -EILSEQ);
    if (r == CODEC_BLOB)
        CHECK(store_drop(w->st, offset, e.size) == 0);
}

static void trim(struct world *w, size_t max_blocks)
{
    struct store_usage before, after;
    store_usage(w->st, &before);
    size_t given = store_trim(w->st, max_blocks);
    store_usage(w->st, &after);
    CHECK(given <= max_blocks && before.held_bytes - after.held_bytes == given * PAGE_BYTES);
}

/* Nothing in it: then nothing is held, and there is room again. */
static void world_end(struct world *w)
{
    while (w->nr)
        drop(w, w->nr - 1);
    trim(w, SIZE_MAX / 2);
    struct store_usage u;
    store_usage(w->st, &u);
    CHECK(u.held_bytes == 0 && u.payload_bytes == 0 && blocks_of_the_file(w) == 0);
    put(w, STORE_BLOB_MAX, 1, 0);
    CHECK(w->nr == 1 && store_is_valid(w->st));
    CHECK(munmap((void *)(uintptr_t)w->map.bytes, FILE_BYTES) == 0);
    close(w->fd);
    store_writer_free(w->st);
}

static void groups(struct world *w, struct input *in, uint8_t op)
{
    uint16_t argument = input_u16(in);
    uint32_t leaving[STORE_LEAVING_NR];
    if (op & 64 && w->nr)
        drop_one_member(w, argument % w->nr, argument >> 14);
    else if (op & 32)
        CHECK(store_choose_leaving(w->st, leaving) <= STORE_LEAVING_NR);
    else
        put(w, 1 + argument % GROUP_BYTES_MOST, op, 1 + (op >> 3) % 15);
}

static void happen(struct world *w, struct input *in)
{
    uint8_t op = input_u8(in);
    switch (op % 8) {
    case 0:
    case 1:  put(w, 1 + input_u16(in) % STORE_BLOB_MAX, op, 0); break;
    case 2:  for (uint32_t size = 1 + input_u16(in) % STORE_BLOB_MAX, i = 0; i < op / 8; i++)
                 put(w, size, i, 0);
             break;
    case 3:  if (w->nr)
                 drop(w, input_u16(in) % w->nr);
             break;
    case 4:  for (unsigned i = 0, step = 1 + op / 8; i < w->nr; i += step)
                 drop(w, i);
             break;
    case 5:
        if (op & 128)
            groups(w, in, op);
        else
            trim(w, input_u8(in));
        break;
    case 6:  lie(w, in); break;
    default: page_there_and_back(w, in); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    struct input in = { data, data + size };
    world_begin(&w);
    for (unsigned i = 0; i < OPERATIONS_MAX && !input_is_empty(&in); i++) {
        happen(&w, &in);
        check_numbers(&w);
        CHECK(store_is_valid(w.st));
    }
    for (unsigned i = 0; i < w.nr; i++)
        check_blob(&w, i);
    world_end(&w);
    return 0;
}
