/* pages.h - what the heat sources share: which pages are watched, how long each has been idle as far as
 * the source could tell, how often it was wanted back, and which of them are ready to leave. A source
 * looks at a chunk: it lets its pages grow old, says which are there, and which were touched.
 *
 * Memory is kept in chunks of at most 512 pages, cut where page tables are; two bytes a page where there
 * ever was one.
 *
 * Where the cold age changes (is_governed), a page came back too soon if it had been idle for less than twice
 * what it had to be: then keeping it would have been as well. The same where it is seen touched, the other way
 * round. And a chunk of which much comes back too soon is barred as a whole, for longer each time. While the
 * budget has something to spare nothing is too soon: memory is worth more. Contract: as in heat.h. For the sources only. */
#ifndef HEAT_PAGES_H
#define HEAT_PAGES_H

#include "heat/heat.h"
#include "heat/probe.h"

#define CHUNK_PAGES 512u

struct chunk {
    page_number first;
    uint16_t nr;           /* pages, 1..512 */
    uint16_t nr_written;   /* scan: at the last look, and not protected since */
    uint16_t nr_ready;     /* cold ones that can be picked */
    uint16_t nr_to_pay;    /* scan: of nr_written, those that will be written again, as far as we know */
    uint8_t hot_shift : 4; /* scan */
    uint8_t nr_trials : 4; /* scan */
    uint8_t nr_tried;      /* scan: pages that a trial has protected, but for the first; 0 when all are */
    uint8_t bar_level;     /* of the last bar, counted from 1; 0: none yet */
    bool is_looked_at : 1; /* scan: since the first trial */
    bool is_exact : 1;     /* ages count from a look that found all of it touched: not rounded */
    bool is_barred : 1;    /* at the last look, or since */
    bool is_bar_over : 1;  /* the last one; a longer cold age does not bring it back */
    bool is_tally_barred : 1;
    uint32_t closed; /* cells of which no page is ready, whatever its age; 0 but for a source that probes */
    uint64_t age_ms;       /* up to when ages have been counted; 0: never looked at */
    uint32_t tried_s;      /* scan: or protected */
    uint32_t dull_s; /* scan: since then nothing there, or all of it written and not protected: no page can grow
                      * old; 0: there is something to see */
    uint64_t looked_ms;    /* 0: look as soon as possible */
    uint64_t protected_ms; /* scan */
    uint64_t hands_off_ms; /* scan: not to be protected before */
    uint16_t *pages;       /* NULL: nothing was ever there; behind them the tally, see pages.c */
    struct probe_region *probe; /* scan; NULL: never asked */
    uint32_t written_cells;  /* scan: with pages that were written, at the last look */
    uint32_t barred_s;       /* is_governed: since when nothing leaves, for so many cold ages */
    uint16_t cold_units;     /* the cold age at the last look */
    uint16_t nr_offered;     /* since it was last barred, ... */
    uint16_t nr_soon;        /* ... and of them back too soon */
    uint16_t nr_put_back;    /* scan: told of since the last look; not protected when they came, so no fault */
};

/* Begins each source's own struct, which has it as its first member. */
struct heat {
    int pagemap_fd;
    uint64_t cold_age_ms, unit_ms;
    bool is_governed, has_spare;
    uint64_t now_ms;      /* of the last look */
    uint64_t grown_units; /* by which the look's pages have grown older */
    struct heat_ages ages;
    uint8_t age_index[1024]; /* by units: how many of base/ages.h are reached */
    struct chunk *chunks; /* sorted, not overlapping */
    size_t nr, capacity;
    size_t pick_cursor;
    uint64_t nr_pages, nr_ready, page_bytes;
    uint64_t own_bytes; /* of the source's struct */
};

static inline page_number chunk_end(const struct chunk *c)
{
    return c->first + c->nr;
}

void pages_init(struct heat *h, const struct heat_client *client, size_t own_bytes);
void pages_free(struct heat *h); /* all but the struct itself */

/* A look at a chunk: begin, then for each run that is there note(), before it cap_age() where the source
 * knows that it was touched less long ago than we thought; then end. from and to are counted from the
 * chunk's first page. */
void pages_look_begin(struct heat *h, struct chunk *c, uint64_t now_ms);
bool pages_has_room(struct heat *h, struct chunk *c); /* false: no memory for its pages */
uint32_t pages_nr_offered(const struct chunk *c, uint32_t from, uint32_t to); /* has room */
void pages_note(struct heat *h, struct chunk *c, uint32_t from, uint32_t to, bool is_touched);
/* All of the chunk was touched up to now: its ages need not be rounded. */
void pages_begin_age(struct chunk *c, uint64_t now_ms);
void pages_cap_age(struct heat *h, struct chunk *c, uint32_t from, uint32_t to, uint64_t idle_ms);
void pages_look_end(struct heat *h, struct chunk *c);

/* For a source that probes. What the last look has seen; the region, made when it is first wanted (NULL:
 * no memory); which cells are closed; a page that leaves as a probe is offered, and one that is wanted
 * back has waited for nothing. */
void pages_see(const struct heat *h, const struct chunk *c, struct probe_sight *ret_sight);
struct probe_region *pages_probe(struct heat *h, struct chunk *c);
void pages_set_closed(struct heat *h, struct chunk *c, uint32_t closed);
void pages_offer_probe(struct heat *h, struct chunk *c, uint32_t index);
void pages_probe_is_back(struct heat *h, struct chunk *c, uint32_t index);
struct chunk *pages_chunk(const struct heat *h, page_number page); /* NULL: not watched */

/* These are functions of struct heat_ops as they stand. */
void pages_pace(struct heat *h, const struct heat_pace *pace);
void pages_ages(const struct heat *h, struct heat_ages *ret);
int pages_add(struct heat *h, page_number first, page_number end);
void pages_remove(struct heat *h, page_number first, page_number end);
bool pages_feedback(struct heat *h, page_number page, enum feedback_kind kind);
size_t pages_pick(struct heat *h, uint64_t now_ms, size_t pages_max, struct heat_run *ret_runs,
                  size_t nr_max);
uint64_t pages_nr(const struct heat *h);
uint64_t pages_nr_ready(const struct heat *h);
uint64_t pages_bookkeeping_bytes(const struct heat *h);

#endif
