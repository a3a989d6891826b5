/* rng.h - random numbers that a seed repeats: a 64-bit mixer for "the number that belongs to this
 * index", and a generator (xorshift64*) for sequences. Not for secrets. */
#ifndef WORKLOADS_RNG_H
#define WORKLOADS_RNG_H

#include <stdint.h>

/* One to one, and every bit of the result depends on every bit of x (the finalizer of splitmix64).
 */
static inline uint64_t rng_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

struct rng {
    uint64_t state; /* never 0 */
};

static inline struct rng rng_new(uint64_t seed, uint64_t stream)
{
    return (struct rng){.state = rng_mix(rng_mix(seed) ^ stream) | 1};
}

static inline uint64_t rng_next(struct rng *r)
{
    uint64_t x = r->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    r->state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

/* 0 .. limit - 1; the bias of the multiplication is below limit / 2^32. limit < 2^32. */
static inline uint64_t rng_below(struct rng *r, uint64_t limit)
{
    return ((rng_next(r) >> 32) * limit) >> 32;
}

/* 0 .. nr - 1, each once. */
static inline void rng_order(struct rng *r, uint32_t *ret_order, uint64_t nr)
{
    for (uint64_t i = 0; i < nr; i++) {
        uint64_t j = rng_below(r, i + 1);
        ret_order[i] = ret_order[j];
        ret_order[j] = (uint32_t)i;
    }
}

/* [0, 1) */
static inline double rng_unit(struct rng *r)
{
    return (double)(rng_next(r) >> 11) * 0x1p-53;
}

#endif
