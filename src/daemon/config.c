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
/* With a budget: a mapping that lives for less costs nobody anything. An earlier pager that watched all at
 * once ran mmap_churn at 0.69 of its speed. */
#define FIRST_AGE_MS 5000u

/* A store is cut into slabs of 64 KiB, of which each size of blob wants one: caps begin at sixteen. */
static const struct config defaults = {
    .config_path = DEFAULT_CONFIG_PATH,
    .slowdown_ppm = 10000,
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
        { "slowdown", 0, OPTION_SHARE, &c->slowdown_ppm, 100, 500000, "SHARE",
          "time that a client's threads may wait for us, of all they have" },
        { "promotion-rate", 0, OPTION_SHARE, &c->promotion_ppm, 100, 1000000, "SHARE",
          "and of its working set that may be wanted back a minute" },
        { "resident", 0, OPTION_SIZE, &c->resident_bytes, MIB, 1024 * GIB, "SIZE",
          "instead of a slowdown: keep a client's resident memory below it" },
        { "cold-age", 0, OPTION_TIME, &c->cold_age_ms, 1, 86400000, "TIME",
          "instead of a slowdown: pages untouched for so long may leave" },
        { "store-cap", 0, OPTION_SIZE, &c->store_cap_bytes, MIB, 1024 * GIB, "SIZE",
          "compressed memory kept for one client, at most" },
        { "store-cap-total", 0, OPTION_SIZE, &c->store_cap_total_bytes, MIB, 1024 * GIB, "SIZE",
          "compressed memory kept for all clients together, at most" },
        { "tiers", 0, OPTION_CHOICE, &c->tiers, 0, 0, "lz4+zstd|lz4",
          "how pages are kept: all by LZ4, then, of what stays, four in one block by zstd" },
        { "squeeze-age", 0, OPTION_TIME, &c->squeeze_age_ms, 1, 86400000, "TIME",
          "pages stored for so long are put into such blocks" },
        { "user-store-cap", 0, OPTION_SIZE, &c->user_store_cap_bytes, MIB, 1024 * GIB, "SIZE",
          "compressed memory of all clients of one user that is not ours" },
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
        { "agent-class", 0, OPTION_CHOICE, &c->agent_class, 0, 0, "auto|normal",
          "how clients wait for faults; auto: in a real-time class while CPUs are taken, if they may" },
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

static bool is_budget_said(const struct config *c)
{
    return c->slowdown_ppm || c->resident_bytes || c->cold_age_ms;
}

/* Of one place, the command line or the file; NULL: all right. */
static const char *find_contradiction(const struct config *c)
{
    if (!!c->slowdown_ppm + !!c->resident_bytes + !!c->cold_age_ms > 1)
        return "--slowdown, --resident and --cold-age are three ways to say how much may leave: give one";
    return NULL;
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
    if (c->promotion_ppm && !c->slowdown_ppm)
        return "--promotion-rate bounds a --slowdown further: leave it out, or --resident and --cold-age";
    return NULL;
}

static void forget_budget(struct config *c)
{
    c->slowdown_ppm = c->resident_bytes = c->cold_age_ms = c->promotion_ppm = 0;
}

/* Into ret, which says something of the budget only if the file does. */
static int read_file(const struct option_spec *table, const char *path, struct config *ret)
{
    char error[400];
    *ret = defaults;
    forget_budget(ret);
    if (path == defaults.config_path && access(path, R_OK))
        return 0;
    int r = options_read_file(table, path, error, sizeof error);
    const char *contradiction = r ? NULL : find_contradiction(ret);
    if (contradiction)
        (void)snprintf(error, sizeof error, "%s: %s", path, contradiction);
    return r || contradiction ? complain(error, EX_CONFIG) : 0;
}

/* The command line decides over the file, so it is read twice: once for --config, once for good. Of the
 * three ways to say a budget, too: one that it says puts away what the file says. */
int config_read(int argc, char **argv, struct config *ret)
{
    struct option_spec table[OPTIONS_NR];
    char error[400];
    *ret = defaults;
    forget_budget(ret);
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
    const char *contradiction = find_contradiction(ret);
    if (contradiction)
        return complain(contradiction, EX_USAGE);
    bool is_said = is_budget_said(ret);
    int code = read_file(table, ret->config_path, ret);
    if (code)
        return code;
    if (is_said)
        forget_budget(ret);
    (void)options_parse(table, argc, argv, error, sizeof error);
    if (!is_budget_said(ret))
        ret->slowdown_ppm = defaults.slowdown_ppm;
    const char *disorder = find_disorder(ret);
    return disorder ? complain(disorder, EX_USAGE) : 0;
}

uint64_t config_first_age_ms(const struct config *c)
{
    return c->cold_age_ms ? c->cold_age_ms : FIRST_AGE_MS;
}

struct budget_limits config_limits(const struct config *c)
{
    return (struct budget_limits){ .kind = c->cold_age_ms      ? BUDGET_COLD_AGE
                                           : c->resident_bytes ? BUDGET_RESIDENT
                                                               : BUDGET_SLOWDOWN,
                                   .slowdown_ppm = c->slowdown_ppm,
                                   .promotion_ppm = c->promotion_ppm,
                                   .resident_bytes = c->resident_bytes };
}

const char *config_budget_text(const struct config *c, char *buffer, size_t capacity)
{
    char text[32];
    if (c->cold_age_ms)
        (void)snprintf(buffer, capacity, "cold-age %s", time_text(c->cold_age_ms, text, sizeof text));
    else if (c->resident_bytes)
        (void)snprintf(buffer, capacity, "resident %s", size_text(c->resident_bytes, text, sizeof text));
    else
        (void)snprintf(buffer, capacity, "slowdown %s", share_text(c->slowdown_ppm, text, sizeof text));
    return buffer;
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
    printf("\nSizes take K, M, G, T; times take ms, s, m, h; shares take %%. Exit codes: 64 usage, 69\n"
           "socket taken or kernel too old, 71 system call, 77 no right, 78 configuration file.\n");
}
