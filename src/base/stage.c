/* stage.c - see stage.h. */
#include "base/stage.h"

#ifdef PP_WITH_MUTANTS
#include <stdatomic.h>

static _Atomic uint64_t noted_ns[STAGES_NR];

void stage_note(enum stage s, uint64_t now_ns)
{
    atomic_store_explicit(&noted_ns[s], now_ns, memory_order_release);
}

uint64_t stage_ns(enum stage s)
{
    return atomic_load_explicit(&noted_ns[s], memory_order_acquire);
}
#else
typedef int stage_is_empty; /* a file may not be */
#endif
