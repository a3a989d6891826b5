/* smaps.c - see smaps.h. A line at a time: "start-end ..." begins a mapping, "VmFlags: ... wf ..." ends it. */
#include "sys/smaps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/point.h"
#include "sys/lines.h"

struct smaps_reader {
    uint64_t start, end; /* of the mapping that is being told of */
    struct intervals *wiped;
};

static int on_line(void *context, const char *line)
{
    struct smaps_reader *r = context;
    static const char flags[] = "VmFlags:";
    if (!strncmp(line, flags, sizeof flags - 1))
        return strstr(line, " wf") ? intervals_set(r->wiped, page_of(r->start), page_of(r->end), 0) : 0;
    char *at;
    uint64_t start = strtoull(line, &at, 16);
    if (at != line && *at == '-') {
        r->start = start;
        r->end = strtoull(at + 1, NULL, 16);
    }
    return 0;
}

int smaps_wiped(struct intervals *s)
{
    int fd = point_fails(POINT_FORK_SMAPS) ? -1 : open("/proc/thread-self/smaps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = lines_each(fd, on_line, &(struct smaps_reader){ .wiped = s });
    close(fd);
    return r;
}
