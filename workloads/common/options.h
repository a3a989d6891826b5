/* options.h - one table of long options per program feeds the parser and --help. Values come as
 * "--name value" or "--name=value"; the value an option has before parsing is its default and is
 * what --help shows; a number that is out of its range is not shown, the help says what it means.
 * Sizes take K, M, G; times take ms, s. */
#ifndef WORKLOADS_OPTIONS_H
#define WORKLOADS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXIT_WRONG 1  /* it ran, and the bytes were wrong */
#define EXIT_USAGE 64 /* as in sysexits.h */
#define EXIT_NO_DAEMON 69
#define EXIT_SYSTEM 71

enum option_kind {
    OPTION_FLAG,   /* bool: given alone, or with on/off */
    OPTION_UINT,   /* uint64_t */
    OPTION_DOUBLE, /* double */
    OPTION_SIZE,   /* uint64_t bytes */
    OPTION_TIME,   /* uint64_t ns */
    OPTION_STRING, /* const char * */
    OPTION_FILE,   /* const char *: given alone it means "-" */
    OPTION_CHOICE, /* unsigned, an index into choices */
    OPTION_LIST,   /* struct option_list: may be given more than once */
};

#define OPTION_LIST_MAX 32u

struct option_list {
    const char *items[OPTION_LIST_MAX];
    size_t count;
};

struct option_row {
    const char *name; /* without the dashes */
    enum option_kind kind;
    void *target;
    double min, max;            /* OPTION_UINT, _DOUBLE, _SIZE (bytes), _TIME (ns) */
    const char *const *choices; /* OPTION_CHOICE: ends with NULL */
    const char *help;
};

struct option_table {
    const char *program, *about;
    const struct option_row
        *rows[3]; /* up to three tables, read as one; NULL where there is none */
    size_t nr_rows[3];
};

enum options_result {
    OPTIONS_RUN,
    OPTIONS_DONE, /* --help or --version: exit 0 */
    OPTIONS_BAD,  /* one line was written to stderr: exit 64 */
};

enum options_result options_parse(const struct option_table *table, int argc, char **argv);

/* The pure parts. False: not a number of that kind. */
bool options_read_size(const char *text, uint64_t *ret_bytes);
bool options_read_time(const char *text, uint64_t *ret_ns);
bool options_read_double(const char *text, double *ret_value);

#endif
