/* json.h - one flat JSON object, written field by field, and numbers found in one again. Flat is
 * enough here: names carry what would be nesting ("touch_p99_ns"). */
#ifndef WORKLOADS_JSON_H
#define WORKLOADS_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct json {
    FILE *out;
    bool has_fields;
};

void json_begin(struct json *j, FILE *out);
void json_string(struct json *j, const char *name, const char *value);
void json_uint(struct json *j, const char *name, uint64_t value);
void json_double(struct json *j, const char *name, double value);
void json_bool(struct json *j, const char *name, bool value);
void json_null(struct json *j, const char *name);
void json_end(struct json *j);

/* In the text of a flat object as written above. False: no such field, null, or not a number. */
bool json_find_number(const char *text, const char *name, double *ret_value);
bool json_find_uint(const char *text, const char *name, uint64_t *ret_value);
/* Copies a string field; escapes stay as they are. */
bool json_find_string(const char *text, const char *name, char *ret_value, size_t size);

#endif
