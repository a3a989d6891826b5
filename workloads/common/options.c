/* options.c - the table walked three times: to find a name, to store a value, to print help. */
#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool options_read_double(const char *text, double *ret_value)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || errno != 0 || !isfinite(value))
        return false;
    *ret_value = value;
    return true;
}

static bool read_uint(const char *text, uint64_t *ret_value)
{
    char *end;
    errno = 0;
    if (text[0] < '0' || text[0] > '9')
        return false;
    uint64_t value = strtoull(text, &end, 0);
    if (*end != '\0' || errno != 0)
        return false;
    *ret_value = value;
    return true;
}

struct unit {
    const char *name;
    double factor;
};

static bool read_with_unit(const char *text, const struct unit *units, uint64_t *ret_value)
{
    char *end;
    errno = 0;
    if (text[0] < '0' || text[0] > '9')
        return false;
    double value = strtod(text, &end);
    if (end == text || errno != 0)
        return false;
    for (const struct unit *u = units; u->name; u++) {
        if (strcmp(end, u->name) != 0)
            continue;
        value *= u->factor;
        if (!(value < 0x1p63))
            return false;
        *ret_value = (uint64_t)llround(value);
        return true;
    }
    return false;
}

bool options_read_size(const char *text, uint64_t *ret_bytes)
{
    static const struct unit units[] = {{"", 1},         {"K", 0x1p10},   {"M", 0x1p20},
                                        {"G", 0x1p30},   {"KiB", 0x1p10}, {"MiB", 0x1p20},
                                        {"GiB", 0x1p30}, {NULL, 0}};
    return read_with_unit(text, units, ret_bytes);
}

bool options_read_time(const char *text, uint64_t *ret_ns)
{
    static const struct unit units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {NULL, 0}};
    return read_with_unit(text, units, ret_ns);
}

/* ---- one value ------------------------------------------------------------------------------ */

static const char *kind_wants(enum option_kind kind)
{
    switch (kind) {
    case OPTION_FLAG: return "on or off";
    case OPTION_UINT: return "a whole number";
    case OPTION_DOUBLE: return "a number";
    case OPTION_SIZE: return "a size such as 512M";
    case OPTION_TIME: return "a time such as 300ms";
    case OPTION_STRING:
    case OPTION_FILE:
    case OPTION_LIST: return "a value";
    case OPTION_CHOICE: return "one of the words in --help";
    }
    return "a value";
}

static bool in_range(const struct option_row *row, double value)
{
    return value >= row->min && value <= row->max;
}

static bool store_flag(bool *target, const char *text)
{
    if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0)
        return false;
    *target = strcmp(text, "on") == 0;
    return true;
}

static bool store_choice(const struct option_row *row, const char *text)
{
    for (unsigned i = 0; row->choices[i]; i++) {
        if (strcmp(text, row->choices[i]) == 0) {
            *(unsigned *)row->target = i;
            return true;
        }
    }
    return false;
}

static bool store_integer(const struct option_row *row, const char *text)
{
    uint64_t value = 0;
    bool is_read = row->kind == OPTION_UINT   ? read_uint(text, &value)
                   : row->kind == OPTION_SIZE ? options_read_size(text, &value)
                                              : options_read_time(text, &value);
    if (!is_read || !in_range(row, (double)value))
        return false;
    *(uint64_t *)row->target = value;
    return true;
}

static bool store_list(struct option_list *list, const char *text)
{
    if (list->count == OPTION_LIST_MAX)
        return false;
    list->items[list->count++] = text;
    return true;
}

static bool store_value(const struct option_row *row, const char *text)
{
    double number;
    switch (row->kind) {
    case OPTION_FLAG: return store_flag(row->target, text);
    case OPTION_UINT:
    case OPTION_SIZE:
    case OPTION_TIME: return store_integer(row, text);
    case OPTION_DOUBLE:
        if (!options_read_double(text, &number) || !in_range(row, number))
            return false;
        *(double *)row->target = number;
        return true;
    case OPTION_STRING:
    case OPTION_FILE: *(const char **)row->target = text; return true;
    case OPTION_CHOICE: return store_choice(row, text);
    case OPTION_LIST: return store_list(row->target, text);
    }
    return false;
}

/* ---- help ----------------------------------------------------------------------------------- */

static void format_size(uint64_t bytes, char *to, size_t size)
{
    if (bytes >= 1 << 20 && bytes % (1 << 20) == 0)
        snprintf(to, size, "%lluM", (unsigned long long)(bytes >> 20));
    else if (bytes >= 1 << 10 && bytes % (1 << 10) == 0)
        snprintf(to, size, "%lluK", (unsigned long long)(bytes >> 10));
    else
        snprintf(to, size, "%llu", (unsigned long long)bytes);
}

static void format_default(const struct option_row *row, char *to, size_t size)
{
    const char *text;
    to[0] = '\0';
    switch (row->kind) {
    case OPTION_FLAG: snprintf(to, size, "%s", *(const bool *)row->target ? "on" : "off"); return;
    case OPTION_UINT:
        snprintf(to, size, "%llu", (unsigned long long)*(const uint64_t *)row->target);
        return;
    case OPTION_DOUBLE:
        if (in_range(row, *(const double *)row->target))
            snprintf(to, size, "%g", *(const double *)row->target);
        return;
    case OPTION_SIZE: format_size(*(const uint64_t *)row->target, to, size); return;
    case OPTION_TIME:
        snprintf(to, size, "%gms", (double)*(const uint64_t *)row->target / 1e6);
        return;
    case OPTION_STRING:
    case OPTION_FILE:
        text = *(const char *const *)row->target;
        snprintf(to, size, "%s", text ? text : "");
        return;
    case OPTION_CHOICE:
        snprintf(to, size, "%s", row->choices[*(const unsigned *)row->target]);
        return;
    case OPTION_LIST: return;
    }
}

static void print_help(const struct option_table *table)
{
    printf("Usage: %s [options]\n%s\n\n", table->program, table->about);
    for (size_t t = 0; t < 3; t++) {
        for (size_t i = 0; i < table->nr_rows[t]; i++) {
            const struct option_row *row = &table->rows[t][i];
            char standard[64];
            format_default(row, standard, sizeof(standard));
            printf("  --%-20s %s%s%s%s\n", row->name, row->help, standard[0] ? " [" : "", standard,
                   standard[0] ? "]" : "");
        }
    }
    printf("  --%-20s %s\n  --%-20s %s\n", "help", "this text", "version", "the version");
}

/* ---- the command line ----------------------------------------------------------------------- */

static const struct option_row *find_row(const struct option_table *table, const char *name,
                                         size_t length)
{
    for (size_t t = 0; t < 3; t++) {
        for (size_t i = 0; i < table->nr_rows[t]; i++) {
            const char *candidate = table->rows[t][i].name;
            if (strlen(candidate) == length && strncmp(candidate, name, length) == 0)
                return &table->rows[t][i];
        }
    }
    return NULL;
}

/* What an option means that stands alone, given what follows; NULL: it wants a value. */
static const char *value_alone(const struct option_row *row, const char *next)
{
    if (row->kind == OPTION_FLAG && !(next && (!strcmp(next, "on") || !strcmp(next, "off"))))
        return "on";
    if (row->kind == OPTION_FILE && !(next && strncmp(next, "--", 2) != 0))
        return "-";
    return NULL;
}

static enum options_result bad(const struct option_table *table, const char *argument,
                               const char *what)
{
    fprintf(stderr, "%s: %s: %s (see --help)\n", table->program, argument, what);
    return OPTIONS_BAD;
}

static enum options_result bad_value(const struct option_table *table, const struct option_row *row,
                                     const char *value)
{
    fprintf(stderr, "%s: --%s %s: wants %s", table->program, row->name, value,
            kind_wants(row->kind));
    if (row->kind == OPTION_UINT || row->kind == OPTION_DOUBLE)
        fprintf(stderr, " from %g to %g", row->min, row->max);
    fprintf(stderr, " (see --help)\n");
    return OPTIONS_BAD;
}

enum options_result options_parse(const struct option_table *table, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (strcmp(argument, "--help") == 0) {
            print_help(table);
            return OPTIONS_DONE;
        }
        if (strcmp(argument, "--version") == 0) {
            printf("%s %s\n", table->program, PP_VERSION);
            return OPTIONS_DONE;
        }
        if (strncmp(argument, "--", 2) != 0)
            return bad(table, argument, "not an option");
        const char *equals = strchr(argument, '=');
        size_t length = equals ? (size_t)(equals - argument) - 2 : strlen(argument) - 2;
        const struct option_row *row = find_row(table, argument + 2, length);
        if (!row)
            return bad(table, argument, "unknown option");
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        const char *value = equals ? equals + 1 : value_alone(row, next);
        if (!value) {
            if (!next)
                return bad(table, argument, "wants a value");
            value = next;
            i++;
        }
        if (!store_value(row, value))
            return bad_value(table, row, value);
    }
    return OPTIONS_RUN;
}
