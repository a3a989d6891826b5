/* status.c - process-pager status: what the daemon keeps, for whom. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/pagesize.h"
#include "cli/ask.h"
#include "cli/figures.h"
#include "stats/stats.h"

static struct {
    const char *socket_path;
    bool is_json;
} settings;

static const struct option_spec table[] = {
    CLI_SOCKET_ROW(&settings.socket_path),
    { "json", 0, OPTION_FLAG, &settings.is_json, 0, 0, NULL, "all of it as JSON" },
    CLI_LAST_ROWS,
};

static void print_options(void)
{
    options_print_help(table);
}

static void print_table(const struct figures *f)
{
    char line[256];
    figures_headline(f, line, sizeof line);
    printf("%s\n", line);
    figures_row(NULL, line, sizeof line);
    printf("%s\n", line);
    for (size_t i = 0; i < f->nr; i++) {
        figures_row(&f->sessions[i], line, sizeof line);
        printf("%s\n", line);
    }
}

/* ---- one process at length */

static void print_size(const char *title, double bytes, const char *about)
{
    char size[16];
    printf("  %-12s %8s  %s\n", title, figures_size(bytes, size, sizeof size), about);
}

static void print_tiers(const cJSON *s)
{
    const cJSON *tier;
    cJSON_ArrayForEach(tier, cJSON_GetObjectItemCaseSensitive(s, "tiers"))
    {
        double pages = figures_number(tier, "pages") * (double)PAGE_BYTES;
        double held = figures_number(tier, "held_bytes");
        char size[16], ratio[64] = "";
        if (held > 0 && pages > 0)
            (void)snprintf(ratio, sizeof ratio, "in %s, %.2fx", figures_size(held, size, sizeof size),
                           pages / held);
        char title[40];
        (void)snprintf(title, sizeof title, "in %.32s", figures_text(tier, "name"));
        print_size(title, pages, ratio);
    }
}

static void print_stalls(const cJSON *s)
{
    static const char *const names[] = { "fault_missing_ns_p50", "fault_missing_ns_p99",
                                         "fault_missing_ns_p999", "fault_missing_ns_max" };
    char text[4][16];
    for (unsigned i = 0; i < 4; i++)
        (void)figures_time(figures_number(s, names[i]), text[i], sizeof text[i]);
    printf("  %-12s p50 %s, p99 %s, p99.9 %s, longest %s, n %.0f\n", "stalls", text[0], text[1],
           text[2], text[3], figures_number(s, "fault_missing_ns_n"));
}

/* Reasons are the numbers whose names begin so; their meaning stands where they are declared. */
static void print_refused(const cJSON *s)
{
    static const char prefix[] = "ranges_refused_";
    char size[16];
    printf("  %-12s %8.0f  ranges, %s of memory now\n", "refused", figures_number(s, "ranges_refused"),
           figures_size(figures_number(s, "pages_refused") * (double)PAGE_BYTES, size, sizeof size));
    for (size_t i = 0; i < stats_export_count(); i++) {
        const char *name = stats_export_name(i);
        if (strncmp(name, prefix, sizeof prefix - 1) || figures_number(s, name) <= 0)
            continue;
        printf("  %12s %8.0f  %s\n", "", figures_number(s, name), stats_export_meaning(i));
    }
}

static void print_rates(const struct session_figures *f)
{
    printf("  %-12s %8.1f  a second, %.0f in all\n", "faults", f->faults_per_s,
           figures_number(f->json, "faults_missing"));
    printf("  %-12s %8.1f  a second, %.0f in all\n", "evictions", f->evictions_per_s,
           figures_number(f->json, "client_evict_success"));
}

/* How its agents wait for faults: --agent-class, and what the process may. */
static void print_class(const cJSON *s)
{
    const char *class = figures_number(s, "agents_realtime") > 0 ? "realtime"
                        : figures_number(s, "agents_nice") > 0   ? "nice"
                                                                 : "ordinary";
    char used[16];
    printf("  %-12s %8s  class, for faults; %s of CPU in it, used up %.0f times\n", "agent", class,
           figures_time(figures_number(s, "agent_urgent_cpu_ns"), used, sizeof used),
           figures_number(s, "agent_urgent_used_up"));
}

static void print_session(const struct figures *all, const struct session_figures *f)
{
    const cJSON *s = f->json;
    char rate[16], most[16], watched[16], cold[16];
    printf("process %.0f %s, uid %.0f, session %.0f, joined %.0f s ago\n", f->pid, f->name,
           figures_number(s, "uid"), figures_number(s, "session_id"), figures_number(s, "wall_ms") / 1000);
    if (f->resident_bytes >= 0)
        print_size("resident", f->resident_bytes, "of its own memory, what is staged and ours among it");
    print_size("staged", figures_number(s, "pages_staged") * (double)PAGE_BYTES, "on its way out");
    print_tiers(s);
    print_size("paid", figures_number(s, "paid_bytes"), "for what is out: store, rings, notes about pages");
    if (f->is_saved_known)
        print_size("saved net", f->saved_bytes, "what is out, less what is paid");
    print_stalls(s);
    print_class(s);
    print_rates(f);
    printf("  %-12s %8s  %s watched, %s cold\n", "heat", figures_text(s, "heat"),
           figures_size(figures_number(s, "pages_watched") * (double)PAGE_BYTES, watched, sizeof watched),
           figures_size(figures_number(s, "pages_cold") * (double)PAGE_BYTES, cold, sizeof cold));
    printf("  %-12s %8s  %s/s may leave now, of %s/s\n", "governor", f->governor,
           figures_size(figures_number(s, "allowed_pages_per_s") * (double)PAGE_BYTES, rate, sizeof rate),
           figures_size(figures_number(all->root, "reclaim_rate_bytes_per_s"), most, sizeof most));
    printf("  %-12s %7.3f%%  of its threads' time in the last minute; cold age %.0f ms\n", "lost",
           figures_number(s, "slowdown_ppm") / 1e4, figures_number(s, "cold_age_ms"));
    printf("  %-12s %7.1f%%  of what was touched in the last minute was wanted back in it\n", "promoted",
           figures_number(s, "promotion_ppm_per_min") / 1e4);
    print_refused(s);
}

/* ---- */

/* Leaves only the sessions of that process in the list. How many there are. */
static size_t keep_only(struct figures *f, pid_t pid)
{
    size_t nr = 0;
    for (size_t i = 0; i < f->nr; i++) {
        if ((pid_t)f->sessions[i].pid == pid)
            f->sessions[nr++] = f->sessions[i];
        else
            cJSON_Delete(cJSON_DetachItemViaPointer(
                cJSON_GetObjectItemCaseSensitive(f->root, "sessions"), (cJSON *)f->sessions[i].json));
    }
    f->nr = nr;
    return nr;
}

static int print_json(const struct figures *f)
{
    char *text = cJSON_PrintUnformatted(f->root);
    if (!text)
        return cli_complain(EX_OSERR, "no memory");
    printf("%s\n", text);
    free(text);
    return 0;
}

static int print(struct figures *f, pid_t pid)
{
    if (pid && !keep_only(f, pid))
        return cli_complain(EX_UNAVAILABLE, "no session of process %d that you may see: process-pager "
                            "status lists them, to root those of all users", (int)pid);
    if (settings.is_json)
        return print_json(f);
    if (!pid)
        print_table(f);
    for (size_t i = 0; pid && i < f->nr; i++)
        print_session(f, &f->sessions[i]);
    return 0;
}

static int run(int argc, char **argv)
{
    int code, first = cli_parse(&cli_status, table, argc, argv, &code);
    pid_t pid = 0;
    if (first < 0)
        return code;
    if (first < argc - 1)
        return cli_complain(EX_USAGE, "status: one process id, or none for all");
    if (first < argc && !cli_read_pid(argv[first], &pid))
        return EX_USAGE;
    struct figures figures;
    int r = ask_figures(settings.socket_path, &figures);
    if (r)
        return ask_complain(r);
    code = print(&figures, pid);
    figures_free(&figures);
    if (fflush(stdout))
        return cli_complain(EX_OSERR, "the answer cannot be written");
    return code;
}

const struct cli_command cli_status = {
    .name = "status",
    .synopsis = "[options] [PID]",
    .about = "What the daemon keeps, for whom; one process at length.",
    .run = run,
    .print_options = print_options,
};
