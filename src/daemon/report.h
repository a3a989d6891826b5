/* report.h - what the daemon tells of its sessions: a CSV row when one ends, JSON while they live. */
#ifndef DAEMON_REPORT_H
#define DAEMON_REPORT_H

#include "daemon/session.h"
#include "stats/stats.h"

/* The client's numbers (its agent's and porter's, as it last published them). */
void report_sum(const struct session *s, struct stats_block *ret_sum);
/* Appends a row to the file, and first the header if the file is empty. 0 or negative errno. */
int report_csv(const char *path, const struct session *s, int remote_dontneed);
/* Can rows be written there? Makes the file. 0 or negative errno. */
int report_csv_check(const char *path);

struct report {
    const struct config *config;
    const char *heat; /* the source's name */
    bool has_device;  /* clients are given /dev/userfaultfd */
    int status_fd;    /* of ourselves, sys/status.h */
    const struct session *viewer; /* who asks: sees its own user's sessions, root sees all */
};
/* The sessions as JSON, schema 1, which process-pager(1) explains; to be freed; NULL: no memory. */
char *report_json(const struct session *sessions, const struct report *about);

#endif
