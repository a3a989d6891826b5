/* field.h - managed memory whose every byte is known: blocks of pages under a lock each, versions
 * outside managed memory, and a part where threads write side by side without any lock.
 *
 * Contents depend on the page and its version. Most shrink to an eighth, one in sixteen does not shrink,
 * one in sixteen is a word repeated; version 0 is zeros. */
#ifndef STRESS_FIELD_H
#define STRESS_FIELD_H

#include <pthread.h>

#include "stress/stress.h"

#define BLOCK_PAGES_MAX 512u
#define PARTS 8u /* threads that write into one shared page, 512 bytes each */

struct field_shape {
    uint32_t nr_pages;
    uint32_t block_pages; /* at most BLOCK_PAGES_MAX */
    uint32_t nr_ranges;   /* registered one by one */
    uint32_t nr_shared;   /* pages without a lock, PARTS writers each; a range of their own */
    bool has_spare_slots; /* each block has two places to live at */
    bool is_huge;         /* transparent huge pages */
    bool is_direct;       /* touching threads restore their own pages */
};

struct block {
    pthread_rwlock_t lock;
    unsigned char *home;   /* under the lock: where it lives now */
    uint32_t first;        /* its first page's number; set at birth */
    uint32_t range;        /* set at birth */
    bool is_at_spare;      /* under the lock */
    bool is_split;         /* under the lock: several mappings, so mremap is not for it */
    _Atomic uint32_t discards; /* odd: a discard is under way, readers may see either */
};

struct field {
    const struct field_shape *shape;
    struct run *run;
    struct block *blocks;
    uint32_t nr_blocks;
    uint32_t *versions;    /* by page; under the block's lock, or its discard's */
    unsigned char *memory; /* all places of all blocks */
    unsigned char *shared;
    uint32_t (*parts)[PARTS]; /* each thread's own */
    _Atomic uint64_t *next_event_ns; /* by range */
    uint32_t salt;
    _Atomic uint32_t fresh; /* where versions of pages begin that were zeros */
};

/* A version may also be one of these. */
#define VERSION_FREED 0x80000000u /* MADV_FREE: reads as the version, or as zeros */
#define VERSION_FILE 0x40000000u  /* came out of a file: bits 20 to 25 say which page of it */
#define VERSION_COUNT 0x000fffffu /* where one of them is set: the count, which goes on */
#define FILE_PAGES 64u
static inline uint32_t version_of_file(uint32_t before, uint32_t k)
{
    return VERSION_FILE | k << 20 | (before & VERSION_COUNT);
}
/* What a page of that version holds. */
void field_content(void *ret_bytes, uint32_t salt, uint32_t page, uint32_t version);

struct field *field_new(struct run *r, const struct field_shape *shape, uint32_t salt);
void field_register(struct field *f, struct pp_pager *pager);
/* Writes most of it, leaves some untouched. */
void field_begin(struct client *c);
/* Everything, after all threads have ended. */
void field_check_all(struct client *c, const char *when);

/* In the conductor: which share of a client's pages (those with bytes) is not in its memory just now. Asked
 * of the kernel, not of the pager. Negative: it can't be told. */
double field_share_out(const struct client_slot *s);

/* Page i of the block, under a lock: silently; and counts and tells when it is wrong. */
bool field_is_right(struct field *f, const struct block *b, uint32_t i);
bool field_check(struct field *f, struct block *b, uint32_t i, const char *when);
void field_write(struct field *f, struct block *b, uint32_t i); /* the next version */
void field_expect(struct field *f, struct block *b, uint32_t i, uint32_t version);
static inline uint32_t *field_version(struct field *f, struct block *b, uint32_t i)
{
    return &f->versions[b->first + i];
}
static inline unsigned char *block_page(const struct block *b, uint32_t i)
{
    return b->home + pages_to_bytes(i);
}
struct block *field_any_block(struct worker *w);
/* The same, locked; NULL: it is taken. */
struct block *field_lock_any(struct worker *w, bool is_to_write);
static inline void field_unlock(struct block *b)
{
    pthread_rwlock_unlock(&b->lock);
}
/* Is it time for this range to raise another event? More than 2000 a second and the client gives it up. */
bool field_may_raise(struct field *f, uint32_t range);

/* ---- operations of every kind */
operation op_read, op_write, op_write_word, op_shared, op_age, op_rest;
/* ... and of those that change mappings, for shapes with spare slots. */
operation op_discard, op_discard_and_write, op_free, op_unmap, op_move, op_shrink_and_grow, op_protect,
    op_lock, op_lock_shared;

#endif
