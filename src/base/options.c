/* options.c - see options.h. */
#include "base/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 40

/* A whole number and its unit. */
static int parse_number(const char *text, uint64_t *ret_value, const char **ret_unit)
{
    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    char *end;
    errno = 0;
    *ret_value = strtoull(text, &end, 10);
    *ret_unit = end;
    return errno ? -ERANGE : 0;
}

static int times(uint64_t *value, uint64_t factor)
{
    return __builtin_mul_overflow(*value, factor, value) ? -ERANGE : 0;
}

int size_parse(const char *text, uint64_t *ret_bytes)
{
    static const char letters[] = "KMGT";
    const char *unit;
    uint64_t value;
    int r = parse_number(text, &value, &unit);
    if (r)
        return r;
    if (*unit) {
        const char *at = strchr(letters, toupper((unsigned char)*unit));
        if (!at || (unit[1] && strcmp(unit + 1, "iB") && strcmp(unit + 1, "B")))
            return -EINVAL;
        for (long i = 0; i <= at - letters && !r; i++)
            r = times(&value, 1024);
    }
    if (r == 0)
        *ret_bytes = value;
    return r;
}

int time_parse(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
    const char *unit;
    uint64_t value;
    int r = parse_number(text, &value, &unit);
    if (r)
        return r;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(unit, units[i].unit)) {
            r = times(&value, units[i].ms);
            if (r == 0)
                *ret_ms = value;
            return r;
        }
    return -EINVAL; /* a time without its unit would be guessed wrong half of the time */
}

const char *size_text(uint64_t bytes, char *buffer, size_t capacity)
{
    static const char *const letters[] = { "", "K", "M", "G", "T" };
    unsigned i = 0;
    while (bytes && bytes % 1024 == 0 && i < 4) {
        bytes /= 1024;
        i++;
    }
    (void)snprintf(buffer, capacity, "%llu%s", (unsigned long long)bytes, letters[i]);
    return buffer;
}

const char *time_text(uint64_t ms, char *buffer, size_t capacity)
{
    const char *unit = "ms";
    if (ms && ms % 3600000 == 0)
        ms /= 3600000, unit = "h";
    else if (ms && ms % 60000 == 0)
        ms /= 60000, unit = "m";
    else if (ms && ms % 1000 == 0)
        ms /= 1000, unit = "s";
    (void)snprintf(buffer, capacity, "%llu%s", (unsigned long long)ms, unit);
    return buffer;
}

int share_parse(const char *text, uint64_t *ret_ppm)
{
    const char *rest;
    uint64_t value;
    int r = parse_number(text, &value, &rest);
    if (r == 0)
        r = times(&value, 10000);
    if (r == 0 && *rest == '.') {
        if (!isdigit((unsigned char)*++rest))
            return -EINVAL;
        for (uint64_t worth = 1000; isdigit((unsigned char)*rest); rest++, worth /= 10) {
            if (!worth)
                return -ERANGE;
            value += worth * (uint64_t)(*rest - '0');
        }
    }
    if (r)
        return r;
    if (strcmp(rest, "%"))
        return -EINVAL; /* 0.01 alone could be meant as 1 % */
    *ret_ppm = value;
    return 0;
}

const char *share_text(uint64_t ppm, char *buffer, size_t capacity)
{
    char decimals[8];
    int n = snprintf(decimals, sizeof decimals, ".%04u", (unsigned)(ppm % 10000));
    while (n && (decimals[n - 1] == '0' || decimals[n - 1] == '.'))
        decimals[--n] = 0;
    (void)snprintf(buffer, capacity, "%llu%s%%", (unsigned long long)(ppm / 10000), decimals);
    return buffer;
}

/* How a kind of number is read and written. */
struct number_kind {
    const char *name, *examples;
    int (*parse)(const char *text, uint64_t *ret);
    const char *(*text)(uint64_t value, char *buffer, size_t capacity);
};

static const struct number_kind *number_kind(enum option_kind kind)
{
    static const struct number_kind size = { "size", "64M or 4G", size_parse, size_text },
                                    time = { "time", "500ms, 5s or 2m", time_parse, time_text },
                                    share = { "share", "1% or 0.5%", share_parse, share_text };
    return kind == OPTION_TIME ? &time : kind == OPTION_SHARE ? &share : &size;
}

static int set_number(const struct option_spec *o, const char *value, char *ret_error,
                      size_t capacity)
{
    const struct number_kind *kind = number_kind(o->kind);
    uint64_t number = 0;
    int r = kind->parse(value, &number);
    if (r == -EINVAL) {
        (void)snprintf(ret_error, capacity, "--%s: '%s' is not a %s: write it like %s", o->name, value,
                       kind->name, kind->examples);
        return -EINVAL;
    }
    if (r || number < o->least || number > o->most) {
        char least[32], most[32];
        (void)snprintf(ret_error, capacity, "--%s: %s is out of range: it must be %s to %s", o->name,
                       value, kind->text(o->least, least, sizeof least),
                       kind->text(o->most, most, sizeof most));
        return -EINVAL;
    }
    *(uint64_t *)o->target = number;
    return 0;
}

/* The word of a choice with this index, and its length; NULL: there are fewer. */
static const char *choice_word(const struct option_spec *o, unsigned index, size_t *ret_length)
{
    const char *word = o->argument;
    for (; index; index--) {
        word = strchr(word, '|');
        if (!word)
            return NULL;
        word++;
    }
    *ret_length = strcspn(word, "|");
    return word;
}

static int set_choice(const struct option_spec *o, const char *value, char *ret_error, size_t capacity)
{
    size_t length;
    const char *word;
    for (unsigned i = 0; (word = choice_word(o, i, &length)); i++)
        if (strlen(value) == length && !memcmp(value, word, length)) {
            *(unsigned *)o->target = i;
            return 0;
        }
    (void)snprintf(ret_error, capacity, "--%s: '%s' is none of %s", o->name, value, o->argument);
    return -EINVAL;
}

static int set_one(const struct option_spec *o, const char *value, char *ret_error, size_t capacity)
{
    switch (o->kind) {
    case OPTION_FLAG:
        if (value && strcmp(value, "yes") && strcmp(value, "no") && *value) {
            (void)snprintf(ret_error, capacity, "--%s: '%s' is neither yes nor no", o->name, value);
            return -EINVAL;
        }
        *(bool *)o->target = !value || !*value || !strcmp(value, "yes");
        return 0;
    case OPTION_TEXT:
        if (!*value) {
            (void)snprintf(ret_error, capacity, "--%s: the value is empty", o->name);
            return -EINVAL;
        }
        *(const char **)o->target = value;
        return 0;
    case OPTION_SIZE:
    case OPTION_TIME:
    case OPTION_SHARE:
        return set_number(o, value, ret_error, capacity);
    case OPTION_CHOICE:
        return set_choice(o, value, ret_error, capacity);
    }
    return -EINVAL;
}

int options_set(const struct option_spec *table, const char *name, const char *value,
                char *ret_error, size_t capacity)
{
    for (const struct option_spec *o = table; o->name; o++)
        if (!strcmp(o->name, name))
            return set_one(o, value, ret_error, capacity);
    (void)snprintf(ret_error, capacity, "no option is called '%s': see --help", name);
    return -EINVAL;
}

int options_parse(const struct option_spec *table, int argc, char *const *argv, char *ret_error,
                  size_t capacity)
{
    struct option longs[OPTIONS_MAX + 1] = { 0 };
    char shorts[2 * OPTIONS_MAX + 2] = ":";
    size_t nr_shorts = 1, nr = 0;
    for (; table[nr].name && nr < OPTIONS_MAX; nr++) {
        const struct option_spec *o = &table[nr];
        bool has_value = o->kind != OPTION_FLAG;
        longs[nr] = (struct option){ .name = o->name,
                                     .has_arg = has_value ? required_argument : no_argument,
                                     .val = 256 + (int)nr };
        if (o->letter)
            shorts[nr_shorts++] = o->letter;
        if (o->letter && has_value)
            shorts[nr_shorts++] = ':';
    }
    opterr = 0;
    optind = 1;
    for (;;) {
        int word = optind;
        int c = getopt_long(argc, argv, shorts, longs, NULL);
        if (c < 0)
            return optind;
        if (c == ':' || c == '?') {
            (void)snprintf(ret_error, capacity, "%s %s: see --help", argv[optind > word ? optind - 1 : word],
                           c == ':' ? "wants a value" : "is not an option here, or takes no value");
            return -EINVAL;
        }
        size_t i = c >= 256 ? (size_t)c - 256 : 0;
        while (c < 256 && table[i].letter != c)
            i++;
        int r = set_one(&table[i], optarg, ret_error, capacity);
        if (r)
            return r;
    }
}

struct file_reading {
    const struct option_spec *table;
    char *error;
    size_t capacity;
    bool has_failed;
};

static int take_line(void *context, const char *section, const char *name, const char *value)
{
    (void)section;
    struct file_reading *reading = context;
    char *kept = strdup(value ? value : "");
    if (!kept || options_set(reading->table, name, kept, reading->error, reading->capacity)) {
        reading->has_failed = true;
        free(kept);
        return 0;
    }
    for (const struct option_spec *o = reading->table; o->name; o++)
        if (!strcmp(o->name, name) && o->kind == OPTION_TEXT)
            return 1; /* the option points into it */
    free(kept);
    return 1;
}

int options_read_file(const struct option_spec *table, const char *path, char *ret_error,
                      size_t capacity)
{
    char what[200] = "not a 'name = value' line";
    struct file_reading reading = { .table = table, .error = what, .capacity = sizeof what };
    FILE *f = fopen(path, "re");
    int line = f ? ini_parse_file(f, take_line, &reading) : 0;
    bool is_read = f && !ferror(f); /* a folder can be opened, and reads as an error */
    if (!is_read)
        (void)snprintf(ret_error, capacity, "%s: %s", path, strerror(errno));
    if (f)
        (void)fclose(f);
    if (!is_read)
        return -ENOENT;
    if (line == 0)
        return 0;
    (void)snprintf(ret_error, capacity, "%s, line %d: %s", path, line, what);
    return -EINVAL;
}

static void print_default(const struct option_spec *o)
{
    char text[32];
    size_t length = 0;
    const char *word;
    if ((o->kind == OPTION_SIZE || o->kind == OPTION_TIME) && *(uint64_t *)o->target < o->least)
        return; /* not a value that could be given: it says "none" */
    switch (o->kind) {
    case OPTION_SIZE:
    case OPTION_TIME:
    case OPTION_SHARE:
        if (*(uint64_t *)o->target >= o->least) /* else: none, if nothing is said */
            printf(" [%s]", number_kind(o->kind)->text(*(uint64_t *)o->target, text, sizeof text));
        return;
    case OPTION_TEXT:
        if (*(const char **)o->target)
            printf(" [%s]", *(const char **)o->target);
        return;
    case OPTION_CHOICE:
        word = choice_word(o, *(unsigned *)o->target, &length);
        if (word)
            printf(" [%.*s]", (int)length, word);
        return;
    case OPTION_FLAG:
        return;
    }
}

void options_print_help(const struct option_spec *table)
{
    for (const struct option_spec *o = table; o->name; o++) {
        char left[48];
        int n = o->letter ? snprintf(left, sizeof left, "-%c, --%s", o->letter, o->name)
                          : snprintf(left, sizeof left, "    --%s", o->name);
        if (o->argument)
            (void)snprintf(left + n, sizeof left - (size_t)n, " %s", o->argument);
        printf("  %-27s %s", left, o->help);
        print_default(o);
        printf("\n");
    }
}
