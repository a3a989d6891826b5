/* test_made.h - what tests of the store begin with: a store with the client's read-only map of it, and random
 * numbers that are the same in each run. For tests only, included once by each. */
#ifndef STORE_TEST_MADE_H
#define STORE_TEST_MADE_H

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store/writer.h"

static uint64_t seed;

static uint64_t random_below(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

/* Returns the map; the numbers begin anew. */
static const unsigned char *make_store(uint64_t cap_bytes, uint64_t file_bytes, struct store_writer **ret_st,
                                       int *ret_fd)
{
    seed = 0x9e3779b97f4a7c15u;
    assert_int_equal(store_writer_new(cap_bytes, file_bytes, ret_st), 0);
    *ret_fd = store_writer_open_readonly(*ret_st);
    assert_true(*ret_fd >= 0);
    void *map = mmap(NULL, file_bytes, PROT_READ, MAP_SHARED, *ret_fd, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    return map;
}

static void free_store(struct store_writer *st, int fd, const unsigned char *map, uint64_t file_bytes)
{
    munmap((void *)map, file_bytes);
    close(fd);
    assert_null(store_writer_free(st));
}

#endif
