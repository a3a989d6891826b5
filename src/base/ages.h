/* ages.h - the ages at which idle pages are counted, and between which a cold age is chosen: a half and
 * a third more in turns, so that no choice is off by more than that. */
#ifndef BASE_AGES_H
#define BASE_AGES_H

#include <stdint.h>

#define AGES_NR 15u
/* No other table has to agree with it, but for AGES_NR. The first: below a second the looks themselves
 * would cost what is saved. The last: eight bits of waiting longer are left above it in heat/pages. */
static const uint32_t ages_ms[AGES_NR] = { 1000,  1500,  2000,  3000,  4000,  6000,  8000, 12000,
                                           16000, 24000, 32000, 48000, 64000, 96000, 128000 };

/* How many of the ages a page of this one has reached: 0 to AGES_NR. */
static inline unsigned ages_reached(uint64_t idle_ms)
{
    unsigned nr = 0;
    while (nr < AGES_NR && ages_ms[nr] <= idle_ms)
        nr++;
    return nr;
}

#endif
