/* maps.c - see maps.h. The text reader is a state machine over a small buffer: no allocation. */
#include "sys/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/point.h"
#include "sys/lines.h"
#include "sys/uapi.h"

int maps_open(struct maps *m)
{
    /* Of this thread: /proc/self is empty when the first one has called pthread_exit(). */
    int fd = point_fails(POINT_OWN_MAPS) ? -1 : open("/proc/thread-self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *m = (struct maps){ .fd = fd };
    return 0;
}

void maps_close(struct maps *m)
{
    if (m->fd >= 0)
        close(m->fd);
    m->fd = -1;
}

static int find_by_query(struct maps *m, uint64_t address, struct maps_vma *ret_vma)
{
    struct procmap_query q = {
        .size = sizeof q,
        .query_addr = address,
        .query_flags = PROCMAP_QUERY_COVERING_OR_NEXT_VMA,
    };
    if (point_fails(POINT_MAPS_FIND) || ioctl(m->fd, PROCMAP_QUERY, &q))
        return -errno;
    uint64_t rwx = q.vma_flags & (PROCMAP_QUERY_VMA_READABLE | PROCMAP_QUERY_VMA_WRITABLE |
                                  PROCMAP_QUERY_VMA_EXECUTABLE);
    *ret_vma = (struct maps_vma){
        .start = q.vma_start,
        .end = q.vma_end,
        .is_private_anonymous = !(q.vma_flags & PROCMAP_QUERY_VMA_SHARED) && q.inode == 0 &&
                                q.vma_page_size == 4096,
        .is_read_write = rwx == (PROCMAP_QUERY_VMA_READABLE | PROCMAP_QUERY_VMA_WRITABLE),
        .is_accessible = rwx != 0,
    };
    return 0;
}

/* One hexadecimal number, then its end; moves *text on. */
static uint64_t take_hex(const char **text)
{
    uint64_t value = 0;
    for (;; (*text)++) {
        char c = **text;
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return value;
    }
}

/* "start-end rwxp offset dev:dev inode  name" */
static bool parse_line(const char *line, struct maps_vma *ret_vma)
{
    const char *t = line;
    uint64_t start = take_hex(&t);
    if (*t++ != '-')
        return false;
    uint64_t end = take_hex(&t);
    if (*t++ != ' ' || strlen(t) < 5)
        return false;
    bool is_read_write = t[0] == 'r' && t[1] == 'w' && t[2] == '-';
    bool is_accessible = t[0] == 'r' || t[1] == 'w' || t[2] == 'x';
    bool is_private = t[3] == 'p';
    t += 5;
    for (int field = 0; field < 2 && *t; t++)
        field += *t == ' ';
    bool has_inode = *t != '0';
    const char *name = t + strcspn(t, " ");
    name += strspn(name, " ");
    bool is_special = name[0] == '[' && name[1] == 'v'; /* [vdso], [vvar], [vsyscall] */
    *ret_vma = (struct maps_vma){
        .start = start,
        .end = end,
        .is_private_anonymous = is_private && !has_inode && !is_special,
        .is_read_write = is_read_write,
        .is_accessible = is_accessible,
    };
    return true;
}

struct search {
    uint64_t address;
    struct maps_vma *ret_vma;
};

/* 1: this is the one. */
static int on_line(void *context, const char *line)
{
    const struct search *s = context;
    return parse_line(line, s->ret_vma) && s->ret_vma->end > s->address;
}

static int find_by_text(struct maps *m, uint64_t address, struct maps_vma *ret_vma)
{
    if (lseek(m->fd, 0, SEEK_SET) < 0)
        return -errno;
    int r = lines_each(m->fd, on_line, &(struct search){ .address = address, .ret_vma = ret_vma });
    return r > 0 ? 0 : r == 0 ? -ENOENT : r;
}

int maps_find(struct maps *m, uint64_t address, struct maps_vma *ret_vma)
{
    if (!m->no_query) {
        int r = find_by_query(m, address, ret_vma);
        if (r != -ENOTTY && r != -EINVAL)
            return r;
        m->no_query = true;
    }
    return find_by_text(m, address, ret_vma);
}
