/* library.h - where the library is that `run` puts into programs. */
#ifndef CLI_LIBRARY_H
#define CLI_LIBRARY_H

#include <stddef.h>

#define LIBRARY_NAME "libprocess-pager-preload.so"

/* Beside this program, as it was built, or where `make install` puts it. NULL: ret_path has it, and the loader
 * will take it; else why not, in words. */
const char *library_find(char *ret_path, size_t capacity);

#endif
