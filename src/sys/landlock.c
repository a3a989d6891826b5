/* landlock.c - see landlock.h. Numbers are the kernel's; libc has no calls for this, and headers of Debian 12
 * know two of the three versions that matter.
 *
 * Not asked for: the right to ioctl() a device (version 5). It would stay with descriptors that are handed
 * over, and a client could make nothing of /dev/userfaultfd. */
#include "sys/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif
#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH 1

enum {
    FS_EXECUTE = 1 << 0,
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_REG = 1 << 8,
    FS_ALL_1 = (1 << 13) - 1, /* version 1: from EXECUTE to MAKE_SYM */
    FS_REFER = 1 << 13,       /* version 2: links and renames across folders */
    FS_TRUNCATE = 1 << 14,    /* version 3 */
    FS_OF_FILES = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE,
};

struct ruleset_attr {
    uint64_t handled_access_fs;
};

struct path_beneath_attr {
    uint64_t allowed_access;
    int32_t parent_fd;
} __attribute__((packed));

static uint64_t handled_by(long version)
{
    return (uint64_t)(FS_ALL_1 | (version >= 2 ? FS_REFER : 0) | (version >= 3 ? FS_TRUNCATE : 0));
}

static uint64_t access_of(unsigned rights)
{
    return (uint64_t)((rights & LANDLOCK_READ ? FS_READ_FILE | FS_READ_DIR : 0) |
                      (rights & LANDLOCK_WRITE ? FS_WRITE_FILE | FS_TRUNCATE : 0) |
                      (rights & LANDLOCK_MAKE ? FS_MAKE_REG : 0) |
                      (rights & LANDLOCK_REMOVE ? FS_REMOVE_FILE : 0));
}

static int add_path(int ruleset, const struct landlock_path *p, uint64_t handled)
{
    struct stat st;
    int fd = open(p->path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == EACCES ? 0 : -errno;
    struct path_beneath_attr rule = { .allowed_access = access_of(p->rights) & handled, .parent_fd = fd };
    int r = fstat(fd, &st) ? -errno : 0;
    if (r == 0 && !S_ISDIR(st.st_mode))
        rule.allowed_access &= FS_OF_FILES;
    if (r == 0 && syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0))
        r = -errno;
    close(fd);
    return r;
}

int landlock_confine(const struct landlock_path *paths, size_t nr)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
    /* -EPERM: a filter of system calls around us does not know it, as a container's may not. */
    if (version < 1)
        return version < 0 && errno != ENOSYS && errno != EOPNOTSUPP && errno != EPERM ? -errno : -EOPNOTSUPP;
    const struct ruleset_attr attr = { .handled_access_fs = handled_by(version) };
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (ruleset < 0)
        return -errno;
    int r = 0;
    for (size_t i = 0; r == 0 && i < nr; i++)
        r = add_path(ruleset, &paths[i], attr.handled_access_fs);
    if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0))
        r = -errno;
    close(ruleset);
    return r;
}
