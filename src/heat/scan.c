/* scan.c - idle time from written pages: PAGEMAP_SCAN with asynchronous write-protection.
 *
 * Memory is looked at in chunks of at most 512 pages. Two things are done to a chunk:
 *
 *   a look      which pages are there, which of them were written since they were last protected.
 *               Costs the client nothing and us 7-10 us. Each chunk, every quarter of the cold age.
 *   protection  the written ones are write-protected again. Each costs its next writer 1-2.5 us, once.
 *               That is the price, so it is rationed: it costs a token for each page that will be
 *               written again, as far as we know, out of 2500 a second for a session: 0.25 to 0.6 %
 *               of one CPU at most. Chunks take their turns: one that can't pay is waited
 *               for, not passed over, or the first few would take everything. Where all that was
 *               protected has been written again, the turns come more rarely.
 *   a probe     the first thing: 32 of its pages are protected and looked at half a second later.
 *               What became of them is the price of the first protection of all: nothing where all is
 *               idle. Without it a heap of which everything is written paid a fault for each page
 *               twice before we knew better: 4 % of interactive_burst's first ten seconds.
 *
 * So pages that are not written any more are seen growing old at once, whatever their neighbours do.
 *
 * A page's idle time counts from the protection that covered its last write, rounded down: it is never
 * too large. Pages that are only read look idle; the client's feedback tells those. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "heat/heat.h"
#include "sys/pagemap_scan.h"

#define CHUNK_PAGES 512u

/* Two bytes a page. */
#define PAGE_AGE 0x03ffu            /* how long idle, in eighths of the cold age */
#define PAGE_LEVEL_SHIFT 10         /* three bits: wanted back too soon, so often */
#define PAGE_LEVEL_MAX 6u           /* waits for 64 times the cold age: 513 of 1023 units */
#define PAGE_INCOMPRESSIBLE 0x2000u /* not offered until written */
#define PAGE_OFFERED 0x4000u        /* since then not seen written; the age counts from the offer */
#define PAGE_THERE 0x8000u          /* present and unwritten at the last look, not offered since */

#define UNITS_PER_COLD_AGE 8u
#define SOON_UNITS (16 * UNITS_PER_COLD_AGE) /* wanted back within 16 cold ages is too soon */
#define LOOK_PAUSE_MS_MAX 2000u
#define DULL_FACTOR 4u   /* where nothing can be learnt, looks are so much rarer */
#define HOT_SHIFT_MAX 3u /* where everything is written, turns are up to eight times rarer */
#define TOKENS_PER_S 2500u
#define PROBE_PAGES 32u
#define PROBE_MS 500u
/* A user who asks for a cold age of less asks for speed, not for thrift: no rationing. */
#define RATIONED_FROM_MS 1000u
/* Our own time: 2 % of one CPU, so that a client with a hundred gigabytes costs no more than that; half
 * of one where nothing is rationed. */
#define OWN_NS_PER_MS 20000u
#define UNRATIONED_NS_PER_MS 500000u
#define TICK_NS_MIN 300000u
#define TICK_NS_MAX 2000000u
/* A terabyte in whole chunks, and two pieces more for each of as many ranges as a process may have
 * mappings: what an honest client can need, and 36 MiB at most. */
#define CHUNKS_MAX ((512u << 10) + 2 * 65536u)

struct chunk {
    page_number first;
    uint16_t nr;         /* pages, 1..512 */
    uint16_t nr_written; /* at the last look, and not protected since */
    uint16_t nr_ready;   /* cold ones that can be picked */
    uint16_t nr_to_pay;  /* of them, those that will be written again, as far as we know */
    uint8_t hot_shift;
    bool is_probed, is_looked_at;
    bool is_dull; /* nothing there, or all of it written and not protected: no page can grow old */
    uint8_t reserved[4];
    uint64_t age_ms;       /* up to when ages have been counted; 0: never looked at */
    uint64_t looked_ms;    /* 0: look as soon as possible */
    uint64_t protected_ms;
    uint16_t *pages;       /* NULL: nothing was ever there */
};

struct heat {
    int pagemap_fd;
    uint64_t cold_age_ms, unit_ms, look_pause_ms;
    bool is_rationed;
    struct chunk *chunks; /* sorted, not overlapping */
    size_t nr, capacity;
    size_t look_cursor, protect_cursor, pick_cursor;
    uint64_t nr_pages, nr_ready, page_bytes;
    uint64_t tokens_ms; /* tokens are counted in thousandths, so a millisecond gives TOKENS_PER_S */
    uint64_t tokens;
    uint64_t now_ms; /* of the last tick */
    struct pagemap_region regions[CHUNK_PAGES];
};

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

static struct heat *scan_destroy(struct heat *h)
{
    if (!h)
        return NULL;
    for (size_t i = 0; i < h->nr; i++)
        free(h->chunks[i].pages);
    free(h->chunks);
    free(h);
    return NULL;
}

static int scan_create(int pagemap_fd, uint64_t cold_age_ms, struct heat **ret)
{
    struct heat *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    h->pagemap_fd = pagemap_fd;
    h->cold_age_ms = cold_age_ms;
    h->unit_ms = clamp(cold_age_ms / UNITS_PER_COLD_AGE, 1, UINT32_MAX);
    h->look_pause_ms = clamp(cold_age_ms / 4, 1, LOOK_PAUSE_MS_MAX);
    h->is_rationed = cold_age_ms >= RATIONED_FROM_MS;
    h->tokens = TOKENS_PER_S * 1000u;
    *ret = h;
    return 0;
}

/* ---- which pages: the list of chunks */

static page_number chunk_end(const struct chunk *c)
{
    return c->first + c->nr;
}

/* Index of the first chunk that ends after the page. */
static size_t chunk_from(const struct heat *h, page_number page)
{
    size_t low = 0, high = h->nr;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (chunk_end(&h->chunks[middle]) <= page)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Makes room for nr_more chunks at an index; they are zeroed. */
static int open_gap(struct heat *h, size_t at, size_t nr_more)
{
    if (h->nr + nr_more > CHUNKS_MAX)
        return -ENOSPC;
    if (h->nr + nr_more > h->capacity) {
        size_t capacity = h->nr + nr_more + h->capacity / 2;
        struct chunk *chunks = realloc(h->chunks, capacity * sizeof *chunks);
        if (!chunks)
            return -ENOMEM;
        h->chunks = chunks;
        h->capacity = capacity;
    }
    memmove(&h->chunks[at + nr_more], &h->chunks[at], (h->nr - at) * sizeof *h->chunks);
    memset(&h->chunks[at], 0, nr_more * sizeof *h->chunks);
    h->nr += nr_more;
    return 0;
}

static void free_pages(struct heat *h, struct chunk *c)
{
    if (c->pages)
        h->page_bytes -= CHUNK_PAGES * sizeof *c->pages;
    free(c->pages);
    c->pages = NULL;
}

static void drop_chunks(struct heat *h, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        h->nr_pages -= h->chunks[i].nr;
        h->nr_ready -= h->chunks[i].nr_ready;
        free_pages(h, &h->chunks[i]);
    }
    memmove(&h->chunks[from], &h->chunks[to], (h->nr - to) * sizeof *h->chunks);
    h->nr -= to - from;
}

/* A chunk that has become smaller: what was counted is counted anew at the next look, soon. */
static void chunk_cut(struct heat *h, struct chunk *c, page_number first, page_number end)
{
    h->nr_pages -= c->nr - (end - first);
    h->nr_ready -= c->nr_ready;
    if (c->pages)
        memmove(c->pages, c->pages + (first - c->first), (end - first) * sizeof *c->pages);
    c->first = first;
    c->nr = (uint16_t)(end - first);
    c->nr_ready = c->nr_written = 0;
    c->looked_ms = 0;
    for (uint32_t i = 0; c->pages && i < c->nr; i++)
        c->pages[i] &= (uint16_t)~PAGE_THERE;
}

/* Takes the middle out of a chunk. Without room for the part behind, that is forgotten, too. */
static void chunk_split(struct heat *h, size_t i, page_number first, page_number end)
{
    struct chunk behind = h->chunks[i];
    behind.pages = NULL;
    if (h->chunks[i].pages) {
        behind.pages = malloc(CHUNK_PAGES * sizeof *behind.pages);
        if (behind.pages) {
            memcpy(behind.pages, h->chunks[i].pages, behind.nr * sizeof *behind.pages);
            h->page_bytes += CHUNK_PAGES * sizeof *behind.pages;
        }
    }
    page_number behind_end = chunk_end(&behind);
    chunk_cut(h, &h->chunks[i], h->chunks[i].first, first);
    if (open_gap(h, i + 1, 1)) {
        free_pages(h, &behind);
        return;
    }
    h->nr_pages += behind.nr;
    h->nr_ready += behind.nr_ready;
    h->chunks[i + 1] = behind;
    chunk_cut(h, &h->chunks[i + 1], end, behind_end);
}

static void scan_remove(struct heat *h, page_number first, page_number end)
{
    size_t i = chunk_from(h, first);
    if (i < h->nr && h->chunks[i].first < first) {
        if (chunk_end(&h->chunks[i]) > end) {
            chunk_split(h, i, first, end);
            return;
        }
        chunk_cut(h, &h->chunks[i], h->chunks[i].first, first);
        i++;
    }
    size_t to = i;
    while (to < h->nr && chunk_end(&h->chunks[to]) <= end)
        to++;
    if (to > i)
        drop_chunks(h, i, to);
    if (i < h->nr && h->chunks[i].first < end)
        chunk_cut(h, &h->chunks[i], end, chunk_end(&h->chunks[i]));
}

/* [first, end) is free of chunks; they are cut where a multiple of 512 pages is, as page tables are. */
static int add_gap(struct heat *h, size_t at, page_number first, page_number end)
{
    size_t nr = (end - 1) / CHUNK_PAGES - first / CHUNK_PAGES + 1;
    int r = open_gap(h, at, nr);
    if (r)
        return r;
    for (size_t i = at; i < at + nr; i++) {
        struct chunk *c = &h->chunks[i];
        page_number stop = (first / CHUNK_PAGES + 1) * CHUNK_PAGES;
        c->first = first;
        c->nr = (uint16_t)((stop < end ? stop : end) - first);
        h->nr_pages += c->nr;
        first = stop;
    }
    return 0;
}

static int scan_add(struct heat *h, page_number first, page_number end)
{
    while (first < end) {
        size_t i = chunk_from(h, first);
        if (i < h->nr && h->chunks[i].first <= first) {
            first = chunk_end(&h->chunks[i]);
            continue;
        }
        page_number stop = i < h->nr && h->chunks[i].first < end ? h->chunks[i].first : end;
        int r = add_gap(h, i, first, stop);
        if (r)
            return r;
        first = stop;
    }
    return 0;
}

/* ---- looking */

static unsigned level_of(uint16_t page)
{
    return page >> PAGE_LEVEL_SHIFT & 7u;
}

static uint16_t with_level(uint16_t page, unsigned level)
{
    level = level < PAGE_LEVEL_MAX ? level : PAGE_LEVEL_MAX;
    return (uint16_t)((page & ~(7u << PAGE_LEVEL_SHIFT)) | level << PAGE_LEVEL_SHIFT);
}

/* One unit more than the time itself: the write was within the unit that age 0 stands for. */
static uint64_t units_needed(const struct heat *h, uint16_t page)
{
    if (page & PAGE_OFFERED) /* and still there: the client could not just then */
        return clamp(h->cold_age_ms / 4, 10, UINT32_MAX) / h->unit_ms + 1;
    uint64_t idle_ms = h->cold_age_ms << level_of(page);
    return clamp((idle_ms + h->unit_ms - 1) / h->unit_ms + 1, 1, PAGE_AGE);
}

static bool is_ready(const struct heat *h, uint16_t page)
{
    return page & PAGE_THERE && !(page & PAGE_INCOMPRESSIBLE) &&
           (page & PAGE_AGE) >= units_needed(h, page);
}

static void grow_old(struct heat *h, struct chunk *c, uint64_t now_ms)
{
    uint64_t units = c->age_ms ? (now_ms - c->age_ms) / h->unit_ms : 0;
    c->age_ms = c->age_ms ? c->age_ms + units * h->unit_ms : now_ms;
    if (!c->pages)
        return;
    units = units < PAGE_AGE ? units : PAGE_AGE;
    for (uint32_t i = 0; i < c->nr; i++) {
        uint64_t age = (c->pages[i] & PAGE_AGE) + units;
        c->pages[i] = (uint16_t)((c->pages[i] & ~(PAGE_AGE | PAGE_THERE)) |
                                 (age < PAGE_AGE ? age : PAGE_AGE));
    }
}

static bool has_pages(struct heat *h, struct chunk *c)
{
    if (!c->pages) {
        c->pages = calloc(CHUNK_PAGES, sizeof *c->pages);
        h->page_bytes += c->pages ? CHUNK_PAGES * sizeof *c->pages : 0;
    }
    return c->pages;
}

static void note_region(struct heat *h, struct chunk *c, const struct pagemap_region *r)
{
    uint32_t from = (uint32_t)(page_of(r->start) - c->first);
    uint32_t to = (uint32_t)(page_of(r->end) - c->first);
    bool is_written = pagemap_region_is_written(r);
    for (uint32_t i = from; i < to; i++) {
        if (is_written) {
            c->pages[i] &= (uint16_t) ~(PAGE_AGE | PAGE_OFFERED | PAGE_INCOMPRESSIBLE);
            continue;
        }
        c->pages[i] |= PAGE_THERE;
        c->nr_ready += is_ready(h, c->pages[i]);
    }
    if (is_written)
        c->nr_written = (uint16_t)(c->nr_written + to - from);
}

/* Where the probe of a chunk is: somewhere else in each, so that no habit of an allocator hides all. */
static page_number probe_first(const struct chunk *c)
{
    uint32_t room = c->nr > PROBE_PAGES ? c->nr - PROBE_PAGES : 0;
    return c->first + (room ? (c->first / CHUNK_PAGES * 37) % (room + 1) : 0);
}

static void probe(struct heat *h, struct chunk *c, uint64_t now_ms)
{
    page_number first = probe_first(c), end = first + PROBE_PAGES;
    end = end < chunk_end(c) ? end : chunk_end(c);
    (void)pagemap_scan(h->pagemap_fd, first, end, PAGEMAP_SCAN_PROTECT, h->regions, CHUNK_PAGES);
    c->is_probed = true;
    c->looked_ms = now_ms;
}

static uint32_t nr_within(const struct pagemap_region *r, page_number first, page_number end)
{
    page_number from = page_of(r->start) > first ? page_of(r->start) : first;
    page_number to = page_of(r->end) < end ? page_of(r->end) : end;
    return from < to ? (uint32_t)(to - from) : 0;
}

/* Of the pages that a first protection would cover, how many will be written again: as many in a
 * hundred as in the probe. */
static uint16_t estimate(const struct heat *h, const struct chunk *c, int nr_regions)
{
    page_number first = probe_first(c), end = first + PROBE_PAGES;
    uint32_t nr_there = 0, nr_written = 0;
    for (int i = 0; i < nr_regions; i++) {
        uint32_t nr = nr_within(&h->regions[i], first, end);
        nr_there += nr;
        nr_written += pagemap_region_is_written(&h->regions[i]) ? nr : 0;
    }
    if (!c->is_probed || !nr_there)
        return c->nr_written;
    return (uint16_t)((uint32_t)c->nr_written * nr_written / nr_there);
}

/* Takes stock of a chunk. With PROTECT what is written is protected and idle from now on. */
static void look(struct heat *h, struct chunk *c, uint64_t now_ms, enum pagemap_scan_mode mode)
{
    int n = pagemap_scan(h->pagemap_fd, c->first, chunk_end(c), mode, h->regions, CHUNK_PAGES);
    c->looked_ms = now_ms;
    grow_old(h, c, now_ms);
    h->nr_ready -= c->nr_ready;
    c->nr_written = c->nr_ready = 0;
    c->is_dull = c->is_looked_at = true;
    /* An error: not mapped or not registered any more; RANGE_DEL is on its way. */
    if (n <= 0 || !has_pages(h, c))
        return;
    uint32_t nr_there = 0;
    for (int i = 0; i < n; i++) {
        note_region(h, c, &h->regions[i]);
        nr_there += (uint32_t)(page_of(h->regions[i].end) - page_of(h->regions[i].start));
    }
    h->nr_ready += c->nr_ready;
    c->is_dull = c->nr_written == nr_there && mode == PAGEMAP_SCAN_LOOK;
    c->nr_to_pay = c->protected_ms ? c->nr_written : estimate(h, c, n);
    if (mode != PAGEMAP_SCAN_PROTECT)
        return;
    bool is_hot = c->protected_ms && c->nr_written * 8u >= nr_there * 7u;
    c->hot_shift = !is_hot ? 0 : c->hot_shift < HOT_SHIFT_MAX ? (uint8_t)(c->hot_shift + 1)
                                                               : (uint8_t)HOT_SHIFT_MAX;
    c->nr_written = c->nr_to_pay = 0;
    c->protected_ms = now_ms;
}

/* Looks at what is due. False: the time was up before the round was. */
static bool look_round(struct heat *h, uint64_t now_ms, uint64_t until_ns)
{
    for (size_t seen = 0; seen < h->nr; seen++) {
        if (h->look_cursor >= h->nr)
            h->look_cursor = 0;
        struct chunk *c = &h->chunks[h->look_cursor];
        uint64_t pause_ms = h->look_pause_ms * (c->is_dull ? DULL_FACTOR : 1);
        if (c->is_probed && !c->is_looked_at && pause_ms > PROBE_MS)
            pause_ms = PROBE_MS;
        if (!c->looked_ms || now_ms >= c->looked_ms + pause_ms) {
            if (now_ns() >= until_ns)
                return false;
            if (h->is_rationed && !c->is_probed)
                probe(h, c, now_ms);
            else
                look(h, c, now_ms, h->is_rationed ? PAGEMAP_SCAN_LOOK : PAGEMAP_SCAN_PROTECT);
        }
        h->look_cursor++;
    }
    return true;
}

/* Gives turns as far as the tokens go; the turn stays with the first that can't pay, and behind it only
 * who need not pay is served. False: the time was up before the round was. */
static bool protect_round(struct heat *h, uint64_t now_ms, uint64_t until_ns)
{
    size_t at = h->protect_cursor;
    bool is_waiting = false;
    for (size_t seen = 0; seen < h->nr; seen++, at++) {
        if (at >= h->nr)
            at = 0;
        if (!is_waiting)
            h->protect_cursor = at;
        struct chunk *c = &h->chunks[at];
        if (!c->nr_written ||
            (c->protected_ms && now_ms < c->protected_ms + (h->look_pause_ms << c->hot_shift)))
            continue;
        uint64_t price = c->nr_to_pay;
        is_waiting |= price * 1000 > h->tokens;
        if (is_waiting && price)
            continue;
        if (now_ns() >= until_ns)
            return false;
        h->tokens -= price * 1000;
        look(h, c, now_ms, PAGEMAP_SCAN_PROTECT);
    }
    return true;
}

static bool scan_tick(struct heat *h, uint64_t now_ms)
{
    uint64_t elapsed_ms = h->now_ms ? now_ms - h->now_ms : 1;
    h->now_ms = now_ms;
    h->tokens = clamp(h->tokens + clamp(elapsed_ms, 0, 1000) * TOKENS_PER_S, 0, TOKENS_PER_S * 1000u);
    uint64_t own_ns = h->is_rationed ? OWN_NS_PER_MS : UNRATIONED_NS_PER_MS;
    uint64_t until_ns =
        now_ns() + clamp(clamp(elapsed_ms, 1, 1000) * own_ns, TICK_NS_MIN, TICK_NS_MAX);
    bool is_done = look_round(h, now_ms, until_ns);
    if (h->is_rationed)
        is_done &= protect_round(h, now_ms, until_ns);
    return !is_done;
}

/* ---- what becomes of it */

/* The page came back and was out: `age` units after it had been offered. */
static uint16_t after_return(uint16_t page)
{
    unsigned level = level_of(page);
    if (!(page & PAGE_OFFERED)) /* a look has seen it written before we heard of its return */
        level = level ? level : 1;
    else if ((page & PAGE_AGE) <= SOON_UNITS)
        level++;
    else if (level)
        level--;
    return with_level(page & (uint16_t) ~(PAGE_AGE | PAGE_OFFERED), level);
}

static void scan_feedback(struct heat *h, page_number page, enum feedback_kind kind)
{
    size_t i = chunk_from(h, page);
    if (i == h->nr || h->chunks[i].first > page || !h->chunks[i].pages)
        return;
    struct chunk *c = &h->chunks[i];
    uint16_t *p = &c->pages[page - c->first];
    bool was_ready = is_ready(h, *p);
    switch (kind) {
    case FEEDBACK_REFAULT:
        *p = after_return(*p);
        break;
    case FEEDBACK_INCOMPRESSIBLE:
        *p = (uint16_t)((*p | PAGE_INCOMPRESSIBLE) & ~PAGE_OFFERED);
        break;
    case FEEDBACK_BUSY:
        *p = with_level(*p & (uint16_t) ~(PAGE_AGE | PAGE_OFFERED), level_of(*p) + 1);
        break;
    case FEEDBACK_KIND_NR:
        return;
    }
    if (was_ready && !is_ready(h, *p)) {
        c->nr_ready--;
        h->nr_ready--;
    }
}

/* Takes runs out of one chunk. Those taken are offered: they count anew from now on. */
static size_t pick_chunk(struct heat *h, struct chunk *c, size_t pages_max, struct heat_run *ret_runs,
                         size_t nr_max)
{
    size_t nr = 0;
    for (uint32_t i = 0; i < c->nr && c->nr_ready && pages_max; i++) {
        if (!is_ready(h, c->pages[i]))
            continue;
        if (nr == nr_max)
            break;
        struct heat_run run = { .first = c->first + i, .idle_ms = UINT64_MAX };
        for (; i < c->nr && pages_max && is_ready(h, c->pages[i]); i++) {
            uint64_t idle_ms = ((c->pages[i] & PAGE_AGE) - 1u) * h->unit_ms;
            run.idle_ms = idle_ms < run.idle_ms ? idle_ms : run.idle_ms;
            c->pages[i] = (uint16_t)((c->pages[i] & ~(PAGE_AGE | PAGE_THERE)) | PAGE_OFFERED);
            run.nr_pages++;
            pages_max--;
        }
        c->nr_ready -= (uint16_t)run.nr_pages;
        h->nr_ready -= run.nr_pages;
        ret_runs[nr++] = run;
    }
    return nr;
}

static size_t scan_pick(struct heat *h, uint64_t now_ms, size_t pages_max, struct heat_run *ret_runs,
                        size_t nr_max)
{
    (void)now_ms;
    size_t nr = 0;
    for (size_t seen = 0; seen < h->nr && h->nr_ready && nr < nr_max && pages_max; seen++) {
        if (h->pick_cursor >= h->nr)
            h->pick_cursor = 0;
        struct chunk *c = &h->chunks[h->pick_cursor];
        size_t got = pick_chunk(h, c, pages_max, ret_runs + nr, nr_max - nr);
        for (size_t i = 0; i < got; i++)
            pages_max -= ret_runs[nr + i].nr_pages;
        nr += got;
        if (c->nr_ready)
            break; /* goes on here */
        h->pick_cursor++;
    }
    return nr;
}

static uint64_t scan_nr_pages(const struct heat *h)
{
    return h->nr_pages;
}

static uint64_t scan_nr_ready(const struct heat *h)
{
    return h->nr_ready;
}

static uint64_t scan_bookkeeping_bytes(const struct heat *h)
{
    return sizeof *h + h->capacity * sizeof *h->chunks + h->page_bytes;
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
    .nr_ready = scan_nr_ready,
    .bookkeeping_bytes = scan_bookkeeping_bytes,
};
