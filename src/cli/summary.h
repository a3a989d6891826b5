/* summary.h - what the sessions of a `run --stats-on-exit` came to, a line each on stderr, from the rows that
 * the daemon wrote. */
#ifndef CLI_SUMMARY_H
#define CLI_SUMMARY_H

void summary_print(const char *csv_path); /* no such file: nothing */

#endif
