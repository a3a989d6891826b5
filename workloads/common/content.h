/* content.h - what the pages of a workload hold. Every byte of a page follows from (seed, page,
 * version), so that anybody can say at any time what must be there, without a copy of it.
 *
 * A page is 64 lines of 64 bytes. Line 0 begins with a stamp: page number, version, and a check of
 * both with the seed. Some lines carry a salt of 8 bytes that a later version rewrites, a few lines
 * at a time: going from one version to the next touches the stamp and CONTENT_SALTS_PER_VERSION
 * lines, not 4 KiB. Because a page is compared with what its version says, and the version is kept
 * outside the page, a page that went back to any earlier version is always noticed.
 *
 * Version 0 is memory that was never written: zeros. Versions count up from 1. Pure functions. */
#ifndef WORKLOADS_CONTENT_H
#define WORKLOADS_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTENT_PAGE_BYTES 4096u
#define CONTENT_LINE_BYTES 64u
#define CONTENT_LINES (CONTENT_PAGE_BYTES / CONTENT_LINE_BYTES)
#define CONTENT_SALTS_PER_VERSION 2u

enum content_kind {
    CONTENT_SEED,   /* zeros but for the stamp and one salt, as in the published workloads */
    CONTENT_HEAP,   /* pointers, small integers, short strings, padding: LZ4 2.6-2.8x */
    CONTENT_TEXT,   /* words, with 8 hex digits at the start of each line */
    CONTENT_RANDOM, /* does not compress */
    CONTENT_KIND_NR
};

/* "seed", "heap", "text", "random". */
const char *content_kind_name(enum content_kind kind);

struct content {
    enum content_kind kind;
    uint64_t seed;
};

/* The 64 bytes of one line of a page at a version. */
void content_line(const struct content *c, uint64_t page, unsigned line, uint32_t version,
                  unsigned char ret_bytes[CONTENT_LINE_BYTES]);
/* Writes the whole page. */
void content_fill(const struct content *c, uint64_t page, uint32_t version, void *at);
/* `at` holds `version`: writes what turns it into version + 1. */
void content_bump(const struct content *c, uint64_t page, uint32_t version, void *at);

/* True when the stamp at the start of the page is this page's at this version. */
bool content_stamp_is(const struct content *c, uint64_t page, uint32_t version, const void *at);
/* True when all 4096 bytes are right; else ret_line is the first line that is not. */
bool content_page_is(const struct content *c, uint64_t page, uint32_t version, const void *at,
                     unsigned *ret_line);

#endif
