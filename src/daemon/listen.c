/* listen.c - see listen.h. */
#include "daemon/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/point.h"
#include "daemon/impatience.h"
#include "wire/msg.h"

#define SYSTEM_FOLDER "/run/process-pager"
#define GROUP "process-pager"
/* Those who want in wait in one queue, whoever they are: with 128 places one user kept it full, and others
 * were told EAGAIN. The kernel's own ceiling is net.core.somaxconn. */
#define BACKLOG 4096
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
    /* A client that gives up before it is let in must not make us wait for the next. */
    (void)fcntl(l->fd, F_SETFL, fcntl(l->fd, F_GETFL) | O_NONBLOCK);
    (void)fcntl(l->fd, F_SETFD, FD_CLOEXEC);
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
    if (mkdir(folder, geteuid() ? 0700 : 0755) && errno != EEXIST) {
        (void)snprintf(ret_error, capacity, "cannot make %s (%s): use --socket PATH", folder,
                       strerror(errno));
        return errno == EACCES ? EX_NOPERM : EX_OSERR;
    }
    (void)snprintf(l->path, sizeof l->path, "%s/pager.sock", folder);
    return 0;
}

/* Somebody who answers keeps the place; a file that nobody listens on is what a crash left. 0: free. */
static int check_place(const char *path, char *ret_error, size_t capacity)
{
    struct stat st;
    if (lstat(path, &st))
        return 0; /* nothing there; if it is for another reason, bind will say so */
    if (!S_ISSOCK(st.st_mode)) {
        (void)snprintf(ret_error, capacity, "%s is there and is no socket: remove it, or use --socket "
                       "PATH", path);
        return EX_UNAVAILABLE;
    }
    int fd = socket_connect(path);
    if (fd == -ECONNREFUSED || fd == -ENOENT)
        return 0;
    if (fd >= 0)
        close(fd);
    bool is_ours = fd >= 0 || fd == -EAGAIN; /* EAGAIN: so many want to be let in */
    (void)snprintf(ret_error, capacity, "%s at %s: end it, or use --socket PATH for a second one",
                   is_ours ? "a daemon already answers" : "somebody else's socket is", path);
    return fd == -EACCES || fd == -EPERM ? EX_NOPERM : EX_UNAVAILABLE;
}

/* Two daemons that start at once look at the place one after the other. The descriptor of the locked
 * folder, or -1: then without. */
static int lock_folder(const char *path)
{
    char folder[108];
    (void)snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB); i++) {
        if (i == 100) { /* whoever keeps it for a second is no daemon that starts */
            close(fd);
            return -1;
        }
        usleep(10000);
    }
    return fd;
}

static void give_to_group(const char *path)
{
    (void)chmod(path, 0660);
    struct group *g = geteuid() == 0 ? getgrnam(GROUP) : NULL;
    if (g && chown(path, 0, g->gr_gid))
        (void)chmod(path, 0600); /* nobody rather than the wrong ones */
}

static int cannot_listen(struct listener *l, int error, char *ret_error, size_t capacity)
{
    (void)snprintf(ret_error, capacity, "cannot listen at %s (%s): use --socket PATH", l->path,
                   strerror(error));
    close(l->fd);
    l->fd = -1;
    return error == EACCES || error == EPERM || error == EROFS ? EX_NOPERM : EX_OSERR;
}

/* Made under another name and moved into place when it listens: who finds the file is let in. */
static int bind_socket(struct listener *l, char *ret_error, size_t capacity)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int n = snprintf(address.sun_path, sizeof address.sun_path, "%s.new", l->path);
    bool is_moved = n < (int)sizeof address.sun_path;
    if (!is_moved) /* no room for that: directly, then */
        (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", l->path);
    l->fd = point_fails(POINT_LISTEN_SOCKET)
                ? -1
                : socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return cannot_listen(l, errno, ret_error, capacity);
    struct stat st;
    if (lstat(address.sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
        (void)unlink(address.sun_path);
    mode_t mask = umask(0117);
    bool is_bound = !point_fails(POINT_LISTEN_BIND) &&
                    bind(l->fd, (struct sockaddr *)&address, sizeof address) == 0;
    int error = is_bound ? 0 : errno;
    umask(mask);
    if (error)
        return cannot_listen(l, error, ret_error, capacity);
    give_to_group(address.sun_path);
    if (point_fails(POINT_LISTEN) || listen(l->fd, BACKLOG) ||
        (is_moved && rename(address.sun_path, l->path)) || lstat(l->path, &st)) {
        error = errno;
        (void)unlink(address.sun_path);
        return cannot_listen(l, error, ret_error, capacity);
    }
    l->is_ours = true;
    l->device = st.st_dev;
    l->inode = st.st_ino;
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
    int lock = lock_folder(ret->path);
    r = check_place(ret->path, ret_error, capacity);
    if (r == 0)
        r = bind_socket(ret, ret_error, capacity);
    if (lock >= 0)
        close(lock);
    return r;
}

void listener_close(struct listener *l)
{
    struct stat st;
    if (l->fd >= 0)
        impatience_close(l->fd); /* with all who have not been let in, and what they have sent */
    /* Not what a successor has put there meanwhile. */
    if (l->is_ours && lstat(l->path, &st) == 0 && st.st_dev == l->device && st.st_ino == l->inode)
        (void)unlink(l->path);
    l->fd = -1;
}
