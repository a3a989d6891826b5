/* cgroup.c - see cgroup.h. */
#include "sys/cgroup.h"

#include <errno.h>
#include <stdio.h>

static void take(const struct headroom *h, struct cgroup_memory *ret)
{
    *ret = (struct cgroup_memory){ .limit_bytes = UINT64_MAX, .room_bytes = UINT64_MAX };
    for (unsigned i = 0; i < h->nr; i++) {
        const struct headroom_level *l = &h->levels[i];
        uint64_t limit, room = headroom_of(l, UINT64_MAX, &limit);
        if (limit < ret->limit_bytes)
            ret->limit_bytes = limit;
        if (room >= ret->room_bytes)
            continue;
        ret->room_bytes = room;
        (void)snprintf(ret->path, sizeof ret->path, "%.*s", l->nr_path ? (int)l->nr_path : 1,
                       l->nr_path ? h->path : "/");
    }
}

void cgroup_read(const char *memberships, const char *root, struct cgroup_memory *ret)
{
    struct headroom h;
    headroom_open_text(&h, memberships, root);
    take(&h, ret);
    headroom_close(&h);
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
