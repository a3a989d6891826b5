/* pager.c - see pager.h. */
#include "pager.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <process_pager.h>

static int said(const struct pp_pager *pager, const char *what, int r)
{
    if (r < 0) {
        const char *words = pp_error(pager);
        fprintf(stderr, "%s: %s\n", what, words[0] ? words : strerror(-r));
    }
    return r;
}

struct pp_pager *pager_open(const char *socket_path)
{
    struct pp_config config = PP_CONFIG_INIT;
    struct pp_pager *pager = NULL;
    config.socket_path = socket_path;
    int r = pp_open(&config, &pager);
    if (r < 0)
        fprintf(stderr, "pp_open: %s\n", strerror(-r));
    return pager;
}

int pager_start(struct pp_pager *pager)
{
    return pager ? said(pager, "pp_start", pp_start(pager)) : 0;
}

int pager_register(struct pp_pager *pager, void *address, size_t bytes, bool direct)
{
    unsigned flags = direct ? PP_DIRECT : 0;
    return pager ? said(pager, "pp_register", pp_register_flags(pager, address, bytes, flags)) : 0;
}

int pager_unregister(struct pp_pager *pager, void *address, size_t bytes)
{
    return pager ? said(pager, "pp_unregister", pp_unregister(pager, address, bytes)) : 0;
}

int pager_stop(struct pp_pager *pager)
{
    return pager ? said(pager, "pp_stop", pp_stop(pager)) : 0;
}

void pager_close(struct pp_pager *pager)
{
    (void)pp_close(pager); /* always NULL */
}

uint64_t *pager_read_stats(const struct pp_pager *pager)
{
    size_t count = pp_stats_count();
    uint64_t *values = pager ? calloc(count, sizeof(*values)) : NULL;
    for (size_t i = 0; values && i < count; i++)
        values[i] = pp_stats_value(pager, i);
    return values;
}

void pager_report(const uint64_t *values, const char *prefix, struct json *json)
{
    for (size_t i = 0; values && i < pp_stats_count(); i++) {
        char name[96];
        snprintf(name, sizeof(name), "%s_%s", prefix, pp_stats_name(i));
        json_uint(json, name, values[i]);
    }
}
