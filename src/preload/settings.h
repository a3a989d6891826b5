/* settings.h - what `process-pager run` wants of the library that it preloads: one word in the
 * environment, so that a process that is not meant pays one getenv.
 *
 *   PROCESS_PAGER_RUN="socket=/path;min-range=262144;start-after=1000;exclude=gcc,cc1"
 *
 * Bytes and milliseconds; what is not said is as below. The text is read once, at the start: the
 * application may change its environment. */
#ifndef PRELOAD_SETTINGS_H
#define PRELOAD_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#define SETTINGS_VARIABLE "PROCESS_PAGER_RUN"
#define MIN_RANGE_BYTES ((uint64_t)256 << 10) /* V8's heap comes in pieces of that */
#define START_AFTER_MS 1000u                  /* most processes do not live so long */
/* An agent costs some 100 KiB of its process and two threads: it begins where 16 ranges could be. */
#define RANGES_TO_START 16u

struct settings {
    char socket_path[108];
    uint64_t min_range_bytes;
    uint64_t start_after_ms;
};

/* False: leave this program alone, because it is named in `exclude`, or the text is not ours. */
bool settings_read(const char *text, const char *program_name, struct settings *ret);

#endif
