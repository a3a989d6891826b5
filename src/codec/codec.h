/* codec.h - one page to bytes and back, and the page's checksum. Same-filled pages become a word,
 * the rest LZ4; what does not shrink to 3/4 is refused. Pure; each thread has its own encoder. */
#ifndef CODEC_CODEC_H
#define CODEC_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/locator.h"
#include "base/pagesize.h"

/* A page that shrinks to more than this is left alone: the saving is not worth its stall. */
#define CODEC_WORTH_BYTES (PAGE_BYTES * 3 / 4)

struct codec_encoder; /* about 16 KiB; one thread at a time */

int codec_encoder_new(struct codec_encoder **ret);
struct codec_encoder *codec_encoder_free(struct codec_encoder *e);

enum codec_result { CODEC_FILL32, CODEC_BLOB, CODEC_NOT_WORTH_IT };

struct codec_encoded {
    enum locator_kind kind;     /* LOCATOR_FILL32, LOCATOR_FILL64 or LOCATOR_LZ4 */
    uint32_t fill;              /* LOCATOR_FILL32 */
    size_t size;                /* of bytes; 0 for FILL32 */
    const unsigned char *bytes; /* the encoder's; holds until its next call */
};

/* The page is aligned to 8 bytes. It may be changed by another process while we look: the result is then bytes of no use,
 * never a fault. */
enum codec_result codec_encode(struct codec_encoder *e, const void *page, struct codec_encoded *ret);

/* Fills ret_page from a private copy of a blob. -EILSEQ: not a blob of that kind. */
int codec_decode(enum locator_kind kind, const void *blob, size_t size, void *ret_page);
void codec_fill32(uint32_t word, void *ret_page);

/* The low half of XXH3-64. The client's, against mistakes and a broken daemon; not a secret. */
uint32_t page_checksum(const void *page);

#endif
