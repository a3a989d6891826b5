/* points.h - the daemon as it can be made to fail and to die (base/point.def), and what it says. */
#ifndef INTEG_POINTS_H
#define INTEG_POINTS_H

#include "base/point.h"
#include "support.h"

struct point_daemon {
    char variable[16], value[48]; /* for its environment; "": it stays whole */
    char options[10][16];         /* "" ends */
    char socket_path[108], log_path[108];
    pid_t pid;
};

/* Before test_begin(): memory that is shared with what starts the daemon. Options end with NULL. */
struct point_daemon *point_daemon_new(const char *const options[]);
/* Fails at that pass of the point; dies there. A daemon that is to go on has its socket by then. */
void point_daemon_fails(struct point_daemon *d, enum point p, unsigned at_pass, bool is_for_good);
void point_daemon_dies(struct point_daemon *d, enum point p, unsigned at_pass);
void point_daemon_whole(struct point_daemon *d);
void point_daemon_wait_for_socket(struct point_daemon *d);
/* In its log, of this life. */
bool point_daemon_has_said(const struct point_daemon *d, const char *text);
void point_daemon_show_log(const struct point_daemon *d); /* before a test fails */
/* True: it has ended; then its wait status. */
bool point_daemon_has_ended(struct point_daemon *d, int *ret_status);

#endif
