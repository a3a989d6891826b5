/* files.c - see files.h. */
#include "files.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX ((size_t)16 << 20)

char *file_read(const char *path)
{
    FILE *in = fopen(path, "r");
    if (!in)
        return NULL;
    size_t capacity = 4096, length = 0;
    char *text = NULL;
    for (;;) {
        char *larger = realloc(text, capacity);
        if (!larger)
            break;
        text = larger;
        length += fread(text + length, 1, capacity - 1 - length, in);
        if (length < capacity - 1 || capacity >= FILE_MAX)
            break;
        capacity *= 2;
    }
    fclose(in);
    if (text)
        text[length] = '\0';
    return text;
}

int file_close(FILE *file)
{
    /* What failed before is still in the buffer, so this fails again, and errno says why. */
    int r = fflush(file) != 0 ? -errno : ferror(file) ? -EIO : 0;
    if (fclose(file) != 0 && r == 0)
        r = -errno;
    return r;
}

int folder_make(const char *path)
{
    char part[PATH_MAX];
    if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
        return -ENAMETOOLONG;
    for (char *at = part + 1;; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char kept = *at;
        *at = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return -errno;
        if (kept == '\0')
            return 0;
        *at = kept;
    }
}

void file_last_line(const char *path, char *ret_line, unsigned size)
{
    char *text = file_read(path);
    const char *last = "it said nothing";
    for (char *line, *rest = text; (line = strsep(&rest, "\n")) != NULL;) {
        if (*line)
            last = line;
    }
    snprintf(ret_line, size, "%s", last);
    free(text);
}
