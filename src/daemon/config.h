/* config.h - what the daemon was asked to do: defaults, then /etc/process-pager.conf, then the command
 * line. Set before the threads start, read-only afterwards. */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/budget.h"

/* Where heat comes from; by the order of --heat's words. */
enum heat_source { HEAT_AUTO, HEAT_DAMON, HEAT_SCAN };

/* What can be switched, by the order of the words on and off. */
enum choice { CHOICE_ON, CHOICE_OFF };

/* How clients take pages out; by the order of --evict-by's words. */
enum evict_by { EVICT_BY_MOVE, EVICT_BY_PAGEOUT };

/* In what ways pages are kept; by the order of --tiers' words. */
enum tiers { TIERS_LZ4_ZSTD, TIERS_LZ4 };

/* How clients' agents wait for faults; by the order of --agent-class' words. */
enum agent_class { AGENT_CLASS_AUTO, AGENT_CLASS_NORMAL };

struct config {
    const char *socket_path; /* NULL: the place for this user */
    const char *csv_path;    /* NULL: none */
    const char *config_path;
    /* What each client may lose: exactly one of the three is said, the others are 0. */
    uint64_t slowdown_ppm, resident_bytes, cold_age_ms;
    uint64_t promotion_ppm; /* with a slowdown: of the working set, a minute; 0: no bound */
    uint64_t store_cap_bytes; /* of each session */
    uint64_t user_store_cap_bytes; /* of each user, over all sessions */
    uint64_t store_cap_total_bytes; /* of all sessions together */
    uint64_t squeeze_age_ms;  /* what has been stored for so long is put into groups */
    unsigned tiers;           /* enum tiers */
    uint64_t reclaim_rate;    /* bytes per second, of each session */
    unsigned evict_by; /* enum evict_by */
    unsigned heat;     /* enum heat_source */
    unsigned probe;    /* enum choice: take a few pages first, to see what is read */
    unsigned prefetch; /* enum choice: do clients bring pages back ahead of touches? */
    unsigned agent_class; /* enum agent_class: how clients wait for faults */
    unsigned sandbox;  /* enum sandbox_mode of sandbox.h */
    uint64_t damon_sample_ms, damon_aggregation_ms, damon_update_ms;
    uint64_t damon_regions_min, damon_regions_max;
    bool is_verbose, is_dry_run, is_check, wants_help, wants_version;
};

/* Fills ret from file and command line. 0, or the exit code after saying why on stderr. */
int config_read(int argc, char **argv, struct config *ret);
/* The cold age that is given or, with a budget, begun with: how old a range is before it is watched, and
 * what else must be known before anything is measured. */
uint64_t config_first_age_ms(const struct config *c);
struct budget_limits config_limits(const struct config *c);
/* "slowdown 1%", "resident 512M" or "cold-age 5s". */
const char *config_budget_text(const struct config *c, char *buffer, size_t capacity);
/* "move" or "pageout". */
const char *config_tiers_name(const struct config *c);
const char *config_evict_by_name(const struct config *c);
void config_print_help(void);

#endif
