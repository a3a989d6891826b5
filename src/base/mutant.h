/* mutant.h - is this deliberate fault switched on? Always false, and free, outside test builds. */
#ifndef BASE_MUTANT_H
#define BASE_MUTANT_H

#include <stdbool.h>

enum mutant {
#define MUTANT(name, rule, text) MUTANT_##name,
#include "base/mutant.def"
#undef MUTANT
    MUTANT_NR
};

#ifdef PP_WITH_MUTANTS
bool mutant_is(enum mutant m);
/* For tests that choose without the environment; MUTANT_NR: none. */
void mutant_choose(enum mutant m);
const char *mutant_name(enum mutant m);
#else
static inline bool mutant_is(enum mutant m)
{
    (void)m;
    return false;
}
#endif

#endif
