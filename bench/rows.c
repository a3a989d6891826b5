/* rows.c - see rows.h. */
#include "rows.h"

#include <stdio.h>
#include <string.h>

const char *const profile_names[PROFILE_NR + 1] = {"published", "coldtail", NULL};

#define FOUR_WORKERS "--workers 4 --write-fraction 1 "
#define SWEEPS "--content heap --region 256M " FOUR_WORKERS "--burst sweep --idle 10s "

/* clang-format off */
const struct profile profiles[PROFILE_NR] = {
    [PROFILE_PUBLISHED] = {
        .name = "published",
        .duration_sec = 10,
        .nr_rows = 5,
        .rows = {
            {"interactive_burst", "interactive_burst",
             "--content seed --region 256M " FOUR_WORKERS "--active 100ms --idle 400ms", true},
            {"anon_streamer", "anon_streamer",
             "--content seed --region 512M " FOUR_WORKERS "--idle 300ms", true},
            {"random_touch_heap", "random_touch_heap",
             "--content seed --region 512M " FOUR_WORKERS "--ops-per-sec 200000", true},
            {"mmap_churn", "mmap_churn",
             "--content seed --map 512K --workers 1 --write-fraction 1 --ops-per-sec 300", true},
            /* not of the published run: a heap of which half is idle */
            {"half_idle_heap", "random_touch_heap",
             "--content heap --region 512M " FOUR_WORKERS
             "--ops-per-sec 200000 --hot-fraction 0.5 --hot-probability 1", false},
        },
    },
    [PROFILE_COLDTAIL] = {
        .name = "coldtail",
        .duration_sec = 180,
        .duration_sec_min = 90,
        .warm_up_sec = 30, /* first evictions, and the pages that come back at once are known */
        .nr_rows = 5,
        .rows = {
            {"interactive_burst", "interactive_burst", SWEEPS "--idle-jitter 0.5", true},
            {"interactive_burst_regular", "interactive_burst", SWEEPS "--idle-jitter 0", true},
            {"anon_streamer", "anon_streamer",
             "--content heap --region 512M " FOUR_WORKERS "--idle 15s --idle-jitter 0.5", true},
            {"random_touch_heap", "random_touch_heap",
             "--content heap --region 1G " FOUR_WORKERS
             "--ops-per-sec 200000 --hot-fraction 0.1 --hot-probability 0.9995", true},
            {"mmap_churn", "mmap_churn",
             "--content heap --map 512K --workers 1 --write-fraction 1 --ops-per-sec 300", false},
        },
    },
};
/* clang-format on */

static bool name_is(const char *name, const char *text, size_t length)
{
    return strlen(name) == length && strncmp(name, text, length) == 0;
}

static bool mark_row(const struct profile *profile, const char *text, size_t length,
                     bool ret_has_row[ROWS_MAX])
{
    for (size_t i = 0; i < profile->nr_rows; i++) {
        if (!name_is(profile->rows[i].name, text, length))
            continue;
        ret_has_row[i] = true;
        return true;
    }
    return false;
}

bool rows_choose(const struct profile *profile, const char *only, const char *program,
                 bool ret_has_row[ROWS_MAX])
{
    for (size_t i = 0; i < ROWS_MAX; i++)
        ret_has_row[i] = !only && i < profile->nr_rows && profile->rows[i].is_default;
    for (const char *at = only; at;) {
        size_t length = strcspn(at, ",");
        if (!mark_row(profile, at, length, ret_has_row)) {
            fprintf(stderr, "%s: --only %.*s: no such row in profile %s (see --help)\n", program,
                    (int)length, at, profile->name);
            return false;
        }
        at = at[length] == ',' ? at + length + 1 : NULL;
    }
    return true;
}

bool rows_args_make_sense(const struct profile *profile, const struct option_list *row_args,
                          const char *program)
{
    for (size_t i = 0; i < row_args->count; i++) {
        const char *item = row_args->items[i];
        size_t length = strcspn(item, "=");
        bool is_known = name_is("all", item, length);
        for (size_t r = 0; r < profile->nr_rows; r++)
            is_known = is_known || name_is(profile->rows[r].name, item, length);
        if (!is_known || item[length] != '=') {
            fprintf(stderr, "%s: --row-args %s: wants ROW=OPTIONS (see --help)\n", program, item);
            return false;
        }
    }
    return true;
}

struct arm_args rows_args(const struct row *row, const struct option_list *row_args,
                          const struct rows_run *run)
{
    struct arm_args args = {.count = 0};
    char text[96];
    snprintf(text, sizeof(text), "--duration-sec %g --warm-up-sec %g --seed %llu",
             run->duration_sec, run->warm_up_sec, (unsigned long long)run->seed);
    arm_args_add_words(&args, text);
    arm_args_add_words(&args, row->args);
    for (size_t i = 0; i < row_args->count; i++) {
        const char *item = row_args->items[i];
        size_t length = strcspn(item, "=");
        if (name_is("all", item, length) || name_is(row->name, item, length))
            arm_args_add_words(&args, item + length + 1);
    }
    return args;
}
