/* damon.c - idle time from DAMON: what was touched, read or written, region by region.
 *
 * A page is idle for as long as no view has shown its region touched, and never for longer than we have
 * watched it: then DAMON's guesses of a region that has just been cut, merged or taken from another process
 * cost nothing. What happened between two views is what the region's age is for. It says nothing of the time
 * before: merged regions have the mean of two ages, and an age is counted in intervals that take now this
 * long, now that. A page without a region is taken for touched.
 *
 * DAMON looks at one page of a region at a time, and cuts regions where that pays: a hot page among
 * many cold ones is not seen. The page's return tells (feedback), and it waits longer the next time. */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "heat/damon.h"
#include "heat/pages.h"
#include "sys/pagemap_scan.h"

/* A change of what is watched waits so long for others: telling DAMON costs a few files a range. */
#define CHANGE_PAUSE_MS 500u
/* More pieces than this are watched with the gaps between them. */
#define RANGES_MAX 1024u
/* Our own time, as in scan.c: 2 % of one CPU. */
#define OWN_NS_PER_MS 20000u
#define TICK_NS_MIN 300000u
#define TICK_NS_MAX 2000000u

struct damon_heat {
    struct heat heat;
    struct damon_watcher *watcher;
    struct damon_client *client;
    struct damon_view view;
    bool has_changed;
    uint64_t changed_ms; /* when DAMON was last told */
    uint64_t now_ms;     /* of the last tick */
    size_t look_cursor;
    struct pagemap_region regions[CHUNK_PAGES];
};

static struct damon_heat *damon_heat(struct heat *h)
{
    return (struct damon_heat *)h;
}

static struct heat *heat_damon_destroy(struct heat *h)
{
    if (!h)
        return NULL;
    struct damon_heat *d = damon_heat(h);
    damon_watcher_leave(d->watcher, d->client);
    free(d->view.regions);
    pages_free(h);
    free(d);
    return NULL;
}

static int heat_damon_create(const struct heat_client *client, struct heat **ret)
{
    struct damon_heat *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    pages_init(&d->heat, client, sizeof *d);
    d->watcher = client->watcher;
    d->client = damon_watcher_join(client->watcher, client->pid);
    if (!d->client) {
        free(d);
        return -ENOMEM;
    }
    *ret = &d->heat;
    return 0;
}

/* ---- what to watch */

static int heat_damon_add(struct heat *h, page_number first, page_number end)
{
    damon_heat(h)->has_changed = true;
    return pages_add(h, first, end);
}

static void heat_damon_remove(struct heat *h, page_number first, page_number end)
{
    damon_heat(h)->has_changed = true;
    pages_remove(h, first, end);
}

/* The chunks as ranges; a gap of at most this many pages between two does not part them. */
static size_t ranges_of(const struct heat *h, page_number gap, struct damon_range *ret_ranges)
{
    size_t nr = 0;
    page_number last_end = 0;
    for (size_t i = 0; i < h->nr; i++) {
        const struct chunk *c = &h->chunks[i];
        bool is_new = i == 0 || c->first - last_end > gap;
        nr += is_new;
        last_end = chunk_end(c);
        if (ret_ranges && is_new)
            ret_ranges[nr - 1].first = c->first;
        if (ret_ranges)
            ret_ranges[nr - 1].end = last_end;
    }
    return nr;
}

static void tell(struct damon_heat *d, uint64_t now_ms)
{
    page_number gap = 0;
    size_t nr = ranges_of(&d->heat, gap, NULL);
    for (gap = 1; nr > RANGES_MAX; gap *= 2)
        nr = ranges_of(&d->heat, gap, NULL);
    struct damon_range *ranges = malloc((nr + 1) * sizeof *ranges);
    if (!ranges)
        return; /* at the next tick */
    (void)ranges_of(&d->heat, nr ? gap / 2 : 0, ranges);
    damon_watcher_set(d->watcher, d->client, ranges, nr);
    d->has_changed = false;
    d->changed_ms = now_ms;
}

/* ---- looking */

static const struct damon_region *region_from(const struct damon_view *view, page_number page)
{
    size_t low = 0, high = view->nr;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (view->regions[middle].end <= page)
            low = middle + 1;
        else
            high = middle;
    }
    return view->regions + low;
}

/* How long a region has been idle at least, where no sample of its last interval found it touched. */
static uint64_t idle_ms(const struct damon_heat *d, const struct damon_region *r)
{
    return (r->age + 1ull) * damon_watcher_aggregation_us(d->watcher) / 1000;
}

/* Pages that are there, and what DAMON says of them, cut where its regions are. */
static void note_run(struct damon_heat *d, struct chunk *c, page_number first, page_number end,
                     uint64_t last_view_ms)
{
    const struct damon_view *view = &d->view;
    const struct damon_region *r = region_from(view, first);
    for (page_number at = first, to; at < end; at = to) {
        bool is_known = r < view->regions + view->nr && r->first <= at;
        to = is_known ? r->end : r < view->regions + view->nr ? r->first : end;
        to = to < end ? to : end;
        uint32_t from_index = (uint32_t)(at - c->first), to_index = (uint32_t)(to - c->first);
        bool is_touched = !is_known || r->nr_accesses > 0;
        if (!is_touched && last_view_ms + idle_ms(d, r) < view->taken_ms)
            pages_cap_age(&d->heat, c, from_index, to_index, idle_ms(d, r));
        pages_note(&d->heat, c, from_index, to_index, is_touched);
        r += is_known;
    }
}

/* As of when the view was taken: what came after is the next one's. */
static void look(struct damon_heat *d, struct chunk *c)
{
    uint64_t last_view_ms = c->looked_ms;
    int n = pagemap_scan(d->heat.pagemap_fd, c->first, chunk_end(c), PAGEMAP_SCAN_LOOK, d->regions,
                         CHUNK_PAGES);
    pages_look_begin(&d->heat, c, d->view.taken_ms);
    /* An error: not mapped or not registered any more; RANGE_DEL is on its way. */
    if (n <= 0 || !pages_has_room(&d->heat, c))
        return;
    for (int i = 0; i < n; i++)
        note_run(d, c, page_of(d->regions[i].start), page_of(d->regions[i].end), last_view_ms);
    pages_look_end(&d->heat, c);
}

/* Once at each chunk for each view. False: the time was up before. */
static bool look_round(struct damon_heat *d, uint64_t until_ns)
{
    for (size_t seen = 0; seen < d->heat.nr; seen++, d->look_cursor++) {
        if (d->look_cursor >= d->heat.nr)
            d->look_cursor = 0;
        struct chunk *c = &d->heat.chunks[d->look_cursor];
        if (c->looked_ms >= d->view.taken_ms)
            continue;
        if (now_ns() >= until_ns)
            return false;
        look(d, c);
    }
    return true;
}

static bool heat_damon_tick(struct heat *h, uint64_t now_ms)
{
    struct damon_heat *d = damon_heat(h);
    uint64_t elapsed_ms = d->now_ms && now_ms > d->now_ms ? now_ms - d->now_ms : 1;
    uint64_t own_ns = (elapsed_ms < 1000 ? elapsed_ms : 1000) * OWN_NS_PER_MS;
    own_ns = own_ns < TICK_NS_MIN ? TICK_NS_MIN : own_ns > TICK_NS_MAX ? TICK_NS_MAX : own_ns;
    uint64_t until_ns = now_ns() + own_ns;
    d->now_ms = now_ms;
    if (d->has_changed && (!d->changed_ms || now_ms >= d->changed_ms + CHANGE_PAUSE_MS))
        tell(d, now_ms);
    (void)damon_watcher_take(d->watcher, d->client, &d->view);
    return !look_round(d, until_ns);
}

static uint64_t heat_damon_bookkeeping_bytes(const struct heat *h)
{
    const struct damon_heat *d = (const struct damon_heat *)h;
    return pages_bookkeeping_bytes(h) + d->view.nr * sizeof *d->view.regions;
}

const struct heat_ops heat_damon_ops = {
    .name = "damon",
    .create = heat_damon_create,
    .destroy = heat_damon_destroy,
    .add = heat_damon_add,
    .remove = heat_damon_remove,
    .tick = heat_damon_tick,
    .feedback = pages_feedback,
    .pace = pages_pace,
    .ages = pages_ages,
    .pick = pages_pick,
    .nr_pages = pages_nr,
    .nr_ready = pages_nr_ready,
    .bookkeeping_bytes = heat_damon_bookkeeping_bytes,
};
