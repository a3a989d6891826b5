/* group.c - see group.h. */
#include "group.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sys/headroom.h"

#define V1_ROOT CGROUP_ROOT "/memory"
#define REMOVE_TRIES 200u /* 10 ms each */

static int open_file(const struct memory_group *g, const char *name, int flags)
{
    char path[320];
    (void)snprintf(path, sizeof path, "%s/%s", g->path, name);
    return open(path, flags | O_CLOEXEC);
}

static bool write_file(const struct memory_group *g, const char *name, const char *text)
{
    int fd = open_file(g, name, O_WRONLY);
    bool is_written = fd >= 0 && write(fd, text, strlen(text)) > 0;
    if (fd >= 0)
        close(fd);
    return is_written;
}

static bool read_file(const struct memory_group *g, const char *name, char *ret_text, size_t capacity)
{
    int fd = open_file(g, name, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, ret_text, capacity - 1);
    if (fd >= 0)
        close(fd);
    ret_text[n > 0 ? n : 0] = 0;
    return n > 0;
}

/* The path behind "memory:" (version 1) or "0::" in the list of our memberships; "": the root. */
static void own_path(bool is_v1, char *ret_path, size_t capacity)
{
    char line[512];
    FILE *file = fopen("/proc/self/cgroup", "re");
    *ret_path = 0;
    while (file && fgets(line, sizeof line, file)) {
        const char *path = strstr(line, is_v1 ? ":memory:" : "0::");
        path = path ? path + (is_v1 ? 8 : 3) : NULL;
        if (path && strlen(path) < capacity && strcmp(path, "/\n"))
            (void)snprintf(ret_path, capacity, "%.*s", (int)strcspn(path, "\n"), path);
    }
    if (file)
        fclose(file);
}

static bool make_in(struct memory_group *g, const char *parent, const char *name)
{
    (void)snprintf(g->path, sizeof g->path, "%s", parent);
    if (!g->is_v1) /* may be on already; and may not be where the parent has processes of its own */
        (void)write_file(g, "cgroup.subtree_control", "+memory");
    (void)snprintf(g->path, sizeof g->path, "%s/%s", parent, name);
    if (mkdir(g->path, 0755))
        return false;
    int fd = open_file(g, g->is_v1 ? "memory.limit_in_bytes" : "memory.max", O_WRONLY);
    if (fd >= 0)
        close(fd);
    else
        (void)rmdir(g->path);
    return fd >= 0;
}

bool group_make(struct memory_group *g, const char *name, const char **ret_why)
{
    char own[160], parent[224];
    const char *root = access(V1_ROOT "/memory.limit_in_bytes", F_OK) ? CGROUP_ROOT : V1_ROOT;
    *g = (struct memory_group){ .is_v1 = root[sizeof CGROUP_ROOT - 1] != 0 };
    own_path(g->is_v1, own, sizeof own);
    (void)snprintf(parent, sizeof parent, "%s%s", root, own);
    if (!make_in(g, parent, name) && !make_in(g, root, name)) {
        *ret_why = errno == EROFS || errno == EACCES || errno == EPERM
                       ? "memory cgroups may not be made here (root, and a writable " CGROUP_ROOT ")"
                       : "there is no memory controller for cgroups here";
        g->path[0] = 0;
        return false;
    }
    if (!g->is_v1)
        (void)write_file(g, "memory.swap.max", "0"); /* no such file: no swap */
    return true;
}

bool group_enter(const struct memory_group *g)
{
    return write_file(g, "cgroup.procs", "0");
}

bool group_limit(const struct memory_group *g, uint64_t bytes)
{
    char text[32], none[] = "-1";
    (void)snprintf(text, sizeof text, "%" PRIu64, bytes);
    if (!g->is_v1)
        return write_file(g, "memory.max", bytes == UINT64_MAX ? "max" : text);
    /* Memory and swap together may not be less than memory: up first, down last. */
    if (bytes == UINT64_MAX)
        return write_file(g, "memory.memsw.limit_in_bytes", none) | write_file(g, "memory.limit_in_bytes", none);
    (void)write_file(g, "memory.memsw.limit_in_bytes", none);
    if (!write_file(g, "memory.limit_in_bytes", text))
        return false;
    (void)write_file(g, "memory.memsw.limit_in_bytes", text); /* no such file: swap is not counted */
    return true;
}

bool group_press(const struct memory_group *g, uint64_t bytes)
{
    char text[32] = "max";
    if (g->is_v1)
        return group_limit(g, bytes);
    if (bytes != UINT64_MAX)
        (void)snprintf(text, sizeof text, "%" PRIu64, bytes);
    return write_file(g, "memory.high", text);
}

bool group_must_not_kill(const struct memory_group *g)
{
    return g->is_v1 && write_file(g, "memory.oom_control", "1");
}

uint64_t group_usage(const struct memory_group *g)
{
    char text[64];
    (void)read_file(g, g->is_v1 ? "memory.usage_in_bytes" : "memory.current", text, sizeof text);
    return strtoull(text, NULL, 10);
}

bool group_waits_for_room(const struct memory_group *g)
{
    char text[512];
    (void)read_file(g, "memory.oom_control", text, sizeof text);
    return g->is_v1 && strstr(text, "under_oom 1");
}

uint64_t group_nr_killed(const struct memory_group *g)
{
    char text[512];
    (void)read_file(g, g->is_v1 ? "memory.oom_control" : "memory.events", text, sizeof text);
    const char *line = strstr(text, "oom_kill ");
    return line ? strtoull(line + 9, NULL, 10) : 0;
}

void group_remove(struct memory_group *g)
{
    const struct timespec moment = { 0, 10000000 };
    for (unsigned i = 0; *g->path && rmdir(g->path) && errno == EBUSY && i < REMOVE_TRIES; i++)
        (void)nanosleep(&moment, NULL);
    g->path[0] = 0;
}
