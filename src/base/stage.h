/* stage.h - how far the answer to the last fault has come, and when: for build/bench/stall-stages. Nothing of
 * it, and free, outside test builds. One agent writes; who was answered reads. */
#ifndef BASE_STAGE_H
#define BASE_STAGE_H

#include <stdint.h>

enum stage {
    STAGE_READ,      /* the agent knows of the fault */
    STAGE_READY,     /* the bytes are there, the kernel's call comes next */
    STAGE_INSTALLED, /* that has returned; who waited may have gone on long before */
    STAGES_NR
};

#ifdef PP_WITH_MUTANTS
void stage_note(enum stage s, uint64_t now_ns);
uint64_t stage_ns(enum stage s); /* 0: never */
#else
#define stage_note(s, now_ns) ((void)0) /* without a reading of the clock */
#endif

#endif
