/* oom.c - see oom.h. */
#include "daemon/oom.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCORE_ADJ "-900" /* as in the unit file; -1000 would be never */

void oom_be_last(void)
{
    char text[16] = "";
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    if (read(fd, text, sizeof text - 1) > 0 && strtol(text, NULL, 10) == 0)
        (void)!pwrite(fd, SCORE_ADJ, strlen(SCORE_ADJ), 0); /* EACCES: it stays what it is */
    close(fd);
}
