/* Pages that the agent wants decoded and a helper decodes: slot by slot both claim what comes next,
 * and what is decoded is read by the agent, whoever did it; dropped slots are used again. Method:
 * the real ahead.c, table and store reader over a store in plain memory whose pages are one word
 * repeated; in place of the kernel's COPY the agent compares each buffer with its word. */
#include "tsan.h"

#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "codec/codec.h"
#include "pager/pager.h"

#define PAGES 64u
#define ROUNDS 400u
#define HELPED_MIN 400u /* else the two have hardly met: on one CPU the agent alone would do it all */
#define FIRST ((page_number)(LEAF_PAGES * 1000))

static struct pager pager;
static struct stats_block stats;
static _Alignas(16) unsigned char store[PAGES][STORE_UNIT_BYTES];
static _Alignas(4096) unsigned char buffers[AHEAD_SLOTS * PAGE_BYTES];
static _Atomic bool is_over;
static _Atomic uint32_t nr_helped;

static void *help(void *argument)
{
    (void)argument;
    while (!atomic_load_explicit(&is_over, memory_order_relaxed))
        if (ahead_help(&pager.ahead))
            atomic_fetch_add_explicit(&nr_helped, 1, memory_order_relaxed);
        else
            sched_yield();
    return NULL;
}

static uint64_t word_of(uint32_t i)
{
    return UINT64_C(0x100000001) * i + UINT64_C(0x700000000);
}

static void fill(unsigned char *page, uint64_t word)
{
    for (size_t at = 0; at < PAGE_BYTES; at += sizeof word)
        memcpy(page + at, &word, sizeof word);
}

static void store_pages(void)
{
    size_t bytes = page_table_bytes(8 * LEAF_PAGES);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED);
    page_table_init(&pager.table, memory, bytes);
    pager.stats = &stats;
    pager.ahead.buffers = buffers;
    pager.stores[0] = (struct store_map){ .bytes = store[0], .nr_bytes = sizeof store };
    for (uint32_t i = 0; i < PAGES; i++) {
        static unsigned char page[PAGE_BYTES];
        uint64_t word = word_of(i);
        memcpy(store[i], &word, sizeof word);
        fill(page, word);
        struct page_leaf *leaf = page_table_grow(&pager.table, FIRST + i);
        struct page *p = leaf_page(leaf, FIRST + i);
        p->state = PAGE_STORED;
        p->where = locator_make(LOCATOR_FILL64, i * STORE_UNIT_BYTES, sizeof word);
        leaf->checksums[(FIRST + i) % LEAF_PAGES] = page_checksum(page);
    }
}

/* Waits for the page, which may be the helper's, and looks at it. */
static void look_at(uint32_t i)
{
    static unsigned char expected[PAGE_BYTES];
    const unsigned char *bytes;
    while (!(bytes = pager_ahead_bytes(&pager, FIRST + i)))
        if (!pager_ahead_decode(&pager))
            sched_yield();
    fill(expected, word_of(i));
    CHECK(!memcmp(bytes, expected, PAGE_BYTES));
}

int main(void)
{
    store_pages();
    pthread_t helper = begin(help, NULL);
    uint32_t random = 1;
    for (unsigned round = 0; round < ROUNDS || atomic_load(&nr_helped) < HELPED_MIN; round++) {
        uint32_t first = next_random(&random) % (PAGES / 2), nr = 0;
        while (nr < PAGES / 2 && pager_ahead(&pager, FIRST + first + nr) == AHEAD_QUEUED)
            nr++;
        if (round % 2)
            sched_yield(); /* the helper's turn */
        for (uint32_t i = 0; i < nr && round % 4; i++) /* else dropped as they are */
            look_at(first + i);
        pager_ahead_drop(&pager);
    }
    atomic_store(&is_over, true);
    join(helper);
    return 0;
}
