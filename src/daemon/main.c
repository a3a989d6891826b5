/* main.c - process-pagerd: keeps the cold memory of the processes that ask for it compressed in RAM. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/options.h"
#include "daemon/config.h"
#include "daemon/control.h"
#include "daemon/door.h"
#include "daemon/features.h"
#include "daemon/listen.h"
#include "daemon/oom.h"
#include "daemon/report.h"
#include "daemon/sandbox.h"
#include "daemon/source.h"
#include "heat/damon.h"

static void log_settings(const struct config *c, const struct listener *l)
{
    char budget[48], cap[32], total[32], rate[32], squeeze[32];
    log_info("event=start version=%s socket=%s budget=\"%s\" store_cap=%s store_cap_total=%s tiers=%s "
             "squeeze_age=%s reclaim_rate=%s/s evict_by=%s%s",
             PP_VERSION, l->is_ours ? l->path : "(passed)", config_budget_text(c, budget, sizeof budget),
             size_text(c->store_cap_bytes, cap, sizeof cap),
             size_text(c->store_cap_total_bytes, total, sizeof total), config_tiers_name(c),
             time_text(c->squeeze_age_ms, squeeze, sizeof squeeze),
             size_text(c->reclaim_rate, rate, sizeof rate), config_evict_by_name(c),
             c->is_dry_run ? " dry_run=yes" : "");
}

/* Only trying shows whether a kdamond can be had: it is put back at once. */
static void print_check(const struct config *config, const struct features *features)
{
    struct source source;
    source_choose(config, &source);
    features_print(features, source_name(&source), source.reason);
    damon_watcher_stop(source.watcher);
}

int main(int argc, char **argv)
{
    /* One heap for both threads: a second one would be memory of our own for a few small blocks. */
    (void)mallopt(M_ARENA_MAX, 1);
    struct config config;
    int code = config_read(argc, argv, &config);
    if (code)
        return code;
    if (config.wants_help) {
        config_print_help();
        return 0;
    }
    if (config.wants_version) {
        printf("process-pagerd %s\n", PP_VERSION);
        return 0;
    }
    log_set_level(config.is_verbose ? LOG_AT_DEBUG : LOG_AT_INFO);

    struct features features;
    features_find(&features);
    const char *missing = features_missing(&features);
    if (config.is_check)
        print_check(&config, &features);
    if (missing) {
        if (!config.is_check)
            fprintf(stderr, "process-pagerd: %s\n", missing);
        return features_exit_code(&features);
    }
    if (config.is_check)
        return 0;

    int r = config.csv_path ? report_csv_check(config.csv_path) : 0;
    if (r) {
        fprintf(stderr, "process-pagerd: --csv: cannot write to %s: %s\n", config.csv_path, strerror(-r));
        return EX_OSERR;
    }
    oom_be_last();
    /* Its processes must not have the listening socket, not for a moment: if we were killed in it, the next
     * daemon would be told that one answers. */
    bool tells_forks;
    if (!door_begin(&tells_forks) && geteuid() == 0)
        log_warning("event=no_door; no process could be had, or no seccomp filter for it, to receive what "
                    "users send along: a file that cannot be closed would stop the daemon for all; continuing");
    struct listener listener;
    char error[300];
    code = listener_open(config.socket_path, &listener, error, sizeof error);
    if (code) {
        fprintf(stderr, "process-pagerd: %s\n", error);
        door_end();
        return code;
    }
    const struct sandbox sandbox = { .mode = (enum sandbox_mode)config.sandbox,
                                     .csv_path = config.csv_path,
                                     .socket_path = listener.path };
    code = sandbox_enter(&sandbox, error, sizeof error); /* before the first thread */
    if (code) {
        fprintf(stderr, "process-pagerd: %s\n", error);
        door_end();
        listener_close(&listener);
        return code;
    }
    features.has_device = features_try_device(); /* capabilities are gone, and clients are told */
    struct source source;
    source_choose(&config, &source);
    features_log(&features);
    log_settings(&config, &listener);
    source_log(&source, &config);
    log_info("event=forks clients_are_told=%s", tells_forks ? "yes" : "if they may ask themselves");
    if (config.evict_by == EVICT_BY_PAGEOUT && !features.has_swap)
        log_warning("event=no_swap; --evict-by pageout needs swap space and this machine has none: "
                    "continuing, but no page will leave until swapon(8)");
    code = control_run(&config, &features, &listener, source.watcher);
    door_end();
    listener_close(&listener);
    return code;
}
