/* library.c - see library.h. */
#include "cli/library.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *library_find(char *ret_path, size_t capacity)
{
    ssize_t n = readlink("/proc/self/exe", ret_path, capacity - sizeof LIBRARY_NAME - 1);
    ret_path[n > 0 ? n : 0] = 0;
    char *slash = strrchr(ret_path, '/');
    if (slash)
        strcpy(slash + 1, LIBRARY_NAME);
    if (!slash || access(ret_path, R_OK))
        (void)snprintf(ret_path, capacity, "%s", PP_LIBDIR "/" LIBRARY_NAME);
    if (access(ret_path, R_OK))
        return LIBRARY_NAME " is neither beside this program nor in " PP_LIBDIR ": install it";
    if (strpbrk(ret_path, " :"))
        return "the loader takes no path with a blank or a colon for " LIBRARY_NAME ": install it elsewhere";
    return NULL;
}
