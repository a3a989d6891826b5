/* headroom.c - see headroom.h. 1 us a level and file. */
#include "sys/headroom.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define TEXT_BYTES 4096u /* of a list of memberships, and of memory.stat as far as we need it */
/* Version 1 says "no limit" by a number near 2^63. */
#define NO_LIMIT_FROM (UINT64_C(1) << 62)

struct version {
    const char *controller; /* in the list of memberships */
    const char *directory;  /* below the root */
    const char *limit, *usage;
};

static const struct version versions[] = {
    { "memory", "/memory", "memory.limit_in_bytes", "memory.usage_in_bytes" },
    { "", "", "memory.max", "memory.current" },
    { "", "/unified", "memory.max", "memory.current" }, /* version 2 beside version 1 */
};

/* ---- texts */

static bool append(char *path, size_t *nr, const char *text, size_t length)
{
    if (*nr + length + 1 > HEADROOM_PATH_BYTES)
        return false;
    memcpy(path + *nr, text, length);
    path[*nr += length] = 0;
    return true;
}

static uint64_t number_at(const char *text)
{
    uint64_t value = 0;
    if (*text < '0' || *text > '9')
        return UINT64_MAX; /* "max" */
    for (; *text >= '0' && *text <= '9'; text++)
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return UINT64_MAX;
    return value;
}

/* Reads from the file's begin; always terminated. */
static bool read_text(int fd, char *ret_text, size_t capacity)
{
    ssize_t n = pread(fd, ret_text, capacity - 1, 0);
    if (n < 0)
        return false;
    ret_text[n] = 0;
    return true;
}

static uint64_t read_number(int fd)
{
    char text[32];
    return read_text(fd, text, sizeof text) ? number_at(text) : UINT64_MAX;
}

/* Of the line that begins with prefix and name; 0: there is none. */
static uint64_t stat_of(const char *text, const char *prefix, const char *name)
{
    size_t nr_prefix = strlen(prefix), nr_name = strlen(name);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : line)
        if (!strncmp(line, prefix, nr_prefix) && !strncmp(line + nr_prefix, name, nr_name) &&
            line[nr_prefix + nr_name] == ' ')
            return number_at(line + nr_prefix + nr_name + 1);
    return 0;
}

/* ---- opening */

static int open_in(const char *directory, size_t nr, const char *name)
{
    char path[HEADROOM_PATH_BYTES];
    size_t length = 0;
    if (!append(path, &length, directory, nr) || !append(path, &length, "/", 1) ||
        !append(path, &length, name, strlen(name)))
        return -1;
    return open(path, O_RDONLY | O_CLOEXEC);
}

static void close_level(const struct headroom_level *l)
{
    int fds[] = { l->limit_fd, l->usage_fd, l->stat_fd };
    for (unsigned i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* The cgroup and those above it, up to the root, which has `least` characters. */
static void open_levels(struct headroom *h, const char *directory, size_t nr, size_t least,
                        const struct version *v)
{
    while (h->nr < HEADROOM_LEVELS) {
        struct headroom_level l = { .limit_fd = open_in(directory, nr, v->limit),
                                    .usage_fd = open_in(directory, nr, v->usage),
                                    .stat_fd = open_in(directory, nr, "memory.stat"),
                                    .nr_path = (uint32_t)(nr - least) };
        if (l.limit_fd >= 0 && l.usage_fd >= 0)
            h->levels[h->nr++] = l;
        else
            close_level(&l);
        if (nr <= least)
            return;
        while (nr > least && directory[nr - 1] != '/')
            nr--;
        nr -= nr > least;
    }
}

/* "4:memory:/a/b" or "0::/a/b": the path, and its length. NULL: no such line. */
static const char *find_path(const char *text, const char *controller, size_t *ret_nr)
{
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : line) {
        const char *name = strchr(line, ':'), *path = name ? strchr(name + 1, ':') : NULL;
        if (!path)
            return NULL;
        size_t nr = (size_t)(path - name - 1);
        if (nr != strlen(controller) || strncmp(name + 1, controller, nr))
            continue;
        *ret_nr = strcspn(path + 1, "\n");
        return path + 1;
    }
    return NULL;
}

void headroom_open_text(struct headroom *h, const char *memberships, const char *root)
{
    h->nr = 0;
    h->path[0] = 0;
    for (unsigned i = 0; i < sizeof versions / sizeof *versions && !h->nr; i++) {
        const struct version *v = &versions[i];
        size_t nr_path, nr = 0, nr_kept = 0;
        const char *path = find_path(memberships, v->controller, &nr_path);
        char directory[HEADROOM_PATH_BYTES];
        if (!path || !append(directory, &nr, root, strlen(root)) ||
            !append(directory, &nr, v->directory, strlen(v->directory)))
            continue;
        size_t least = nr;
        if (nr_path > 1 && (!append(directory, &nr, path, nr_path) || !append(h->path, &nr_kept, path, nr_path)))
            continue;
        open_levels(h, directory, nr, least, v);
    }
}

void headroom_open(struct headroom *h, const char *cgroup_path, const char *root)
{
    char text[TEXT_BYTES];
    int fd = open(cgroup_path, O_RDONLY | O_CLOEXEC);
    bool is_read = fd >= 0 && read_text(fd, text, sizeof text);
    if (fd >= 0)
        close(fd);
    headroom_open_text(h, is_read ? text : "", root);
}

void headroom_close(struct headroom *h)
{
    for (unsigned i = 0; i < h->nr; i++)
        close_level(&h->levels[i]);
    h->nr = 0;
}

/* ---- asking */

static uint64_t droppable(const struct headroom_level *l)
{
    char text[TEXT_BYTES];
    if (l->stat_fd < 0 || !read_text(l->stat_fd, text, sizeof text))
        return 0;
    uint64_t of_all = stat_of(text, "total_", "inactive_file"); /* version 1: with what is below */
    return of_all ? of_all : stat_of(text, "", "inactive_file");
}

static uint64_t room(uint64_t limit, uint64_t usage, uint64_t can_be_dropped)
{
    usage -= can_be_dropped < usage ? can_be_dropped : usage;
    return usage < limit ? limit - usage : 0;
}

uint64_t headroom_of(const struct headroom_level *l, uint64_t enough, uint64_t *ret_limit_bytes)
{
    uint64_t limit = read_number(l->limit_fd), usage = read_number(l->usage_fd);
    *ret_limit_bytes = limit;
    if (limit >= NO_LIMIT_FROM)
        return *ret_limit_bytes = UINT64_MAX;
    uint64_t left = room(limit, usage, 0);
    return left < enough ? room(limit, usage, droppable(l)) : left;
}

uint64_t headroom_bytes(const struct headroom *h, uint64_t enough)
{
    uint64_t least = UINT64_MAX, limit;
    for (unsigned i = 0; i < h->nr; i++) {
        uint64_t left = headroom_of(&h->levels[i], enough, &limit);
        least = left < least ? left : least;
    }
    return least;
}
