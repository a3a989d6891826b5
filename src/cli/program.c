/* program.c - see program.h. */
#include "cli/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define INTERPRETERS_MAX 5 /* the kernel's own limit */
#define HEAD_BYTES 4096u

static int is_runnable(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EACCES;
    return access(path, X_OK) ? -errno : 0;
}

int program_find(const char *name, char *ret_path, size_t capacity)
{
    if (!*name)
        return -ENOENT;
    if (strchr(name, '/'))
        return (size_t)snprintf(ret_path, capacity, "%s", name) < capacity ? is_runnable(ret_path)
                                                                           : -ENAMETOOLONG;
    const char *path = getenv("PATH");
    int error = -ENOENT;
    for (const char *at = path ? path : "/bin:/usr/bin"; at;) {
        size_t length = strcspn(at, ":");
        int n = snprintf(ret_path, capacity, "%.*s%s%s", (int)length, at, length ? "/" : "", name);
        int r = n > 0 && (size_t)n < capacity ? is_runnable(ret_path) : -ENAMETOOLONG;
        if (r == 0)
            return 0;
        if (r == -EACCES) /* somebody's who may not; a later one may be for us */
            error = r;
        at = at[length] ? at + length + 1 : NULL;
    }
    return error;
}

static bool is_privileged(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return false;
    return ((st.st_mode & S_ISUID) && st.st_uid != geteuid()) ||
           ((st.st_mode & S_ISGID) && (st.st_mode & S_IXGRP) && st.st_gid != getegid()) ||
           (geteuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0);
}

static bool is_our_loader(const unsigned char *head, size_t bytes, const Elf64_Phdr *p)
{
    static const char name[] = "/ld-linux-x86-64.so.2";
    if (p->p_filesz < sizeof name || p->p_offset > bytes || p->p_filesz > bytes - p->p_offset)
        return p->p_filesz >= sizeof name; /* its name is somewhere else: nothing is known against it */
    return memcmp(head + p->p_offset + p->p_filesz - sizeof name, name, sizeof name) == 0;
}

/* Static programs have no interpreter; a static one that moves has none either. */
static enum program_kind kind_of_elf(const unsigned char *head, size_t bytes)
{
    Elf64_Ehdr h;
    if (bytes < sizeof h)
        return PROGRAM_FOREIGN;
    memcpy(&h, head, sizeof h);
    if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_machine != EM_X86_64)
        return PROGRAM_FOREIGN;
    for (unsigned i = 0; i < h.e_phnum; i++) {
        Elf64_Phdr p;
        size_t at = h.e_phoff + i * sizeof p;
        if (h.e_phoff > bytes || at + sizeof p > bytes)
            return PROGRAM_DYNAMIC; /* a table somewhere else: nothing is known against it */
        memcpy(&p, head + at, sizeof p);
        if (p.p_type == PT_INTERP)
            return is_our_loader(head, bytes, &p) ? PROGRAM_DYNAMIC : PROGRAM_OTHER_LIBC;
    }
    return PROGRAM_STATIC;
}

/* The interpreter of "#!interpreter [argument]", in place. NULL: no such line. */
static const char *interpreter_of(char *head)
{
    if (head[0] != '#' || head[1] != '!')
        return NULL;
    char *at = head + 2 + strspn(head + 2, " \t");
    at[strcspn(at, " \t\r\n")] = 0;
    return *at ? at : NULL;
}

enum program_kind program_kind_of(const char *path)
{
    unsigned char head[HEAD_BYTES + 1];
    char next[HEAD_BYTES];
    for (int i = 0; i < INTERPRETERS_MAX; i++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return PROGRAM_UNREADABLE;
        ssize_t n = read(fd, head, HEAD_BYTES);
        close(fd);
        head[n > 0 ? n : 0] = 0;
        if (n >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
            return is_privileged(path) ? PROGRAM_PRIVILEGED : kind_of_elf(head, (size_t)n);
        const char *interpreter = interpreter_of((char *)head);
        if (!interpreter)
            return PROGRAM_DYNAMIC; /* a script for /bin/sh */
        (void)snprintf(next, sizeof next, "%s", interpreter);
        path = next;
    }
    return PROGRAM_DYNAMIC;
}

const char *program_obstacle(enum program_kind kind)
{
    switch (kind) {
    case PROGRAM_DYNAMIC:    return NULL;
    case PROGRAM_UNREADABLE: return NULL; /* tried: the loader knows */
    case PROGRAM_STATIC:     return "is statically linked";
    case PROGRAM_PRIVILEGED: return "is set-user-id, set-group-id or has file capabilities";
    case PROGRAM_FOREIGN:    return "is no x86-64 program";
    case PROGRAM_OTHER_LIBC: return "has another C library than we";
    }
    return NULL;
}
