/* restart.c - see restart.h. */
#include "stress/restart.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#ifdef __SANITIZE_ADDRESS__
#define SLOWNESS 4u
#else
#define SLOWNESS 1u
#endif
#define LOOK_PAUSE_MS 5u /* a look at a client's maps: some 50 us */

/* A socket that is left behind by a kill is not the next daemon's. */
static struct timespec socket_made(const struct run *r)
{
    struct stat st;
    return stat(r->socket_path, &st) ? (struct timespec){ 0 } : st.st_ctim;
}

static bool does_listen(const struct run *r, const struct restart *w)
{
    struct timespec made = socket_made(r);
    return made.tv_sec && (made.tv_sec != w->old_socket.tv_sec || made.tv_nsec != w->old_socket.tv_nsec);
}

void restart_daemon(struct run *r, struct restart *w, bool is_in_order)
{
    for (unsigned i = 0; i < r->kind->nr_clients; i++)
        w->joins[i] = atomic_load(&r->clients[i].joins);
    w->since_ms = test_now_ms();
    w->listens_ms = w->joined_ms = 0;
    w->old_socket = socket_made(r);
    if (is_in_order)
        run_end_daemon(r);
    else
        run_kill_daemon(r);
    run_start_daemon(r);
}

bool restart_is_joined(const struct run *r, const struct restart *w)
{
    for (unsigned i = 0; i < r->kind->nr_clients; i++)
        if (!atomic_load(&r->clients[i].is_running) || atomic_load(&r->clients[i].joins) <= w->joins[i])
            return false;
    return true;
}

static bool has_old_store(pid_t pid)
{
    char path[48], line[512];
    unsigned nr = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        nr += strstr(line, "process-pager-store") != NULL;
    if (file)
        fclose(file);
    return nr > 1;
}

static bool is_any_old_store_held(const struct run *r)
{
    for (unsigned i = 0; i < r->kind->nr_clients; i++)
        if (r->clients[i].pid && has_old_store(r->clients[i].pid))
            return true;
    return false;
}

bool restart_is_over(struct run *r, struct restart *w)
{
    uint64_t now = test_now_ms();
    if (!w->listens_ms) {
        if (does_listen(r, w))
            w->listens_ms = now;
        else if (now > w->since_ms + LISTEN_MS * SLOWNESS)
            stress_complain(r, "the next daemon does not listen after %u ms", LISTEN_MS * SLOWNESS);
        return false;
    }
    if (!w->joined_ms) {
        if (restart_is_joined(r, w))
            w->joined_ms = now;
        else if (now > w->listens_ms + JOIN_MS * SLOWNESS)
            stress_complain(r, "not all clients have joined the next daemon after %u ms", JOIN_MS * SLOWNESS);
        return false;
    }
    if (now < w->next_look_ms)
        return false;
    w->next_look_ms = now + LOOK_PAUSE_MS;
    if (!is_any_old_store_held(r))
        return true;
    if (now > w->listens_ms + RELEASE_MS * SLOWNESS)
        stress_complain(r, "an old store is still held after %u ms", RELEASE_MS * SLOWNESS);
    return false;
}
