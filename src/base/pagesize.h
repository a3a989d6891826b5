/* pagesize.h - the one place that knows how many bytes a page has (x86-64: 4096). */
#ifndef BASE_PAGESIZE_H
#define BASE_PAGESIZE_H

#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_BYTES ((size_t)1 << PAGE_SHIFT)
#define PAGE_MASK (~(uint64_t)(PAGE_BYTES - 1))

typedef uint64_t page_number; /* an address divided by PAGE_BYTES */

static inline page_number page_of(uint64_t address)
{
    return address >> PAGE_SHIFT;
}

static inline uint64_t page_address(page_number page)
{
    return page << PAGE_SHIFT;
}

static inline size_t pages_to_bytes(size_t nr_pages)
{
    return nr_pages << PAGE_SHIFT;
}

static inline size_t bytes_to_pages(size_t bytes) /* rounds down */
{
    return bytes >> PAGE_SHIFT;
}

static inline uint64_t page_round_up(uint64_t bytes)
{
    return (bytes + PAGE_BYTES - 1) & PAGE_MASK;
}

#endif
