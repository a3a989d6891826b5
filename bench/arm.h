/* arm.h - one arm of one row: run the workload once, with or without the pager, under GNU time,
 * and sample memory meanwhile. The arms with a pager have a daemon of their own, on a socket of its
 * own, which is ended afterwards. The zram arm is the same with --evict-by pageout, onto a zram
 * swap device that is there for just as long. Everything raw lands in one folder: workload.json,
 * workload.stderr, touch_latency.csv, gnu_time.txt, memory.csv, and with a daemon daemon.csv and
 * daemon.log. */
#ifndef BENCH_ARM_H
#define BENCH_ARM_H

#include <stdbool.h>
#include <stddef.h>

#include "csv.h"
#include "gnu_time.h"
#include "memory.h"

#define ARM_ARGS_MAX 64u

/* Words of a command line, in order. */
struct arm_args {
    char *words[ARM_ARGS_MAX + 1]; /* ends with NULL */
    size_t count;
};

void arm_args_add(struct arm_args *args, const char *word);
/* Each word of a text; blanks part them, there is no quoting. */
void arm_args_add_words(struct arm_args *args, const char *text);
void arm_args_free(struct arm_args *args);

enum arm_kind { ARM_BASELINE, ARM_PAGER, ARM_ZRAM, ARM_NR };
extern const char *const arm_names[ARM_NR];

struct arm_spec {
    enum arm_kind kind;
    const char *workload_path, *daemon_path;
    const struct arm_args *workload_args, *daemon_args;
    const char *folder;             /* is made */
    double duration_sec;            /* as the workload was told; it is given up long after */
    const char *gnu_time_path;      /* NULL: there is none */
    uint64_t zram_bytes;            /* ARM_ZRAM: size of the swap device */
    void (*on_beat)(void *context); /* with every sample; NULL: nobody looks on */
    void *context;
};

struct arm_result {
    int exit_code;     /* 0: all is well; 1: bytes were wrong; else it could not be run */
    char problem[256]; /* "" when exit_code is 0 */
    char *json;        /* NULL: there is none */
    bool has_time;
    struct gnu_time time;
    struct memory_series memory;
    uint64_t window_start_ns, warm_up_end_ns, window_end_ns; /* of the measured part */
    bool has_session;
    struct csv_row session; /* the daemon's row for this workload */
};

/* Always fills the result; free it. Returns exit_code, or 128 + the signal when interrupted. */
int arm_run(const struct arm_spec *spec, struct arm_result *ret_result);
void arm_result_free(struct arm_result *result);

#endif
