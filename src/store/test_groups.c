/* A group is there until its last member is dropped, once each; a store with holes becomes small
 * again when its places are moved out of the slabs that leave; a budget bounds several stores
 * together. Method: random puts, drops, moves and trims of blobs and groups beside a model that
 * knows every member; bytes are read through the client's read-only map, and the kernel's count of
 * blocks is the judge of what is held. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/locator.h"
#include "base/pagesize.h"
#include "store/slab.h"
#include "store/test_made.h"
#include "store/writer.h"

#define MIB ((uint64_t)1 << 20)
#define BLOB 0u /* members of a blob of one page */

struct thing {
    uint64_t offset;
    uint32_t size, tag;
    unsigned members; /* BLOB, or a bit for each */
};

struct model {
    struct store_writer *st;
    int fd;
    const unsigned char *map;
    uint64_t file_bytes;
    struct thing *things;
    size_t nr, max;
    uint32_t next_tag;
};

static void model_new(struct model *m, uint64_t cap_bytes, uint64_t file_bytes, size_t max)
{
    *m = (struct model){.file_bytes = file_bytes, .max = max, .next_tag = 1};
    m->map = make_store(cap_bytes, file_bytes, &m->st, &m->fd);
    m->things = malloc(max * sizeof(*m->things));
    assert_non_null(m->things);
}

static void model_free(struct model *m)
{
    free_store(m->st, m->fd, m->map, m->file_bytes);
    m->st = NULL;
    free(m->things);
}

/* The worst for the writer: bytes that look like a trailer at every place. */
static void fill(unsigned char *bytes, uint32_t size, uint32_t tag)
{
    for (uint32_t i = 0; i < size; i++)
        bytes[i] = i % 3 ? (unsigned char)((tag + i * 7) * 2654435761u >> 24) : 0;
}

static int put_one(struct model *m, uint32_t size, unsigned members)
{
    static unsigned char bytes[STORE_GROUP_MAX];
    struct thing t = {.size = size, .tag = m->next_tag++, .offset = UINT64_MAX, .members = members};
    fill(bytes, size, t.tag);
    int r = members == BLOB ? store_put(m->st, bytes, size, &t.offset)
                            : store_put_group(m->st, bytes, size, members, &t.offset);
    if (r < 0) {
        assert_int_equal(r, -ENOSPC);
        assert_int_equal(t.offset, UINT64_MAX);
        return r;
    }
    assert_int_equal(t.offset % STORE_UNIT_BYTES, 0);
    assert_true(m->nr < m->max);
    m->things[m->nr++] = t;
    return 0;
}

static size_t in_units(size_t size)
{
    return (size + STORE_UNIT_BYTES - 1) / STORE_UNIT_BYTES * STORE_UNIT_BYTES;
}

/* One member of it, or all of a blob. */
static void drop_one(struct model *m, size_t i)
{
    struct thing *t = &m->things[i];
    if (t->members == BLOB) {
        assert_int_equal(store_drop(m->st, t->offset, t->size), 0);
    } else {
        unsigned index = (unsigned)random_below(4);
        while (!(t->members >> index & 1))
            index = (index + 1) % 4;
        assert_int_equal(store_drop_member(m->st, t->offset, in_units(t->size), index), 0);
        assert_int_equal(store_drop_member(m->st, t->offset, in_units(t->size), index), -EINVAL);
        t->members &= ~(1u << index);
        if (t->members)
            return;
    }
    m->things[i] = m->things[--m->nr];
}

static void drop_all_of(struct model *m, size_t i)
{
    size_t nr = m->nr;
    while (m->nr == nr)
        drop_one(m, i);
}

static void check_numbers(const struct model *m)
{
    struct store_usage u;
    struct stat s;
    uint64_t payload = 0, group_payload = 0, nr_groups = 0, nr_members = 0;
    for (size_t i = 0; i < m->nr; i++) {
        payload += m->things[i].size;
        if (m->things[i].members == BLOB)
            continue;
        nr_groups++;
        nr_members += (uint64_t)__builtin_popcount(m->things[i].members);
        group_payload += m->things[i].size;
    }
    assert_true(store_is_valid(m->st));
    store_usage(m->st, &u);
    assert_int_equal(u.nr_blobs, m->nr);
    assert_int_equal(u.payload_bytes, payload);
    assert_int_equal(u.nr_groups, nr_groups);
    assert_int_equal(u.nr_group_pages, nr_members);
    assert_int_equal(u.group_payload_bytes, group_payload);
    assert_true(u.group_slot_bytes >= group_payload && u.slot_bytes >= payload);
    assert_int_equal(fstat(m->fd, &s), 0);
    assert_int_equal((uint64_t)s.st_blocks * 512, u.held_bytes);
}

static void check_bytes(const struct model *m)
{
    static unsigned char expected[STORE_GROUP_MAX];
    for (size_t i = 0; i < m->nr; i++) {
        const struct thing *t = &m->things[i];
        fill(expected, t->size, t->tag);
        if (memcmp(m->map + t->offset, expected, t->size))
            fail_msg("blob %u of %u bytes at %#lx is not what was put", t->tag, t->size,
                     (unsigned long)t->offset);
        const void *looked;
        size_t size = t->size;
        unsigned members = BLOB;
        if (t->members == BLOB)
            looked = store_look(m->st, t->offset, t->size);
        else
            looked = store_look_group(m->st, t->offset, in_units(t->size), &size, &members);
        assert_non_null(looked);
        assert_memory_equal(looked, expected, t->size);
        assert_int_equal(size, t->size);
        assert_int_equal(members, t->members);
    }
}

static uint32_t random_group_size(void)
{
    return random_below(3) ? 1500 + (uint32_t)random_below(6000)
                           : 1 + (uint32_t)random_below(STORE_GROUP_MAX);
}

static int put_random(struct model *m)
{
    if (random_below(2))
        return put_one(m, 1 + (uint32_t)random_below(3072), BLOB);
    return put_one(m, random_group_size(), 1 + (unsigned)random_below(15));
}

/* As the client does it: puts it elsewhere, then gives the old place up. */
static int move_one(struct model *m, size_t i)
{
    struct thing before = m->things[i], *t = &m->things[i];
    static unsigned char bytes[STORE_GROUP_MAX];
    fill(bytes, t->size, t->tag);
    int r = t->members == BLOB ? store_put(m->st, bytes, t->size, &t->offset)
                               : store_put_group(m->st, bytes, t->size, t->members, &t->offset);
    if (r < 0)
        return r;
    if (before.members == BLOB)
        assert_int_equal(store_drop(m->st, before.offset, before.size), 0);
    else
        for (unsigned index = 0; index < 4; index++)
            if (before.members >> index & 1)
                assert_int_equal(
                    store_drop_member(m->st, before.offset, in_units(before.size), index), 0);
    return 0;
}

/* Moves what lies in slabs that leave. How many; nothing may be put into one meanwhile. */
static size_t move_all(struct model *m)
{
    uint32_t leaving[STORE_LEAVING_NR];
    size_t nr_moved = 0;
    if (!store_choose_leaving(m->st, leaving))
        return 0;
    for (size_t i = 0; i < m->nr; i++) {
        uint64_t slab = m->things[i].offset / SLAB_BYTES;
        if (leaving[slab % STORE_LEAVING_NR] != slab + 1)
            continue;
        assert_int_equal(move_one(m, i), 0);
        slab = m->things[i].offset / SLAB_BYTES;
        nr_moved++;
    }
    return nr_moved;
}

static void a_random_walk_agrees_with_the_model(void **state)
{
    (void)state;
    struct model m;
    uint32_t leaving[STORE_LEAVING_NR];
    model_new(&m, 4 * MIB, 32 * MIB, 100000);
    uint64_t nr_full = 0;
    for (int step = 0; step < 120000; step++) {
        bool is_rising = step / 10000 % 2 == 0;
        if (random_below(100) < (is_rising ? 75 : 35))
            nr_full += put_random(&m) < 0;
        else if (m.nr)
            drop_one(&m, random_below(m.nr));
        if (random_below(2000) == 0)
            (void)store_trim(m.st, random_below(300));
        if (random_below(3000) == 0)
            (void)store_choose_leaving(m.st, leaving);
        if (random_below(50) == 0 && m.nr)
            (void)move_one(&m, random_below(m.nr));
        if (step % 1000 == 0)
            check_numbers(&m);
        if (step % 5000 == 0)
            check_bytes(&m);
    }
    check_bytes(&m);
    check_numbers(&m);
    assert_true(nr_full > 100);
    while (m.nr)
        drop_one(&m, random_below(m.nr));
    while (store_trim(m.st, 37))
        ;
    check_numbers(&m);
    struct store_usage u;
    store_usage(m.st, &u);
    assert_int_equal(u.held_bytes, 0);
    assert_int_equal(u.slot_bytes, 0);
    assert_int_equal(u.group_slot_bytes, 0);
    model_free(&m);
}

static void what_is_no_member_is_refused(void **state)
{
    (void)state;
    struct model m;
    model_new(&m, 16 * MIB, 32 * MIB, 5000);
    for (int i = 0; i < 2000; i++)
        (void)put_random(&m);
    size_t nr_size;
    unsigned nr_members;
    for (size_t i = 0; i < m.nr && i < 400; i++) {
        struct thing t = m.things[i];
        for (uint32_t size = 0; size <= STORE_GROUP_MAX + 16; size += 1 + size / 64) {
            if (t.members != BLOB) { /* a group is no blob, of whatever size */
                assert_int_equal(store_drop(m.st, t.offset, size), -EINVAL);
                assert_null(store_look(m.st, t.offset, size));
            }
            if (t.members == BLOB || size != in_units(t.size)) {
                for (unsigned index = 0; index < 4; index++)
                    assert_int_equal(store_drop_member(m.st, t.offset, size, index), -EINVAL);
                assert_null(store_look_group(m.st, t.offset, size, &nr_size, &nr_members));
            }
        }
        for (unsigned index = 0; index < 40; index++)
            if (t.members != BLOB && (index > 3 || !(t.members >> index & 1)))
                assert_int_equal(store_drop_member(m.st, t.offset, in_units(t.size), index), -EINVAL);
        for (uint64_t shift = 1; shift < t.size && shift < 300; shift += 3) /* into the middle of it */
            assert_int_equal(store_drop_member(m.st, t.offset + shift, in_units(t.size), 0), -EINVAL);
    }
    static const uint64_t far[] = {32 * MIB - 16, 32 * MIB, (uint64_t)1 << 40, UINT64_MAX - 15, UINT64_MAX};
    for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++)
        assert_int_equal(store_drop_member(m.st, far[i], 16, 0), -EINVAL);
    check_numbers(&m);
    check_bytes(&m);
    model_free(&m);
}

static void long_slots_lose_little(void **state)
{
    (void)state;
    for (uint32_t bytes = 1; bytes <= STORE_GROUP_MAX + STORE_GROUP_TRAILER; bytes++) {
        uint32_t units = slot_units_for(bytes);
        assert_true(units * STORE_UNIT_BYTES >= bytes && units <= SLOT_UNITS_MAX);
        assert_int_equal(slot_units_for(units * STORE_UNIT_BYTES), units);
    }
    struct model m;
    model_new(&m, 256 * MIB, 512 * MIB, 40000);
    for (int i = 0; i < 20000; i++) /* as redis, python and node heaps have them: docs/heaps.md */
        assert_int_equal(put_one(&m, 2000 + (uint32_t)(random_below(3000) + random_below(3000)), 15), 0);
    check_numbers(&m);
    struct store_usage u;
    store_usage(m.st, &u);
    print_message("20,000 groups: held %.2f %% more than payload, slots %.2f %%\n",
                  ((double)u.held_bytes / (double)u.payload_bytes - 1) * 100,
                  ((double)u.slot_bytes / (double)u.payload_bytes - 1) * 100);
    assert_true(u.held_bytes - u.payload_bytes < u.payload_bytes * 45 / 1000);
    model_free(&m);
}

/* What a random half leaves, and what remains of that when everything that should has been moved. */
static void check_compaction(struct model *m, const char *what)
{
    struct store_usage full, half, after;
    store_usage(m->st, &full);
    for (size_t nr = m->nr / 2; m->nr > nr;)
        drop_all_of(m, random_below(m->nr));
    (void)store_trim(m->st, SIZE_MAX);
    store_usage(m->st, &half);
    size_t nr_moved = 0;
    for (size_t now; (now = move_all(m)) > 0; nr_moved += now)
        (void)store_trim(m->st, SIZE_MAX);
    store_usage(m->st, &after);
    check_numbers(m);
    check_bytes(m);
    print_message("%s: half dropped: %.0f %% of the blocks held, %.2f of the payload; %zu of %zu moved: "
                  "%.0f %%, %.3f of the payload\n", what,
                  (double)half.held_bytes * 100 / (double)full.held_bytes,
                  (double)half.held_bytes / (double)half.payload_bytes, nr_moved, m->nr,
                  (double)after.held_bytes * 100 / (double)full.held_bytes,
                  (double)after.held_bytes / (double)after.payload_bytes);
    assert_true(half.held_bytes > full.held_bytes * 6 / 10);
    assert_true(after.held_bytes < after.payload_bytes * 112 / 100);
    assert_true(nr_moved < m->nr);
}

static void after_holes_memory_goes_back(void **state)
{
    (void)state;
    struct model m;
    model_new(&m, 512 * MIB, 1024 * MIB, 140000);
    for (int i = 0; i < 131072; i++)
        assert_int_equal(put_one(&m, 1450 + (uint32_t)random_below(151), BLOB), 0);
    check_compaction(&m, "131,072 blobs");
    model_free(&m);
    model_new(&m, 512 * MIB, 1024 * MIB, 140000);
    for (int i = 0; i < 30000; i++)
        assert_int_equal(put_one(&m, 2000 + (uint32_t)(random_below(3000) + random_below(3000)), 15), 0);
    check_compaction(&m, "30,000 groups");
    model_free(&m);
}

static void nothing_is_put_where_something_leaves(void **state)
{
    (void)state;
    struct model m;
    uint32_t leaving[STORE_LEAVING_NR];
    model_new(&m, 64 * MIB, 128 * MIB, 40000);
    for (int i = 0; i < 20000; i++)
        assert_int_equal(put_one(&m, 1500, BLOB), 0);
    for (size_t nr = m.nr / 2; m.nr > nr;)
        drop_all_of(&m, random_below(m.nr));
    assert_true(store_choose_leaving(m.st, leaving) > 50);
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(put_one(&m, 1500, BLOB), 0);
        uint64_t slab = m.things[m.nr - 1].offset / SLAB_BYTES;
        assert_int_not_equal(leaving[slab % STORE_LEAVING_NR], slab + 1);
    }
    check_numbers(&m);
    model_free(&m);

    /* At the cap their room is wanted more. */
    model_new(&m, 2 * MIB, 128 * MIB, 40000);
    while (put_one(&m, 1500, BLOB) == 0)
        ;
    size_t nr_full = m.nr;
    for (size_t nr = m.nr / 2; m.nr > nr;)
        drop_all_of(&m, random_below(m.nr));
    assert_true(store_choose_leaving(m.st, leaving) > 0);
    while (put_one(&m, 1500, BLOB) == 0)
        ;
    assert_true(m.nr + nr_full / 50 > nr_full);
    check_numbers(&m);
    model_free(&m);
}

static void at_the_cap_there_is_room_to_replace(void **state)
{
    (void)state;
    struct model m;
    model_new(&m, 8 * MIB, 64 * MIB, 20000);
    while (put_one(&m, 2900, BLOB) == 0)
        ;
    for (int round = 0; round < 300 && m.nr > 8; round++) { /* four become one, and the store shrinks */
        assert_int_equal(put_one(&m, 6000, 15), 0);
        for (int i = 0; i < 4; i++) { /* neighbours were put one after the other */
            size_t victim = SIZE_MAX;
            for (size_t k = 0; k < m.nr; k++)
                if (m.things[k].members == BLOB &&
                    (victim == SIZE_MAX || m.things[k].offset < m.things[victim].offset))
                    victim = k;
            drop_all_of(&m, victim);
        }
        struct store_usage u;
        store_usage(m.st, &u);
        assert_true(u.held_bytes <= 8 * MIB);
    }
    check_numbers(&m);
    check_bytes(&m);
    model_free(&m);
}

static void a_budget_bounds_all_together(void **state)
{
    (void)state;
    struct store_budget budget = {.cap_bytes = 4 * MIB};
    struct model a, b;
    struct store_usage u, v;
    model_new(&a, 64 * MIB, 64 * MIB, 20000);
    model_new(&b, 1 * MIB, 64 * MIB, 20000);
    store_set_budget(a.st, &budget);
    store_set_budget(b.st, &budget);
    while (put_one(&b, 1500, BLOB) == 0)
        ;
    store_usage(b.st, &v);
    assert_true(v.held_bytes <= MIB && v.held_bytes > MIB * 9 / 10); /* by its own cap */
    while (put_one(&a, 1500, BLOB) == 0)
        ;
    store_usage(a.st, &u);
    assert_int_equal(u.held_bytes + v.held_bytes, budget.held_bytes);
    assert_true(budget.held_bytes <= 4 * MIB && budget.held_bytes > 4 * MIB * 9 / 10);
    model_free(&b);
    assert_int_equal(budget.held_bytes, u.held_bytes);
    size_t nr = a.nr;
    while (put_one(&a, 1500, BLOB) == 0)
        ;
    assert_true(a.nr > nr + 500); /* what the other had */
    check_numbers(&a);
    model_free(&a);
    assert_int_equal(budget.held_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_random_walk_agrees_with_the_model),
        cmocka_unit_test(what_is_no_member_is_refused),
        cmocka_unit_test(long_slots_lose_little),
        cmocka_unit_test(after_holes_memory_goes_back),
        cmocka_unit_test(nothing_is_put_where_something_leaves),
        cmocka_unit_test(at_the_cap_there_is_room_to_replace),
        cmocka_unit_test(a_budget_bounds_all_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
