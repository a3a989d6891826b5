/* mutant.c - reads PP_MUTANT once. An unknown name ends the process: a test that asks for a mutant
 * and silently gets none would pass for the wrong reason. */
#include "base/mutant.h"

#ifdef PP_WITH_MUTANTS
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int chosen = -1; /* -1: not read yet */

static const char *const names[MUTANT_NR] = {
#define MUTANT(name, rule, text) #name,
#include "base/mutant.def"
#undef MUTANT
};

static int read_environment(void)
{
    const char *wanted = getenv("PP_MUTANT");
    if (!wanted || !*wanted)
        return MUTANT_NR;
    for (int m = 0; m < MUTANT_NR; m++)
        if (!strcmp(names[m], wanted))
            return m;
    fprintf(stderr, "PP_MUTANT=%s: no such mutant\n", wanted);
    exit(64);
}

bool mutant_is(enum mutant m)
{
    int now = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (now < 0) {
        now = read_environment();
        atomic_store_explicit(&chosen, now, memory_order_relaxed);
    }
    return now == (int)m;
}

void mutant_choose(enum mutant m)
{
    atomic_store_explicit(&chosen, (int)m, memory_order_relaxed);
}

const char *mutant_name(enum mutant m)
{
    return m < MUTANT_NR ? names[m] : "none";
}
#endif
