/* listen.c - see listen.h. */
#include "daemon/listen.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "wire/msg.h"

#define SYSTEM_FOLDER "/run/process-pager"
#define GROUP "process-pager"
#define FIRST_PASSED_FD 3 /* sd_listen_fds(3) */

/* systemd's protocol: LISTEN_PID is us, LISTEN_FDS how many, from descriptor 3 on. */
static bool take_passed_socket(struct listener *l)
{
    const char *pid = getenv("LISTEN_PID"), *nr = getenv("LISTEN_FDS");
    if (!pid || !nr || strtol(pid, NULL, 10) != getpid() || strtol(nr, NULL, 10) < 1)
        return false;
    int type = 0;
    socklen_t size = sizeof type;
    if (getsockopt(FIRST_PASSED_FD, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_SEQPACKET)
        return false;
    l->fd = FIRST_PASSED_FD;
    l->is_ours = false;
    return true;
}

static int place_for_user(struct listener *l, char *ret_error, size_t capacity)
{
    const char *folder = SYSTEM_FOLDER;
    char own[90];
    if (geteuid() != 0) {
        const char *runtime = getenv("XDG_RUNTIME_DIR");
        if (!runtime) {
            (void)snprintf(ret_error, capacity, "no place for the socket: set XDG_RUNTIME_DIR or use "
                           "--socket PATH");
            return EX_USAGE;
        }
        (void)snprintf(own, sizeof own, "%s/process-pager", runtime);
        folder = own;
    }
    if (mkdir(folder, 0755) && errno != EEXIST) {
        (void)snprintf(ret_error, capacity, "cannot make %s (%s): use --socket PATH", folder,
                       strerror(errno));
        return errno == EACCES ? EX_NOPERM : EX_OSERR;
    }
    (void)snprintf(l->path, sizeof l->path, "%s/pager.sock", folder);
    return 0;
}

/* Somebody who answers keeps the place; a file that nobody listens on is what a crash left. */
static bool is_taken(const char *path)
{
    int fd = socket_connect(path);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

static void give_to_group(const char *path)
{
    (void)chmod(path, 0660);
    struct group *g = geteuid() == 0 ? getgrnam(GROUP) : NULL;
    if (g && chown(path, 0, g->gr_gid))
        (void)chmod(path, 0600); /* nobody rather than the wrong ones */
}

static int bind_socket(struct listener *l, char *ret_error, size_t capacity)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    memcpy(address.sun_path, l->path, strlen(l->path) + 1);
    l->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0) {
        (void)snprintf(ret_error, capacity, "cannot make a socket: %s", strerror(errno));
        return EX_OSERR;
    }
    struct stat st;
    if (lstat(l->path, &st) == 0 && S_ISSOCK(st.st_mode))
        (void)unlink(l->path);
    mode_t mask = umask(0117);
    int failed = bind(l->fd, (struct sockaddr *)&address, sizeof address);
    int error = errno;
    umask(mask);
    if (failed || listen(l->fd, 128)) {
        (void)snprintf(ret_error, capacity, "cannot listen at %s (%s): use --socket PATH", l->path,
                       strerror(failed ? error : errno));
        close(l->fd);
        return error == EACCES ? EX_NOPERM : EX_OSERR;
    }
    l->is_ours = true;
    give_to_group(l->path);
    return 0;
}

int listener_open(const char *path, struct listener *ret, char *ret_error, size_t capacity)
{
    *ret = (struct listener){ .fd = -1 };
    if (take_passed_socket(ret)) /* the unit that made it decides where it is */
        return 0;
    if (path && strlen(path) >= sizeof ret->path) {
        (void)snprintf(ret_error, capacity, "--socket: the path is longer than %zu bytes",
                       sizeof ret->path - 1);
        return EX_USAGE;
    }
    if (path)
        (void)snprintf(ret->path, sizeof ret->path, "%s", path);
    int r = path ? 0 : place_for_user(ret, ret_error, capacity);
    if (r)
        return r;
    if (is_taken(ret->path)) {
        (void)snprintf(ret_error, capacity, "a daemon already answers at %s: end it, or use --socket "
                       "PATH for a second one", ret->path);
        return EX_UNAVAILABLE;
    }
    return bind_socket(ret, ret_error, capacity);
}

void listener_close(struct listener *l)
{
    if (l->fd >= 0)
        close(l->fd);
    if (l->is_ours)
        (void)unlink(l->path);
    l->fd = -1;
}
