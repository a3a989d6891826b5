/* stages.h - one restore by its stages, where the library tells of them (base/stage.h): in
 * build/bench/stall-stages, which is build/bench/stall with the library of the tests. */
#ifndef BENCH_STAGES_H
#define BENCH_STAGES_H

#include <stdint.h>

#include "common/latency.h"

/* From the touch until the agent knows of it (fault, wake-up, read); until the bytes are there; the kernel's
 * call, where it has returned before the touch is over; and from before that call until the touch is over. */
enum stage_span { SPAN_REACH, SPAN_DECODE, SPAN_INSTALL, SPAN_BACK, SPANS_NR };

struct stages {
    struct latency spans[SPANS_NR];
};

/* A touch of begin_ns to end_ns; one that the agent has not answered counts for nothing. */
void stages_record(struct stages *st, uint64_t begin_ns, uint64_t end_ns);
/* "phase_reach_p50_ns value" and so on, on stdout. */
void stages_say(const char *phase, struct stages *const all[], unsigned nr);

#endif
