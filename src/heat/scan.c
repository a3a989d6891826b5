/* scan.c - idle time from written pages: PAGEMAP_SCAN with asynchronous write-protection.
 *
 * Memory is looked at in chunks of 512 pages. A look write-protects what was written since the last
 * one; the writer then pays about 1 us per page, once. That is the price, so it is rationed: the first
 * two looks at a chunk are free (only the second can tell what is written), a later one costs as many tokens as pages were found written the time
 * before, out of 5000 a second for a session: half a percent of a CPU at most. Chunks where nothing is
 * written cost nothing and are looked at often.
 *
 * Two bytes a page: how long unwritten, in quarters of the cold age (never overestimated: a page counts
 * from the look that found it unwritten back to the look before), and how often it came back too soon. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "heat/heat.h"
#include "sys/pagemap_scan.h"

#define CHUNK_PAGES 512u
#define IDLE_UNITS_PER_AGE 4u /* idle time is counted in quarters of the cold age */
#define IDLE_MAX 255u
#define BAR_LEVEL_MAX 6u
#define BAR_INCOMPRESSIBLE 0x40u /* not offered until written */
#define BAR_OUTSIDE 0x80u        /* not watched (any more) */
#define BAR_LEVEL(b) ((b) & 0x0fu)
#define SOON_AGES 16u /* wanted back within so many cold ages is "soon" */

#define TOKENS_PER_S 5000u
#define TICK_CHUNKS_MAX 48u /* looks in one call: 20-40 us each when much is written */
#define AGGRESSIVE_BELOW_MS 1000u /* a user who asks for so short a cold age asks for no rationing */

struct chunk {
    page_number first;
    uint32_t nr;           /* pages, at most CHUNK_PAGES */
    uint32_t nr_written;   /* at the last look */
    uint64_t looked_ms;    /* 0: never */
    uint64_t next_offer_ms;
    bool is_spent; /* nothing cold was there at the last pick, and nothing has changed since */
    uint8_t idle[CHUNK_PAGES];
    uint8_t bar[CHUNK_PAGES];
};

struct heat {
    int pagemap_fd;
    uint64_t cold_age_ms, unit_ms, look_every_ms;
    struct chunk **chunks; /* sorted by first, not overlapping */
    size_t nr, capacity;
    size_t look_cursor, pick_cursor;
    double tokens;
    uint64_t last_tick_ms;
};

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

static int scan_create(int pagemap_fd, uint64_t cold_age_ms, struct heat **ret)
{
    struct heat *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    h->pagemap_fd = pagemap_fd;
    h->cold_age_ms = cold_age_ms;
    h->unit_ms = clamp(cold_age_ms / IDLE_UNITS_PER_AGE, 1, UINT32_MAX);
    h->look_every_ms = clamp(h->unit_ms, 1, 1000);
    h->tokens = TOKENS_PER_S;
    *ret = h;
    return 0;
}

static struct heat *scan_destroy(struct heat *h)
{
    if (!h)
        return NULL;
    for (size_t i = 0; i < h->nr; i++)
        free(h->chunks[i]);
    free(h->chunks);
    free(h);
    return NULL;
}

/* Index of the first chunk that ends after the page. */
static size_t chunk_from(const struct heat *h, page_number page)
{
    size_t low = 0, high = h->nr;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (h->chunks[middle]->first + h->chunks[middle]->nr <= page)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int reserve(struct heat *h, size_t nr_more)
{
    if (h->nr + nr_more <= h->capacity)
        return 0;
    size_t capacity = h->nr + nr_more + h->capacity / 2;
    struct chunk **chunks = realloc(h->chunks, capacity * sizeof *chunks);
    if (!chunks)
        return -ENOMEM;
    h->chunks = chunks;
    h->capacity = capacity;
    return 0;
}

static void drop_chunk(struct heat *h, size_t i)
{
    free(h->chunks[i]);
    memmove(&h->chunks[i], &h->chunks[i + 1], (h->nr - i - 1) * sizeof *h->chunks);
    h->nr--;
}

static void scan_remove(struct heat *h, page_number first, page_number end)
{
    for (size_t i = chunk_from(h, first); i < h->nr && h->chunks[i]->first < end;) {
        struct chunk *c = h->chunks[i];
        bool is_any_left = false;
        for (uint32_t p = 0; p < c->nr; p++) {
            if (c->first + p >= first && c->first + p < end)
                c->bar[p] = BAR_OUTSIDE;
            is_any_left |= !(c->bar[p] & BAR_OUTSIDE);
        }
        if (is_any_left)
            i++;
        else
            drop_chunk(h, i);
    }
}

/* A chunk that is already there takes back what was cut out of it. */
static void include(struct chunk *c, page_number first, page_number end)
{
    for (uint32_t p = 0; p < c->nr; p++)
        if (c->first + p >= first && c->first + p < end && c->bar[p] & BAR_OUTSIDE) {
            c->bar[p] = 0;
            c->idle[p] = 0;
            c->is_spent = false;
        }
}

static int scan_add(struct heat *h, page_number first, page_number end)
{
    while (first < end) {
        size_t i = chunk_from(h, first);
        if (i < h->nr && h->chunks[i]->first <= first) {
            include(h->chunks[i], first, end);
            first = h->chunks[i]->first + h->chunks[i]->nr;
            continue;
        }
        page_number stop = (first / CHUNK_PAGES + 1) * CHUNK_PAGES;
        stop = stop < end ? stop : end;
        if (i < h->nr && h->chunks[i]->first < stop)
            stop = h->chunks[i]->first;
        struct chunk *c = reserve(h, 1) ? NULL : calloc(1, sizeof *c);
        if (!c)
            return -ENOMEM;
        c->first = first;
        c->nr = (uint32_t)(stop - first);
        memmove(&h->chunks[i + 1], &h->chunks[i], (h->nr - i) * sizeof *h->chunks);
        h->chunks[i] = c;
        h->nr++;
        first = stop;
    }
    return 0;
}

/* A page that stays quiet for long is forgiven one return. */
static void age_page(struct chunk *c, uint32_t p, uint64_t units)
{
    uint64_t idle = c->idle[p] + units;
    if (idle >= IDLE_MAX && c->idle[p] < IDLE_MAX && BAR_LEVEL(c->bar[p]))
        c->bar[p]--;
    c->idle[p] = (uint8_t)(idle < IDLE_MAX ? idle : IDLE_MAX);
}

static void look(struct heat *h, struct chunk *c, uint64_t now_ms)
{
    struct page_run runs[CHUNK_PAGES / 2 + 1];
    int n = pagemap_scan_written(h->pagemap_fd, c->first, c->first + c->nr, runs,
                                 sizeof runs / sizeof *runs);
    bool is_first = !c->looked_ms; /* all looks written then, which says nothing about the next time */
    uint64_t units = c->looked_ms ? (now_ms - c->looked_ms) / h->unit_ms : 0;
    /* What was not a whole unit counts at the next look. */
    c->looked_ms = c->looked_ms && n >= 0 ? c->looked_ms + units * h->unit_ms : now_ms;
    if (n < 0)
        return; /* not mapped or not registered any more: RANGE_DEL is on its way */
    if (units)
        for (uint32_t p = 0; p < c->nr; p++)
            age_page(c, p, units);
    c->nr_written = 0;
    for (int i = 0; i < n; i++)
        for (page_number page = runs[i].first; page < runs[i].end; page++) {
            uint32_t p = (uint32_t)(page - c->first);
            c->idle[p] = 0;
            c->bar[p] &= (uint8_t)~BAR_INCOMPRESSIBLE;
            c->nr_written += !is_first;
        }
    if (n || units)
        c->is_spent = false;
}

static bool scan_tick(struct heat *h, uint64_t now_ms)
{
    if (h->last_tick_ms)
        h->tokens += (double)(now_ms - h->last_tick_ms) * TOKENS_PER_S / 1000;
    if (h->tokens > TOKENS_PER_S)
        h->tokens = TOKENS_PER_S;
    h->last_tick_ms = now_ms;

    unsigned nr_looks = 0;
    for (size_t seen = 0; seen < h->nr; seen++) {
        if (h->look_cursor >= h->nr)
            h->look_cursor = 0;
        struct chunk *c = h->chunks[h->look_cursor];
        bool is_due = !c->looked_ms || now_ms >= c->looked_ms + h->look_every_ms;
        double price = c->looked_ms && h->cold_age_ms >= AGGRESSIVE_BELOW_MS ? c->nr_written : 0;
        if (is_due && price <= h->tokens) {
            if (nr_looks++ == TICK_CHUNKS_MAX)
                return true;
            h->tokens -= price;
            look(h, c, now_ms);
        }
        h->look_cursor++;
    }
    return false;
}

static void scan_feedback(struct heat *h, page_number page, enum feedback_kind kind)
{
    size_t i = chunk_from(h, page);
    if (i == h->nr || h->chunks[i]->first > page)
        return;
    struct chunk *c = h->chunks[i];
    uint32_t p = (uint32_t)(page - c->first);
    uint32_t soon = (IDLE_UNITS_PER_AGE << BAR_LEVEL(c->bar[p])) + SOON_AGES * IDLE_UNITS_PER_AGE;
    switch (kind) {
    case FEEDBACK_REFAULT:
        if (c->idle[p] < soon && BAR_LEVEL(c->bar[p]) < BAR_LEVEL_MAX)
            c->bar[p]++;
        c->idle[p] = 0;
        c->is_spent = false;
        return;
    case FEEDBACK_INCOMPRESSIBLE:
        c->bar[p] |= BAR_INCOMPRESSIBLE;
        return;
    case FEEDBACK_BUSY:
        if (BAR_LEVEL(c->bar[p]) < BAR_LEVEL_MAX)
            c->bar[p]++;
        c->idle[p] = 0;
        return;
    case FEEDBACK_KIND_NR:
        return;
    }
}

static bool is_cold(const struct chunk *c, uint32_t p)
{
    if (c->bar[p] & (BAR_INCOMPRESSIBLE | BAR_OUTSIDE))
        return false;
    uint32_t needed = IDLE_UNITS_PER_AGE << BAR_LEVEL(c->bar[p]);
    return c->idle[p] >= (needed < IDLE_MAX ? needed : IDLE_MAX);
}

/* Cuts the runs of present, unwritten pages of one chunk into runs of cold ones. */
static size_t pick_chunk(struct heat *h, struct chunk *c, size_t pages_max, struct heat_run *ret_runs,
                         size_t nr_max)
{
    struct page_run there[CHUNK_PAGES / 2 + 1];
    int n = pagemap_scan_unwritten(h->pagemap_fd, c->first, c->first + c->nr, there,
                                   sizeof there / sizeof *there);
    size_t nr = 0, nr_pages = 0;
    for (int i = 0; i < n && nr < nr_max; i++)
        for (page_number page = there[i].first; page < there[i].end && nr_pages < pages_max;) {
            uint32_t p = (uint32_t)(page - c->first), q = p;
            uint32_t end = (uint32_t)(there[i].end - c->first);
            uint8_t youngest = IDLE_MAX;
            for (; q < end && nr_pages + (q - p) < pages_max && is_cold(c, q); q++)
                if (c->idle[q] < youngest)
                    youngest = c->idle[q];
            if (q == p) {
                page++;
                continue;
            }
            if (nr == nr_max)
                return nr;
            ret_runs[nr++] = (struct heat_run){ .first = page,
                                                .nr_pages = q - p,
                                                .idle_ms = youngest * h->unit_ms };
            nr_pages += q - p;
            page += q - p;
        }
    c->is_spent = nr == 0;
    return nr;
}

static bool has_cold(const struct chunk *c)
{
    for (uint32_t p = 0; p < c->nr; p++)
        if (is_cold(c, p))
            return true;
    return false;
}

static size_t scan_pick(struct heat *h, uint64_t now_ms, size_t pages_max, struct heat_run *ret_runs,
                        size_t nr_max)
{
    size_t nr = 0;
    for (size_t seen = 0; seen < h->nr && nr < nr_max && pages_max; seen++) {
        if (h->pick_cursor >= h->nr)
            h->pick_cursor = 0;
        struct chunk *c = h->chunks[h->pick_cursor++];
        if (c->is_spent || now_ms < c->next_offer_ms)
            continue;
        if (!has_cold(c)) {
            c->is_spent = true; /* until the next look changes something */
            continue;
        }
        size_t got = pick_chunk(h, c, pages_max, ret_runs + nr, nr_max - nr);
        for (size_t i = 0; i < got; i++)
            pages_max -= ret_runs[nr + i].nr_pages;
        nr += got;
        if (pages_max && nr < nr_max)
            c->next_offer_ms = now_ms + clamp(h->unit_ms, 10, 1000);
    }
    return nr;
}

static uint64_t scan_nr_pages(const struct heat *h)
{
    uint64_t nr = 0;
    for (size_t i = 0; i < h->nr; i++)
        nr += h->chunks[i]->nr;
    return nr;
}

static uint64_t scan_bookkeeping_bytes(const struct heat *h)
{
    return sizeof *h + h->capacity * sizeof *h->chunks + h->nr * sizeof(struct chunk);
}

const struct heat_ops heat_scan_ops = {
    .name = "scan",
    .create = scan_create,
    .destroy = scan_destroy,
    .add = scan_add,
    .remove = scan_remove,
    .tick = scan_tick,
    .feedback = scan_feedback,
    .pick = scan_pick,
    .nr_pages = scan_nr_pages,
    .bookkeeping_bytes = scan_bookkeeping_bytes,
};
