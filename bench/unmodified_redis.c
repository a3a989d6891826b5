/* unmodified_redis.c - a Redis server under redis-load's requests. Settling is part of the load: what is hot
 * is so from the beginning. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/options.h"
#include "common/pace.h"
#include "files.h"
#include "unmodified.h"

#define LOOK_NS (2 * UINT64_C(1000000000))
#define WARM_UP_PLAIN_NS (10 * UINT64_C(1000000000)) /* nothing has to leave */
#define OVERTIME_NS (120 * UINT64_C(1000000000)) /* the filling, and the reading at the end */
#define TURNS_MORE_NS UINT64_C(1000000000) /* the lead-ins of two turns, in redis-load */

static uint64_t warm_up_ns(const struct unmodified *m, const struct under *u)
{
    return u->arm == UNDER_PLAIN && !m->turn && m->warm_up_ns > WARM_UP_PLAIN_NS ? WARM_UP_PLAIN_NS : m->warm_up_ns;
}

static int start_server(struct under *u, char ret_socket[PATH_MAX])
{
    under_path(u, "redis.sock", ret_socket);
    const char *const words[] = { "redis-server", "--port", "0", "--unixsocket", ret_socket, "--save", "",
                                  "--daemonize", "no", "--loglevel", "warning", "--dir", u->folder, NULL };
    return under_start(u, words);
}

static int start_load(const struct unmodified *m, struct under *u, const char *socket,
                      const char *out_path, const char *error_path, struct child *ret_load)
{
    char path[PATH_MAX + 32], numbers[6][32];
    const uint64_t values[] = { m->bytes, m->seed, m->connections, warm_up_ns(m, u), m->window_ns,
                                m->nr_windows };
    (void)snprintf(path, sizeof path, "%s/bench/redis-load", u->places->build);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        (void)snprintf(numbers[i], sizeof *numbers, "%llu%s", (unsigned long long)values[i],
                       i == 3 || i == 4 ? "ns" : "");
    char *argv[] = { path, "--socket", (char *)socket, "--bytes", numbers[0], "--seed", numbers[1],
                     "--connections", numbers[2], "--warm-up", numbers[3], "--window", numbers[4],
                     "--windows", numbers[5], m->turn ? "--turn" : NULL, m->turn == 1 ? "1" : "2", NULL };
    struct child_spec spec = { .argv = argv, .stdout_path = out_path, .stderr_path = error_path,
                               .end_signal = SIGTERM };
    int r = child_start(&spec, ret_load);
    return r ? under_fail(u, EXIT_SYSTEM, path, strerror(-r)) : 0;
}

static bool has_filled(const char *out_path)
{
    char *text = file_read(out_path);
    bool has = text && strstr(text, "fill_ms");
    free(text);
    return has;
}

/* Samples until the load has ended. Memory is paged out only before the first window. */
static int await_load(const struct unmodified *m, struct under *u, struct child *load, const char *out_path,
                      const char *error_path)
{
    uint64_t begin_ns = pace_now_ns(), filled_ns = 0;
    uint64_t windows_ns = m->nr_windows * (m->turn ? 2 * m->window_ns + TURNS_MORE_NS : m->window_ns);
    uint64_t end_ns = begin_ns + m->warm_up_ns + windows_ns + OVERTIME_NS;
    for (;;) {
        int code = 0;
        char line[160];
        switch (child_wait_until(load, pace_now_ns() + LOOK_NS, &code)) {
        case CHILD_RUNS: break;
        case CHILD_INTERRUPTED: return under_fail(u, EXIT_SYSTEM, "redis-load", "interrupted");
        case CHILD_ENDED:
            file_last_line(error_path, line, sizeof line);
            return code ? under_fail(u, code, "redis-load", line) : 0;
        }
        uint64_t now_ns = pace_now_ns();
        if (now_ns > end_ns || !under_look(u, filled_ns && now_ns < filled_ns + m->warm_up_ns - LOOK_NS))
            return under_fail(u, EXIT_SYSTEM, "redis-server",
                              now_ns > end_ns ? "too slow; given up" : "has ended");
        if (!filled_ns && has_filled(out_path))
            filled_ns = now_ns;
    }
}

/* The load's lines: those before the first "window N" and after the last window belong to the last row. */
static void take_lines(struct unmodified *m, struct under *u, const char *out_path)
{
    char *text = file_read(out_path), *rest = text;
    uint64_t begin_ns = 0, end_ns = 0;
    char keys[24] = "", fill_ms[24] = "";
    for (char *line; text && (line = strtok_r(rest, "\n", &rest));) {
        char *value = strchr(line, ' ');
        if (!value)
            continue;
        *value++ = 0;
        if (!strcmp(line, "window"))
            unmodified_row(m, u, (unsigned)atoi(value));
        else if (!strcmp(line, "keys"))
            (void)snprintf(keys, sizeof keys, "%s", value);
        else if (!strcmp(line, "fill_ms"))
            (void)snprintf(fill_ms, sizeof fill_ms, "%s", value);
        else if (!strcmp(line, "begin_ns"))
            begin_ns = strtoull(value, NULL, 10);
        else
            csv_table_set(m->table, line, "%s", value);
        double mib;
        if (!strcmp(line, "end_ns")) {
            end_ns = strtoull(value, NULL, 10);
            csv_table_set(m->table, "keys", "%s", keys);
            csv_table_set(m->table, "fill_ms", "%s", fill_ms);
            if (memory_series_mean_mib(&u->memory, begin_ns, end_ns, &mib)) {
                csv_table_set(m->table, "paid_mib", "%.1f", mib);
                m->paid_kib = u->arm == UNDER_PAGER ? (uint64_t)(mib * 1024) : m->paid_kib;
            }
        }
    }
    free(text);
}

int unmodified_redis(struct unmodified *m, struct under *u)
{
    char socket[PATH_MAX], out_path[PATH_MAX], error_path[PATH_MAX];
    struct child load = { 0 };
    under_path(u, "load.out", out_path);
    under_path(u, "load.err", error_path);
    u->wanted_kib = m->paid_kib;
    int code = start_server(u, socket);
    if (code == 0)
        code = start_load(m, u, socket, out_path, error_path, &load);
    if (code == 0)
        code = await_load(m, u, &load, out_path, error_path);
    (void)child_end(&load, OVERTIME_NS);
    if (code == 0)
        take_lines(m, u, out_path);
    return code;
}
