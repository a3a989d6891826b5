/* settings.c - see settings.h. */
#include "preload/settings.h"

#include <stdlib.h>
#include <string.h>

/* The value of `name=value` in [at, end), or NULL. */
static const char *value_of(const char *at, const char *end, const char *name)
{
    size_t length = strlen(name);
    if ((size_t)(end - at) <= length || memcmp(at, name, length) != 0 || at[length] != '=')
        return NULL;
    return at + length + 1;
}

static bool is_in_list(const char *list, const char *end, const char *name)
{
    size_t length = strlen(name);
    while (list < end) {
        const char *comma = memchr(list, ',', (size_t)(end - list));
        const char *stop = comma ? comma : end;
        if ((size_t)(stop - list) == length && memcmp(list, name, length) == 0)
            return true;
        list = stop + 1;
    }
    return false;
}

static bool read_number(const char *value, const char *end, uint64_t *ret)
{
    char *stop;
    *ret = strtoull(value, &stop, 10);
    return stop == end && value < end;
}

bool settings_read(const char *text, const char *program_name, struct settings *ret)
{
    *ret = (struct settings){ .min_range_bytes = MIN_RANGE_BYTES, .start_after_ms = START_AFTER_MS };
    while (*text) {
        const char *end = strchrnul(text, ';');
        const char *value;
        if ((value = value_of(text, end, "socket"))) {
            if ((size_t)(end - value) >= sizeof ret->socket_path)
                return false;
            memcpy(ret->socket_path, value, (size_t)(end - value));
        } else if ((value = value_of(text, end, "min-range"))) {
            if (!read_number(value, end, &ret->min_range_bytes))
                return false;
        } else if ((value = value_of(text, end, "start-after"))) {
            if (!read_number(value, end, &ret->start_after_ms))
                return false;
        } else if ((value = value_of(text, end, "exclude")) && is_in_list(value, end, program_name)) {
            return false;
        }
        text = *end ? end + 1 : end;
    }
    return ret->socket_path[0] != 0;
}
