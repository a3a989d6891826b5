/* probes.h - what doctor looks at: one row a thing, in the order of the report. */
#ifndef CLI_PROBES_H
#define CLI_PROBES_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "sys/features.h"

/* Found out once, before the probes. */
struct exam {
    struct features features;
    int daemon_error; /* 0: one answers; else why not, as ask_status() */
    cJSON *status;    /* its answer; NULL: none */
};

enum finding { FOUND_MISSING, FOUND, FOUND_NOTHING /* it cannot be told */ };

struct probe {
    const char *what;
    const char *why;    /* what it is for, said when it is missing */
    const char *remedy; /* a command to type, or what to change where there is none */
    bool is_needed;     /* without it `run` cannot work; else it works less well */
    bool is_right;      /* it is a matter of rights, not of the kernel */
    /* ret_found: what was found, a few words. */
    enum finding (*look)(const struct exam *e, char *ret_found, size_t capacity);
};

extern const struct probe probes[];
extern const size_t probes_nr;

#endif
