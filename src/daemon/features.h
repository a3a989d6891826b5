/* features.h - what the daemon says of what it found (sys/features.h). */
#ifndef DAEMON_FEATURES_H
#define DAEMON_FEATURES_H

#include "sys/features.h"

/* NULL: clients can work; else one line that says what is missing and what mends it. */
const char *features_missing(const struct features *f);
/* 69 or 77, when features_missing() is not NULL. */
int features_exit_code(const struct features *f);
/* The report of --check, to stdout. */
void features_print(const struct features *f, const char *heat, const char *heat_reason);
void features_log(const struct features *f);

#endif
