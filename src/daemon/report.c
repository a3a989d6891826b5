/* report.c - see report.h. daemon_cpu_ns is what this session cost the daemon: the compress thread's
 * turns for it and the control thread's looks at its memory. */
#include "daemon/report.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void report_sum(const struct session *s, struct stats_block *ret_sum)
{
    memset(ret_sum, 0, sizeof *ret_sum);
    stats_merge(ret_sum, &s->memory->agent_stats);
    stats_merge(ret_sum, &s->memory->porter_stats);
}

static uint64_t cpu_ns(const struct session *s)
{
    return s->control_cpu_ns + atomic_load(&s->compress_cpu_ns);
}

static void write_header(FILE *f)
{
    fprintf(f, "session_id,name,pid,wall_ms,daemon_cpu_ns,store_held_bytes_peak,"
               "process_madvise_unsupported");
    for (size_t i = 0; i < stats_export_count(); i++)
        fprintf(f, ",%s", stats_export_name(i));
    fprintf(f, "\n");
}

int report_csv_check(const char *path)
{
    FILE *f = fopen(path, "ae");
    return !f || fclose(f) ? -errno : 0;
}

int report_csv(const char *path, const struct session *s, int remote_dontneed)
{
    FILE *f = fopen(path, "ae");
    if (!f)
        return -errno;
    if (ftell(f) == 0 && fseek(f, 0, SEEK_END) == 0 && ftell(f) == 0)
        write_header(f);
    struct stats_block sum;
    report_sum(s, &sum);
    fprintf(f, "%u,%s,%d,%llu,%llu,%llu,%d", s->id, s->name, (int)s->pid,
            (unsigned long long)(monotonic_ms() - s->born_ms), (unsigned long long)cpu_ns(s),
            (unsigned long long)atomic_load(&s->held_bytes_peak), remote_dontneed == EINVAL);
    for (size_t i = 0; i < stats_export_count(); i++)
        fprintf(f, ",%llu", (unsigned long long)stats_export_value(&sum, i));
    fprintf(f, "\n");
    return fclose(f) ? -errno : 0;
}

static void add(cJSON *object, const char *name, uint64_t value)
{
    cJSON_AddNumberToObject(object, name, (double)value);
}

static cJSON *session_json(const struct session *s, const struct config *config)
{
    cJSON *o = cJSON_CreateObject();
    if (!o)
        return NULL;
    add(o, "session_id", s->id);
    cJSON_AddStringToObject(o, "name", s->name);
    add(o, "pid", (uint64_t)s->pid);
    add(o, "uid", s->uid);
    add(o, "wall_ms", monotonic_ms() - s->born_ms);
    add(o, "daemon_cpu_ns", cpu_ns(s));
    cJSON_AddStringToObject(o, "heat", s->heat_ops->name);
    add(o, "pages_watched", s->heat_ops->nr_pages(s->heat));
    add(o, "pages_cold", s->heat_ops->nr_ready(s->heat));
    add(o, "pages_offered", s->nr_offered);
    add(o, "pages_returned", s->nr_returned);
    add(o, "cold_age_ms", config->cold_age_ms ? config->cold_age_ms
                                              : budget_cold_age_ms(&s->governor.budget));
    add(o, "slowdown_ppm", budget_slowdown_ppm(&s->governor.budget));
    add(o, "promotion_ppm_per_min", budget_promotion_ppm(&s->governor.budget));
    add(o, "waited_ns", s->governor.waited_ns);
    add(o, "threads", s->governor.nr_threads);
    add(o, "resident_bytes", s->governor.resident_bytes);
    add(o, "allowed_pages_per_s", s->choose.allowed_rate);
    add(o, "store_held_bytes", atomic_load(&s->held_bytes));
    add(o, "store_held_bytes_peak", atomic_load(&s->held_bytes_peak));
    add(o, "store_payload_bytes", atomic_load(&s->payload_bytes));
    add(o, "store_blobs", atomic_load(&s->nr_blobs));
    add(o, "bookkeeping_bytes",
        atomic_load(&s->bookkeeping_bytes) + s->heat_ops->bookkeeping_bytes(s->heat));
    add(o, "bad_drops", atomic_load(&s->nr_bad_drops));
    struct stats_block sum;
    report_sum(s, &sum);
    for (size_t i = 0; i < stats_export_count(); i++)
        add(o, stats_export_name(i), stats_export_value(&sum, i));
    return o;
}

char *report_json(const struct session *sessions, const struct config *config, const char *heat)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *list = cJSON_CreateArray();
    if (!root || !list) {
        cJSON_Delete(root);
        cJSON_Delete(list);
        return NULL;
    }
    add(root, "schema", 1);
    cJSON_AddStringToObject(root, "version", PP_VERSION);
    add(root, "pid", (uint64_t)getpid());
    cJSON_AddStringToObject(root, "heat", heat);
    cJSON_AddStringToObject(root, "evict_by", config_evict_by_name(config));
    char text_of[48];
    cJSON_AddStringToObject(root, "budget", config_budget_text(config, text_of, sizeof text_of));
    add(root, "slowdown_max_ppm", config->slowdown_ppm);
    add(root, "promotion_max_ppm_per_min", config->promotion_ppm);
    add(root, "resident_max_bytes", config->resident_bytes);
    add(root, "cold_age_ms", config->cold_age_ms);
    add(root, "store_cap_bytes", config->store_cap_bytes);
    add(root, "reclaim_rate_bytes_per_s", config->reclaim_rate);
    cJSON_AddItemToObject(root, "sessions", list);
    for (const struct session *s = sessions; s; s = s->next)
        if (s->is_joined && !s->is_leaving)
            cJSON_AddItemToArray(list, session_json(s, config));
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return text;
}
