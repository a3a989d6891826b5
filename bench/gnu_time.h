/* gnu_time.h - what /usr/bin/time -v says about a process it ran. */
#ifndef BENCH_GNU_TIME_H
#define BENCH_GNU_TIME_H

#include <stdbool.h>
#include <stdint.h>

#define GNU_TIME_PATH "/usr/bin/time"

struct gnu_time {
    double elapsed_sec, user_sec, system_sec, cpu_pct;
    uint64_t max_rss_kib, major_faults, minor_faults;
};

/* Reads the text of `time -v`. False unless all of the above were there. */
bool gnu_time_parse(const char *text, struct gnu_time *ret_time);

/* "m:ss", "m:ss.ff" or "h:mm:ss" in seconds. */
bool gnu_time_parse_elapsed(const char *text, double *ret_sec);

#endif
