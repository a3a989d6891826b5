/* made.c - see made.h. */
#include "made.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)
#define BEGIN_S 100u

struct arm_result made_arm(const char *json, struct made_time when, const uint64_t mib[3])
{
    uint64_t warm_up_end_s = BEGIN_S + when.warm_up_s, end_s = BEGIN_S + when.window_s;
    uint64_t steady_s = end_s - (when.window_s - when.warm_up_s) / 4;
    struct arm_result arm = {
        .json = strdup(json),
        .window_start_ns = BEGIN_S * SECOND,
        .warm_up_end_ns = warm_up_end_s * SECOND,
        .window_end_ns = end_s * SECOND,
    };
    for (uint64_t s = BEGIN_S - when.lead_s, i = 0; s < end_s + when.lead_s; s++, i++) {
        struct memory_sample sample = {.time_ns = s * SECOND + SECOND / 2};
        sample.target.pss_kib = mib[s < warm_up_end_s ? 0 : s < steady_s ? 1 : 2] * 1024;
        sample.daemon_cpu_ms = i * 10;
        memory_series_add(&arm.memory, &sample);
    }
    return arm;
}

void made_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");
    if (!out || fputs(text, out) < 0 || fclose(out)) {
        perror(path);
        abort();
    }
}

double made_cell(const struct csv_table *t, const char *column)
{
    double value = -12345;
    (void)csv_table_get_number(t, 0, column, &value);
    return value;
}

bool is_near(double a, double b)
{
    return a > b - 1e-6 && a < b + 1e-6;
}
