/* writer.c - the memfd, the lists of slabs, and the accounting.
 *
 * A put takes the fullest slab of its size that has room, so that the emptier ones get the time to
 * become empty; new slabs come last. A drop only marks: blocks that nothing live overlaps wait in a
 * queue until store_trim gives them back, or until a put at the cap needs their room. Everything
 * but trimming is O(1): no list is searched.
 *
 * Budget, measured with blobs of 1500 B: put 0.22 µs where there is memory, and 0.37 of a new block
 * (2.6 µs each) where there is none; drop 0.17 µs; trim 0.8 µs a block. pwrite() instead of the map
 * was slower in both cases (0.83 and 1.4 µs).
 *
 * The last byte of a slot says how much longer the slot is than its blob. Only we can write the
 * file, so it may lie beside the bytes: exact sizes cost no memory of ours. It is 0 for a group;
 * before it stand the members that are still wanted, and the size. */
#include "store/writer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/locator.h"
#include "base/mutant.h"
#include "base/pagesize.h"
#include "base/point.h"
#include "store/slab.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u /* Linux 6.3 */
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#define NO_SLAB UINT32_MAX
#define FULLNESS_NR 4u        /* quarters */
#define TRIM_AT_CAP_BLOCKS 64 /* given back at once when a put finds the store full: 256 KiB */
#define REPLACE_SHARE 64u     /* of the cap, for what is put in place of something */
#define LOOKED_AT_MAX 4096u   /* slabs, when those that leave are chosen: some 20 us */
#define SPARSE_SHARE 16u      /* of a size's slots, free: less is not worth moving anything */

struct store_writer {
    int fd;                /* set at birth */
    int readonly_fd;       /* set at birth: another open file, without the right to write */
    unsigned char *bytes;  /* set at birth: the whole file */
    struct slab *slabs;    /* set at birth: one for each 64 KiB of the file, touched when used */
    uint32_t nr_slabs_max; /* set at birth */
    uint64_t cap_bytes;    /* set at birth */

    uint32_t nr_slabs; /* ever used: the rest of the table is untouched */
    uint64_t held_blocks, payload_bytes, nr_blobs, slot_bytes;
    uint64_t nr_groups, nr_group_pages, group_payload_bytes, group_slot_bytes;
    uint64_t extra_bytes; /* bitmaps */
    struct store_budget *budget; /* may be NULL */
    bool is_replacing;           /* the put under way may use what is kept for replacements */
    uint32_t leaving[STORE_LEAVING_NR]; /* slab + 1, at its number's remainder */
    uint32_t nr_leaving;
    uint32_t nr_slots[SLOT_UNITS_MAX + 1], nr_used[SLOT_UNITS_MAX + 1]; /* by slot size, leaving ones too */

    uint32_t partial[SLOT_UNITS_MAX + 1][FULLNESS_NR]; /* by slot size and fullness: room, and blobs */
    uint32_t empty_held;                               /* no blob, but populated blocks */
    uint32_t empty_bare;                               /* nothing at all */
    uint32_t trim_first, trim_last;                    /* slabs that may have dead blocks */
};

/* --- birth and death ----------------------------------------------------------------------- */

static int make_file(uint64_t bytes)
{
    /* Not executable, and says so: else some systems refuse memfds altogether. */
    int fd = point_fails(POINT_STORE_FILE) ? -1
                                           : memfd_create("process-pager-store",
                                                          MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("process-pager-store", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (point_fails(POINT_STORE_SIZE) || ftruncate(fd, (off_t)bytes) < 0) {
        int r = -errno;
        (void)close(fd);
        return r;
    }
    return fd;
}

/* Another open file of the same memory, for reading. Made before the mode becomes 0, which would
 * keep an unprivileged daemon out too. */
static int open_for_reading(int fd)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int readonly = point_fails(POINT_STORE_READONLY) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    return readonly < 0 ? -errno : readonly;
}

static int shut_file(int fd)
{
    if (point_fails(POINT_STORE_MODE) || fchmod(fd, 0) < 0)
        return -errno;
    /* Not F_SEAL_FUTURE_WRITE: no hole could be punched any more. */
    if (point_fails(POINT_STORE_SEAL) ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    return 0;
}

static size_t table_bytes(const struct store_writer *st)
{
    return (size_t)st->nr_slabs_max * sizeof(struct slab);
}

static int map_all(struct store_writer *st)
{
    void *bytes = point_fails(POINT_STORE_MAP)
                      ? MAP_FAILED
                      : mmap(NULL, (size_t)st->nr_slabs_max * SLAB_BYTES, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_NORESERVE, st->fd, 0);
    if (bytes == MAP_FAILED)
        return -errno;
    st->bytes = bytes;
    /* A huge page would populate more than we count. Fails only where there are none. */
    (void)madvise(bytes, (size_t)st->nr_slabs_max * SLAB_BYTES, MADV_NOHUGEPAGE);
    (void)madvise(bytes, (size_t)st->nr_slabs_max * SLAB_BYTES, MADV_DONTDUMP); /* others' pages */
    void *slabs = point_fails(POINT_STORE_TABLE)
                      ? MAP_FAILED
                      : mmap(NULL, table_bytes(st), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (slabs == MAP_FAILED)
        return -errno;
    st->slabs = slabs;
    (void)madvise(slabs, table_bytes(st), MADV_NOHUGEPAGE);
    return 0;
}

int store_writer_new(uint64_t cap_bytes, uint64_t file_bytes, struct store_writer **ret)
{
    if (cap_bytes < SLAB_BYTES || file_bytes < SLAB_BYTES || file_bytes > LOCATOR_STORE_BYTES_MAX)
        return -EINVAL;
    struct store_writer *st = point_fails(POINT_STORE) ? NULL : malloc(sizeof(*st));
    if (!st)
        return -ENOMEM;
    *st = (struct store_writer){
        .fd = -1,
        .readonly_fd = -1,
        .nr_slabs_max = (uint32_t)(file_bytes / SLAB_BYTES),
        .cap_bytes = cap_bytes,
        .empty_held = NO_SLAB,
        .empty_bare = NO_SLAB,
        .trim_first = NO_SLAB,
        .trim_last = NO_SLAB,
    };
    memset(st->partial, 0xff, sizeof(st->partial)); /* NO_SLAB */

    int r = st->fd = make_file(file_bytes);
    if (r >= 0)
        r = st->readonly_fd = open_for_reading(st->fd);
    if (r >= 0)
        r = shut_file(st->fd);
    if (r >= 0)
        r = map_all(st);
    if (r < 0) {
        store_writer_free(st);
        return r;
    }
    *ret = st;
    return 0;
}

struct store_writer *store_writer_free(struct store_writer *st)
{
    if (!st)
        return NULL;
    for (uint32_t i = 0; i < st->nr_slabs; i++)
        if (st->slabs[i].slot_units && slab_extra_bytes(st->slabs[i].slot_units))
            free(st->slabs[i].used.words);
    if (st->slabs)
        (void)munmap(st->slabs, table_bytes(st));
    if (st->bytes)
        (void)munmap(st->bytes, (size_t)st->nr_slabs_max * SLAB_BYTES);
    if (st->budget)
        atomic_fetch_sub(&st->budget->held_bytes, st->held_blocks * PAGE_BYTES);
    if (st->readonly_fd >= 0)
        (void)close(st->readonly_fd);
    if (st->fd >= 0)
        (void)close(st->fd);
    free(st);
    return NULL;
}

void store_set_budget(struct store_writer *st, struct store_budget *budget)
{
    st->budget = budget;
}

int store_writer_open_readonly(struct store_writer *st)
{
    int fd = point_fails(POINT_STORE_DUP) ? -1 : fcntl(st->readonly_fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

/* --- lists of slabs ------------------------------------------------------------------------ */

/* The list that a slab belongs into: by what is in it and nothing else. NULL: full or leaving, in
 * none. */
static uint32_t *list_of(struct store_writer *st, const struct slab *s)
{
    if (!s->slot_units)
        return s->populated ? &st->empty_held : &st->empty_bare;
    uint32_t nr_slots = slots_in_slab(s->slot_units);
    if (s->nr_used == nr_slots || s->is_leaving)
        return NULL;
    return &st->partial[s->slot_units][s->nr_used * FULLNESS_NR / nr_slots];
}

static void list_remove(struct store_writer *st, uint32_t *list, uint32_t index)
{
    struct slab *s = &st->slabs[index];
    if (s->next != NO_SLAB)
        st->slabs[s->next].previous = s->previous;
    if (s->previous != NO_SLAB)
        st->slabs[s->previous].next = s->next;
    else
        *list = s->next;
}

static void list_insert(struct store_writer *st, uint32_t *list, uint32_t index)
{
    struct slab *s = &st->slabs[index];
    s->previous = NO_SLAB;
    s->next = *list;
    if (s->next != NO_SLAB)
        st->slabs[s->next].previous = index;
    *list = index;
}

/* After a change: from where it was to where it belongs now. */
static void relist(struct store_writer *st, uint32_t *before, uint32_t index)
{
    uint32_t *after = list_of(st, &st->slabs[index]);
    if (after == before)
        return;
    if (before)
        list_remove(st, before, index);
    if (after)
        list_insert(st, after, index);
}

/* It has become empty. */
static void has_left(struct store_writer *st, uint32_t index)
{
    st->slabs[index].is_leaving = 0;
    st->leaving[index % STORE_LEAVING_NR] = 0;
    st->nr_leaving--;
}

/* Those that leave are slabs like others again. */
static void stop_leaving(struct store_writer *st)
{
    for (uint32_t i = 0; i < STORE_LEAVING_NR && st->nr_leaving; i++) {
        if (!st->leaving[i])
            continue;
        uint32_t index = st->leaving[i] - 1;
        has_left(st, index);
        relist(st, NULL, index);
    }
}

static void trim_queue(struct store_writer *st, uint32_t index)
{
    struct slab *s = &st->slabs[index];
    if (s->is_in_trim || !s->dead)
        return;
    s->is_in_trim = 1;
    s->next_trim = NO_SLAB;
    if (st->trim_last != NO_SLAB)
        st->slabs[st->trim_last].next_trim = index;
    else
        st->trim_first = index;
    st->trim_last = index;
}

static uint32_t trim_unqueue(struct store_writer *st)
{
    uint32_t index = st->trim_first;
    if (index == NO_SLAB)
        return NO_SLAB;
    st->trim_first = st->slabs[index].next_trim;
    if (st->trim_first == NO_SLAB)
        st->trim_last = NO_SLAB;
    st->slabs[index].is_in_trim = 0;
    return index;
}

/* --- put ----------------------------------------------------------------------------------- */

struct place {
    uint32_t slab, slot;
    block_mask needed; /* blocks to populate */
};

static bool is_below(const struct store_writer *st, uint64_t bytes, uint64_t cap_bytes)
{
    return bytes <= cap_bytes - (st->is_replacing ? 0 : cap_bytes / REPLACE_SHARE);
}

static bool fits_cap(const struct store_writer *st, block_mask needed)
{
    uint64_t more = (uint64_t)__builtin_popcount(needed) * PAGE_BYTES;
    if (!more)
        return true;
    if (st->budget && !is_below(st, atomic_load_explicit(&st->budget->held_bytes, memory_order_relaxed) + more,
                                st->budget->cap_bytes))
        return false;
    return is_below(st, st->held_blocks * PAGE_BYTES + more, st->cap_bytes);
}

static void count_held(struct store_writer *st, int64_t blocks)
{
    st->held_blocks += (uint64_t)blocks;
    if (st->budget)
        atomic_fetch_add_explicit(&st->budget->held_bytes, (uint64_t)blocks * PAGE_BYTES,
                                  memory_order_relaxed);
}

/* Looks at the first slab of each list, the best first. */
static bool find_place(const struct store_writer *st, uint32_t slot_units, struct place *ret)
{
    for (uint32_t fullness = FULLNESS_NR; fullness-- > 0;) {
        uint32_t index = st->partial[slot_units][fullness];
        if (index == NO_SLAB)
            continue;
        const struct slab *s = &st->slabs[index];
        uint32_t slot = slab_find_free(s);
        block_mask needed = (block_mask)(slab_blocks_of(slot_units, slot) & ~s->populated);
        if (fits_cap(st, needed)) {
            *ret = (struct place){index, slot, needed};
            return true;
        }
    }
    uint32_t empty[] = {st->empty_held, st->empty_bare,
                        st->nr_slabs < st->nr_slabs_max ? st->nr_slabs : NO_SLAB};
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        if (empty[i] == NO_SLAB)
            continue;
        block_mask needed =
            (block_mask)(slab_blocks_of(slot_units, 0) & ~st->slabs[empty[i]].populated);
        if (fits_cap(st, needed)) {
            *ret = (struct place){empty[i], 0, needed};
            return true;
        }
    }
    return false;
}

static bool punch(const struct store_writer *st, uint64_t offset, uint64_t nr_bytes)
{
    return !point_fails(POINT_STORE_PUNCH) &&
           fallocate(st->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                     (off_t)nr_bytes) == 0;
}

/* Once much is held, blocks are populated four at a time: measured 2.6 µs a block instead of 3.4 one
 * by one (a plain fault: 2.4), and a put of 1500 B into new memory 1310 ns instead of 1670 (medians of
 * 8 alternating runs; sixteen at a time gain nothing more). What is populated ahead is dead until it is used, so a trim takes it
 * back. At most three blocks for each slot size, hence not before they are below 2 % of the whole. */
#define AHEAD_BLOCKS 4u
#define AHEAD_FROM_BYTES ((uint64_t)64 << 20)

/* The blocks needed and those behind them that come next. */
static block_mask with_blocks_ahead(const struct store_writer *st, const struct slab *s,
                                    block_mask needed)
{
    if (st->held_blocks * PAGE_BYTES < AHEAD_FROM_BYTES)
        return needed;
    block_mask wanted = needed;
    uint32_t first = (uint32_t)__builtin_ctz(needed);
    for (uint32_t block = first; block < SLAB_BLOCKS && block < first + AHEAD_BLOCKS; block++) {
        if (s->populated >> block & 1)
            break;
        wanted |= (block_mask)(1u << block);
    }
    return fits_cap(st, wanted) ? wanted : needed;
}

/* Gives a run of blocks memory by asking rather than by touching: where there is none we get an
 * answer, not a signal. */
static int populate_run(struct store_writer *st, uint32_t index, uint32_t first, uint32_t nr)
{
    struct slab *s = &st->slabs[index];
    block_mask wanted = (block_mask)(((1u << nr) - 1) << first);
    unsigned char *at = st->bytes + (size_t)index * SLAB_BYTES + pages_to_bytes(first);
    if (point_fails(POINT_STORE_POPULATE) || madvise(at, pages_to_bytes(nr), MADV_POPULATE_WRITE) < 0) {
        /* The first may have its memory, the second not: nothing is held that is not counted. */
        (void)punch(st, (uint64_t)(at - st->bytes), pages_to_bytes(nr));
        return -ENOSPC;
    }
    s->populated |= wanted;
    s->dead |= wanted;
    count_held(st, nr);
    return 0;
}

/* Mostly one run; between the blocks of a group's slot some may have memory already. */
static int populate(struct store_writer *st, uint32_t index, block_mask needed)
{
    block_mask wanted = needed ? with_blocks_ahead(st, &st->slabs[index], needed) : 0;
    int r = 0;
    while (wanted && r == 0) {
        uint32_t first = (uint32_t)__builtin_ctz(wanted);
        uint32_t nr = (uint32_t)__builtin_ctz(~((uint32_t)wanted >> first));
        r = populate_run(st, index, first, nr);
        wanted &= (block_mask)~(((1u << nr) - 1) << first);
    }
    return r;
}

/* Makes the chosen place ready. On failure everything is as before, but for blocks that may be
 * populated and dead now. */
static int open_place(struct store_writer *st, uint32_t slot_units, const struct place *place)
{
    if (place->slab == st->nr_slabs) {
        st->slabs[place->slab] = (struct slab){0};
        st->nr_slabs++;
        list_insert(st, &st->empty_bare, place->slab);
    }
    struct slab *s = &st->slabs[place->slab];
    uint32_t *before = list_of(st, s);
    int r = populate(st, place->slab, place->needed);
    if (r == 0 && !s->slot_units) {
        r = slab_open(s, slot_units) < 0 ? -ENOSPC : 0;
        if (r == 0) {
            st->extra_bytes += slab_extra_bytes(slot_units);
            st->nr_slots[slot_units] += slots_in_slab(slot_units);
        }
    }
    if (r == 0) {
        slab_take(s, place->slot);
        st->nr_used[slot_units]++;
        assert((s->populated & slab_blocks_of(slot_units, place->slot)) ==
               slab_blocks_of(slot_units, place->slot));
    }
    relist(st, before, place->slab);
    trim_queue(st, place->slab);
    return r;
}

/* A place that is ready to be written; its slot's first byte, and where the slot ends. */
static int take_slot(struct store_writer *st, uint32_t slot_units, uint64_t *ret_offset,
                     unsigned char **ret_end)
{
    struct place place;
    if (!find_place(st, slot_units, &place)) {
        bool has_more = store_trim(st, TRIM_AT_CAP_BLOCKS) > 0;
        if (st->nr_leaving) { /* there may be room in them */
            stop_leaving(st);
            has_more = true;
        }
        if (!has_more || !find_place(st, slot_units, &place))
            return -ENOSPC;
    }
    int r = open_place(st, slot_units, &place);
    if (r < 0)
        return r;
    size_t slot_bytes = slot_units * STORE_UNIT_BYTES;
    *ret_offset = (uint64_t)place.slab * SLAB_BYTES + place.slot * slot_bytes;
    *ret_end = st->bytes + *ret_offset + slot_bytes;
    return 0;
}

/* By this much after a put or a drop; sign: 1 or -1. */
static void count_blob(struct store_writer *st, size_t size, uint32_t slot_units, int64_t sign)
{
    st->payload_bytes += (uint64_t)sign * size;
    st->slot_bytes += (uint64_t)sign * slot_units * STORE_UNIT_BYTES;
    st->nr_blobs += (uint64_t)sign;
}

static void count_group(struct store_writer *st, size_t size, uint32_t slot_units, int64_t sign)
{
    st->nr_groups += (uint64_t)sign;
    st->group_payload_bytes += (uint64_t)sign * size;
    st->group_slot_bytes += (uint64_t)sign * slot_units * STORE_UNIT_BYTES;
}

int store_put(struct store_writer *st, const void *bytes, size_t size, uint64_t *ret_offset)
{
    assert(size >= 1 && size <= STORE_BLOB_MAX);
    uint32_t slot_units = slot_units_for(size + 1);
    uint64_t offset;
    unsigned char *end;
    int r = take_slot(st, slot_units, &offset, &end);
    if (r < 0)
        return r;
    point_kills(POINT_SLOT_TAKEN);
    memcpy(st->bytes + offset, bytes, size);
    end[-1] = (unsigned char)(slot_units * STORE_UNIT_BYTES - size);
    count_blob(st, size, slot_units, 1);
    *ret_offset = offset;
    return 0;
}

int store_put_instead(struct store_writer *st, const void *bytes, size_t size, uint64_t *ret_offset)
{
    st->is_replacing = true;
    int r = store_put(st, bytes, size, ret_offset);
    st->is_replacing = false;
    return r;
}

/* The end of a group's slot, as bytes. */
struct trailer {
    uint16_t size;
    uint8_t members; /* not dropped yet */
    uint8_t zero;    /* where a blob of one page has the length that it does not use, which is never 0 */
};
_Static_assert(sizeof(struct trailer) == STORE_GROUP_TRAILER, "three bytes and the last");

int store_put_group(struct store_writer *st, const void *bytes, size_t size, unsigned members,
                    uint64_t *ret_offset)
{
    assert(size >= 1 && size <= STORE_GROUP_MAX && members && members < 1u << LOCATOR_GROUP_PAGES);
    uint32_t slot_units = slot_units_for(size + STORE_GROUP_TRAILER);
    struct trailer trailer = {.size = (uint16_t)size, .members = (uint8_t)members};
    uint64_t offset;
    unsigned char *end;
    st->is_replacing = true;
    int r = take_slot(st, slot_units, &offset, &end);
    st->is_replacing = false;
    if (r < 0)
        return r;
    point_kills(POINT_GROUP_SLOT_TAKEN);
    memcpy(st->bytes + offset, bytes, size);
    point_kills(POINT_GROUP_UNSIGNED);
    memcpy(end - sizeof(trailer), &trailer, sizeof(trailer));
    count_blob(st, size, slot_units, 1);
    count_group(st, size, slot_units, 1);
    st->nr_group_pages += (uint64_t)__builtin_popcount(members);
    *ret_offset = offset;
    return 0;
}

/* --- drop ---------------------------------------------------------------------------------- */

/* Is a slot in use that begins at exactly this offset? The client says so; nothing that it says may
 * lead outside the table. */
static bool find_slot(const struct store_writer *st, uint64_t offset, struct place *ret,
                      const unsigned char **ret_end)
{
    if (offset / SLAB_BYTES >= st->nr_slabs)
        return false;
    uint32_t index = (uint32_t)(offset / SLAB_BYTES), within = (uint32_t)(offset % SLAB_BYTES);
    const struct slab *s = &st->slabs[index];
    if (!s->slot_units)
        return false;
    uint32_t slot_bytes = s->slot_units * STORE_UNIT_BYTES, slot = within / slot_bytes;
    if (within % slot_bytes || slot >= slots_in_slab(s->slot_units) || !slab_is_used(s, slot))
        return false;
    *ret = (struct place){.slab = index, .slot = slot};
    *ret_end = st->bytes + offset + slot_bytes;
    return true;
}

/* Is a blob of one page and exactly this size there? */
static bool find_blob(const struct store_writer *st, uint64_t offset, size_t size, struct place *ret)
{
    const unsigned char *end;
    if (!find_slot(st, offset, ret, &end))
        return false;
    size_t slot_bytes = st->slabs[ret->slab].slot_units * (size_t)STORE_UNIT_BYTES;
    return size < slot_bytes &&
           (end[-1] == slot_bytes - size || mutant_is(MUTANT_STORE_BELIEVE_DROP));
}

static size_t round_up_to_units(size_t size)
{
    return (size + STORE_UNIT_BYTES - 1) / STORE_UNIT_BYTES * STORE_UNIT_BYTES;
}

/* Is a group there that has this size in whole units? */
static bool find_group(const struct store_writer *st, uint64_t offset, size_t size, struct place *ret,
                       struct trailer *ret_trailer)
{
    const unsigned char *end;
    if (!find_slot(st, offset, ret, &end) || end[-1] != 0)
        return false;
    memcpy(ret_trailer, end - sizeof(*ret_trailer), sizeof(*ret_trailer));
    return round_up_to_units(ret_trailer->size) == size;
}

static void free_slot(struct store_writer *st, const struct place *place)
{
    struct slab *s = &st->slabs[place->slab];
    uint32_t *before = list_of(st, s);
    slab_release(s, place->slot);
    st->nr_used[s->slot_units]--;
    if (s->nr_used == 0) {
        st->extra_bytes -= slab_extra_bytes(s->slot_units);
        st->nr_slots[s->slot_units] -= slots_in_slab(s->slot_units);
        slab_close(s);
        if (s->is_leaving)
            has_left(st, place->slab);
    }
    relist(st, before, place->slab);
    trim_queue(st, place->slab);
}

int store_drop(struct store_writer *st, uint64_t offset, size_t size)
{
    struct place place;
    if (!find_blob(st, offset, size, &place))
        return -EINVAL;
    count_blob(st, size, st->slabs[place.slab].slot_units, -1);
    free_slot(st, &place);
    return 0;
}

int store_drop_member(struct store_writer *st, uint64_t offset, size_t size, unsigned index)
{
    struct place place;
    struct trailer trailer;
    if (!find_group(st, offset, size, &place, &trailer) || index >= LOCATOR_GROUP_PAGES ||
        !(trailer.members >> index & 1))
        return -EINVAL;
    uint32_t slot_units = st->slabs[place.slab].slot_units;
    trailer.members &= (uint8_t)~(1u << index);
    if (mutant_is(MUTANT_GROUP_GIVEN_UP_AT_ONCE)) {
        st->nr_group_pages -= (uint64_t)__builtin_popcount(trailer.members);
        trailer.members = 0;
    }
    memcpy(st->bytes + offset + slot_units * STORE_UNIT_BYTES - sizeof(trailer), &trailer, sizeof(trailer));
    st->nr_group_pages--;
    if (!trailer.members) {
        count_blob(st, trailer.size, slot_units, -1);
        count_group(st, trailer.size, slot_units, -1);
        free_slot(st, &place);
    }
    return 0;
}

const void *store_look(const struct store_writer *st, uint64_t offset, size_t size)
{
    struct place place;
    return find_blob(st, offset, size, &place) ? st->bytes + offset : NULL;
}

const void *store_look_group(const struct store_writer *st, uint64_t offset, size_t size, size_t *ret_size,
                             unsigned *ret_members)
{
    struct place place;
    struct trailer trailer;
    if (!find_group(st, offset, size, &place, &trailer))
        return NULL;
    *ret_size = trailer.size;
    *ret_members = trailer.members;
    return st->bytes + offset;
}

/* --- leaving: whose blobs are to be moved elsewhere ---------------------------------------- */

/* How much room a size has beside the slabs that leave. */
struct room {
    uint64_t nr_free;  /* slots */
    uint64_t nr_needed; /* by what is in those that leave */
};

/* Would what the slab holds find room in others of its size, now that so many leave? Then it does,
 * too. */
static bool try_leave(struct store_writer *st, uint32_t index, struct room *room)
{
    struct slab *s = &st->slabs[index];
    uint32_t own_free = slots_in_slab(s->slot_units) - s->nr_used;
    uint32_t *word = &st->leaving[index % STORE_LEAVING_NR];
    if (*word || room->nr_free < own_free + room->nr_needed + s->nr_used)
        return false;
    room->nr_free -= own_free;
    room->nr_needed += s->nr_used;
    uint32_t *before = list_of(st, s);
    s->is_leaving = 1;
    relist(st, before, index);
    *word = index + 1;
    st->nr_leaving++;
    return true;
}

/* The emptiest of this size first. */
static void choose_of_size(struct store_writer *st, uint32_t slot_units, uint32_t *nr_looks)
{
    struct room room = {.nr_free = st->nr_slots[slot_units] - st->nr_used[slot_units]};
    if (room.nr_free < slots_in_slab(slot_units) || room.nr_free * SPARSE_SHARE < st->nr_slots[slot_units])
        return;
    for (uint32_t fullness = 0; fullness < FULLNESS_NR; fullness++)
        for (uint32_t i = st->partial[slot_units][fullness], next; i != NO_SLAB; i = next) {
            if (!*nr_looks)
                return;
            --*nr_looks;
            next = st->slabs[i].next;
            (void)try_leave(st, i, &room);
        }
}

size_t store_choose_leaving(struct store_writer *st, uint32_t ret_slabs[STORE_LEAVING_NR])
{
    stop_leaving(st);
    uint32_t nr_looks = LOOKED_AT_MAX;
    for (uint32_t units = SLOT_UNITS_MAX; units > 0; units--)
        choose_of_size(st, units, &nr_looks);
    memcpy(ret_slabs, st->leaving, sizeof(st->leaving));
    return st->nr_leaving;
}

size_t store_nr_leaving(const struct store_writer *st)
{
    return st->nr_leaving;
}

/* --- trim ---------------------------------------------------------------------------------- */

/* The first run of blocks in a slab from a dead one on. Blocks that hold no memory may lie within:
 * a hole in a hole costs nothing, and one call for a longer run is cheaper than two. */
static block_mask first_run(const struct slab *s, size_t max_blocks, uint32_t *ret_first,
                            uint32_t *ret_nr)
{
    block_mask run = 0;
    uint32_t first = (uint32_t)__builtin_ctz(s->dead), end = first;
    for (uint32_t block = first; block < SLAB_BLOCKS && max_blocks; block++) {
        if (s->dead >> block & 1) {
            run |= (block_mask)(1u << block);
            end = block + 1;
            max_blocks--;
        } else if (s->populated >> block & 1) {
            break;
        }
    }
    *ret_first = first;
    *ret_nr = end - first;
    return run;
}

/* The blocks of `run` hold nothing any more. */
static size_t blocks_given(struct store_writer *st, uint32_t index, block_mask run)
{
    struct slab *s = &st->slabs[index];
    uint32_t *before = list_of(st, s);
    point_kills(POINT_PUNCHED);
    s->populated &= (block_mask)~run;
    s->dead &= (block_mask)~run;
    relist(st, before, index);
    size_t nr = (size_t)__builtin_popcount(run);
    count_held(st, -(int64_t)nr);
    return nr;
}

static bool is_empty_held(const struct store_writer *st, uint32_t index)
{
    return index < st->nr_slabs && !st->slabs[index].slot_units && st->slabs[index].populated;
}

/* Empty slabs side by side go in one call. */
static size_t give_empty_slabs(struct store_writer *st, uint32_t index, size_t max_blocks)
{
    uint32_t first = index, end = index + 1;
    size_t nr_max = max_blocks / SLAB_BLOCKS; /* not a block more: who trims in steps counts them */
    while (end - first < nr_max && first && is_empty_held(st, first - 1))
        first--;
    while (end - first < nr_max && is_empty_held(st, end))
        end++;
    if (!punch(st, (uint64_t)first * SLAB_BYTES, (uint64_t)(end - first) * SLAB_BYTES))
        return 0;
    size_t given = 0;
    for (uint32_t i = first; i < end; i++)
        given += blocks_given(st, i, st->slabs[i].populated);
    return given;
}

static size_t give_run(struct store_writer *st, uint32_t index, size_t max_blocks)
{
    uint32_t first, nr;
    block_mask run = first_run(&st->slabs[index], max_blocks, &first, &nr);
    uint64_t offset = (uint64_t)index * SLAB_BYTES + pages_to_bytes(first);
    return punch(st, offset, pages_to_bytes(nr)) ? blocks_given(st, index, run) : 0;
}

size_t store_trim(struct store_writer *st, size_t max_blocks)
{
    size_t given = 0;
    uint32_t index;
    while (given < max_blocks && (index = trim_unqueue(st)) != NO_SLAB) {
        const struct slab *s = &st->slabs[index];
        while (s->dead && given < max_blocks) {
            size_t left = max_blocks - given;
            size_t now = is_empty_held(st, index) && left >= SLAB_BLOCKS
                             ? give_empty_slabs(st, index, left)
                             : give_run(st, index, left);
            if (!now) { /* the kernel had no memory to split something: another time */
                trim_queue(st, index);
                return given;
            }
            given += now;
        }
        trim_queue(st, index); /* if something is left */
    }
    return given;
}

/* --- numbers ------------------------------------------------------------------------------- */

void store_usage(const struct store_writer *st, struct store_usage *ret)
{
    *ret = (struct store_usage){
        .held_bytes = st->held_blocks * PAGE_BYTES,
        .payload_bytes = st->payload_bytes,
        .nr_blobs = st->nr_blobs,
        .slot_bytes = st->slot_bytes,
        .nr_groups = st->nr_groups,
        .nr_group_pages = st->nr_group_pages,
        .group_payload_bytes = st->group_payload_bytes,
        .group_slot_bytes = st->group_slot_bytes,
        .bookkeeping_bytes = sizeof(*st) + st->extra_bytes +
                             page_round_up((uint64_t)st->nr_slabs * sizeof(struct slab)),
    };
}

/* Walks one list; each slab in it must belong there. Counts them. */
static bool is_list_valid(const struct store_writer *st, const uint32_t *list, uint32_t *nr)
{
    uint32_t previous = NO_SLAB;
    for (uint32_t i = *list; i != NO_SLAB; previous = i, i = st->slabs[i].next) {
        if (i >= st->nr_slabs || ++*nr > st->nr_slabs || st->slabs[i].previous != previous ||
            list_of((struct store_writer *)st, &st->slabs[i]) != list)
            return false;
    }
    return true;
}

bool store_is_valid(const struct store_writer *st)
{
    uint64_t nr_blobs = 0, blocks = 0, extra = 0, slot_bytes = 0, nr_slots = 0;
    uint32_t nr_in_lists = 0, nr_expected = 0, nr_in_trim = 0, nr_trim_expected = 0, nr_leaving = 0;
    for (uint32_t i = 0; i < st->nr_slabs; i++) {
        const struct slab *s = &st->slabs[i];
        if (!slab_is_valid(s) || (s->dead && !s->is_in_trim))
            return false;
        nr_blobs += s->nr_used;
        blocks += (uint64_t)__builtin_popcount(s->populated);
        extra += s->slot_units ? slab_extra_bytes(s->slot_units) : 0;
        nr_expected += list_of((struct store_writer *)st, s) != NULL;
        nr_trim_expected += s->is_in_trim;
        slot_bytes += (uint64_t)s->nr_used * s->slot_units * STORE_UNIT_BYTES;
        nr_slots += s->slot_units ? slots_in_slab(s->slot_units) : 0;
        nr_leaving += s->is_leaving;
        if (s->is_leaving && (!s->nr_used || st->leaving[i % STORE_LEAVING_NR] != i + 1))
            return false;
    }
    uint64_t nr_used_by_size = 0, nr_slots_by_size = 0;
    for (uint32_t units = 0; units <= SLOT_UNITS_MAX; units++) {
        nr_used_by_size += st->nr_used[units];
        nr_slots_by_size += st->nr_slots[units];
        for (uint32_t f = 0; f < FULLNESS_NR; f++)
            if (!is_list_valid(st, &st->partial[units][f], &nr_in_lists))
                return false;
    }
    if (!is_list_valid(st, &st->empty_held, &nr_in_lists) ||
        !is_list_valid(st, &st->empty_bare, &nr_in_lists))
        return false;
    for (uint32_t i = st->trim_first; i != NO_SLAB; i = st->slabs[i].next_trim)
        if (++nr_in_trim > nr_trim_expected)
            return false;
    return nr_in_lists == nr_expected && nr_in_trim == nr_trim_expected &&
           nr_blobs == st->nr_blobs && blocks == st->held_blocks && extra == st->extra_bytes &&
           slot_bytes == st->slot_bytes && nr_used_by_size == nr_blobs && nr_slots_by_size == nr_slots &&
           nr_leaving == st->nr_leaving &&
           (nr_blobs != 0 || st->payload_bytes == 0);
}
