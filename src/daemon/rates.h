/* rates.h - how fast a session's numbers grow: over the last five seconds, or since it began. Numbers in,
 * numbers out; no clock. What is noted may be anything a client says: it is only ever shown. */
#ifndef DAEMON_RATES_H
#define DAEMON_RATES_H

#include <stdint.h>

#define RATES_SAMPLES 11u /* half-second ticks that reach five seconds back */

enum rate { RATE_FAULTS, RATE_EVICTIONS, RATE_NR };

struct rates {
    uint64_t at_ms[RATES_SAMPLES];
    uint64_t value[RATE_NR][RATES_SAMPLES];
    unsigned nr; /* ever noted */
};

void rates_note(struct rates *r, uint64_t now_ms, const uint64_t values[RATE_NR]);
/* 0 until two have been noted. */
double rates_per_s(const struct rates *r, enum rate which);

#endif
