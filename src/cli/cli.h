/* cli.h - what the commands of process-pager share. Each has a file of its own and one struct here; its
 * options are a table, printed by its --help and by process-pager --help. Errors are one line on stderr
 * and an exit code of sysexits(3). */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/options.h"

struct cli_command {
    const char *name;
    const char *synopsis; /* what follows the name */
    const char *about;    /* a line */
    int (*run)(int argc, char **argv); /* argv[0]: the name; the exit code */
    void (*print_options)(void);
};

extern const struct cli_command cli_doctor, cli_drain, cli_reclaim, cli_status, cli_top;

/* The rows that every command's table ends with. */
extern bool cli_wants_help;
#define CLI_SOCKET_ROW(target)                                                                     \
    { "socket", 0, OPTION_TEXT, target, 0, 0, "PATH", "where the daemon listens" }
#define CLI_LAST_ROWS                                                                              \
    { "help", 'h', OPTION_FLAG, &cli_wants_help, 0, 0, NULL, "this text" },                        \
    { NULL, 0, OPTION_FLAG, NULL, 0, 0, NULL, NULL }

/* "process-pager: text" on stderr; returns the code. */
int cli_complain(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Parses argv by the table; prints --help if that is wanted. Index of the first word, or -1: the command
 * ends, with *ret_code. */
int cli_parse(const struct cli_command *c, const struct option_spec *table, int argc, char **argv,
              int *ret_code);
/* A PID; false after saying what is wrong with the word. */
bool cli_read_pid(const char *word, pid_t *ret_pid);

#endif
