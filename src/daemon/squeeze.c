/* squeeze.c - see squeeze.h. What is asked for may have been given up meanwhile, or be another
 * page's by now: then the client does not take the answer. So all that is looked at here is whether
 * something is there. */
#include "daemon/squeeze.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/point.h"
#include "codec/codec.h"
#include "codec/group.h"
#include "store/slab.h"

/* A group must take an eighth less than its pages do: it costs them 15 us more at their next touch. */
#define WORTH(bytes) ((bytes) / 8 * 7)

struct squeezer {
    struct group_encoder *encoder;
    struct group_decoder decoder;
    _Alignas(64) unsigned char pages[GROUP_BYTES_MAX];
    _Alignas(64) unsigned char again[GROUP_BYTES_MAX];
    unsigned char blob[STORE_GROUP_MAX];
};

int squeezer_new(struct squeezer **ret)
{
    struct squeezer *q = point_fails(POINT_SQUEEZER) ? NULL : aligned_alloc(64, (sizeof *q + 63) & ~(size_t)63);
    if (!q)
        return -ENOMEM;
    int r = group_encoder_new(&q->encoder);
    if (r) {
        free(q);
        return r;
    }
    *ret = q;
    return 0;
}

struct squeezer *squeezer_free(struct squeezer *q)
{
    if (!q)
        return NULL;
    (void)group_encoder_free(q->encoder);
    free(q);
    return NULL;
}

/* ---- as it is */

static bool is_of_group(const struct squeeze_entry *ask, unsigned *ret_members)
{
    unsigned members = 0;
    for (unsigned i = 0; i < ask->nr; i++) {
        if (locator_kind_of(ask->places[i]) != LOCATOR_ZSTD ||
            locator_of_group(ask->places[i]) != locator_of_group(ask->places[0]))
            return false;
        members |= 1u << locator_index(ask->places[i]);
    }
    *ret_members = members;
    return true;
}

/* All that is left of a group. False: only some of it is asked for. */
static bool move_group(struct store_writer *store, const struct squeeze_entry *ask, unsigned members,
                       struct squeezed_entry *ret)
{
    size_t size;
    unsigned members_there;
    locator first = ask->places[0];
    const void *bytes =
        store_look_group(store, locator_offset(first), locator_size(first), &size, &members_there);
    uint64_t offset;
    if (!bytes || members_there != members)
        return false;
    if (store_put_group(store, bytes, size, members, &offset))
        return true; /* not now */
    ret->result = SQUEEZED_AT;
    for (unsigned i = 0; i < ask->nr; i++)
        ret->places[i] = locator_make_group(offset, size, locator_index(ask->places[i]));
    return true;
}

static void move_blob(struct store_writer *store, locator old, struct squeezed_entry *ret)
{
    size_t size = locator_size(old);
    const void *bytes = store_look(store, locator_offset(old), size);
    uint64_t offset;
    if (!bytes || store_put_instead(store, bytes, size, &offset))
        return;
    ret->result = SQUEEZED_AT;
    ret->places[0] = locator_make(locator_kind_of(old), offset, size);
}

/* ---- anew */

/* The page at that place; how many bytes it takes there, or 0: nothing is there. */
static size_t unpack(struct squeezer *q, const struct store_writer *store, locator place, void *ret_page)
{
    uint64_t offset = locator_offset(place);
    size_t size = locator_size(place);
    if (locator_kind_of(place) != LOCATOR_ZSTD) {
        const void *bytes = locator_has_blob(place) ? store_look(store, offset, size) : NULL;
        return bytes && codec_decode(locator_kind_of(place), bytes, size, ret_page) == 0 ? size : 0;
    }
    unsigned members, index = locator_index(place);
    const void *bytes = store_look_group(store, offset, size, &size, &members);
    if (!bytes || !(members >> index & 1) || group_decode(&q->decoder, bytes, size, q->again) <= (int)index)
        return 0;
    memcpy(ret_page, q->again + pages_to_bytes(index), PAGE_BYTES);
    return size / (unsigned)__builtin_popcount(members);
}

/* zstd is believed only when it has given back what it was given. */
static size_t pack(struct squeezer *q, unsigned nr, size_t bytes_max)
{
    size_t size = group_encode(q->encoder, q->pages, nr, q->blob, bytes_max);
    if (size && (group_decode(&q->decoder, q->blob, size, q->again) != (int)nr ||
                 memcmp(q->again, q->pages, pages_to_bytes(nr)) != 0))
        return 0;
    return size;
}

static void make_group(struct squeezer *q, struct store_writer *store, const struct squeeze_entry *ask,
                       struct squeezed_entry *ret)
{
    unsigned nr = 0, which[LOCATOR_GROUP_PAGES];
    size_t bytes = 0;
    for (unsigned i = 0; i < ask->nr; i++) {
        size_t now = unpack(q, store, ask->places[i], q->pages + pages_to_bytes(nr));
        if (!now)
            continue;
        bytes += now;
        which[nr++] = i;
    }
    if (!nr)
        return;
    size_t bytes_max = ask->kind == SQUEEZE_MOVE ? sizeof q->blob : WORTH(bytes);
    size_t size = pack(q, nr, bytes_max < sizeof q->blob ? bytes_max : sizeof q->blob);
    uint64_t offset;
    if (!size)
        ret->result = SQUEEZED_DENSE;
    if (!size || store_put_group(store, q->blob, size, (1u << nr) - 1, &offset))
        return;
    ret->result = SQUEEZED_AT;
    for (unsigned i = 0; i < nr; i++)
        ret->places[which[i]] = locator_make_group(offset, size, i);
}

void squeeze_do(struct squeezer *q, struct store_writer *store, const struct squeeze_entry *ask,
                struct squeezed_entry *ret)
{
    unsigned members;
    *ret = (struct squeezed_entry){ .cookie = ask->cookie, .result = SQUEEZED_NOT_NOW };
    if (!ask->nr || ask->nr > LOCATOR_GROUP_PAGES || ask->kind >= SQUEEZE_KIND_NR)
        return;
    if (ask->kind == SQUEEZE_MOVE) {
        bool is_group = is_of_group(ask, &members);
        if (!is_group && ask->nr == 1 && locator_has_blob(ask->places[0]))
            return move_blob(store, ask->places[0], ret);
        if (is_group && move_group(store, ask, members, ret))
            return;
    }
    make_group(q, store, ask, ret);
}
