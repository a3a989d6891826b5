/* figures.c - see figures.h. */
#include "cli/figures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pagesize.h"

#define SCHEMA 1 /* of the daemon's answer */

double figures_number(const cJSON *object, const char *name)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(n) ? n->valuedouble : 0;
}

const char *figures_text(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    return text ? text : "?";
}

static bool is_number(const cJSON *object, const char *name)
{
    return cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(object, name));
}

static double pages(const cJSON *object, const char *name)
{
    return figures_number(object, name) * (double)PAGE_BYTES;
}

static struct session_figures read_session(const cJSON *s)
{
    struct session_figures f = {
        .json = s,
        .pid = figures_number(s, "pid"),
        .name = figures_text(s, "name"),
        .governor = figures_text(s, "governor"),
        .resident_bytes = is_number(s, "resident_bytes") ? figures_number(s, "resident_bytes") : -1,
        .out_bytes = pages(s, "pages_staged") + pages(s, "pages_paged_out"),
        .saved_bytes = figures_number(s, "saved_net_bytes"),
        .is_saved_known = is_number(s, "saved_net_bytes"),
        .faults_per_s = figures_number(s, "faults_per_s"),
        .evictions_per_s = figures_number(s, "evictions_per_s"),
        .stall_ns = figures_number(s, "fault_missing_ns_p99"),
    };
    const cJSON *tier;
    cJSON_ArrayForEach(tier, cJSON_GetObjectItemCaseSensitive(s, "tiers"))
    {
        f.out_bytes += pages(tier, "pages");
        f.stored_bytes += figures_number(tier, "held_bytes");
    }
    return f;
}

bool figures_read(const char *json, struct figures *ret)
{
    cJSON *root = cJSON_Parse(json);
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "sessions");
    size_t nr = 0;
    struct session_figures *sessions = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *sessions);
    if (!cJSON_IsArray(list) || !sessions || figures_number(root, "schema") != SCHEMA) {
        cJSON_Delete(root);
        free(sessions);
        return false;
    }
    const cJSON *s;
    cJSON_ArrayForEach(s, list)
        sessions[nr++] = read_session(s);
    *ret = (struct figures){ .root = root, .heat = figures_text(root, "heat"), .sessions = sessions,
                             .nr = nr };
    return true;
}

void figures_free(struct figures *f)
{
    cJSON_Delete(f->root);
    free(f->sessions);
}

/* ---- numbers for people */

/* Three digits that count. */
static const char *three_digits(double value, const char *unit, char *ret_text, size_t capacity)
{
    double size = value < 0 ? -value : value;
    int decimals = size >= 99.95 || size == 0 ? 0 : size >= 9.995 ? 1 : 2;
    (void)snprintf(ret_text, capacity, "%.*f%s", decimals, value, unit);
    return ret_text;
}

const char *figures_size(double bytes, char *ret_text, size_t capacity)
{
    static const char *const units[] = { "", "K", "M", "G", "T", "P" };
    unsigned i = 0;
    for (; (bytes >= 999.5 || bytes <= -999.5) && i < 5; i++)
        bytes /= 1024;
    return three_digits(bytes, units[i], ret_text, capacity);
}

const char *figures_time(double ns, char *ret_text, size_t capacity)
{
    static const char *const units[] = { "ns", "us", "ms", "s" };
    unsigned i = 0;
    for (; ns >= 999.5 && i < 3; i++)
        ns /= 1000;
    return three_digits(ns, ns == 0 ? "" : units[i], ret_text, capacity);
}

static void write_rate(double per_s, char *ret_text, size_t capacity)
{
    bool is_large = per_s >= 99999.5;
    (void)three_digits(is_large ? per_s / 1000 : per_s, is_large ? "k" : "", ret_text, capacity);
}

/* ---- columns */

static void write_pid(const struct session_figures *s, char *ret_text, size_t capacity)
{
    (void)snprintf(ret_text, capacity, "%.0f", s->pid);
}

static void write_name(const struct session_figures *s, char *ret_text, size_t capacity)
{
    (void)snprintf(ret_text, capacity, "%s", s->name);
}

static void write_resident(const struct session_figures *s, char *ret_text, size_t capacity)
{
    if (s->resident_bytes < 0)
        (void)snprintf(ret_text, capacity, "-");
    else
        (void)figures_size(s->resident_bytes, ret_text, capacity);
}

static void write_out(const struct session_figures *s, char *ret_text, size_t capacity)
{
    (void)figures_size(s->out_bytes, ret_text, capacity);
}

static void write_stored(const struct session_figures *s, char *ret_text, size_t capacity)
{
    (void)figures_size(s->stored_bytes, ret_text, capacity);
}

static void write_saved(const struct session_figures *s, char *ret_text, size_t capacity)
{
    if (s->is_saved_known)
        (void)figures_size(s->saved_bytes, ret_text, capacity);
    else
        (void)snprintf(ret_text, capacity, "-");
}

static void write_faults(const struct session_figures *s, char *ret_text, size_t capacity)
{
    write_rate(s->faults_per_s, ret_text, capacity);
}

static void write_evictions(const struct session_figures *s, char *ret_text, size_t capacity)
{
    write_rate(s->evictions_per_s, ret_text, capacity);
}

static void write_stall(const struct session_figures *s, char *ret_text, size_t capacity)
{
    (void)figures_time(s->stall_ns, ret_text, capacity);
}

static void write_governor(const struct session_figures *s, char *ret_text, size_t capacity)
{
    (void)snprintf(ret_text, capacity, "%s", s->governor);
}

#define VALUE(name, field)                                                                         \
    static double name(const struct session_figures *s)                                           \
    {                                                                                              \
        return s->field;                                                                           \
    }
VALUE(value_pid, pid)
VALUE(value_resident, resident_bytes)
VALUE(value_out, out_bytes)
VALUE(value_stored, stored_bytes)
VALUE(value_saved, saved_bytes)
VALUE(value_faults, faults_per_s)
VALUE(value_evictions, evictions_per_s)
VALUE(value_stall, stall_ns)

const struct figures_column figures_columns[] = {
    { 'p', "PID", 7, write_pid, value_pid },
    { 'n', "NAME", -14, write_name, NULL },
    { 'r', "RSS", 6, write_resident, value_resident },
    { 'o', "OUT", 6, write_out, value_out },
    { 's', "STORED", 6, write_stored, value_stored },
    { 'v', "SAVED", 6, write_saved, value_saved },
    { 'f', "FLT/s", 6, write_faults, value_faults },
    { 'e', "EVC/s", 6, write_evictions, value_evictions },
    { 'l', "STALL", 6, write_stall, value_stall },
    { 'g', "STATE", -7, write_governor, NULL },
};
const size_t figures_columns_nr = sizeof figures_columns / sizeof *figures_columns;

void figures_row(const struct session_figures *s, char *ret_text, size_t capacity)
{
    size_t used = 0;
    *ret_text = 0;
    for (size_t i = 0; i < figures_columns_nr && used < capacity; i++) {
        const struct figures_column *c = &figures_columns[i];
        char cell[32];
        if (s)
            c->write(s, cell, sizeof cell);
        int width = c->width < 0 ? -c->width : c->width;
        int n = snprintf(ret_text + used, capacity - used, "%s%*.*s", i ? " " : "", c->width, width,
                         s ? cell : c->title);
        used += (size_t)n;
    }
    for (size_t end = strlen(ret_text); end && ret_text[end - 1] == ' '; end--)
        ret_text[end - 1] = 0;
}

void figures_headline(const struct figures *f, char *ret_text, size_t capacity)
{
    char saved[16];
    const cJSON *net = cJSON_GetObjectItemCaseSensitive(f->root, "saved_net_bytes");
    int n = snprintf(ret_text, capacity, "daemon %.0f, heat %s, %s, %zu session(s)",
                     figures_number(f->root, "pid"), f->heat, figures_text(f->root, "budget"), f->nr);
    double nr_others = figures_number(f->root, "sessions_of_others");
    if (nr_others > 0)
        n += snprintf(ret_text + n, capacity - (size_t)n, ", %.0f of others", nr_others);
    if (cJSON_IsNumber(net))
        (void)snprintf(ret_text + n, capacity - (size_t)n, ", %s saved net",
                       figures_size(net->valuedouble, saved, sizeof saved));
}
