/* smaps.c - see smaps.h. A line at a time: "start-end ..." begins a mapping, "VmFlags: ... wf ..." ends it. */
#include "sys/smaps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct smaps_reader {
    uint64_t start, end; /* of the mapping that is being told of */
    struct intervals *wiped;
};

static int on_line(struct smaps_reader *r, const char *line)
{
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
    int fd = open("/proc/thread-self/smaps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct smaps_reader reader = { .wiped = s };
    char buffer[4096], line[160];
    size_t length = 0;
    int r = 0;
    ssize_t n = 0;
    while (r == 0 && (n = read(fd, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; r == 0 && i < n; i++) {
            if (buffer[i] != '\n') {
                if (length < sizeof line - 1) /* a long name is cut; what we want is shorter */
                    line[length++] = buffer[i];
                continue;
            }
            line[length] = 0;
            length = 0;
            r = on_line(&reader, line);
        }
    if (n < 0)
        r = -errno;
    close(fd);
    return r;
}
