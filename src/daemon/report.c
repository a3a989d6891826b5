/* report.c - see report.h. daemon_cpu_ns is what this session cost the daemon: the compress thread's
 * turns for it and the control thread's looks at its memory. */
#include "daemon/report.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/compress.h"
#include "sys/memfd.h"
#include "sys/status.h"

void report_sum(const struct session *s, struct stats_block *ret_sum)
{
    memset(ret_sum, 0, sizeof *ret_sum);
    stats_merge(ret_sum, &s->memory->agent_stats);
    stats_merge(ret_sum, &s->memory->porter_stats);
    stats_merge(ret_sum, &s->stats);
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

/* What cannot be known, or can be less than nothing. */
static void add_signed(cJSON *object, const char *name, bool is_known, uint64_t value)
{
    if (is_known)
        cJSON_AddNumberToObject(object, name, (double)(int64_t)value);
    else
        cJSON_AddNullToObject(object, name);
}

/* ---- memory, as it is counted in bench/memory.h, as far as we can see it from here */

struct account {
    uint64_t resident_bytes; /* the process's own, what is staged and the library's among it; 0: unknown */
    uint64_t paid_bytes;     /* for what is out: store, rings, what both sides note about pages */
    uint64_t own_bytes;      /* of it, in our heap */
    uint64_t saved_net_bytes; /* may be less than nothing: modulo 2^64, because a client may lie */
    bool is_saving_known;    /* not of pages that are in the kernel's swap */
};

/* Of the process whose status that is; 0: unknown. */
static uint64_t private_bytes(int status_fd)
{
    struct process_status status = { .private_bytes = 0 };
    (void)process_status_read(status_fd, &status);
    return status.private_bytes;
}

static struct account account_of(const struct session *s, const struct stats_block *sum)
{
    int status_fd = atomic_load_explicit(&s->status_fd, memory_order_acquire);
    struct account a = { .resident_bytes = private_bytes(status_fd),
                         .own_bytes = atomic_load(&s->bookkeeping_bytes) +
                                      session_heat(s).bookkeeping_bytes + sizeof *s };
    uint64_t table_bytes = stats_get(sum, STAT_table_bytes);
    uint64_t nr_away = stats_get(sum, STAT_pages_stored) + stats_get(sum, STAT_pages_zero);
    a.paid_bytes = atomic_load(&s->held_bytes) + memfd_populated_bytes(s->memory, SESSION_MEMORY_BYTES) +
                   a.own_bytes + table_bytes;
    a.saved_net_bytes = pages_to_bytes(nr_away) - a.paid_bytes;
    a.is_saving_known = stats_get(sum, STAT_pages_paged_out) == 0;
    return a;
}

/* ---- a session */

static const char *governor_state(const struct session *s)
{
    const struct choose *g = &s->choose;
    if (s->is_away)
        return "away";
    if (s->is_held)
        return "drained";
    if (s->order.stage != ORDER_NONE)
        return "by hand";
    if (monotonic_ms() < s->grace_until_ms)
        return "starting";
    if (g->is_free)
        return "free";
    if (g->last_fall_ms && monotonic_ms() < g->last_fall_ms + CHOOSE_SECONDS * 1000)
        return "braking";
    return g->allowed_rate == g->rate ? "full" : "rising";
}

/* Where stored pages are, densest last. */
static void add_tier(cJSON *tiers, const char *name, uint64_t pages, uint64_t payload, uint64_t held)
{
    cJSON *o = cJSON_CreateObject();
    if (!o)
        return;
    cJSON_AddStringToObject(o, "name", name);
    add(o, "pages", pages);
    add(o, "bytes_in", pages * PAGE_BYTES);
    add(o, "payload_bytes", payload);
    add(o, "held_bytes", held); /* slots; what lies between and around them is in store_held_bytes only */
    cJSON_AddItemToArray(tiers, o);
}

/* Same-filled pages without a place are known to the client only. */
static cJSON *tiers_json(const struct session *s, const struct stats_block *sum)
{
    cJSON *tiers = cJSON_CreateArray();
    if (!tiers)
        return NULL;
    uint64_t groups = atomic_load(&s->nr_groups), blobs = atomic_load(&s->nr_blobs);
    uint64_t group_payload = atomic_load(&s->group_payload_bytes), payload = atomic_load(&s->payload_bytes);
    uint64_t group_slots = atomic_load(&s->group_slot_bytes), slots = atomic_load(&s->slot_bytes);
    add_tier(tiers, "same", stats_get(sum, STAT_pages_zero) + stats_get(sum, STAT_pages_same), 0, 0);
    add_tier(tiers, "lz4", blobs - groups, payload - group_payload, slots - group_slots);
    add_tier(tiers, "zstd", atomic_load(&s->nr_group_pages), group_payload, group_slots);
    return tiers;
}

static cJSON *session_json(const struct session *s, struct account *ret_account)
{
    cJSON *o = cJSON_CreateObject();
    if (!o)
        return NULL;
    struct stats_block sum;
    report_sum(s, &sum);
    *ret_account = account_of(s, &sum);
    add(o, "session_id", s->id);
    cJSON_AddStringToObject(o, "name", s->name);
    add(o, "pid", (uint64_t)s->pid);
    add(o, "uid", s->uid);
    add(o, "wall_ms", monotonic_ms() - s->born_ms);
    add(o, "daemon_cpu_ns", cpu_ns(s));
    cJSON_AddStringToObject(o, "heat", s->heat_ops->name);
    cJSON_AddStringToObject(o, "governor", governor_state(s));
    add_signed(o, "resident_bytes", ret_account->resident_bytes, ret_account->resident_bytes);
    add_signed(o, "saved_net_bytes", ret_account->is_saving_known, ret_account->saved_net_bytes);
    add(o, "paid_bytes", ret_account->paid_bytes);
    cJSON_AddNumberToObject(o, "faults_per_s", rates_per_s(&s->rates, RATE_FAULTS));
    cJSON_AddNumberToObject(o, "evictions_per_s", rates_per_s(&s->rates, RATE_EVICTIONS));
    cJSON_AddItemToObject(o, "tiers", tiers_json(s, &sum));
    const struct session_heat heat = session_heat(s);
    add(o, "pages_watched", heat.nr_pages);
    add(o, "pages_cold", heat.nr_ready);
    add(o, "pages_offered", s->nr_offered);
    add(o, "pages_returned", s->nr_returned);
    add(o, "cold_age_ms", governor_cold_age_ms(s));
    add(o, "slowdown_ppm", budget_slowdown_ppm(&s->governor.budget));
    add(o, "promotion_ppm_per_min", budget_promotion_ppm(&s->governor.budget));
    add(o, "waited_ns", s->governor.waited_ns);
    add(o, "threads", s->governor.nr_threads);
    add(o, "allowed_pages_per_s", s->choose.allowed_rate);
    add(o, "store_held_bytes", atomic_load(&s->held_bytes));
    add(o, "store_held_bytes_peak", atomic_load(&s->held_bytes_peak));
    add(o, "store_payload_bytes", atomic_load(&s->payload_bytes));
    add(o, "store_blobs", atomic_load(&s->nr_blobs));
    add(o, "bookkeeping_bytes",
        atomic_load(&s->bookkeeping_bytes) + heat.bookkeeping_bytes);
    add(o, "bad_drops", atomic_load(&s->nr_bad_drops));
    for (size_t i = 0; i < stats_export_count(); i++)
        add(o, stats_export_name(i), stats_export_value(&sum, i));
    return o;
}

/* ---- all of it */

/* What we take beyond the sessions' shares is the price of all of them. */
static void add_sessions(cJSON *root, const struct session *sessions, const struct report *about)
{
    cJSON *list = cJSON_AddArrayToObject(root, "sessions");
    uint64_t nr_others = 0, own_bytes = 0, saved_bytes = 0;
    bool is_known = true;
    for (const struct session *s = sessions; s && list; s = s->next) {
        if (!s->is_joined || s->is_leaving)
            continue;
        if (!order_is_allowed(about->viewer, s)) {
            nr_others++;
            continue;
        }
        struct account a = { .is_saving_known = false };
        cJSON_AddItemToArray(list, session_json(s, &a));
        own_bytes += a.own_bytes;
        saved_bytes += a.saved_net_bytes;
        is_known &= a.is_saving_known;
    }
    uint64_t daemon_bytes = private_bytes(about->status_fd);
    add(root, "daemon_resident_bytes", daemon_bytes);
    add(root, "sessions_of_others", nr_others);
    add_signed(root, "saved_net_bytes", is_known && nr_others == 0,
               saved_bytes + own_bytes - daemon_bytes);
}

char *report_json(const struct session *sessions, const struct report *about)
{
    cJSON *root = cJSON_CreateObject();
    if (!root)
        return NULL;
    add(root, "schema", 1);
    cJSON_AddStringToObject(root, "version", PP_VERSION);
    add(root, "pid", (uint64_t)getpid());
    add(root, "uid", geteuid());
    cJSON_AddStringToObject(root, "heat", about->heat);
    cJSON_AddStringToObject(root, "evict_by", config_evict_by_name(about->config));
    cJSON_AddBoolToObject(root, "dry_run", about->config->is_dry_run);
    cJSON_AddBoolToObject(root, "hands_over_userfaultfd", about->has_device);
    char budget[48];
    cJSON_AddStringToObject(root, "budget", config_budget_text(about->config, budget, sizeof budget));
    add(root, "slowdown_max_ppm", about->config->slowdown_ppm);
    add(root, "promotion_max_ppm_per_min", about->config->promotion_ppm);
    add(root, "resident_max_bytes", about->config->resident_bytes);
    add(root, "cold_age_ms", about->config->cold_age_ms);
    add(root, "store_cap_bytes", about->config->store_cap_bytes);
    add(root, "store_cap_total_bytes", about->config->store_cap_total_bytes);
    add(root, "store_held_total_bytes", compress_held_bytes());
    cJSON_AddStringToObject(root, "tiers", config_tiers_name(about->config));
    add(root, "squeeze_age_ms", about->config->squeeze_age_ms);
    add(root, "reclaim_rate_bytes_per_s", about->config->reclaim_rate);
    add_sessions(root, sessions, about);
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return text;
}
