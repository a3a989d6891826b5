/* cgroup.c - see cgroup.h. */
#include "sys/cgroup.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* v1 says "no limit" by a number near 2^63. */
#define NO_LIMIT_FROM ((uint64_t)1 << 62)

/* Where the files are, and what they are called. */
struct version {
    const char *place; /* below the root */
    const char *limit, *usage, *old_files;
};
static const struct version v2 = { "", "memory.max", "memory.current", "inactive_file " };
static const struct version v2_beside_v1 = { "/unified", "memory.max", "memory.current", "inactive_file " };
static const struct version v1 = { "/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                   "total_inactive_file " };

static FILE *open_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return NULL;
    return fopen(path, "re");
}

/* False: no such file, or "max". */
static bool read_number(const char *folder, const char *name, uint64_t *ret_value)
{
    unsigned long long value;
    FILE *f = open_file(folder, name);
    bool is_read = f && fscanf(f, "%llu", &value) == 1;
    if (f)
        (void)fclose(f);
    if (is_read)
        *ret_value = value;
    return is_read;
}

static uint64_t read_old_files(const char *folder, const char *name)
{
    char line[128];
    uint64_t bytes = 0;
    FILE *f = open_file(folder, "memory.stat");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, name, strlen(name)))
            bytes = strtoull(line + strlen(name), NULL, 10);
    if (f)
        (void)fclose(f);
    return bytes;
}

static void look(const char *folder, const char *name, const struct version *v, struct cgroup_memory *c)
{
    uint64_t limit, usage;
    if (!read_number(folder, v->limit, &limit) || limit >= NO_LIMIT_FROM ||
        !read_number(folder, v->usage, &usage))
        return;
    uint64_t files = read_old_files(folder, v->old_files);
    usage -= files < usage ? files : usage;
    uint64_t room = usage < limit ? limit - usage : 0;
    if (limit < c->limit_bytes)
        c->limit_bytes = limit;
    if (room < c->room_bytes) {
        c->room_bytes = room;
        (void)snprintf(c->path, sizeof c->path, "%s", *name ? name : "/");
    }
}

/* It and its parents, up to the root of what is mounted here. */
static void climb(const char *root, const struct version *v, const char *membership,
                  struct cgroup_memory *c)
{
    char base[PATH_MAX], folder[2 * PATH_MAX], name[PATH_MAX];
    (void)snprintf(base, sizeof base, "%s%s", root, v->place);
    (void)snprintf(name, sizeof name, "%s", membership);
    for (;;) {
        (void)snprintf(folder, sizeof folder, "%s%s", base, name);
        look(folder, name, v, c);
        char *slash = strrchr(name, '/');
        if (!slash)
            return;
        *slash = 0;
    }
}

void cgroup_read(const char *memberships, const char *root, struct cgroup_memory *ret)
{
    *ret = (struct cgroup_memory){ .limit_bytes = UINT64_MAX, .room_bytes = UINT64_MAX };
    for (const char *line = memberships; *line;) {
        size_t length = strcspn(line, "\n");
        char text[PATH_MAX];
        (void)snprintf(text, sizeof text, "%.*s", (int)length, line);
        line += length + (line[length] == '\n');
        char *controllers = strchr(text, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        if (!strcmp(controllers + 1, "memory")) {
            climb(root, &v1, path, ret);
        } else if (!controllers[1]) {
            climb(root, &v2, path, ret);
            climb(root, &v2_beside_v1, path, ret);
        }
    }
}

int cgroup_of(pid_t pid, struct cgroup_memory *ret)
{
    char path[48], text[8192];
    (void)snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return -ESRCH;
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    (void)fclose(f);
    cgroup_read(text, CGROUP_ROOT, ret);
    return 0;
}
