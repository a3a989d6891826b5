/* files.h - whole files in, folders made. */
#ifndef BENCH_FILES_H
#define BENCH_FILES_H

#include <stdio.h>

/* The text of a file of at most 16 MiB, to be freed; NULL: it can't be read. */
char *file_read(const char *path);
/* Closes what was written. 0, or -errno also of what could not be written before, as -ENOSPC. */
int file_close(FILE *file);
/* Makes a folder and the folders it is in. 0 when it is there. */
int folder_make(const char *path);
/* Copies the last line that is not empty, or says that there is none. */
void file_last_line(const char *path, char *ret_line, unsigned size);

#endif
