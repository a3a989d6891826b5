/* lines.c - see lines.h. */
#include "sys/lines.h"

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

int lines_each(int fd, int (*on_line)(void *context, const char *line), void *context)
{
    char buffer[4096], line[160];
    size_t length = 0;
    ssize_t n;
    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; i < n; i++) {
            if (buffer[i] != '\n') {
                if (length < sizeof line - 1)
                    line[length++] = buffer[i];
                continue;
            }
            line[length] = 0;
            length = 0;
            int r = on_line(context, line);
            if (r)
                return r;
        }
    return n < 0 ? -errno : 0;
}
