/* json.c - writing and finding in flat objects. */
#include "json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void put_quoted(FILE *out, const char *text)
{
    putc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c < 0x20)
            fprintf(out, "\\u%04x", *c);
        else
            putc(*c, out);
    }
    putc('"', out);
}

static void put_name(struct json *j, const char *name)
{
    fputs(j->has_fields ? ",\n  " : "\n  ", j->out);
    j->has_fields = true;
    put_quoted(j->out, name);
    fputs(": ", j->out);
}

void json_begin(struct json *j, FILE *out)
{
    *j = (struct json){.out = out};
    putc('{', out);
}

void json_string(struct json *j, const char *name, const char *value)
{
    put_name(j, name);
    put_quoted(j->out, value);
}

void json_uint(struct json *j, const char *name, uint64_t value)
{
    put_name(j, name);
    fprintf(j->out, "%llu", (unsigned long long)value);
}

void json_double(struct json *j, const char *name, double value)
{
    if (!isfinite(value)) {
        json_null(j, name);
        return;
    }
    put_name(j, name);
    fprintf(j->out, "%.9g", value);
}

void json_bool(struct json *j, const char *name, bool value)
{
    put_name(j, name);
    fputs(value ? "true" : "false", j->out);
}

void json_null(struct json *j, const char *name)
{
    put_name(j, name);
    fputs("null", j->out);
}

void json_end(struct json *j)
{
    fputs("\n}\n", j->out);
}

/* The text behind "name": . */
static const char *find_value(const char *text, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = text; (at = strchr(at, '"')) != NULL; at++) {
        if (strncmp(at + 1, name, length) != 0 || at[1 + length] != '"' || at[2 + length] != ':')
            continue;
        at += 3 + length;
        return at + strspn(at, " ");
    }
    return NULL;
}

bool json_find_number(const char *text, const char *name, double *ret_value)
{
    const char *value = find_value(text, name);
    if (!value)
        return false;
    char *end;
    double number = strtod(value, &end);
    if (end == value || !isfinite(number))
        return false;
    *ret_value = number;
    return true;
}

bool json_find_uint(const char *text, const char *name, uint64_t *ret_value)
{
    const char *value = find_value(text, name);
    if (!value || *value < '0' || *value > '9')
        return false;
    *ret_value = strtoull(value, NULL, 10);
    return true;
}

bool json_find_string(const char *text, const char *name, char *ret_value, size_t size)
{
    const char *value = find_value(text, name);
    if (!value || *value != '"')
        return false;
    size_t length = strcspn(value + 1, "\"");
    if (length >= size)
        return false;
    memcpy(ret_value, value + 1, length);
    ret_value[length] = '\0';
    return true;
}
