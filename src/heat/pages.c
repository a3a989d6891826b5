/* pages.c - see pages.h. */
#include "heat/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/point.h"

/* Two bytes a page. */
#define PAGE_AGE 0x03ffu            /* how long idle, in eighths of the cold age */
#define PAGE_LEVEL_SHIFT 10         /* three bits: wanted back too soon, so often */
#define PAGE_LEVEL_MAX 6u           /* waits for 64 times the cold age: 513 of 1023 units */
#define PAGE_INCOMPRESSIBLE 0x2000u /* not offered until touched */
#define PAGE_OFFERED 0x4000u        /* since then not seen touched; the age counts from the offer */
#define PAGE_OFFERED_LATE (PAGE_OFFERED | PAGE_INCOMPRESSIBLE) /* ... which came at twice the age it needed */
#define PAGE_THERE 0x8000u          /* present and untouched at the last look, not offered since */

#define UNITS_PER_COLD_AGE 8u
#define SOON_UNITS (16 * UNITS_PER_COLD_AGE) /* wanted back within 16 cold ages is too soon */
/* A governed cold age is 1 to 128 s (base/ages.h), and a page can be told to be 255 s old. */
#define GOVERNED_UNIT_MS 250u
/* A bar: so many of a chunk, and so large a part of what left of it, were back too soon. It lasts for so many
 * cold ages, then twice as many each time, an hour at most. Where the cold age falls meanwhile so does it: what
 * was too soon for four seconds need not be for one. */
#define BAR_SOON_NR 32u
#define BAR_SOON_PART 8u
#define BAR_COLD_AGES 16u
#define BAR_LEVEL_MAX 9u
#define BAR_MAX_S 3600u
/* Behind a chunk's pages stand its parts of the sums in heat.ages: by age there, by age out, and all there. */
#define TALLY_THERE CHUNK_PAGES
#define TALLY_OUT (CHUNK_PAGES + AGES_NR)
#define TALLY_ALL (CHUNK_PAGES + 2 * AGES_NR)
#define CHUNK_WORDS (TALLY_ALL + 1)
/* A terabyte in whole chunks, and two pieces more for each of as many ranges as a process may have
 * mappings: what an honest client can need, and 60 MiB at most. */
#define CHUNKS_MAX ((512u << 10) + 2 * 65536u)

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

void pages_init(struct heat *h, const struct heat_client *client, size_t own_bytes)
{
    h->pagemap_fd = client->pagemap_fd;
    h->cold_age_ms = client->cold_age_ms;
    h->unit_ms = clamp(client->cold_age_ms / UNITS_PER_COLD_AGE, 1, UINT32_MAX);
    h->is_governed = client->is_governed;
    if (h->is_governed)
        h->unit_ms = GOVERNED_UNIT_MS;
    for (unsigned units = 1; units <= PAGE_AGE; units++) /* one less: as for units_needed() */
        h->age_index[units] = (uint8_t)ages_reached((units - 1) * h->unit_ms);
    h->own_bytes = own_bytes;
}

void pages_free(struct heat *h)
{
    for (size_t i = 0; i < h->nr; i++) {
        free(h->chunks[i].pages);
        free(h->chunks[i].probe);
    }
    free(h->chunks);
}

/* ---- which pages: the list of chunks */

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
        struct chunk *chunks = point_fails(POINT_HEAT_CHUNKS) ? NULL
                                                              : realloc(h->chunks, capacity * sizeof *chunks);
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

/* Takes the chunk's part out of the sums. */
static void untally(struct heat *h, struct chunk *c)
{
    if (!c->pages)
        return;
    uint64_t *there = c->is_tally_barred ? h->ages.nr_barred : h->ages.nr_there;
    for (unsigned i = 0; i < AGES_NR; i++) {
        there[i] -= c->pages[TALLY_THERE + i];
        h->ages.nr_out[i] -= c->pages[TALLY_OUT + i];
    }
    h->ages.nr_pages_there -= c->pages[TALLY_ALL];
    memset(c->pages + CHUNK_PAGES, 0, (CHUNK_WORDS - CHUNK_PAGES) * sizeof *c->pages);
}

static void free_pages(struct heat *h, struct chunk *c)
{
    untally(h, c);
    if (c->pages)
        h->page_bytes -= CHUNK_WORDS * sizeof *c->pages;
    free(c->pages);
    c->pages = NULL;
}

static void free_probe(struct heat *h, struct chunk *c)
{
    if (c->probe)
        h->page_bytes -= sizeof *c->probe;
    free(c->probe);
    c->probe = NULL;
    c->closed = 0;
}

static void drop_chunks(struct heat *h, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        h->nr_pages -= h->chunks[i].nr;
        h->nr_ready -= h->chunks[i].nr_ready;
        free_pages(h, &h->chunks[i]);
        free_probe(h, &h->chunks[i]);
    }
    memmove(&h->chunks[from], &h->chunks[to], (h->nr - to) * sizeof *h->chunks);
    h->nr -= to - from;
}

/* A chunk that has become smaller: what was counted is counted anew at the next look, soon. */
static void chunk_cut(struct heat *h, struct chunk *c, page_number first, page_number end)
{
    h->nr_pages -= c->nr - (end - first);
    h->nr_ready -= c->nr_ready;
    untally(h, c);
    if (c->pages)
        memmove(c->pages, c->pages + (first - c->first), (end - first) * sizeof *c->pages);
    c->first = first;
    c->nr = (uint16_t)(end - first);
    c->nr_ready = c->nr_written = c->nr_put_back = 0;
    c->nr_tried = 0; /* where that was depends on the first page */
    c->dull_s = 0;
    c->looked_ms = c->protected_ms = 0; /* else all that is written would count as written again */
    free_probe(h, c); /* cells count from the first page */
    for (uint32_t i = 0; c->pages && i < c->nr; i++)
        c->pages[i] &= (uint16_t)~PAGE_THERE;
}

/* Takes the middle out of a chunk. Without room for the part behind, that is forgotten, too. */
static void chunk_split(struct heat *h, size_t i, page_number first, page_number end)
{
    struct chunk behind = h->chunks[i];
    behind.pages = NULL;
    behind.probe = NULL;
    behind.closed = 0;
    if (h->chunks[i].pages) {
        behind.pages = point_fails(POINT_HEAT_SPLIT) ? NULL : calloc(CHUNK_WORDS, sizeof *behind.pages);
        if (behind.pages) {
            memcpy(behind.pages, h->chunks[i].pages, behind.nr * sizeof *behind.pages);
            h->page_bytes += CHUNK_WORDS * sizeof *behind.pages;
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

void pages_remove(struct heat *h, page_number first, page_number end)
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

int pages_add(struct heat *h, page_number first, page_number end)
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

int heat_hand_over(const struct heat *from, const struct heat_ops *to_ops, struct heat *to)
{
    int r = 0;
    for (size_t i = 0; i < from->nr && r == 0; i++)
        r = to_ops->add(to, from->chunks[i].first, chunk_end(&from->chunks[i]));
    return r;
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

/* One unit more than the time itself: the write was within the unit that age 0 stands for. A governed unit is
 * a quarter of the shortest cold age, so it is saved where nothing was rounded. */
static uint64_t units_needed(const struct heat *h, const struct chunk *c, uint16_t page)
{
    if (h->is_governed)
        return page & PAGE_OFFERED
                   ? c->cold_units / 4u + 1u
                   : clamp(((uint64_t)c->cold_units << level_of(page)) + !c->is_exact, 1, PAGE_AGE);
    if (page & PAGE_OFFERED) /* and still there: the client could not just then */
        return clamp(h->cold_age_ms / 4, 10, UINT32_MAX) / h->unit_ms + 1;
    uint64_t idle_ms = h->cold_age_ms << level_of(page);
    return clamp((idle_ms + h->unit_ms - 1) / h->unit_ms + 1, 1, PAGE_AGE);
}

/* The bit that says "late" says something else without the other. */
static uint16_t not_offered(uint16_t page)
{
    bool is_late = (page & PAGE_OFFERED_LATE) == PAGE_OFFERED_LATE;
    return page & (uint16_t) ~(is_late ? PAGE_OFFERED_LATE : PAGE_OFFERED);
}

/* There and idle, and neither it nor its cell is kept back. */
static bool is_idle(const struct chunk *c, uint32_t i)
{
    uint16_t page = c->pages[i];
    bool is_closed = c->closed >> i / PROBE_CELL_PAGES & 1;
    return page & PAGE_THERE && (page & PAGE_OFFERED_LATE) != PAGE_INCOMPRESSIBLE && !is_closed;
}

static bool is_ready(const struct heat *h, const struct chunk *c, uint32_t i)
{
    return !c->is_barred && is_idle(c, i) && (c->pages[i] & PAGE_AGE) >= units_needed(h, c, c->pages[i]);
}

/* ---- how old, how many */

/* How many of base/ages.h a page has reached: as if there were no levels, for what counts is at which cold
 * age it would leave, or would have left. */
static unsigned age_index(const struct heat *h, const struct chunk *c, uint16_t page)
{
    uint64_t units = (page & PAGE_AGE) >> level_of(page);
    if (page & PAGE_OFFERED)
        units += c->cold_units;
    return h->age_index[units < PAGE_AGE ? units : PAGE_AGE];
}

/* Idle, and free to leave or not, but for what is known to be read: nobody sees when. What waits for an answer,
 * or stays because it came back, could be out with another cold age. */
static bool is_listed(const struct chunk *c, uint32_t i, uint32_t read)
{
    uint16_t page = c->pages[i];
    return page & PAGE_THERE && (page & PAGE_OFFERED_LATE) != PAGE_INCOMPRESSIBLE &&
           !(read >> i / PROBE_CELL_PAGES & 1);
}

static void tally(struct heat *h, struct chunk *c)
{
    uint32_t read = c->probe ? c->closed & c->probe->read : 0;
    for (uint32_t i = 0; i < c->nr; i++) {
        uint16_t page = c->pages[i];
        bool is_out = page & PAGE_OFFERED && !(page & PAGE_THERE);
        unsigned index = is_out || is_listed(c, i, read) ? age_index(h, c, page) : 0;
        if (index)
            c->pages[(is_out ? TALLY_OUT : TALLY_THERE) + index - 1]++;
    }
    c->is_tally_barred = c->is_barred || c->closed & ~read;
    uint64_t *there = c->is_tally_barred ? h->ages.nr_barred : h->ages.nr_there;
    for (unsigned i = 0; i < AGES_NR; i++) {
        there[i] += c->pages[TALLY_THERE + i];
        h->ages.nr_out[i] += c->pages[TALLY_OUT + i];
    }
    h->ages.nr_pages_there += c->pages[TALLY_ALL];
}

static void note_reuse(struct heat *h, const struct chunk *c, uint16_t page)
{
    unsigned index = age_index(h, c, page);
    if (index)
        h->ages.nr_reused[index - 1]++;
}

void pages_ages(const struct heat *h, struct heat_ages *ret)
{
    *ret = h->ages;
}

void pages_pace(struct heat *h, const struct heat_pace *pace)
{
    h->cold_age_ms = pace->cold_age_ms;
    h->has_spare = pace->has_spare;
}

/* How long a bar of this level lasts, as things are now. */
static uint64_t bar_seconds(const struct heat *h, unsigned level)
{
    return clamp((h->cold_age_ms * BAR_COLD_AGES << level) / 2000, 1, BAR_MAX_S);
}

static uint64_t barred_until_s(const struct heat *h, const struct chunk *c)
{
    return c->bar_level ? c->barred_s + bar_seconds(h, c->bar_level) : 0;
}

/* Much of what has left came back too soon: nothing leaves for a while. A bar that comes long after the last
 * one was over lasts for less. */
static void bar_if_soon(struct heat *h, struct chunk *c)
{
    if (c->is_barred || c->nr_soon < BAR_SOON_NR || c->nr_soon * BAR_SOON_PART < c->nr_offered)
        return;
    uint64_t now_s = h->now_ms / 1000;
    unsigned level = c->bar_level + 1u;
    if (now_s > barred_until_s(h, c) + 2 * bar_seconds(h, level))
        level = level > 2 ? level - 2 : 1;
    c->barred_s = (uint32_t)now_s;
    c->bar_level = (uint8_t)(level < BAR_LEVEL_MAX ? level : BAR_LEVEL_MAX);
    c->nr_offered = c->nr_soon = 0;
    c->is_barred = true;
    c->is_bar_over = false;
}

/* With something to spare nothing is too soon, nor was it: bars are up, but not forgotten. */
static bool is_barred_now(const struct heat *h, struct chunk *c, uint64_t now_ms)
{
    c->is_bar_over |= now_ms / 1000 >= barred_until_s(h, c);
    return h->is_governed && !h->has_spare && !c->is_bar_over;
}

/* A page can't be told to be older than 255 s, so that is the most that is asked for: a cold age of 128 s has
 * levels, too. */
static uint64_t level_units(const struct chunk *c, unsigned level)
{
    return clamp((uint64_t)c->cold_units << level, 1, PAGE_AGE);
}

/* Governed: it had been offered at the age that it needed, or late. */
static uint16_t after_governed_return(struct heat *h, struct chunk *c, uint16_t page)
{
    unsigned level = level_of(page);
    bool is_late = (page & PAGE_OFFERED_LATE) == PAGE_OFFERED_LATE;
    bool is_soon = !h->has_spare && !is_late && (page & PAGE_AGE) < level_units(c, level);
    c->nr_soon = (uint16_t)(c->nr_soon + (is_soon && !c->is_barred));
    level = is_soon ? level + 1 : level ? level - 1 : 0;
    bar_if_soon(h, c);
    return with_level(page & (uint16_t) ~(PAGE_AGE | PAGE_OFFERED_LATE), level);
}

/* The page came back and was out: `age` units after it had been offered. */
static uint16_t after_return(struct heat *h, struct chunk *c, uint16_t page)
{
    unsigned level = level_of(page);
    if (h->is_governed) /* else a look was first, which is seldom: no judgement */
        return page & PAGE_OFFERED ? after_governed_return(h, c, page) : page;
    if (!(page & PAGE_OFFERED)) /* a look has seen it touched before we heard of its return */
        level = level ? level : 1;
    else if ((page & PAGE_AGE) <= SOON_UNITS)
        level++;
    else if (level)
        level--;
    return with_level(page & (uint16_t) ~(PAGE_AGE | PAGE_OFFERED), level);
}

/* ---- looking, continued */

static void grow_old(struct heat *h, struct chunk *c, uint64_t now_ms)
{
    uint64_t units = c->age_ms ? (now_ms - c->age_ms) / h->unit_ms : 0;
    h->grown_units = units;
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

void pages_look_begin(struct heat *h, struct chunk *c, uint64_t now_ms)
{
    c->looked_ms = h->now_ms = now_ms;
    c->cold_units = (uint16_t)clamp(h->cold_age_ms / h->unit_ms, 1, PAGE_AGE);
    untally(h, c);
    c->is_barred = is_barred_now(h, c, now_ms);
    grow_old(h, c, now_ms);
    h->nr_ready -= c->nr_ready;
    c->nr_ready = 0;
}

void pages_look_end(struct heat *h, struct chunk *c)
{
    tally(h, c);
    h->nr_ready += c->nr_ready;
}

bool pages_has_room(struct heat *h, struct chunk *c)
{
    if (!c->pages) {
        c->pages = point_fails(POINT_HEAT_PAGES) ? NULL : calloc(CHUNK_WORDS, sizeof *c->pages);
        h->page_bytes += c->pages ? CHUNK_WORDS * sizeof *c->pages : 0;
    }
    return c->pages;
}

uint32_t pages_nr_offered(const struct chunk *c, uint32_t from, uint32_t to)
{
    uint32_t nr = 0;
    for (uint32_t i = from; i < to; i++)
        nr += (c->pages[i] & PAGE_OFFERED) != 0;
    return nr;
}

/* Seen touched. What was touched at the last look as well has not been idle. */
static void note_touched(struct heat *h, struct chunk *c, uint16_t *p)
{
    bool was_idle = (*p & PAGE_AGE) > h->grown_units && !(*p & PAGE_INCOMPRESSIBLE);
    if (*p & PAGE_OFFERED || was_idle)
        note_reuse(h, c, *p);
    if (h->is_governed && was_idle && !c->is_barred && !(*p & PAGE_OFFERED) && level_of(*p) &&
        (*p & PAGE_AGE) >= level_units(c, level_of(*p)))
        *p = with_level(*p, level_of(*p) - 1); /* twice what a level less asks for */
}

void pages_note(struct heat *h, struct chunk *c, uint32_t from, uint32_t to, bool is_touched)
{
    c->pages[TALLY_ALL] = (uint16_t)(c->pages[TALLY_ALL] + to - from);
    for (uint32_t i = from; i < to; i++) {
        if (is_touched) {
            note_touched(h, c, &c->pages[i]);
            c->pages[i] &= (uint16_t) ~(PAGE_AGE | PAGE_OFFERED | PAGE_INCOMPRESSIBLE);
            c->is_exact = false;
            continue;
        }
        c->pages[i] |= PAGE_THERE;
        c->nr_ready += is_ready(h, c, i);
    }
}

void pages_begin_age(struct chunk *c, uint64_t now_ms)
{
    c->age_ms = now_ms;
    c->is_exact = true;
}

void pages_cap_age(struct heat *h, struct chunk *c, uint32_t from, uint32_t to, uint64_t idle_ms)
{
    uint64_t units = idle_ms / h->unit_ms;
    for (uint32_t i = from; i < to; i++)
        if ((c->pages[i] & PAGE_AGE) > units)
            c->pages[i] = (uint16_t)((c->pages[i] & ~PAGE_AGE) | units);
}

/* ---- probes */

/* A chunk that is barred is not asked: whatever the answer, none of it leaves. */
void pages_see(const struct heat *h, const struct chunk *c, struct probe_sight *ret_sight)
{
    *ret_sight = (struct probe_sight){ .idle = { { 0 } } };
    for (uint32_t i = 0; c->pages && i < c->nr; i++) {
        uint16_t page = c->pages[i];
        if (page & PAGE_OFFERED)
            page_set_add(page & PAGE_THERE ? &ret_sight->stays : &ret_sight->out, i);
        if (!(page & PAGE_THERE) || (page & PAGE_OFFERED_LATE) == PAGE_INCOMPRESSIBLE || c->is_barred)
            continue;
        uint64_t units = units_needed(h, c, page);
        if ((page & PAGE_AGE) >= (page & PAGE_OFFERED ? units : units / 2))
            page_set_add(&ret_sight->idle, i);
    }
}

struct probe_region *pages_probe(struct heat *h, struct chunk *c)
{
    if (!c->probe) {
        c->probe = calloc(1, sizeof *c->probe);
        h->page_bytes += c->probe ? sizeof *c->probe : 0;
    }
    return c->probe;
}

static void count_ready(struct heat *h, struct chunk *c)
{
    h->nr_ready -= c->nr_ready;
    c->nr_ready = 0;
    for (uint32_t i = 0; c->pages && i < c->nr; i++)
        c->nr_ready += is_ready(h, c, i);
    h->nr_ready += c->nr_ready;
}

void pages_set_closed(struct heat *h, struct chunk *c, uint32_t closed)
{
    if (c->closed == closed)
        return;
    c->closed = closed;
    count_ready(h, c);
}

void pages_offer_probe(struct heat *h, struct chunk *c, uint32_t index)
{
    c->pages[index] = (uint16_t)((c->pages[index] & ~(PAGE_AGE | PAGE_THERE)) | PAGE_OFFERED);
    count_ready(h, c);
}

void pages_probe_is_back(struct heat *h, struct chunk *c, uint32_t index)
{
    c->pages[index] &= (uint16_t) ~(PAGE_AGE | PAGE_OFFERED);
    count_ready(h, c);
}

struct chunk *pages_chunk(const struct heat *h, page_number page)
{
    size_t i = chunk_from(h, page);
    return i < h->nr && h->chunks[i].first <= page ? &h->chunks[i] : NULL;
}

/* ---- what becomes of it */

bool pages_feedback(struct heat *h, page_number page, enum feedback_kind kind)
{
    struct chunk *c = pages_chunk(h, page);
    if (!c || !c->pages)
        return false;
    uint32_t index = (uint32_t)(page - c->first);
    uint16_t *p = &c->pages[index];
    bool was_ready = is_ready(h, c, index);
    switch (kind) {
    case FEEDBACK_REFAULT:
        if (*p & PAGE_OFFERED)
            note_reuse(h, c, *p);
        *p = after_return(h, c, *p);
        break;
    case FEEDBACK_INCOMPRESSIBLE:
        *p = (uint16_t)((*p | PAGE_INCOMPRESSIBLE) & ~PAGE_OFFERED);
        break;
    case FEEDBACK_BUSY:
        *p = with_level(not_offered(*p) & (uint16_t)~PAGE_AGE, level_of(*p) + 1);
        break;
    case FEEDBACK_PREFETCHED: /* nobody wanted it: no reason to wait for longer, and none to leave at once */
        *p = not_offered(*p) & (uint16_t)~PAGE_AGE;
        break;
    case FEEDBACK_LOST:
    case FEEDBACK_LOST_REFUSED:
    case FEEDBACK_KIND_NR:
        break;
    }
    if (c->is_barred) { /* perhaps by this very page */
        h->nr_ready -= c->nr_ready;
        c->nr_ready = 0;
    } else if (was_ready && !is_ready(h, c, index)) {
        c->nr_ready--;
        h->nr_ready--;
    }
    return false;
}

/* Takes runs out of one chunk. Those taken are offered: they count anew from now on. */
static size_t pick_chunk(struct heat *h, struct chunk *c, size_t pages_max, struct heat_run *ret_runs,
                         size_t nr_max)
{
    size_t nr = 0;
    for (uint32_t i = 0; i < c->nr && c->nr_ready && pages_max; i++) {
        if (!is_ready(h, c, i))
            continue;
        if (nr == nr_max)
            break;
        struct heat_run run = { .first = c->first + i, .idle_ms = UINT64_MAX };
        for (; i < c->nr && pages_max && is_ready(h, c, i); i++) {
            bool is_late = h->is_governed && (c->pages[i] & PAGE_AGE) > 2 * units_needed(h, c, c->pages[i]);
            uint64_t idle_ms = ((c->pages[i] & PAGE_AGE) - 1u) * h->unit_ms;
            run.idle_ms = idle_ms < run.idle_ms ? idle_ms : run.idle_ms;
            c->pages[i] = (uint16_t)((c->pages[i] & ~(PAGE_AGE | PAGE_THERE)) |
                                     (is_late ? PAGE_OFFERED_LATE : PAGE_OFFERED));
            run.nr_pages++;
            pages_max--;
        }
        c->nr_offered = (uint16_t)(c->nr_offered + run.nr_pages);
        c->nr_ready -= (uint16_t)run.nr_pages;
        h->nr_ready -= run.nr_pages;
        ret_runs[nr++] = run;
    }
    if (c->nr_offered > 2 * CHUNK_PAGES) { /* of what was long ago less and less is kept */
        c->nr_offered /= 2;
        c->nr_soon /= 2;
    }
    return nr;
}

size_t pages_pick(struct heat *h, uint64_t now_ms, size_t pages_max, struct heat_run *ret_runs,
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

/* ---- by hand */

#define SWEEP_CHUNKS 4096u /* a call: 8 GiB, two milliseconds where nothing is found */

/* What does not shrink is not asked for again, whoever asks. */
static bool is_swept(const struct chunk *c, uint32_t i, uint64_t units)
{
    if (!c->pages)
        return !units;
    uint16_t page = c->pages[i];
    return (page & PAGE_OFFERED_LATE) != PAGE_INCOMPRESSIBLE &&
           (!units || (page & PAGE_THERE && (page & PAGE_AGE) >= units));
}

/* As pick() takes one: it counts anew from now on, if it is there. */
static void take_swept(struct heat *h, struct chunk *c, uint32_t i)
{
    if (!c->pages || !(c->pages[i] & PAGE_THERE))
        return;
    bool was_ready = is_ready(h, c, i);
    c->nr_ready -= was_ready;
    h->nr_ready -= was_ready;
    c->pages[i] = (uint16_t)((c->pages[i] & ~(PAGE_AGE | PAGE_THERE)) | PAGE_OFFERED);
}

size_t heat_sweep(struct heat *h, struct heat_sweep *s, size_t pages_max, struct heat_run *ret_runs,
                  size_t nr_max)
{
    size_t nr = 0, at = chunk_from(h, s->cursor), stop = at + SWEEP_CHUNKS;
    uint64_t units = s->idle_ms ? clamp((s->idle_ms + h->unit_ms - 1) / h->unit_ms + 1, 1, PAGE_AGE) : 0;
    for (; at < h->nr && at < stop; at++) {
        struct chunk *c = &h->chunks[at];
        uint32_t i = s->cursor > c->first ? (uint32_t)(s->cursor - c->first) : 0;
        while (i < c->nr) {
            if (!is_swept(c, i, units)) {
                i++;
                continue;
            }
            s->cursor = c->first + i;
            if (nr == nr_max || !pages_max)
                return nr;
            struct heat_run run = { .first = s->cursor, .idle_ms = s->idle_ms };
            for (; i < c->nr && pages_max && is_swept(c, i, units); i++, pages_max--) {
                take_swept(h, c, i);
                run.nr_pages++;
            }
            ret_runs[nr++] = run;
        }
        s->cursor = chunk_end(c);
    }
    s->is_over = at >= h->nr;
    return nr;
}

uint64_t pages_nr(const struct heat *h)
{
    return h->nr_pages;
}

uint64_t pages_nr_ready(const struct heat *h)
{
    return h->nr_ready;
}

uint64_t pages_bookkeeping_bytes(const struct heat *h)
{
    return h->own_bytes + h->capacity * sizeof *h->chunks + h->page_bytes;
}
