/* error.h - what a negative errno value means, for the agent's threads: strerror() translates, and for
 * that allocates, locks and reads the heap of a process whose heap may be out. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <string.h>

static inline const char *error_text(int error)
{
    const char *text = strerrordesc_np(-error);
    return text ? text : "unknown error";
}

#endif
