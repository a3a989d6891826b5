/* options.h - one table of options per program: it feeds the command line, the configuration file
 * (same words, `name = value`), --help and the list of defaults. Sizes take K, M, G, T (powers of
 * 1024); times take ms, s, m, h; shares take %; all are echoed back with units. Not for threads. */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_FLAG,   /* bool */
    OPTION_TEXT,   /* const char *; the table's user owns nothing */
    OPTION_SIZE,   /* uint64_t, bytes */
    OPTION_TIME,   /* uint64_t, milliseconds */
    OPTION_SHARE,  /* uint64_t, parts per million; written as "0.5%" */
    OPTION_CHOICE, /* unsigned: which of the words of `argument`, "this|that" */
};

struct option_spec {
    const char *name; /* without dashes; NULL ends the table */
    char letter;      /* 0: none */
    enum option_kind kind;
    void *target;         /* holds the default before parsing */
    uint64_t least, most; /* of sizes, times and shares; a default below `least` stands for none */
    const char *argument; /* for --help: "SIZE"; of a choice: its words */
    const char *help;
};

/* 0; -EINVAL, and ret_error says in one line what is wrong and how to mend it. */
int options_set(const struct option_spec *table, const char *name, const char *value,
                char *ret_error, size_t capacity);
/* Parses argv. The index of the first word that is no option; -EINVAL as above. */
int options_parse(const struct option_spec *table, int argc, char *const *argv, char *ret_error,
                  size_t capacity);
/* Reads `name = value` lines; # and ; begin comments; sections are ignored. 0; -ENOENT: no file that
 * can be read; -EINVAL: ret_error names file and line. Text values are allocated and kept for good. */
int options_read_file(const struct option_spec *table, const char *path, char *ret_error,
                      size_t capacity);
void options_print_help(const struct option_spec *table);

/* "4G", "500M", "1500K", "17": the shortest exact form. */
const char *size_text(uint64_t bytes, char *buffer, size_t capacity);
/* "5s", "1500ms", "2m". */
const char *time_text(uint64_t ms, char *buffer, size_t capacity);
/* "1%", "0.05%". */
const char *share_text(uint64_t ppm, char *buffer, size_t capacity);
/* -EINVAL: not a size, time or share; -ERANGE: too large, or a share of more than four decimals. */
int size_parse(const char *text, uint64_t *ret_bytes);
int time_parse(const char *text, uint64_t *ret_ms);
int share_parse(const char *text, uint64_t *ret_ppm);

#endif
