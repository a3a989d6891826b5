/* config.c - see config.h. docs/defaults.md repeats the defaults; a test compares. */
#include "daemon/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/options.h"

#define DEFAULT_CONFIG_PATH "/etc/process-pager.conf"
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

/* A store is cut into slabs of 64 KiB, of which each size of blob wants one: caps begin at sixteen. */
static const struct config defaults = {
    .config_path = DEFAULT_CONFIG_PATH,
    .cold_age_ms = 5000,
    .store_cap_bytes = 4 * GIB,
    .store_cap_total_bytes = 1024 * GIB, /* as much as one store may be: no bound beside the others */
    .squeeze_age_ms = 30000,
    .user_store_cap_bytes = 16 * GIB,
    .reclaim_rate = 500 * MIB,
    /* The kernel's own, but for regions_min, which bounds how large a region may grow: with its 10 a
     * half that had gone cold was found to three quarters in ten seconds (docs/heat.md). */
    .damon_sample_ms = 5,
    .damon_aggregation_ms = 100,
    .damon_update_ms = 1000,
    .damon_regions_min = 100,
    .damon_regions_max = 1000,
};

#define OPTIONS_NR 40 /* more than there are; a row without a name ends them */

static void make_table(struct config *c, struct option_spec ret_table[OPTIONS_NR])
{
    const struct option_spec table[OPTIONS_NR] = {
        /* clang-format off */
        { "socket", 0, OPTION_TEXT, &c->socket_path, 0, 0, "PATH",
          "where clients find us [/run/process-pager/pager.sock as root, else in $XDG_RUNTIME_DIR]" },
        { "cold-age", 0, OPTION_TIME, &c->cold_age_ms, 1, 86400000, "TIME",
          "pages untouched for so long may leave" },
        { "store-cap", 0, OPTION_SIZE, &c->store_cap_bytes, MIB, 1024 * GIB, "SIZE",
          "compressed memory kept for one client, at most" },
        { "store-cap-total", 0, OPTION_SIZE, &c->store_cap_total_bytes, MIB, 1024 * GIB, "SIZE",
          "compressed memory kept for all clients together, at most" },
        { "tiers", 0, OPTION_CHOICE, &c->tiers, 0, 0, "lz4+zstd|lz4",
          "how pages are kept: all by LZ4, then, of what stays, four in one block by zstd" },
        { "squeeze-age", 0, OPTION_TIME, &c->squeeze_age_ms, 1, 86400000, "TIME",
          "pages stored for so long are put into such blocks" },
        { "user-store-cap", 0, OPTION_SIZE, &c->user_store_cap_bytes, MIB, 1024 * GIB, "SIZE",
          "the same for all clients of one user that is not ours" },
        { "reclaim-rate", 0, OPTION_SIZE, &c->reclaim_rate, MIB, 1024 * GIB, "SIZE",
          "memory taken from one client per second, at most" },
        { "evict-by", 0, OPTION_CHOICE, &c->evict_by, 0, 0, "move|pageout",
          "how pages leave; pageout: onto the kernel's swap, to compare with" },
        { "heat", 0, OPTION_CHOICE, &c->heat, 0, 0, "auto|damon|scan",
          "what tells cold pages; auto: damon where there is one for us" },
        { "probe", 0, OPTION_CHOICE, &c->probe, 0, 0, "on|off",
          "scan: takes a few pages out first, to see what is read" },
        { "prefetch", 0, OPTION_CHOICE, &c->prefetch, 0, 0, "on|off",
          "bring pages back ahead of a pass in order, and before a rhythm's next burst" },
        { "damon-sample", 0, OPTION_TIME, &c->damon_sample_ms, 1, 10000, "TIME",
          "DAMON looks at a page of each region so often" },
        { "damon-aggregation", 0, OPTION_TIME, &c->damon_aggregation_ms, 1, 60000, "TIME",
          "DAMON counts, cuts and merges regions so often" },
        { "damon-update", 0, OPTION_TIME, &c->damon_update_ms, 1, 3600000, "TIME",
          "DAMON's update interval" },
        { "damon-regions-min", 0, OPTION_SIZE, &c->damon_regions_min, 3, 1000000, "N",
          "regions of all clients together, at least" },
        { "damon-regions-max", 0, OPTION_SIZE, &c->damon_regions_max, 3, 1000000, "N",
          "regions of all clients together, at most" },
        { "csv", 0, OPTION_TEXT, &c->csv_path, 0, 0, "FILE",
          "append a row of figures when a client's session ends" },
        { "sandbox", 0, OPTION_CHOICE, &c->sandbox, 0, 0, "on|off|strict",
          "give up rights when set up; strict: end instead of refusing (for tests)" },
        { "config", 0, OPTION_TEXT, &c->config_path, 0, 0, "FILE",
          "options as 'name = value' lines" },
        { "dry-run", 0, OPTION_FLAG, &c->is_dry_run, 0, 0, NULL, "find what is cold, evict nothing" },
        { "check", 0, OPTION_FLAG, &c->is_check, 0, 0, NULL,
          "say what this kernel offers and what we would use, then end" },
        { "verbose", 'v', OPTION_FLAG, &c->is_verbose, 0, 0, NULL, "log more" },
        { "help", 'h', OPTION_FLAG, &c->wants_help, 0, 0, NULL, "this text" },
        { "version", 'V', OPTION_FLAG, &c->wants_version, 0, 0, NULL, "the version" },
        { NULL, 0, OPTION_FLAG, NULL, 0, 0, NULL, NULL },
        /* clang-format on */
    };
    memcpy(ret_table, table, sizeof table);
}

static int complain(const char *error, int code)
{
    fprintf(stderr, "process-pagerd: %s\n", error);
    return code;
}

/* What DAMON would refuse when the first client comes is refused at the start. NULL: all right. */
static const char *find_disorder(const struct config *c)
{
    if (c->damon_sample_ms > c->damon_aggregation_ms)
        return "--damon-sample may not be longer than --damon-aggregation";
    if (c->damon_aggregation_ms > c->damon_update_ms)
        return "--damon-aggregation may not be longer than --damon-update";
    if (c->damon_regions_min > c->damon_regions_max)
        return "--damon-regions-min may not be more than --damon-regions-max";
    return NULL;
}

/* The command line decides over the file, so it is read twice: once for --config, once for good. */
int config_read(int argc, char **argv, struct config *ret)
{
    struct option_spec table[OPTIONS_NR];
    char error[400];
    *ret = defaults;
    make_table(ret, table);
    int words = options_parse(table, argc, argv, error, sizeof error);
    if (words < 0)
        return complain(error, EX_USAGE);
    if (words < argc) {
        (void)snprintf(error, sizeof error, "'%s' is not an option: see --help", argv[words]);
        return complain(error, EX_USAGE);
    }
    if (ret->wants_help || ret->wants_version)
        return 0;
    const char *path = ret->config_path;
    *ret = defaults;
    if (path != defaults.config_path || access(path, R_OK) == 0) {
        int r = options_read_file(table, path, error, sizeof error);
        if (r)
            return complain(error, EX_CONFIG);
    }
    (void)options_parse(table, argc, argv, error, sizeof error);
    const char *disorder = find_disorder(ret);
    return disorder ? complain(disorder, EX_USAGE) : 0;
}

const char *config_evict_by_name(const struct config *c)
{
    return c->evict_by == EVICT_BY_PAGEOUT ? "pageout" : "move";
}

const char *config_tiers_name(const struct config *c)
{
    return c->tiers == TIERS_LZ4 ? "lz4" : "lz4+zstd";
}

void config_print_help(void)
{
    struct config c = defaults;
    struct option_spec table[OPTIONS_NR];
    make_table(&c, table);
    printf("usage: process-pagerd [options]\n\n"
           "Keeps the cold memory of the processes that ask for it compressed in RAM.\n\n");
    options_print_help(table);
    printf("\nSizes take K, M, G, T; times take ms, s, m, h. Exit codes: 64 usage, 69 socket taken or "
           "kernel\ntoo old, 71 system call, 77 no right, 78 configuration file.\n");
}
