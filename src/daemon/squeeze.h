/* squeeze.h - what is stored, put elsewhere in the same store: several pages into one group, or a
 * blob out of a slab that is to become empty. The old places stay as they are: whoever asked gives
 * them up, or the new ones.
 *
 * Contract: the compress thread's, or whoever has the store. Places come from a client and may be
 * anything. */
#ifndef DAEMON_SQUEEZE_H
#define DAEMON_SQUEEZE_H

#include "store/writer.h"
#include "wire/session_memory.h"

struct squeezer; /* about 0.7 MiB, most of it zstd's */

int squeezer_new(struct squeezer **ret);
struct squeezer *squeezer_free(struct squeezer *q); /* takes NULL, returns NULL */

/* Fills all of the answer. About 65 us for a group of four: 4 for LZ4, 45 to compress, 15 to
 * decompress again and compare; less than 1 for what is only moved. */
void squeeze_do(struct squeezer *q, struct store_writer *store, const struct squeeze_entry *ask,
                struct squeezed_entry *ret);

#endif
