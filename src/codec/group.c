/* group.c - zstd, both ways.
 *
 * Which level, and how many pages: measured with libzstd 1.5.4 on 19,743 pages of real heaps
 * (build/bench/heaps --quick --save-pages), payload against LZ4's, and microseconds for a group on
 * a busy machine:
 *
 *             redis  python    node    there   back          redis  python    node    there   back
 *   level -1                                        level 1
 *    1 page   0.948   0.750   0.893     9-12    3.6           0.687   0.652   0.715    13-17    6.3
 *    4 pages  0.744   0.627   0.736    29-46     11           0.591   0.554   0.624    33-49     15
 *   level 3                                         level 5
 *    1 page   0.680   0.643   0.703    15-21    6.2           0.668   0.618   0.689    28-39    6.1
 *    4 pages  0.586   0.547   0.613    39-65     16           0.568   0.519   0.596   94-148     15
 *
 * So groups of four at level 1: level -1 is no quicker for four pages, level 3 takes 2 % less room
 * for a fifth to a third more time, and larger groups would gain little for a restore that takes
 * longer. */
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_initStaticDCtx: no allocation; exported by the shared library */
#include "codec/group.h"

#include <errno.h>
#include <string.h>

#include <zstd.h>

#include "base/point.h"

#define LEVEL 1

int group_encoder_new(struct group_encoder **ret)
{
    ZSTD_CCtx *c = point_fails(POINT_GROUP_ENCODER) ? NULL : ZSTD_createCCtx();
    if (!c)
        return -ENOMEM;
    *ret = (struct group_encoder *)c;
    return 0;
}

struct group_encoder *group_encoder_free(struct group_encoder *e)
{
    (void)ZSTD_freeCCtx((ZSTD_CCtx *)e); /* takes NULL; says 0 */
    return NULL;
}

size_t group_encode(struct group_encoder *e, const void *pages, unsigned nr, void *ret_blob,
                    size_t capacity)
{
    size_t size = ZSTD_compressCCtx((ZSTD_CCtx *)e, ret_blob, capacity, pages, pages_to_bytes(nr), LEVEL);
    return ZSTD_isError(size) || point_fails(POINT_GROUP_ENCODE) ? 0 : size;
}

/* Frames of today's format only: libzstd may know those of its first versions, whose decoders
 * allocate, and frames to be skipped. */
static bool begins_as_frame(const void *blob, size_t size)
{
    uint32_t magic;
    if (size < sizeof magic)
        return false;
    memcpy(&magic, blob, sizeof magic);
    return magic == ZSTD_MAGICNUMBER;
}

bool group_can_decode(void)
{
    return ZSTD_estimateDCtxSize() <= sizeof(struct group_decoder);
}

int group_decode(struct group_decoder *d, const void *blob, size_t size,
                 unsigned char ret_pages[GROUP_BYTES_MAX])
{
    if (!begins_as_frame(blob, size))
        return -EILSEQ;
    size_t frame_bytes = ZSTD_findFrameCompressedSize(blob, size);
    if (ZSTD_isError(frame_bytes))
        return -EILSEQ;
    unsigned long long bytes = ZSTD_getFrameContentSize(blob, frame_bytes);
    if (bytes == 0 || bytes > GROUP_BYTES_MAX || bytes % PAGE_BYTES) /* errors are very large */
        return -EILSEQ;
    /* Anew each time: a few stores, and nothing that a hostile frame has left is used again. */
    ZSTD_DCtx *context = ZSTD_initStaticDCtx(d->state, sizeof d->state);
    if (!context || ZSTD_decompressDCtx(context, ret_pages, bytes, blob, frame_bytes) != bytes)
        return -EILSEQ;
    return (int)(bytes / PAGE_BYTES);
}
