/* group.h - a few neighbouring pages in one zstd frame: the second tier's codec. Denser than LZ4 by
 * 1.6 to 1.8 times on real heaps (docs/heaps.md), and a page of it comes back in 13-17 us instead
 * of 1.
 *
 * The blob is a plain frame that says how long its content is, without a checksum (the client has
 * one for each page). What lies behind it does not matter: a place in the store is known in units
 * of 16 bytes only.
 *
 * Contract: pure; each thread has its own encoder or decoder. Decoding allocates nothing. */
#ifndef CODEC_GROUP_H
#define CODEC_GROUP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/locator.h"
#include "base/pagesize.h"

#define GROUP_PAGES_MAX LOCATOR_GROUP_PAGES
#define GROUP_BYTES_MAX (GROUP_PAGES_MAX * PAGE_BYTES)

struct group_encoder; /* about 0.6 MiB, most of it never touched; one thread at a time */

int group_encoder_new(struct group_encoder **ret);
struct group_encoder *group_encoder_free(struct group_encoder *e);

/* 1..4 pages, which nobody writes meanwhile, into a blob of at most `capacity` bytes. Returns its
 * size; 0: it would be longer. */
size_t group_encode(struct group_encoder *e, const void *pages, unsigned nr, void *ret_blob,
                    size_t capacity);

/* What decoding needs beside the bytes: zstd's state, 94 KiB with libzstd 1.5.4. Whatever is in it
 * is a good beginning. */
struct group_decoder {
    _Alignas(64) unsigned char state[160 << 10];
};

/* Is that enough for the libzstd that is here? If not, no page may be put into a group. */
bool group_can_decode(void);

/* All pages of a private copy of a blob, whatever bytes it has. How many pages; -EILSEQ: not a
 * frame of 1..4 pages within `size` bytes. */
int group_decode(struct group_decoder *d, const void *blob, size_t size,
                 unsigned char ret_pages[GROUP_BYTES_MAX]);

#endif
