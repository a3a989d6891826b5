/* heap_store.c - pages through codec/ and store/, counted. The real rooms: what
 * src/daemon/compress.c does with a page and what the client does with it when it is wanted again;
 * and what src/daemon/squeeze.c does with four neighbours when they have been out for long. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "codec/codec.h"
#include "daemon/squeeze.h"
#include "heap_held.h"
#include "page/table.h"
#include "store/reader.h"
#include "store/writer.h"

#define LOOK_EVERY_PAGES 4096u /* for a signal */
#define STORE_BYTES_MIN ((uint64_t)1 << 20)

struct kept {
    locator place; /* LOCATOR_NONE: not worth it */
    uint32_t checksum;
};

struct holder {
    const struct heap_pages *heap;
    struct heap_held held;
    struct codec_encoder *encoder;
    struct squeezer *squeezer;
    struct store_writer *store;
    struct kept *kept;
    struct store_map map;
};

static int put_page(struct holder *o, size_t index)
{
    struct codec_encoded encoded;
    struct kept *k = &o->kept[index];
    uint64_t offset;
    const unsigned char *page = heap_page(o->heap, index);
    k->checksum = page_checksum(page);
    switch (codec_encode(o->encoder, page, &encoded)) {
    case CODEC_FILL32:
        k->place = locator_make_fill32(encoded.fill);
        o->held.nr_same++;
        return 0;
    case CODEC_NOT_WORTH_IT: o->held.nr_refused++; return 0;
    case CODEC_BLOB: break;
    }
    int r = store_put(o->store, encoded.bytes, encoded.size, &offset);
    if (r)
        return r;
    k->place = locator_make(encoded.kind, offset, encoded.size);
    o->held.nr_same += encoded.kind == LOCATOR_FILL64;
    o->held.nr_blobs += encoded.kind != LOCATOR_FILL64;
    return 0;
}

static int put_all(struct holder *o)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < o->heap->nr; i++)
        r = i % LOOK_EVERY_PAGES == 0 && children_stop_signal() ? -EINTR : put_page(o, i);
    return r;
}

/* ---- the second tier */

static int drop(struct store_writer *store, locator place)
{
    return store_drop(store, locator_offset(place), locator_size(place));
}

/* The pages at these indexes, all of them stored by LZ4. */
static int squeeze_group(struct holder *o, const size_t *indexes, unsigned nr)
{
    struct squeeze_entry ask = { .nr = (uint16_t)nr, .kind = SQUEEZE_GROUP };
    struct squeezed_entry answer;
    for (unsigned i = 0; i < nr; i++)
        ask.places[i] = o->kept[indexes[i]].place;
    squeeze_do(o->squeezer, o->store, &ask, &answer);
    if (answer.result == SQUEEZED_NOT_NOW)
        return -ENOSPC;
    for (unsigned i = 0; i < nr && answer.result == SQUEEZED_AT; i++) {
        if (drop(o->store, ask.places[i]))
            return -EBADMSG;
        o->kept[indexes[i]].place = answer.places[i];
    }
    return 0;
}

/* Four at a time that are next to each other, but for other pages between them, in 2 MiB: as
 * src/pager/squeeze.c asks for them. */
static int squeeze_all(struct holder *o)
{
    size_t indexes[LOCATOR_GROUP_PAGES];
    unsigned nr = 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i <= o->heap->nr; i++) {
        bool is_end = i == o->heap->nr ||
                      (nr && o->heap->numbers[i] / LEAF_PAGES != o->heap->numbers[indexes[0]] / LEAF_PAGES);
        if (nr && (is_end || nr == LOCATOR_GROUP_PAGES)) {
            r = squeeze_group(o, indexes, nr);
            nr = 0;
        }
        if (i % LOOK_EVERY_PAGES == 0 && children_stop_signal())
            return -EINTR;
        if (i < o->heap->nr && locator_kind_of(o->kept[i].place) == LOCATOR_LZ4)
            indexes[nr++] = i;
    }
    struct store_usage u;
    store_usage(o->store, &u);
    o->held.nr_blobs = u.nr_blobs;
    return r;
}

static int read_all(struct holder *o)
{
    static struct store_scratch scratch;
    _Alignas(64) unsigned char page[PAGE_BYTES];
    for (size_t i = 0; i < o->heap->nr; i++) {
        const struct kept *k = &o->kept[i];
        if (i % LOOK_EVERY_PAGES == 0 && children_stop_signal())
            return -EINTR;
        if (locator_kind_of(k->place) != LOCATOR_NONE &&
            (store_read(&o->map, k->place, k->checksum, &scratch, page) ||
             memcmp(page, heap_page(o->heap, i), PAGE_BYTES) != 0))
            o->held.nr_wrong++;
    }
    return 0;
}

/* The client's table for pages at these addresses, as the client itself builds it. */
static int count_table(struct holder *o)
{
    size_t bytes =
        page_table_bytes(o->heap->nr * LEAF_PAGES); /* every page may have its own leaf */
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct page_table *table = malloc(sizeof *table);
    int r = memory == MAP_FAILED || !table ? -ENOMEM : 0;
    if (r == 0)
        page_table_init(table, memory, bytes);
    for (size_t i = 0; r == 0 && i < o->heap->nr; i++) {
        struct page_leaf *leaf = page_table_grow(table, o->heap->numbers[i]);
        o->held.nr_untabled += leaf == NULL;
        if (leaf)
            leaf->nr_out++;
    }
    if (r == 0)
        o->held.table_bytes = page_table_used_bytes(table);
    free(table);
    if (memory != MAP_FAILED)
        (void)munmap(memory, bytes);
    return r;
}

/* What the store says it holds must be what the kernel says the file holds. */
static int count_held(struct holder *o, int readonly_fd)
{
    struct store_usage u;
    struct stat st;
    store_usage(o->store, &u);
    if (fstat(readonly_fd, &st))
        return -errno;
    if (!store_is_valid(o->store) || (uint64_t)st.st_blocks * 512 != u.held_bytes)
        return -EBADMSG;
    o->held.refused_bytes = pages_to_bytes(o->held.nr_refused);
    o->held.payload_bytes = u.payload_bytes;
    o->held.held_bytes = u.held_bytes + u.bookkeeping_bytes + o->held.refused_bytes;
    return 0;
}

static int hold(const struct heap_pages *h, bool is_squeezed, struct heap_held *ret, char *ret_reason,
                size_t capacity)
{
    struct holder o = { .heap = h };
    uint64_t file_bytes = pages_to_bytes(h->nr) * 2 + STORE_BYTES_MIN;
    int fd = -1;
    o.kept = calloc(h->nr + 1, sizeof *o.kept);
    int r = o.kept ? codec_encoder_new(&o.encoder) : -ENOMEM;
    if (r == 0)
        r = squeezer_new(&o.squeezer);
    if (r == 0)
        r = store_writer_new(file_bytes, file_bytes, &o.store);
    if (r == 0)
        r = fd = store_writer_open_readonly(o.store);
    if (r >= 0) {
        void *bytes = mmap(NULL, file_bytes, PROT_READ, MAP_SHARED, fd, 0);
        r = bytes == MAP_FAILED ? -errno : 0;
        o.map = (struct store_map){ r ? NULL : bytes, file_bytes };
    }
    if (r == 0)
        r = put_all(&o);
    if (r == 0 && is_squeezed)
        r = squeeze_all(&o);
    if (r == 0) {
        (void)store_trim(o.store, SIZE_MAX); /* as the daemon does when it is idle */
        r = read_all(&o);
    }
    if (r == 0)
        r = count_held(&o, fd);
    if (r == 0)
        r = count_table(&o);
    if (o.map.bytes)
        (void)munmap((void *)(uintptr_t)o.map.bytes, file_bytes);
    if (fd >= 0)
        close(fd);
    store_writer_free(o.store);
    codec_encoder_free(o.encoder);
    squeezer_free(o.squeezer);
    free(o.kept);
    if (r)
        snprintf(ret_reason, capacity, "%s", strerror(-r));
    else if (o.held.nr_untabled)
        snprintf(ret_reason, capacity,
                 "store: the client's table has no room for %llu of these addresses",
                 (unsigned long long)o.held.nr_untabled);
    if (r == 0)
        *ret = o.held;
    return r;
}

int heap_store_hold(const struct heap_pages *h, struct heap_held *ret, char *ret_reason,
                    size_t capacity)
{
    return hold(h, false, ret, ret_reason, capacity);
}

int heap_squeezed_hold(const struct heap_pages *h, struct heap_held *ret, char *ret_reason,
                       size_t capacity)
{
    return hold(h, true, ret, ret_reason, capacity);
}
