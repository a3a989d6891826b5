/* config.h - what the daemon was asked to do: defaults, then /etc/process-pager.conf, then the command
 * line. Set before the threads start, read-only afterwards. */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

struct config {
    const char *socket_path; /* NULL: the place for this user */
    const char *csv_path;    /* NULL: none */
    const char *config_path;
    uint64_t cold_age_ms;
    uint64_t store_cap_bytes; /* of each session */
    uint64_t reclaim_rate;    /* bytes per second, of each session */
    bool is_verbose, is_dry_run, is_check, wants_help, wants_version;
};

/* Fills ret from file and command line. 0, or the exit code after saying why on stderr. */
int config_read(int argc, char **argv, struct config *ret);
void config_print_help(void);

#endif
