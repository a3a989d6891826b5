/* squeeze.c - other places for what is stored: denser, in groups, once it has been stored for long;
 * or out of a slab that is to become empty. We know which pages are neighbours and how long they
 * have been out, the daemon has the bytes: so we ask, and it answers where they are *as well*.
 * Until the answer is taken, the old place holds the page, and a touch finds it there.
 *
 * An answer is taken for a page that is still the one that was asked for (page.h, squeezing); else
 * the new place is given up. Nothing of it has to be right for the bytes: each restore compares
 * with the checksum that was taken when the page left.
 *
 * A process that rests has been through all that: each leaf of 64 pages is settled, and a lap reads one word of
 * it. Without that a lap over a gigabyte took 25 ms, most of it waiting for the table's memory. What is settled
 * grows no older.
 *
 * Budget: a leaf 0.25 us, 0.8 where all are in groups; a piece is 16 leaves, four times as many that are settled,
 * or eight asks (1 us). */
#include <errno.h>
#include <stdatomic.h>

#include "base/mutant.h"
#include "base/point.h"
#include "pager/pager.h"

#define LEAF_PRICE 4u     /* of one that is looked at; one that is settled costs 1 */
#define PRICE_PER_PIECE (16 * LEAF_PRICE)
#define ASKS_PER_PIECE 8u
#define OLD_AGE 5u      /* what has grown older five times has been stored for four times the time between two */

#define HALF_AHEAD 4u   /* on each side, where the others of a group mostly are */

/* What a group must take now to be asked for in the first pass, the second, ...: the more it takes,
 * the more there is to gain. On real heaps the first quarter of the groups then brings 28-31 % of
 * all that is gained, 24-28 % in the order of addresses, and 32-35 % in the best of all orders. */
static const uint32_t floors[] = { 8192, 6144, 4096, 0 };
#define PASSES_NR (sizeof floors / sizeof *floors)

struct group {
    unsigned at[LOCATOR_GROUP_PAGES]; /* pages of the leaf */
    unsigned nr;
    uint32_t bytes;
};

/* ---- asking */

/* An earlier answer for a page between these is still to come: the bit would stand for both. */
static bool is_awaited(const struct pager *pg, page_number first, page_number last)
{
    if (!pg->nr_asked || mutant_is(MUTANT_SQUEEZE_ASKS_TWICE))
        return false;
    for (unsigned i = 0; i < SQUEEZES_NR; i++)
        for (unsigned j = 0; j < pg->asked[i].nr; j++)
            if (pg->asked[i].pages[j] >= first && pg->asked[i].pages[j] <= last)
                return true;
    return false;
}

static unsigned free_cookie(const struct pager *pg)
{
    unsigned cookie = 0;
    while (pg->asked[cookie].nr)
        cookie++;
    return cookie;
}

/* False: not now, the ring has no room, or it is another piece's turn. */
static bool ask(struct pager *pg, struct page_leaf *leaf, const struct group *g, enum squeeze_kind kind,
                unsigned *nr_asks)
{
    if (pg->nr_asked == SQUEEZES_NR || !*nr_asks)
        return false;
    if (is_awaited(pg, leaf->first + g->at[0], leaf->first + g->at[g->nr - 1]))
        return true; /* the next lap asks; and nothing was: a piece that ended here would begin again as before */
    unsigned cookie = free_cookie(pg);
    struct squeeze_entry entry = { .cookie = cookie, .nr = (uint16_t)g->nr, .kind = (uint16_t)kind };
    struct squeeze_asked asked = { .nr = g->nr, .kind = kind };
    for (unsigned i = 0; i < g->nr; i++) {
        asked.pages[i] = leaf->first + g->at[i];
        asked.places[i] = entry.places[i] = leaf->pages[g->at[i]].where;
    }
    if (!pg->on_squeeze || !pg->on_squeeze(pg->context, &entry))
        return false;
    --*nr_asks;
    point_kills(POINT_ASKED);
    pg->asked[cookie] = asked;
    pg->nr_asked++;
    for (unsigned i = 0; i < g->nr; i++) {
        page_on_squeeze(&leaf->pages[g->at[i]]);
        if (mutant_is(MUTANT_SQUEEZE_GIVES_UP_FIRST))
            pager_release(pg, (struct page_release){ .kind = RELEASE_PLACE,
                                                     .store = (unsigned)pg->store_now,
                                                     .place = asked.places[i] });
    }
    return true;
}

/* ---- looking */

static bool is_ours(const struct pager *pg, const struct page *p)
{
    return page_may_squeeze(p) && (int)p->store == pg->store_now;
}

static bool is_leaving(const struct pager *pg, locator place)
{
    if (!pg->leaving || !locator_has_blob(place))
        return false;
    uint32_t slab = locator_slab(place);
    return atomic_load_explicit(&pg->leaving[slab % STORE_LEAVING_NR], memory_order_relaxed) == slab + 1;
}

/* Does more than half of the page's group lie so near to it? */
static bool has_most_near(const struct page_leaf *leaf, unsigned at, unsigned ahead)
{
    unsigned first = at > ahead ? at - ahead : 0;
    unsigned end = at + ahead < LEAF_PAGES ? at + ahead : LEAF_PAGES, nr = 0;
    locator group = locator_of_group(leaf->pages[at].where);
    for (unsigned i = first; i < end && nr <= LOCATOR_GROUP_PAGES / 2; i++)
        nr += leaf->pages[i].state == PAGE_STORED && locator_kind_of(leaf->pages[i].where) == LOCATOR_ZSTD &&
              locator_of_group(leaf->pages[i].where) == group;
    return nr > LOCATOR_GROUP_PAGES / 2;
}

/* A group of which half has come back takes as much as before: what is left of it joins another. Where
 * few pages of a leaf are out, a whole group may lie apart, and must not be asked for in each lap. */
static bool is_of_half_group(const struct page_leaf *leaf, unsigned at)
{
    return !has_most_near(leaf, at, HALF_AHEAD) && !has_most_near(leaf, at, LEAF_PAGES);
}

/* Is it stored in a way that could be denser, once it has been so for long? */
static bool could_be_denser(const struct page_leaf *leaf, unsigned at)
{
    const struct page *p = &leaf->pages[at];
    if (p->age == PAGE_AGE_DENSE)
        return false;
    enum locator_kind kind = locator_kind_of(p->where);
    return kind == LOCATOR_LZ4 || (kind == LOCATOR_ZSTD && is_of_half_group(leaf, at));
}

/* What it takes now, about. */
static uint32_t bytes_of(const struct page *p)
{
    uint32_t bytes = (uint32_t)locator_size(p->where);
    return locator_kind_of(p->where) == LOCATOR_ZSTD ? bytes / 2 : bytes;
}

/* All of a group go together; a blob of one page goes alone. */
static struct group all_of_blob(const struct pager *pg, const struct page_leaf *leaf, unsigned at)
{
    struct group g = { .at = { at }, .nr = 1 };
    locator place = leaf->pages[at].where;
    if (locator_kind_of(place) != LOCATOR_ZSTD)
        return g;
    for (unsigned i = at + 1; i < LEAF_PAGES && g.nr < LOCATOR_GROUP_PAGES; i++)
        if (is_ours(pg, &leaf->pages[i]) &&
            locator_of_group(leaf->pages[i].where) == locator_of_group(place))
            g.at[g.nr++] = i;
    return g;
}

/* Is the group full, or the leaf at its end, and is it the turn of such groups? */
static bool is_its_turn(struct squeeze_lap *lap, const struct group *g)
{
    bool is_last = lap->pass == PASSES_NR - 1;
    if (g->bytes >= floors[lap->pass] && (g->nr == LOCATOR_GROUP_PAGES || is_last))
        return true;
    lap->has_smaller = true;
    return false;
}

/* Asks for what it finds from lap.at on. False: no more asks now; lap.at is where to go on. */
static bool look_at_leaf(struct pager *pg, struct page_leaf *leaf, unsigned *nr_asks)
{
    struct squeeze_lap *lap = &pg->lap;
    struct group g = { .nr = 0 };
    bool is_settled = lap->may_group && lap->at == 0;
    for (unsigned i = lap->at; i < LEAF_PAGES; i++) {
        const struct page *p = &leaf->pages[i];
        if (!is_ours(pg, p))
            continue;
        bool is_loose = lap->may_group && could_be_denser(leaf, i);
        bool is_to_group = is_loose && p->age >= OLD_AGE; /* out of its slab, too, and further */
        is_settled &= !is_loose;
        if (!is_to_group && is_leaving(pg, p->where)) {
            struct group blob = all_of_blob(pg, leaf, i);
            if (!ask(pg, leaf, &blob, SQUEEZE_MOVE, nr_asks)) {
                lap->at = g.nr ? g.at[0] : i;
                return false;
            }
            is_settled = false;
            continue;
        }
        if (!is_to_group)
            continue;
        g.at[g.nr++] = i;
        g.bytes += bytes_of(p);
        if (g.nr < LOCATOR_GROUP_PAGES)
            continue;
        if (is_its_turn(lap, &g) && !ask(pg, leaf, &g, SQUEEZE_GROUP, nr_asks)) {
            lap->at = g.at[0];
            return false;
        }
        g = (struct group){ .nr = 0 };
    }
    if (g.nr && is_its_turn(lap, &g) && !ask(pg, leaf, &g, SQUEEZE_GROUP, nr_asks)) {
        lap->at = g.at[0];
        return false;
    }
    leaf->is_settled = is_settled;
    return true;
}

void pager_begin_lap(struct pager *pg, bool may_group, bool is_told)
{
    pg->lap = (struct squeeze_lap){ .is_on = true, .may_group = may_group, .is_told = is_told };
}

void pager_begin_ageing(struct pager *pg)
{
    pg->is_ageing = true;
    pg->ageing_leaf = 0;
}

static void age_some(struct pager *pg)
{
    for (unsigned price = 0; price < PRICE_PER_PIECE; pg->ageing_leaf++) {
        if (pg->ageing_leaf >= pg->table.nr_leaves) {
            pg->is_ageing = false;
            return;
        }
        struct page_leaf *leaf = &pg->table.leaves[pg->ageing_leaf];
        bool is_to_age = leaf->nr_out && !leaf->is_settled;
        price += is_to_age ? LEAF_PRICE : 1;
        for (unsigned j = 0; is_to_age && j < LEAF_PAGES; j++)
            if (leaf->pages[j].state == PAGE_STORED)
                (void)page_on_lap(&leaf->pages[j]);
    }
}

/* All leaves have been looked at in this pass. */
static void end_pass(struct squeeze_lap *lap)
{
    lap->leaf = 0;
    lap->is_on = lap->has_smaller && ++lap->pass < PASSES_NR;
    lap->has_smaller = false;
}

bool pager_lap(struct pager *pg)
{
    struct squeeze_lap *lap = &pg->lap;
    unsigned nr_asks = ASKS_PER_PIECE;
    if (pg->is_ageing) {
        age_some(pg);
        return true;
    }
    for (unsigned price = 0; lap->is_on && price < PRICE_PER_PIECE;) {
        if (lap->leaf >= pg->table.nr_leaves) {
            price += LEAF_PRICE;
            end_pass(lap);
            continue;
        }
        struct page_leaf *leaf = &pg->table.leaves[lap->leaf];
        bool is_to_see = leaf->nr_out && (!leaf->is_settled || lap->is_told);
        price += is_to_see ? LEAF_PRICE : 1;
        if (is_to_see && !look_at_leaf(pg, leaf, &nr_asks))
            return nr_asks == 0;
        lap->leaf++;
        lap->at = 0;
    }
    return lap->is_on;
}

/* ---- answers */

static bool place_can_be(const struct pager *pg, locator place, locator old)
{
    return locator_has_blob(place) && place != old &&
           locator_offset(place) + locator_size(place) <= pg->stores[pg->store_now].nr_bytes;
}

static void give_up(struct pager *pg, locator place)
{
    pager_release(pg, (struct page_release){ .kind = RELEASE_PLACE,
                                             .store = (unsigned)pg->store_now,
                                             .place = place });
}

static void take(struct pager *pg, page_number page, locator old, locator place,
                 const struct squeeze_asked *asked)
{
    struct page_leaf *leaf;
    struct page *p = pager_page(pg, page, &leaf);
    if (!p) { /* it is back, and its leaf is somebody else's */
        give_up(pg, place);
        stats_add(pg->stats, STAT_squeeze_late, 1);
        return;
    }
    pager_count(pg, leaf, p, -1);
    bool is_taken = page_on_squeezed(p, (unsigned)pg->store_now, old, place);
    pager_count(pg, leaf, p, +1);
    point_kills(POINT_DENSER_TAKEN);
    give_up(pg, is_taken ? old : place);
    if (!is_taken) {
        stats_add(pg->stats, STAT_squeeze_late, 1);
        return;
    }
    /* What is left over at a leaf's end looks like a group of which half has come back, and would be asked for
     * in every lap. */
    if (asked->kind == SQUEEZE_GROUP && asked->nr <= LOCATOR_GROUP_PAGES / 2)
        p->age = PAGE_AGE_DENSE;
    store_scratch_forget(&pg->scratch); /* it may hold what was at this place before */
    store_touch(&pg->stores[pg->store_now], place);
    stats_add(pg->stats, asked->kind == SQUEEZE_MOVE ? STAT_squeeze_moved : STAT_squeeze_success, 1);
}

static void keep(struct pager *pg, page_number page, locator old, enum page_stays why)
{
    struct page_leaf *leaf;
    struct page *p = pager_page(pg, page, &leaf);
    if (!p)
        return;
    page_on_not_squeezed(p, (unsigned)pg->store_now, old, why);
    leaf->is_settled = false;
    if (why == PAGE_STAYS_DENSE)
        stats_add(pg->stats, STAT_squeeze_dense, 1);
}

int pager_on_squeezed(struct pager *pg, const struct squeezed_entry *e)
{
    if (pg->store_now < 0 || e->cookie >= SQUEEZES_NR || e->result >= SQUEEZED_RESULT_NR)
        return -EPROTO;
    struct squeeze_asked asked = pg->asked[e->cookie];
    if (!asked.nr)
        return -EPROTO;
    bool is_at = e->result == SQUEEZED_AT;
    for (unsigned i = 0; i < asked.nr; i++)
        if (is_at && e->places[i] && !place_can_be(pg, e->places[i], asked.places[i]))
            return -EPROTO;
    enum page_stays why = asked.kind == SQUEEZE_MOVE      ? PAGE_STAYS_UNMOVED
                          : e->result == SQUEEZED_DENSE ? PAGE_STAYS_DENSE
                                                        : PAGE_STAYS_LOOSE;
    for (unsigned i = 0; i < asked.nr; i++) {
        if (is_at && e->places[i])
            take(pg, asked.pages[i], asked.places[i], e->places[i], &asked);
        else
            keep(pg, asked.pages[i], asked.places[i], why);
    }
    pg->asked[e->cookie].nr = 0;
    pg->nr_asked--;
    return 0;
}

void pager_forget_squeezes(struct pager *pg)
{
    for (unsigned i = 0; i < SQUEEZES_NR; i++)
        pg->asked[i].nr = 0;
    pg->nr_asked = 0;
    pg->lap.is_on = pg->is_ageing = false;
    pg->leaving = NULL;
}
