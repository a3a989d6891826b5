/* log.c - see log.h. A line is one write, so lines of several threads do not mix. */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum log_level most_detailed = LOG_AT_INFO;

void log_set_level(enum log_level level)
{
    most_detailed = level;
}

/* Is stderr the journal? The variable may be inherited from a service whose stderr is not ours. */
static bool is_journal(void)
{
    static _Atomic int known = -1;
    if (known >= 0)
        return known;
    const char *stream = getenv("JOURNAL_STREAM");
    char own[64];
    struct stat st;
    bool is = stream && fstat(STDERR_FILENO, &st) == 0 &&
              snprintf(own, sizeof own, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino) > 0 &&
              !strcmp(own, stream);
    known = is;
    return is;
}

static const char *word_of(enum log_level level)
{
    switch (level) {
    case LOG_AT_ERROR:   return "error";
    case LOG_AT_WARNING: return "warning";
    case LOG_AT_INFO:    return "info";
    case LOG_AT_DEBUG:   return "debug";
    }
    return "?";
}

void log_line(enum log_level level, const char *format, ...)
{
    if (level > most_detailed)
        return;
    char line[1024];
    int n = is_journal() ? snprintf(line, sizeof line, "<%d>", (int)level)
                                     : snprintf(line, sizeof line, "process-pagerd: level=%s ",
                                                word_of(level));
    va_list arguments;
    va_start(arguments, format);
    n += vsnprintf(line + n, sizeof line - (size_t)n, format, arguments);
    va_end(arguments);
    if (n > (int)sizeof line - 2)
        n = (int)sizeof line - 2;
    line[n++] = '\n';
    ssize_t unused = write(STDERR_FILENO, line, (size_t)n);
    (void)unused; /* a log that can't be written is not worth ending for */
}
