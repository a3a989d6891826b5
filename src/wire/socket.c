/* socket.c - where the daemon's socket may be, and how a client connects to it. */
#include "wire/msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/point.h"

#define SYSTEM_SOCKET "/run/process-pager/pager.sock"
#define SESSION_SOCKET "/process-pager/pager.sock" /* below $XDG_RUNTIME_DIR */

/* The two parts joined in the buffer, or NULL. */
static const char *join(const char *head, const char *tail, char *buffer, size_t capacity)
{
    size_t head_bytes = strlen(head), tail_bytes = strlen(tail) + 1;
    if (head_bytes >= capacity || tail_bytes > capacity - head_bytes)
        return NULL;
    memcpy(buffer, head, head_bytes);
    memcpy(buffer + head_bytes, tail, tail_bytes);
    return buffer;
}

const char *socket_path_candidate(unsigned index, const char *explicit_path, char *buffer,
                                  size_t capacity)
{
    /* The environment of a set-user-id program belongs to somebody else. */
    const char *named = explicit_path ? explicit_path : secure_getenv("PROCESS_PAGER_SOCKET");
    if (named && (explicit_path || *named)) {
        if (index > 0)
            return NULL;
        const char *copy = join(named, "", buffer, capacity);
        return copy ? copy : named; /* too long to connect to, and socket_connect says so */
    }
    if (index == 0)
        return join(SYSTEM_SOCKET, "", buffer, capacity);
    const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
    if (index == 1 && runtime && *runtime == '/')
        return join(runtime, SESSION_SOCKET, buffer, capacity);
    return NULL;
}

int socket_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t path_bytes = strlen(path);
    if (path_bytes == 0)
        return -ENOENT; /* the kernel would take it for an abstract name */
    if (path_bytes >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, path_bytes + 1);

    int fd = point_fails(POINT_CONNECT) ? -1
                                        : socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        int r = -errno;
        (void)close(fd);
        return r;
    }
    return fd;
}
