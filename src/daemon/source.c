/* source.c - see source.h. */
#include "daemon/source.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "heat/damon.h"

/* DAMON tells time in aggregation intervals; of fewer than so many a cold age is not made. */
#define AGGREGATIONS_PER_COLD_AGE 5u

static int start(const struct config *c, struct damon_watcher **ret)
{
    const struct damon_attrs attrs = {
        .sample_us = c->damon_sample_ms * 1000,
        .aggr_us = c->damon_aggregation_ms * 1000,
        .update_us = c->damon_update_ms * 1000,
        .nr_regions_min = c->damon_regions_min,
        .nr_regions_max = c->damon_regions_max,
    };
    return damon_watcher_start(DAMON_ROOT, &attrs, ret);
}

static void say(struct source *s, const char *reason)
{
    (void)snprintf(s->reason, sizeof s->reason, "%s", reason);
}

void source_choose(const struct config *config, struct source *ret)
{
    *ret = (struct source){ .watcher = NULL };
    if (config->heat == HEAT_SCAN)
        say(ret, "asked for");
    else if (config->heat == HEAT_AUTO &&
             config_first_age_ms(config) < AGGREGATIONS_PER_COLD_AGE * config->damon_aggregation_ms)
        say(ret, "the cold age is short for DAMON's aggregation interval");
    else {
        int r = start(config, &ret->watcher);
        say(ret, r ? damon_why_not(r) : config->heat == HEAT_DAMON ? "asked for" : "it sees reads, too");
        return;
    }
    damon_clean(DAMON_ROOT);
}

const char *source_name(const struct source *s)
{
    return s->watcher ? "damon" : "scan";
}

void source_log(const struct source *s, const struct config *config)
{
    if (config->heat == HEAT_DAMON && !s->watcher)
        log_warning("event=heat source=scan reason=\"%s\"; falling back to scan", s->reason);
    else
        log_info("event=heat source=%s reason=\"%s\"%s", source_name(s), s->reason,
                 s->watcher || config->probe == CHOICE_OFF ? "" : " probe=on");
}
