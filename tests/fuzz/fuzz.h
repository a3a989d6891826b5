/* fuzz.h - what the fuzz targets share: the input as a stream of small numbers, and a check that ends
 * the process, which libFuzzer reports together with the input that did it. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A trap and not abort(): fuzz_page has an abort() of its own. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, __func__, #condition);  \
            __builtin_trap();                                                                      \
        }                                                                                          \
    } while (0)

struct input {
    const uint8_t *at, *end;
};

static inline bool input_is_empty(const struct input *in)
{
    return in->at == in->end;
}

/* At the end: zeros. */
static inline void input_bytes(struct input *in, void *ret, size_t size)
{
    size_t left = (size_t)(in->end - in->at), nr = size < left ? size : left;
    memset(ret, 0, size);
    memcpy(ret, in->at, nr);
    in->at += nr;
}

static inline uint8_t input_u8(struct input *in)
{
    uint8_t v;
    input_bytes(in, &v, sizeof v);
    return v;
}

static inline uint16_t input_u16(struct input *in)
{
    uint16_t v;
    input_bytes(in, &v, sizeof v);
    return v;
}

static inline uint32_t input_u32(struct input *in)
{
    uint32_t v;
    input_bytes(in, &v, sizeof v);
    return v;
}

static inline uint64_t input_u64(struct input *in)
{
    uint64_t v;
    input_bytes(in, &v, sizeof v);
    return v;
}

#endif
